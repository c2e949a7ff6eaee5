//! A recorder's index: it must tell what the chains on the disk tell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use archive::gap::{Gap, GapCause};
use archive::ids::{RunId, StreamId};
use archive::seal::{ToldSegment, leaf};
use archive::segment::{Digest, Fragment, Track};
use archive::time::{Anchor, BootTime, ClockState, MediaTime, WallTime};
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::Unreadable;
use crate::chain_log::ReadChain;
use crate::database::{Database, Failure};
use crate::report::Report;

/// Compares an index with the chains of its disk.
pub fn check(path: &Path, chains: &[ReadChain], report: &mut Report) -> Result<(), Unreadable> {
    let mut database = Database::open(path)?;
    database.check_integrity(report);
    let by_stream: BTreeMap<_, _> = chains.iter().map(|chain| (&chain.stream, chain)).collect();
    check_volume(&mut database, chains, report);
    check_runs(&mut database, &by_stream, report);
    check_segments(&mut database, &by_stream, report);
    check_gaps(&mut database, &by_stream, report);
    report.fact("index", "compared with the chains of the disk");
    Ok(())
}

type Chains<'a> = BTreeMap<&'a StreamId, &'a ReadChain>;

fn check_volume(database: &mut Database, chains: &[ReadChain], report: &mut Report) {
    let volumes = database.rows(
        "setting",
        "select value from setting where name = 'volume'",
        report,
        |row| Ok(row.try_get::<String, _>(0)?),
    );
    for chain in chains {
        let told = chain.history.volume.map(|volume| volume.to_string());
        if volumes.first() != told.as_ref() {
            report.finding(
                "setting volume",
                format!("the chain of {} began on another disk", chain.stream),
            );
        }
    }
}

/// Reads a column that holds a word of our own types.
pub fn word<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, Failure> {
    let text: String = row.try_get(column)?;
    Ok(serde_json::from_value(serde_json::Value::String(text))?)
}

/// Position, wall time, what was thought of the clock, and the clock that is never set.
pub type KeptAnchor = (i64, i64, &'static str, Option<BootTime>);

/// A UUID exactly as we write it: another way to write it is a change that somebody made.
pub fn uuid(text: &str) -> Result<uuid::Uuid, Failure> {
    let uuid: uuid::Uuid = text.parse()?;
    if uuid.hyphenated().to_string() == text {
        Ok(uuid)
    } else {
        Err(format!("{text:?} is not written as we write it").into())
    }
}

/// A moment on the clock that is never set; an index of before that was kept has no such columns.
pub fn boot(row: &SqliteRow, id: &str, us: &str) -> Result<Option<BootTime>, Failure> {
    if row.try_column(id).is_err() {
        return Ok(None);
    }
    let (Some(boot), Some(us)) = (row.try_get::<Option<String>, _>(id)?, row.try_get(us)?) else {
        return Ok(None);
    };
    Ok(Some(BootTime {
        boot: uuid(&boot)?,
        us,
    }))
}

fn check_runs(database: &mut Database, chains: &Chains<'_>, report: &mut Report) {
    let mut anchors: BTreeMap<RunId, BTreeSet<KeptAnchor>> = BTreeMap::new();
    let rows = database.rows("anchor", "select * from anchor", report, |row| {
        let run: RunId = row.try_get::<String, _>("run_id")?.parse()?;
        let state: ClockState = word(row, "clock_state")?;
        Ok((
            run,
            row.try_get("media_us")?,
            row.try_get("wall_us")?,
            state_name(state),
            boot(row, "boot_id", "boot_us")?,
        ))
    });
    for (run, media, wall, state, boot) in rows {
        anchors.entry(run).or_default().insert((media, wall, state, boot));
    }
    let rows = database.rows("run", "select * from run", report, |row| {
        let run: RunId = row.try_get::<String, _>("run_id")?.parse()?;
        let stream: StreamId = row.try_get::<String, _>("stream")?.parse()?;
        let tracks: Vec<Track> = serde_json::from_str(&row.try_get::<String, _>("tracks")?)?;
        Ok((run, stream, tracks))
    });
    let mut found = BTreeSet::new();
    for (run, stream, tracks) in rows {
        let place = format!("run {run}");
        let Some(told) = chains.get(&stream).and_then(|chain| chain.history.runs.get(&run)) else {
            report.finding(place, format!("the chain of {stream} does not know it"));
            continue;
        };
        if told.tracks != tracks {
            report.finding(&place, "its tracks are others than the chain tells");
        }
        check_anchors(&place, anchors.get(&run), &told.anchors, report);
        found.insert(run);
    }
    for chain in chains.values() {
        for run in chain.history.runs.keys().filter(|run| !found.contains(run)) {
            report.finding(format!("run {run}"), "the index does not know it");
        }
    }
    for run in anchors.keys().filter(|run| !found.contains(run)) {
        report.finding(format!("anchors of run {run}"), "there is no such run");
    }
}

/// A clock state as the databases write it.
pub fn state_name(state: ClockState) -> &'static str {
    match state {
        ClockState::Synchronized => "synchronized",
        ClockState::Unsynchronized => "unsynchronized",
        ClockState::Impossible => "impossible",
    }
}

