//! Runs, anchors, segments and gaps of the catalogue against the chains.

use std::collections::{BTreeMap, BTreeSet};

use archive::gap::{Gap, GapCause};
use archive::ids::{RecorderId, RunId, StreamId};
use archive::seal::ToldSegment;
use archive::segment::Track;
use archive::time::{BootTime, MediaTime, WallTime};
use sqlx::Row as _;

use super::times::{self, Anchors, Clocks};
use super::{Chains, id, unsigned};
use crate::database::Database;
use crate::index::{boot, check_anchors, uuid, word};
use crate::report::Report;

/// Compares what is shown with what was sealed.
pub fn check(database: &mut Database, chains: &Chains, report: &mut Report) {
    let (clocks, anchors) = check_runs(database, chains, report);
    check_segments(database, chains, &anchors, report);
    check_gaps(database, chains, &clocks, report);
}

fn check_runs(database: &mut Database, chains: &Chains, report: &mut Report) -> (Clocks, Anchors) {
    let clocks = Clocks::read(database, report);
    let anchors = times::read_anchors(database, report);
    let sql = "select run_id, stream_id, recorder_id, tracks from run";
    let rows = database.rows("run", sql, report, |row| {
        let tracks: Vec<Track> = serde_json::from_str(&row.try_get::<String, _>("tracks")?)?;
        let owner = (
            id::<RecorderId>(row, "recorder_id")?,
            id::<StreamId>(row, "stream_id")?,
        );
        Ok((id::<RunId>(row, "run_id")?, owner, tracks))
    });
    let mut found = BTreeSet::new();
    for (run, owner, tracks) in rows {
        let place = format!("run {run}");
        let Some(told) = chains.get(&owner).and_then(|chain| chain.history.runs.get(&run)) else {
            // Facts of a run may come a moment before the entry that tells of it.
            report.note(format!(
                "{place}: the chain of {} does not tell of it yet",
                owner.1
            ));
            continue;
        };
        if told.tracks != tracks {
            report.finding(&place, "its tracks are others than the chain tells");
        }
        let none = Vec::new();
        let kept = anchors.get(&run).unwrap_or(&none);
        check_anchors(&place, Some(&times::as_said(kept)), &told.anchors, report);
        if let Err(reason) = times::check_anchors(kept, &owner.0, &clocks) {
            report.finding(&place, reason);
        }
        found.insert(run);
    }
    for ((_, stream), chain) in chains {
        for run in chain.history.runs.keys().filter(|run| !found.contains(run)) {
            report.finding(format!("run {run} of {stream}"), "the catalogue does not know it");
        }
    }
    (clocks, anchors)
}

struct SegmentRow {
    owner: (RecorderId, StreamId),
    sequence: u64,
    run: RunId,
    start: MediaTime,
    end: MediaTime,
    walls: (i64, i64),
    size_bytes: u64,
    init_size_bytes: u64,
    init_sha256: String,
    sha256: String,
    merkle_root: Option<String>,
}

fn check_segments(database: &mut Database, chains: &Chains, anchors: &Anchors, report: &mut Report) {
    let rows = database.rows("segment", "select * from segment", report, |row| {
        Ok(SegmentRow {
            owner: (id(row, "recorder_id")?, id(row, "stream_id")?),
            sequence: unsigned(row, "sequence")?,
            run: id(row, "run_id")?,
            start: MediaTime(row.try_get("start_media_us")?),
            end: MediaTime(row.try_get("end_media_us")?),
            walls: (row.try_get("start_us")?, row.try_get("end_us")?),
            size_bytes: unsigned(row, "size_bytes")?,
            init_size_bytes: unsigned(row, "init_size_bytes")?,
            init_sha256: row.try_get("init_sha256")?,
            sha256: row.try_get("sha256")?,
            merkle_root: row.try_get("merkle_root")?,
        })
    });
    let count = rows.len();
    let mut clocks = BTreeMap::new();
    for row in rows {
        let place = format!("segment {}/{}", row.owner.1, row.sequence);
        let told = chains
            .get(&row.owner)
            .and_then(|chain| chain.history.segments.get(&row.sequence));
        match told {
            Some(told) => {
                let clock = clocks
                    .entry(row.run.clone())
                    .or_insert_with(|| anchors.get(&row.run).map(|rows| times::run_clock(rows)));
                let shown = clock
                    .as_ref()
                    .map(|clock| (clock.wall(row.start), clock.wall(row.end)));
                if shown != Some((Some(WallTime(row.walls.0)), Some(WallTime(row.walls.1)))) {
                    report.finding(&place, "its times do not follow from its run's anchors");
                }
                if let Err(reason) = check_segment(&row, told) {
                    report.finding(place, reason);
                }
            }
            None => report.finding(place, "no chain tells of it"),
        }
    }
    report.fact("segments in the catalogue", count);
}

