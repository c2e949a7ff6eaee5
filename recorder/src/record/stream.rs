//! The recording of one stream: its run, its growing segment, its gap.

use archive::fmp4::{Init, next_fragment, read_init};
use archive::gap::{Gap, GapCause};
use archive::ids::{RunId, SegmentKey};
use archive::time::{Anchor, MediaTime, Moment, RunClock, boot_at};
use bytes::Bytes;

use super::file::SegmentFile;
use super::{Recorded, Volume, WriteError, WriterSettings};
use crate::capture::EndRequest;
use crate::index::{Change, Index, IndexError, RunOpening};

/// What the writer knows of one stream.
pub(super) struct StreamWriter {
    recorded: Recorded,
    last_sequence: u64,
    run: Option<OpenRun>,
    /// Where the recording ends; starts the next gap.
    end: Option<Moment>,
    gap: Option<Gap>,
    /// The run that goes on though there is no room to record it: live pictures need none.
    unrecorded: Option<RunId>,
}

struct OpenRun {
    run: RunId,
    init: Init,
    init_bytes: Bytes,
    anchors: Vec<Anchor>,
    clock: RunClock,
    segment: Option<SegmentFile>,
    /// End of the last picture written.
    end: Option<MediaTime>,
    /// The disk failed; the capture was asked to end the run and what still comes is dropped.
    has_failed: bool,
}

impl OpenRun {
    fn moment(&self, media: MediaTime) -> Option<Moment> {
        let wall = self.clock.wall(media)?;
        let boot = boot_at(&self.anchors, wall);
        Some(Moment { wall, boot })
    }
}

impl StreamWriter {
    /// A writer that goes on where the index ends.
    pub async fn new(recorded: Recorded, index: &Index) -> Result<Self, IndexError> {
        let stream = &recorded.stream;
        let end = match index.recording_end(stream).await? {
            Some(end) => index.moment_of(&end.run, end.media).await?,
            None => None,
        };
        Ok(Self {
            last_sequence: index.last_sequence(stream).await?,
            gap: index.open_gap(stream).await?,
            run: None,
            unrecorded: None,
            end,
            recorded,
        })
    }

    /// Begins a run; what was pending before is followed by its beginning.
    pub fn begin(
        &mut self,
        pending: &mut Vec<Change>,
        run: RunId,
        init_bytes: Bytes,
        anchor: Anchor,
    ) -> Result<(), WriteError> {
        self.close(pending);
        let init = match read_init(&init_bytes) {
            Ok(init) => init,
            Err(error) => {
                let error = WriteError::Fragment(error.to_string());
                self.ask_to_end(&run, &error);
                return Err(error);
            }
        };
        let tracks = init.tracks();
        self.run = Some(OpenRun {
            run: run.clone(),
            init,
            init_bytes,
            anchors: vec![anchor],
            clock: RunClock::new(&[anchor]),
            segment: None,
            end: None,
            has_failed: false,
        });
        let opening = RunOpening {
            run,
            stream: self.recorded.stream.clone(),
            tracks,
            anchor,
        };
        pending.push(Change::RunStarted(opening));
        Ok(())
    }

    pub fn anchored(&mut self, pending: &mut Vec<Change>, run: &RunId, anchor: Anchor) {
        if let Some(open) = self
            .run
            .as_mut()
            .filter(|open| open.run == *run && !open.has_failed)
        {
            open.anchors.push(anchor);
            open.clock = RunClock::new(&open.anchors);
            pending.push(Change::Anchored {
                run: run.clone(),
                anchor,
            });
        }
    }

