//! What a chain tells as a whole: runs, segments, gaps and tombstones, and whether anything is missing between them.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::{ChainBody, ChainEntry};
use super::segment::SealedSegment;
use crate::gap::Gap;
use crate::ids::RunId;
use crate::segment::{Digest, Track};
use crate::time::{Anchor, DurationUs};

/// Segments of a run touch; rounding of times may leave so much.
const TOUCH_US: DurationUs = 1_000;

/// A run as its chain tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldRun {
    /// Its tracks.
    pub tracks: Vec<Track>,
    /// All its anchors that the chain tells of, in order.
    pub anchors: Vec<Anchor>,
}

/// A segment as its chain tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldSegment {
    /// As it was sealed.
    pub sealed: SealedSegment,
    /// Number of the entry that sealed it.
    pub entry: u64,
    /// Number of the entry that is its tombstone, or says that it was lost.
    pub gone: Option<u64>,
}

/// An entry that does not fit those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry}: {reason}")]
pub struct HistoryFault {
    /// Its number.
    pub entry: u64,
    /// What does not fit.
    pub reason: String,
}

/// The history of one stream, built entry by entry.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// UUID of the disk.
    pub volume: Option<uuid::Uuid>,
    /// Runs by name.
    pub runs: BTreeMap<RunId, ToldRun>,
    /// Sealed segments by sequence.
    pub segments: BTreeMap<u64, ToldSegment>,
    /// Segments that were lost before they were sealed.
    pub lost: BTreeSet<u64>,
    /// The newest word on each gap.
    pub gaps: BTreeMap<uuid::Uuid, Gap>,
    /// Settings as of the newest entry.
    pub settings: BTreeMap<String, String>,
    /// How often the chain says that what lies before could not be read whole.
    pub resumptions: Vec<String>,
    last_run: Option<RunId>,
    last_sequence: Option<u64>,
    /// Whether something since the last segment explains a hole.
    is_hole_explained: bool,
}

impl History {
    /// Takes the next entry of a chain that holds.
    ///
    /// # Errors
    /// [`HistoryFault`] if it contradicts an earlier entry or leaves a hole without a reason. It counts all the same.
    pub fn take(&mut self, entry: &ChainEntry) -> Result<(), HistoryFault> {
        self.take_body(entry).map_err(|reason| HistoryFault {
            entry: entry.number,
            reason,
        })
    }

    fn take_body(&mut self, entry: &ChainEntry) -> Result<(), String> {
        match &entry.body {
            ChainBody::Opened { volume, .. } => self.volume = Some(*volume),
            ChainBody::Settings { settings, .. } => self.settings.clone_from(settings),
            ChainBody::RunStarted { run, tracks, anchor } => {
                let told = ToldRun {
                    tracks: tracks.clone(),
                    anchors: vec![*anchor],
                };
                self.last_run = Some(run.clone());
                if self.runs.insert(run.clone(), told).is_some() {
                    return Err(format!("run {run} starts twice"));
                }
            }
            ChainBody::Segment(sealed) => return self.take_segment(entry.number, sealed),
            ChainBody::Gap { gap } => {
                self.is_hole_explained = true;
                self.gaps.insert(gap.gap_id, gap.clone());
            }
            ChainBody::Deleted { sequence, sha256, .. } => {
                return self.bury(entry.number, *sequence, Some(*sha256));
            }
            ChainBody::Lost { sequence, .. } => {
                self.is_hole_explained = true;
                if self.segments.contains_key(sequence) {
                    return self.bury(entry.number, *sequence, None);
                }
                self.lost.insert(*sequence);
            }
            ChainBody::Resumed { reason } => {
                self.is_hole_explained = true;
                self.resumptions.push(reason.clone());
            }
        }
        Ok(())
    }

    fn take_segment(&mut self, entry: u64, sealed: &SealedSegment) -> Result<(), String> {
        let sequence = sealed.sequence;
        let mut fault = None;
        match self.runs.get_mut(&sealed.run) {
            Some(run) => run.anchors.extend(&sealed.anchors),
            None => fault = Some(format!("run {} of segment {sequence} never started", sealed.run)),
        }
        if sealed.end < sealed.start || sealed.end_wall < sealed.start_wall {
            fault = Some(format!("segment {sequence} ends before it starts"));
        }
        if let Some(last) = self.last_sequence.and_then(|last| self.segments.get(&last)) {
            let last = &last.sealed;
            let hole_us = sealed.start - last.end;
            let is_same_run = last.run == sealed.run;
            if sequence <= last.sequence {
                fault = Some(format!("segment {sequence} comes behind {}", last.sequence));
            } else if is_same_run && hole_us < -TOUCH_US {
                fault = Some(format!("segment {sequence} overlaps the one before it"));
            } else if (!is_same_run || hole_us > TOUCH_US) && !self.is_hole_explained {
                fault = Some(format!(
                    "between segments {} and {sequence} something is missing without a reason",
                    last.sequence
                ));
            }
        }
        self.last_sequence = Some(sequence);
        self.is_hole_explained = false;
        self.segments.insert(
            sequence,
            ToldSegment {
                sealed: sealed.clone(),
                entry,
                gone: None,
            },
        );
        fault.map_or(Ok(()), Err)
    }