/// All anchors that the chain tells must be there; others only behind the newest of them: not sealed yet.
pub fn check_anchors(place: &str, kept: Option<&BTreeSet<KeptAnchor>>, told: &[Anchor], report: &mut Report) {
    let told: BTreeSet<_> = told
        .iter()
        .map(|anchor| {
            (
                anchor.media.0,
                anchor.wall.0,
                state_name(anchor.clock_state),
                anchor.boot,
            )
        })
        .collect();
    let newest = told.iter().map(|(media, ..)| *media).max().unwrap_or(i64::MIN);
    let none = BTreeSet::new();
    let kept = kept.unwrap_or(&none);
    if !told.is_subset(kept) || kept.difference(&told).any(|(media, ..)| *media <= newest) {
        report.finding(place, "its anchors are others than the chain tells");
    }
}

struct SegmentRow {
    segment_id: i64,
    stream: StreamId,
    sequence: u64,
    run: RunId,
    state: String,
    init_size_bytes: u64,
    size_bytes: u64,
    sha256: Option<Vec<u8>>,
}

fn check_segments(database: &mut Database, chains: &Chains<'_>, report: &mut Report) {
    let rows = database.rows("segment", "select * from segment", report, |row| {
        Ok(SegmentRow {
            segment_id: row.try_get("segment_id")?,
            stream: row.try_get::<String, _>("stream")?.parse()?,
            sequence: row.try_get::<i64, _>("sequence")?.try_into()?,
            run: row.try_get::<String, _>("run_id")?.parse()?,
            state: row.try_get("state")?,
            init_size_bytes: row.try_get::<i64, _>("init_size_bytes")?.try_into()?,
            size_bytes: row.try_get::<i64, _>("size_bytes")?.try_into()?,
            sha256: row.try_get("sha256")?,
        })
    });
    let mut fragments = read_fragments(database, report);
    let mut found = BTreeSet::new();
    for row in rows {
        let place = format!("segment {}/{}", row.stream, row.sequence);
        found.insert((row.stream.clone(), row.sequence));
        let fragments = fragments.remove(&row.segment_id).unwrap_or_default();
        let Some(chain) = chains.get(&row.stream) else {
            report.finding(place, "its stream has no chain");
            continue;
        };
        match chain.history.segments.get(&row.sequence) {
            Some(told) => {
                if let Err(reason) = check_segment(&row, told, &fragments) {
                    report.finding(place, reason);
                }
            }
            None if matches!(row.state.as_str(), "recording" | "tombstone") => {}
            None => report.finding(place, "the chain does not know it"),
        }
    }
    for segment_id in fragments.keys() {
        report.finding(
            format!("fragments of row {segment_id}"),
            "there is no such segment",
        );
    }
    for chain in chains.values() {
        for sequence in chain.history.segments.keys() {
            if !found.contains(&(chain.stream.clone(), *sequence)) {
                report.finding(
                    format!("segment {}/{sequence}", chain.stream),
                    "the index does not know it",
                );
            }
        }
    }
}