    pub async fn fragment(
        &mut self,
        settings: &WriterSettings,
        volume: &Volume,
        index: &Index,
        pending: &mut Vec<Change>,
        run: &RunId,
        bytes: &[u8],
    ) -> Result<(), WriteError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(open) = self
                .run
                .as_ref()
                .filter(|open| open.run == *run && !open.has_failed)
            else {
                return Ok(());
            };
            let invalid = |e: archive::fmp4::Fmp4Error| WriteError::Fragment(e.to_string());
            let Some(scanned) = next_fragment(rest, 0, &open.init).map_err(invalid)? else {
                return Ok(());
            };
            let (one, behind) = rest.split_at((scanned.size_bytes as usize).min(rest.len()));
            rest = behind;
            let leading = &open.init.leading_track().track;
            let picture = scanned.track(leading.track_id).filter(|t| t.sample_count > 0);
            let start = picture.map(|t| archive::fmp4::media_time(t.min_pts, leading.timescale, 0));
            let is_keyframe = picture.is_some_and(|t| t.is_first_sync);
            self.write_one(
                settings,
                volume,
                index,
                pending,
                one,
                start.filter(|_| is_keyframe),
            )
            .await?;
        }
        Ok(())
    }

    /// Writes one fragment; `keyframe` is its start if a segment may start with it.
    async fn write_one(
        &mut self,
        settings: &WriterSettings,
        volume: &Volume,
        index: &Index,
        pending: &mut Vec<Change>,
        bytes: &[u8],
        keyframe: Option<MediaTime>,
    ) -> Result<(), WriteError> {
        let Some(open) = self.run.as_mut() else {
            return Ok(());
        };
        let is_full =
            |segment: &SegmentFile| keyframe.is_some_and(|at| at - segment.start >= settings.segment_us);
        if open.segment.as_ref().is_some_and(is_full) {
            seal(open, pending)?;
        }
        let segment = match (&mut open.segment, keyframe) {
            (Some(segment), _) => segment,
            // Without a keyframe nothing could be shown; one comes soon.
            (None, None) => return Ok(()),
            (slot @ None, Some(start)) => {
                let key = SegmentKey {
                    stream: self.recorded.stream.clone(),
                    sequence: self.last_sequence + 1,
                };
                let mut segment = SegmentFile::create(volume, key, start, &open.init, &open.init_bytes)?;
                segment.segment_id = index
                    .open_segment(&segment.key, &open.run, open.init_bytes.len() as u64)
                    .await?;
                self.last_sequence += 1;
                slot.insert(segment)
            }
        };
        let end = segment.append(&open.init, &open.clock, bytes)?;
        let is_first = open.end.is_none();
        open.end = Some(end);
        self.end = open.moment(end);
        let start = keyframe.and_then(|at| open.moment(at));
        let label = self.recorded.stream.to_string();
        metrics::counter!("recorder_fragments_total", "stream" => label.clone()).increment(1);
        metrics::counter!("recorder_bytes_total", "stream" => label).increment(bytes.len() as u64);
        if is_first && let Some(start) = start {
            self.recorded.health.set_fault(None);
            self.end_gap(pending, start);
        }
        Ok(())
    }

    pub fn sync(&mut self, pending: &mut Vec<Change>) -> Result<(), WriteError> {
        match self.run.as_mut().and_then(|open| open.segment.as_mut()) {
            Some(segment) if segment.is_dirty() => sync_segment(segment, pending),
            _ => Ok(()),
        }
    }

    /// Whether what comes of a run is dropped because there is no room. A gap says so, and when there is room again the
    /// capture is asked for a new run.
    pub fn is_without_room(
        &mut self,
        pending: &mut Vec<Change>,
        run: &RunId,
        has_room: bool,
        now: Moment,
    ) -> bool {
        let is_unrecorded = self.unrecorded.as_ref() == Some(run);
        if has_room && !is_unrecorded {
            return false;
        }
        if has_room {
            self.recorded.requests.send_replace(Some(EndRequest {
                run: run.clone(),
                cause: GapCause::DiskFull,
                detail: "there is room again".to_owned(),
            }));
        } else if !is_unrecorded {
            self.unrecorded = Some(run.clone());
            self.recorded.health.set_fault(Some(GapCause::DiskFull));
            let detail = "the disk is full and nothing on it may go";
            self.ended(pending, Some(run.clone()), GapCause::DiskFull, detail, now);
        }
        true
    }

    /// A session is over.
    pub fn ended(
        &mut self,
        pending: &mut Vec<Change>,
        run: Option<RunId>,
        cause: GapCause,
        detail: &str,
        now: Moment,
    ) {
        let had_pictures = self
            .run
            .as_ref()
            .is_some_and(|open| Some(&open.run) == run.as_ref() && open.end.is_some());
        self.close(pending);
        // The recording of this session went on until its end, else nothing was recorded until now.
        let start = if had_pictures || self.gap.is_none() {
            self.end.unwrap_or(now)
        } else {
            now
        };
        if let Some(gap) = &mut self.gap {
            if gap.cause == cause {
                return;
            }
            self.end_gap(pending, start);
        }
        let gap = Gap {
            gap_id: uuid::Uuid::now_v7(),
            stream: self.recorded.stream.clone(),
            start: start.wall,
            end: None,
            start_boot: start.boot,
            end_boot: None,
            cause,
            detail: detail.chars().take(500).collect(),
        };
        metrics::counter!("recorder_gaps_total",
            "stream" => self.recorded.stream.to_string(), "cause" => format!("{cause:?}"))
        .increment(1);
        pending.push(Change::Gap(gap.clone()));
        self.gap = Some(gap);
    }

    fn end_gap(&mut self, pending: &mut Vec<Change>, at: Moment) {
        if let Some(mut gap) = self.gap.take() {
            // A clock that was set back must not turn the gap around; its true end follows from `end_boot`.
            gap.end = Some(at.wall.max(gap.start));
            gap.end_boot = at.boot;
            pending.push(Change::Gap(gap));
        }
    }

    /// Ends the run: what is written is synced and sealed.
    pub fn close(&mut self, pending: &mut Vec<Change>) {
        let Some(mut open) = self.run.take() else { return };
        if let Err(error) = seal(&mut open, pending) {
            tracing::error!(stream = %self.recorded.stream, %error, "the last segment could not be sealed");
        }
        pending.push(Change::RunEnded { run: open.run });
    }

    /// The disk or the index failed: keep what is whole, and have the capture start anew.
    pub fn fail(&mut self, pending: &mut Vec<Change>, error: &WriteError) {
        let Some(open) = self.run.as_mut().filter(|open| !open.has_failed) else {
            return;
        };
        open.has_failed = true;
        if let Some(mut segment) = open.segment.take() {
            seal_synced(&mut segment, pending);
        }
        let run = open.run.clone();
        self.recorded.health.set_fault(Some(error.cause()));
        self.ask_to_end(&run, error);
    }

    fn ask_to_end(&self, run: &RunId, error: &WriteError) {
        self.recorded.requests.send_replace(Some(EndRequest {
            run: run.clone(),
            cause: error.cause(),
            detail: error.to_string(),
        }));
    }
}

