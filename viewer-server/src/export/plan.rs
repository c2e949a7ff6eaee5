//! Which stored segments make up which films.

use std::collections::BTreeMap;

use archive::gap::Gap;
use archive::ids::{RecorderId, RunId, StreamId};
use archive::time::{DurationUs, MediaTime, RunClock};
use archive::timeline::{Hole, Timeline, Window};

use super::ExportError;
use crate::centre::Centre;
use crate::db::SegmentRow;
use crate::playback::runs;

/// Segments of one run that end and start so near to each other are one film.
const SEAM_US: DurationUs = 1_000;
/// So much may be missing at the end: the clocks' last milliseconds.
const END_SEAM_US: DurationUs = 100_000;

/// Segments that follow each other without a break, and what of them is wanted.
#[derive(Debug, Clone)]
pub struct Film {
    /// What it shows.
    pub stream: StreamId,
    /// Who recorded it.
    pub recorder: RecorderId,
    /// The run.
    pub run: RunId,
    /// In order; there is at least one.
    pub segments: Vec<SegmentRow>,
    /// The position from which it is wanted.
    pub from: MediaTime,
    /// The position until which it is wanted.
    pub to: MediaTime,
    /// The run's clock.
    pub clock: RunClock,
}

/// What an export of one stream comes to.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The films, by time.
    pub films: Vec<Film>,
    /// What no film shows.
    pub holes: Vec<Hole>,
}

impl Planned {
    /// Footage to be read, at most.
    pub fn size_bytes(&self) -> u64 {
        let segments = self.films.iter().flat_map(|film| &film.segments);
        segments.map(|segment| segment.size_bytes).sum()
    }
}

impl Centre {
    /// Plans an export of a stream, and checks that its proof is there.
    ///
    /// # Errors
    /// [`ExportError`] says what is missing.
    pub async fn plan_export(&self, stream: &StreamId, window: Window) -> Result<Planned, ExportError> {
        let segments = self.db.segments(stream, window).await?;
        let gaps = self.db.gaps(stream, window).await?;
        let planned = lay(stream, window, segments, &gaps)?;
        for film in &planned.films {
            for segment in film.segments.first().into_iter().chain(film.segments.last()) {
                self.sealed_entry(segment).await?;
            }
        }
        Ok(planned)
    }

    /// The entry that seals a segment and is covered by a receipt.
    pub(super) async fn sealed_entry(&self, segment: &SegmentRow) -> Result<u64, ExportError> {
        let (recorder, key) = (&segment.recorder, &segment.key);
        let named = || key.to_string();
        let Some((entry, sealed)) = self.db.sealed_segment(recorder, key).await? else {
            return Err(if self.db.is_sealed_beyond(recorder, key).await? {
                ExportError::NeverSealed { segment: named() }
            } else {
                ExportError::NotSealed { segment: named() }
            });
        };
        if sealed.sha256.to_string() != segment.sha256 {
            return Err(ExportError::Damaged {
                segment: named(),
                reason: "its SHA-256 is not the one that its recorder sealed".to_owned(),
            });
        }
        let receipt = self.db.receipt_from(recorder, &key.stream, entry).await?;
        match receipt {
            Some(_) => Ok(entry),
            None => Err(ExportError::NotSealed { segment: named() }),
        }
    }
}

fn lay(
    stream: &StreamId,
    window: Window,
    segments: Vec<SegmentRow>,
    gaps: &[Gap],
) -> Result<Planned, ExportError> {
    let rows: Vec<_> = segments.iter().map(|s| s.span.clone()).collect();
    let recorded: Vec<_> = rows.iter().map(|row| row.recorded.clone()).collect();
    let runs = runs(&rows);
    let Timeline { spans, holes, .. } = Timeline::lay(window, &runs, &recorded, gaps, &[]);
    let Some(last) = spans.last() else {
        return Err(ExportError::NoRecording);
    };
    let tail: DurationUs = holes
        .iter()
        .filter(|hole| hole.start >= last.end && hole.cause.is_none())
        .map(|hole| hole.end - hole.start)
        .sum();
    if tail >= END_SEAM_US {
        return Err(ExportError::NotArrived {
            stream: stream.to_string(),
            until: last.end,
        });
    }
    let clocks: BTreeMap<_, _> = runs.into_iter().map(|r| (r.run, r.clock)).collect();
    let mut by_run: BTreeMap<(RecorderId, RunId), Vec<SegmentRow>> = BTreeMap::new();
    for segment in segments {
        let run = segment.span.recorded.run.clone();
        by_run
            .entry((segment.recorder.clone(), run))
            .or_default()
            .push(segment);
    }
    let mut films = Vec::new();
    for ((recorder, run), mut segments) in by_run {
        let Some(clock) = clocks.get(&run) else { continue };
        let (Some(from), Some(to)) = (clock.media(window.start), clock.media(window.end)) else {
            continue;
        };
        segments.sort_by_key(|s| s.key.sequence);
        for segments in segments.chunk_by(follows) {
            films.push(Film {
                stream: stream.clone(),
                recorder: recorder.clone(),
                run: run.clone(),
                segments: segments.to_vec(),
                from,
                to,
                clock: clock.clone(),
            });
        }
    }
    films.sort_by_key(|film| film.segments[0].span.wall.start);
    Ok(Planned { films, holes })
}

/// Whether a segment goes on where another of the same run ends, with the same tracks.
fn follows(before: &SegmentRow, after: &SegmentRow) -> bool {
    let (end, start) = (before.span.recorded.end, after.span.recorded.start);
    after.key.sequence == before.key.sequence + 1
        && (start - end).abs() <= SEAM_US
        && after.init_sha256 == before.init_sha256
        && after.init_size_bytes == before.init_size_bytes
}