fn read_fragments(database: &mut Database, report: &mut Report) -> BTreeMap<i64, Vec<Fragment>> {
    let rows = database.rows(
        "fragment",
        "select * from fragment order by segment_id, offset_bytes",
        report,
        |row| {
            let sha256: Vec<u8> = row.try_get("sha256")?;
            let fragment = Fragment {
                offset_bytes: row.try_get::<i64, _>("offset_bytes")?.try_into()?,
                size_bytes: row.try_get::<i64, _>("size_bytes")?.try_into()?,
                start: MediaTime(row.try_get("start_media_us")?),
                duration_us: row.try_get("duration_us")?,
                is_keyframe: row.try_get::<i64, _>("is_keyframe")? != 0,
                sha256: Digest(sha256.try_into().map_err(|_| "a digest has 32 bytes")?),
            };
            Ok((row.try_get::<i64, _>("segment_id")?, fragment))
        },
    );
    let mut by_segment: BTreeMap<i64, Vec<Fragment>> = BTreeMap::new();
    for (segment_id, fragment) in rows {
        by_segment.entry(segment_id).or_default().push(fragment);
    }
    by_segment
}

fn check_segment(row: &SegmentRow, told: &ToldSegment, fragments: &[Fragment]) -> Result<(), String> {
    let sealed = &told.sealed;
    let is_gone = row.state == "tombstone";
    if is_gone != told.gone.is_some() {
        return Err(format!("its state is {}, the chain says otherwise", row.state));
    }
    if row.run != sealed.run {
        return Err("it names another run than the chain tells".to_owned());
    }
    let sha256 = row.sha256.as_deref();
    if row.size_bytes != sealed.size_bytes
        || row.init_size_bytes != sealed.init_size_bytes
        || sha256 != Some(&sealed.sha256.0[..])
    {
        return Err("its sizes or digest are others than the chain tells".to_owned());
    }
    // Rows of what is deleted may be gone as well.
    if is_gone && fragments.is_empty() {
        return Ok(());
    }
    let leaves = leaf::leaves(sealed.init_size_bytes, sealed.init_sha256, fragments);
    // The init segment is leaf 0, so leaf 1 is the first fragment.
    sealed
        .check_leaves(&leaves)
        .map_err(|fragment| format!("its fragment {fragment} is another than was sealed"))
}

fn check_gaps(database: &mut Database, chains: &Chains<'_>, report: &mut Report) {
    let rows = database.rows("gap", "select * from gap", report, |row| {
        let cause: GapCause = word(row, "cause")?;
        Ok(Gap {
            gap_id: uuid(&row.try_get::<String, _>("gap_id")?)?,
            stream: row.try_get::<String, _>("stream")?.parse()?,
            start: WallTime(row.try_get("start_wall_us")?),
            end: row.try_get::<Option<i64>, _>("end_wall_us")?.map(WallTime),
            start_boot: boot(row, "start_boot_id", "start_boot_us")?,
            end_boot: boot(row, "end_boot_id", "end_boot_us")?,
            cause,
            detail: row.try_get("detail")?,
        })
    });
    let mut found = BTreeSet::new();
    for gap in rows {
        found.insert(gap.gap_id);
        let told = chains
            .get(&gap.stream)
            .and_then(|chain| chain.history.gaps.get(&gap.gap_id));
        if told != Some(&gap) {
            report.finding(format!("gap {}", gap.gap_id), "the chain tells something else");
        }
    }
    for chain in chains.values() {
        for gap_id in chain.history.gaps.keys().filter(|id| !found.contains(id)) {
            report.finding(format!("gap {gap_id}"), "the index does not know it");
        }
    }
}