fn sync_segment(segment: &mut SegmentFile, pending: &mut Vec<Change>) -> Result<(), WriteError> {
    let segment_id = segment.segment_id;
    let rows = segment.sync()?;
    pending.extend(
        rows.into_iter()
            .map(|fragment| Change::Fragment { segment_id, fragment }),
    );
    Ok(())
}

/// Syncs and seals the run's segment, if there is one.
fn seal(open: &mut OpenRun, pending: &mut Vec<Change>) -> Result<(), WriteError> {
    let Some(mut segment) = open.segment.take() else {
        return Ok(());
    };
    let synced = sync_segment(&mut segment, pending);
    seal_synced(&mut segment, pending);
    synced
}

/// Seals what is durable. A segment that can't be sealed stays open for the salvage of the next start.
fn seal_synced(segment: &mut SegmentFile, pending: &mut Vec<Change>) {
    let segment_id = segment.segment_id;
    if !segment.has_fragments() {
        pending.push(Change::Empty { segment_id });
        if let Err(error) = segment.remove() {
            tracing::warn!(segment = %segment.key, %error, "an empty file could not be removed");
        }
        return;
    }
    match segment.seal() {
        Ok(sha256) => {
            metrics::counter!("recorder_segments_sealed_total", "stream" => segment.key.stream.to_string())
                .increment(1);
            pending.push(Change::Sealed {
                segment_id,
                sha256,
                init_sha256: segment.init_sha256,
            });
        }
        Err(error) => {
            tracing::error!(segment = %segment.key, %error, "can't be sealed before the next start")
        }
    }
}