    fn bury(&mut self, entry: u64, sequence: u64, sha256: Option<Digest>) -> Result<(), String> {
        match self.segments.get_mut(&sequence) {
            Some(told) if told.gone.is_some() => Err(format!("segment {sequence} is deleted twice")),
            Some(told) => {
                told.gone = Some(entry);
                match sha256 {
                    Some(sha256) if sha256 != told.sealed.sha256 => {
                        Err(format!("the tombstone of segment {sequence} has another digest"))
                    }
                    _ => Ok(()),
                }
            }
            None => Err(format!("segment {sequence} is deleted but was never sealed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::GapCause;
    use crate::time::{ClockState, MediaTime, WallTime};

    const NONE: [u64; 0] = [];
    const RUN: &str = "0193a5b0-0000-7000-8000-000000000001";

    fn entry(number: u64, body: ChainBody) -> ChainEntry {
        ChainEntry {
            stream: "q01.front.main".parse().unwrap(),
            number,
            previous: Digest([0; 32]),
            at: WallTime(0),
            body,
        }
    }

    fn started() -> ChainBody {
        ChainBody::RunStarted {
            run: RUN.parse().unwrap(),
            tracks: Vec::new(),
            anchor: Anchor {
                media: MediaTime(0),
                wall: WallTime(0),
                clock_state: ClockState::Synchronized,
                boot: None,
            },
        }
    }

    fn segment(sequence: u64, start: i64, end: i64) -> ChainBody {
        ChainBody::Segment(SealedSegment {
            sequence,
            run: RUN.parse().unwrap(),
            size_bytes: 2,
            init_size_bytes: 1,
            init_sha256: Digest([0; 32]),
            sha256: Digest::of(&sequence.to_be_bytes()),
            root: Digest([0; 32]),
            leaf_prefixes: String::new(),
            start: MediaTime(start),
            end: MediaTime(end),
            start_wall: WallTime(start),
            end_wall: WallTime(end),
            anchors: Vec::new(),
        })
    }

    fn gap() -> ChainBody {
        ChainBody::Gap {
            gap: Gap {
                gap_id: uuid::Uuid::nil(),
                stream: "q01.front.main".parse().unwrap(),
                start: WallTime(0),
                end: None,
                start_boot: None,
                end_boot: None,
                cause: GapCause::DiskFull,
                detail: String::new(),
            },
        }
    }

    fn faults(bodies: Vec<ChainBody>) -> Vec<u64> {
        let mut history = History::default();
        let numbered = bodies.into_iter().zip(1..);
        numbered
            .filter_map(|(body, number)| history.take(&entry(number, body)).err())
            .map(|fault| fault.entry)
            .collect()
    }

    #[test]
    fn segments_that_touch_need_no_reason_and_a_hole_needs_one() {
        let second = 1_000_000;
        assert_eq!(
            faults(vec![
                started(),
                segment(1, 0, second),
                segment(2, second + 900, 2 * second)
            ]),
            NONE
        );
        assert_eq!(
            faults(vec![
                started(),
                segment(1, 0, second),
                segment(3, 2 * second, 3 * second)
            ]),
            [3]
        );
        assert_eq!(
            faults(vec![
                started(),
                segment(1, 0, second),
                gap(),
                segment(3, 2 * second, 3 * second)
            ]),
            NONE
        );
        assert_eq!(
            faults(vec![
                started(),
                segment(1, 0, second),
                segment(2, second / 2, second)
            ]),
            [3]
        );
    }

    #[test]
    fn a_tombstone_must_bear_the_digest_that_was_sealed_once() {
        let deleted = |sequence: u64, of: u64| ChainBody::Deleted {
            sequence,
            sha256: Digest::of(&of.to_be_bytes()),
            reason: String::new(),
            class: String::new(),
        };
        assert_eq!(faults(vec![started(), segment(1, 0, 9), deleted(1, 1)]), NONE);
        assert_eq!(faults(vec![started(), segment(1, 0, 9), deleted(1, 2)]), [3]);
        assert_eq!(
            faults(vec![started(), segment(1, 0, 9), deleted(1, 1), deleted(1, 1)]),
            [4]
        );
        assert_eq!(faults(vec![started(), deleted(1, 1)]), [2]);
    }
}
