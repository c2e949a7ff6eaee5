//! Runs, anchors, segments and gaps of the catalogue against the chains.

use std::collections::{BTreeMap, BTreeSet};

use archive::gap::Gap;
use archive::ids::{RecorderId, RunId, StreamId};
use archive::seal::ToldSegment;
use archive::segment::Track;
use archive::time::{MediaTime, WallTime};
use sqlx::Row as _;

use super::{Chains, id, unsigned};
use crate::database::Database;
use crate::index::{KeptAnchor, boot, check_anchors, state_name, word};
use crate::report::Report;

/// Compares what is shown with what was sealed.
pub fn check(database: &mut Database, chains: &Chains, report: &mut Report) {
    check_runs(database, chains, report);
    check_segments(database, chains, report);
    check_gaps(database, chains, report);
}

fn check_runs(database: &mut Database, chains: &Chains, report: &mut Report) {
    let mut anchors: BTreeMap<RunId, BTreeSet<KeptAnchor>> = BTreeMap::new();
    let sql = "select a.run_id, a.media_us, a.wall_us, a.clock_state, a.boot_us, r.boot_id
               from anchor a left join run r on r.run_id = a.run_id";
    let rows = database.rows("anchor", sql, report, |row| {
        Ok((
            id::<RunId>(row, "run_id")?,
            row.try_get("media_us")?,
            row.try_get("wall_us")?,
            state_name(word(row, "clock_state")?),
            boot(row, "boot_id", "boot_us")?,
        ))
    });
    for (run, media, wall, state, boot) in rows {
        anchors.entry(run).or_default().insert((media, wall, state, boot));
    }
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
        check_anchors(&place, anchors.get(&run), &told.anchors, report);
        found.insert(run);
    }
    for ((_, stream), chain) in chains {
        for run in chain.history.runs.keys().filter(|run| !found.contains(run)) {
            report.finding(format!("run {run} of {stream}"), "the catalogue does not know it");
        }
    }
}

struct SegmentRow {
    owner: (RecorderId, StreamId),
    sequence: u64,
    run: RunId,
    start: MediaTime,
    end: MediaTime,
    size_bytes: u64,
    init_size_bytes: u64,
    init_sha256: String,
    sha256: String,
    merkle_root: Option<String>,
}

fn check_segments(database: &mut Database, chains: &Chains, report: &mut Report) {
    let rows = database.rows("segment", "select * from segment", report, |row| {
        Ok(SegmentRow {
            owner: (id(row, "recorder_id")?, id(row, "stream_id")?),
            sequence: unsigned(row, "sequence")?,
            run: id(row, "run_id")?,
            start: MediaTime(row.try_get("start_media_us")?),
            end: MediaTime(row.try_get("end_media_us")?),
            size_bytes: unsigned(row, "size_bytes")?,
            init_size_bytes: unsigned(row, "init_size_bytes")?,
            init_sha256: row.try_get("init_sha256")?,
            sha256: row.try_get("sha256")?,
            merkle_root: row.try_get("merkle_root")?,
        })
    });
    let count = rows.len();
    for row in rows {
        let place = format!("segment {}/{}", row.owner.1, row.sequence);
        let told = chains
            .get(&row.owner)
            .and_then(|chain| chain.history.segments.get(&row.sequence));
        match told {
            Some(told) => {
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

fn check_gaps(database: &mut Database, chains: &Chains, report: &mut Report) {
    // What the recorder said, where the catalogue shows it put right.
    let sql = "select *, coalesce(said_start_us, start_us) as told_start_us,
                   coalesce(said_end_us, end_us) as told_end_us from gap";
    let rows = database.rows("gap", sql, report, |row| {
        let stream: StreamId = id(row, "stream_id")?;
        let gap = Gap {
            gap_id: row.try_get::<String, _>("gap_id")?.parse()?,
            stream: stream.clone(),
            start: WallTime(row.try_get("told_start_us")?),
            end: row.try_get::<Option<i64>, _>("told_end_us")?.map(WallTime),
            start_boot: boot(row, "start_boot_id", "start_boot_us")?,
            end_boot: boot(row, "end_boot_id", "end_boot_us")?,
            cause: word(row, "cause")?,
            detail: row.try_get("detail")?,
        };
        Ok(((id::<RecorderId>(row, "recorder_id")?, stream), gap))
    });
    let mut found = BTreeSet::new();
    for (owner, gap) in rows {
        found.insert(gap.gap_id);
        let told = chains
            .get(&owner)
            .and_then(|chain| chain.history.gaps.get(&gap.gap_id));
        if told != Some(&gap) {
            report.finding(format!("gap {}", gap.gap_id), "the chain tells something else");
        }
    }
    for chain in chains.values() {
        for gap_id in chain.history.gaps.keys().filter(|id| !found.contains(id)) {
            report.finding(format!("gap {gap_id}"), "the catalogue does not know it");
        }
    }
}