fn check_segment(row: &SegmentRow, told: &ToldSegment) -> Result<(), &'static str> {
    let sealed = &told.sealed;
    if row.run != sealed.run || row.start != sealed.start || row.end != sealed.end {
        return Err("its run or its place in it is another than was sealed");
    }
    let is_same = row.size_bytes == sealed.size_bytes
        && row.init_size_bytes == sealed.init_size_bytes
        && row.init_sha256 == sealed.init_sha256.to_string()
        && row.sha256 == sealed.sha256.to_string()
        && row
            .merkle_root
            .as_ref()
            .is_none_or(|root| *root == sealed.root.to_string());
    if is_same {
        Ok(())
    } else {
        Err("its sizes or digests are others than were sealed")
    }
}

fn check_gaps(database: &mut Database, chains: &Chains, clocks: &Clocks, report: &mut Report) {
    let rows = database.rows("gap", "select * from gap", report, |row| {
        let stream: StreamId = id(row, "stream_id")?;
        let shown = (
            WallTime(row.try_get("start_us")?),
            row.try_get::<Option<i64>, _>("end_us")?.map(WallTime),
        );
        Ok(GapRow {
            said_start: row
                .try_get::<Option<i64>, _>("said_start_us")?
                .map_or(shown.0, WallTime),
            said_end: row
                .try_get::<Option<i64>, _>("said_end_us")?
                .map(WallTime)
                .or(shown.1),
            start_boot: boot(row, "start_boot_id", "start_boot_us")?,
            end_boot: boot(row, "end_boot_id", "end_boot_us")?,
            shown,
            owner: (id(row, "recorder_id")?, stream),
            gap_id: uuid(&row.try_get::<String, _>("gap_id")?)?,
            cause: word(row, "cause")?,
            detail: row.try_get("detail")?,
        })
    });
    let mut found = BTreeSet::new();
    for gap in rows {
        found.insert(gap.gap_id);
        let told = chains
            .get(&gap.owner)
            .and_then(|chain| chain.history.gaps.get(&gap.gap_id));
        if let Err(reason) = gap.check(told, clocks) {
            report.finding(format!("gap {}", gap.gap_id), reason);
        }
    }
    for chain in chains.values() {
        for gap_id in chain.history.gaps.keys().filter(|id| !found.contains(id)) {
            report.finding(format!("gap {gap_id}"), "the catalogue does not know it");
        }
    }
}

struct GapRow {
    owner: (RecorderId, StreamId),
    gap_id: uuid::Uuid,
    shown: (WallTime, Option<WallTime>),
    said_start: WallTime,
    said_end: Option<WallTime>,
    start_boot: Option<BootTime>,
    end_boot: Option<BootTime>,
    cause: GapCause,
    detail: String,
}

impl GapRow {
    fn check(&self, told: Option<&Gap>, clocks: &Clocks) -> Result<(), &'static str> {
        let is_as_told = told.is_some_and(|told| {
            told.stream == self.owner.1
                && told.start == self.said_start
                && told.end == self.said_end
                && told.start_boot == self.start_boot
                && told.end_boot == self.end_boot
                && told.cause == self.cause
                && told.detail == self.detail
        });
        if !is_as_told {
            return Err("the chain tells something else");
        }
        let recorder = &self.owner.0;
        clocks.explains(recorder, self.shown.0, self.said_start, self.start_boot)?;
        match (self.shown.1, self.said_end) {
            // A corrected gap never ends before it starts.
            (Some(end), Some(_)) if end == self.shown.0 => Ok(()),
            (Some(end), Some(said)) => clocks.explains(recorder, end, said, self.end_boot),
            (None, None) => Ok(()),
            _ => Err("its end is not the one that was told"),
        }
    }
}
