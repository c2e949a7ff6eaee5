//! Which stored bytes show a window of wall time. Pure.

use std::collections::BTreeMap;

use archive::fmp4::index::{self, IndexError};
use archive::gap::Gap;
use archive::ids::RunId;
use archive::segment::GopRange;
use archive::time::{RunClock, WallTime};
use archive::timeline::{Run, Timeline, Window};

use super::SegmentId;
use crate::db::SegmentRow;

/// One keyframe range of a stored file, placed on wall time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Which file.
    pub segment: SegmentId,
    /// Which bytes and media time.
    pub gop: GopRange,
    /// When it shows.
    pub start: WallTime,
    /// The run: pieces of one run that touch play on without a break.
    pub run: RunId,
    /// Digest of the file's init segment.
    pub init_sha256: String,
    /// Length of the file's init segment.
    pub init_size_bytes: u64,
}

impl Piece {
    /// When it ends.
    pub fn end(&self) -> WallTime {
        self.start + self.gop.duration_us
    }
}

/// The pieces that show a window, in order of wall time; the first holds the window's start.
///
/// Where two runs claim the same time, the timeline decides.
///
/// # Errors
/// [`IndexError`] if a stored index is damaged.
pub fn plan(segments: &[SegmentRow], window: Window) -> Result<Vec<Piece>, IndexError> {
    let mut anchors: BTreeMap<&RunId, Vec<_>> = BTreeMap::new();
    for segment in segments {
        anchors
            .entry(&segment.span.recorded.run)
            .or_default()
            .extend(segment.span.anchors());
    }
    let runs: Vec<_> = anchors
        .iter()
        .map(|(run, anchors)| Run {
            run: (*run).clone(),
            clock: RunClock::new(anchors),
        })
        .collect();
    let clocks: BTreeMap<_, _> = runs.iter().map(|r| (&r.run, &r.clock)).collect();
    let recorded: Vec<_> = segments.iter().map(|s| s.span.recorded.clone()).collect();
    let spans = Timeline::lay(window, &runs, &recorded, &[], &[]).spans;
    let mut pieces = Vec::new();
    for segment in segments {
        let run = &segment.span.recorded.run;
        let Some(clock) = clocks.get(run) else { continue };
        for gop in index::decode(&segment.gop_index)? {
            let Some(start) = clock.wall(gop.start) else {
                continue;
            };
            let piece = Piece {
                segment: SegmentId {
                    recorder: segment.recorder.clone(),
                    key: segment.key.clone(),
                },
                gop,
                start,
                run: run.clone(),
                init_sha256: segment.init_sha256.clone(),
                init_size_bytes: segment.init_size_bytes,
            };
            let shown = Window {
                start,
                end: piece.end(),
            };
            // Spans ascend and never overlap, so those that reach into the piece stand together.
            let first = spans.partition_point(|span| span.end <= shown.start);
            let mut reaching = spans[first..].iter().take_while(|span| span.start < shown.end);
            if reaching.any(|span| span.run == *run) {
                pieces.push(piece);
            }
        }
    }
    pieces.sort_by_key(|piece| (piece.start, piece.segment.key.sequence));
    Ok(pieces)
}

/// The gap that explains most of a window in which nothing was recorded.
pub fn reason(gaps: &[Gap], window: Window) -> Option<&Gap> {
    let holes = Timeline::lay(window, &[], &[], gaps, &[]).holes;
    let explained = holes
        .iter()
        .filter_map(|hole| Some((hole.gap_id?, hole.end - hole.start)));
    // Of equal ones the first.
    let (longest, _) = explained.rev().max_by_key(|(_, duration_us)| *duration_us)?;
    gaps.iter().find(|gap| gap.gap_id == longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::gap::GapCause;

    #[test]
    fn the_gap_that_explains_most_is_the_reason() {
        let gap = |id, start_s: i64, end_s: Option<i64>, cause| Gap {
            gap_id: uuid::Uuid::from_bytes([id; 16]),
            stream: "q1.front.main".parse().unwrap(),
            start: WallTime(start_s * 1_000_000),
            end: end_s.map(|s| WallTime(s * 1_000_000)),
            start_boot: None,
            end_boot: None,
            cause,
            detail: String::new(),
        };
        let window = Window {
            start: WallTime(100_000_000),
            end: WallTime(200_000_000),
        };
        let gaps = [
            gap(1, 0, Some(120), GapCause::RecorderDown),
            gap(2, 130, None, GapCause::CameraOffline),
            gap(3, 300, Some(900), GapCause::DiskFull),
        ];
        assert_eq!(
            reason(&gaps, window).map(|g| g.cause),
            Some(GapCause::CameraOffline)
        );
        assert_eq!(
            reason(&gaps[..1], window).map(|g| g.cause),
            Some(GapCause::RecorderDown)
        );
        assert_eq!(reason(&gaps[2..], window), None);
    }
}
