//! A power cut at any write of a real recorder loses nothing that was acknowledged, and leaves index, files and chains
//! such that they agree.
//!
//! The recorder program runs with a shim that records its writes. Its trace is replayed up to many points; for each
//! point a disk is made that a cut there may leave, and the recorder's own start and check must put it in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use archive::ids::StreamId;
use archive::seal::Signed;
use archive::seal::signed::Purpose;
use archive::time::{Clock, SystemClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use recorder::check::check_folders;
use recorder::inputs::EventJournal;
use recorder::store::Store;

use crate::disk::{Disk, MERCIES, Mercy};
use crate::recording::{self, Acknowledged, STREAMS, rows};
use crate::trace::{self, Kind, Step};

/// Cut points in CI; `MINHQUAY_LONG` takes them all, each in every way.
const CUTS: usize = 2_200;

#[test]
fn no_power_cut_loses_what_was_acknowledged_or_leaves_index_files_and_chains_apart() {
    let dir = recording::folder();
    let trace = recording::record(dir.path());
    let steps = trace::read(&trace);
    each_sync_matters(&steps, &dir.path().join("lying"));
    let is_long = std::env::var_os("MINHQUAY_LONG").is_some();
    let cuts = choose_cuts(&steps, is_long);
    let begun_us = SystemClock.monotonic_us();
    let middle = cuts.len() / 2;
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = |cuts, name: &str| {
            let place = dir.path().join(name);
            let steps = &steps;
            scope.spawn(move || replay(steps, cuts, &place))
        };
        let workers = [work(&cuts[..middle], "one"), work(&cuts[middle..], "two")];
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    println!(
        "{} cuts at {} of {} steps in {} s",
        cuts.len(),
        cuts.iter().map(|(at, _)| at).collect::<BTreeSet<_>>().len(),
        steps.len(),
        (SystemClock.monotonic_us() - begun_us) / 1_000_000
    );
    assert!(cuts.len() >= 2_000, "the trace has only {} cuts", cuts.len());
    if !failures.is_empty() {
        let kept = std::env::temp_dir().join("power-cut.trace");
        std::fs::copy(&trace, &kept).unwrap();
        let shown: Vec<_> = failures.iter().take(12).map(String::as_str).collect();
        panic!(
            "{} of {} cuts (trace: {}):\n{}",
            failures.len(),
            cuts.len(),
            kept.display(),
            shown.join("\n")
        );
    }
}

/// The judge must find what a missing sync costs, else it could not find anything.
fn each_sync_matters(steps: &[Step], place: &Path) {
    type Lie = (&'static str, fn(&str) -> bool);
    let lies: [Lie; 7] = [
        ("footage", |path| !path.ends_with(".mp4")),
        ("chains", |path| !path.ends_with("chain.log")),
        ("the index", |path| !path.contains("recorder.db")),
        ("the journal of events", |path| {
            !path.starts_with("recordings/events/")
        }),
        ("names of segments", |path| !path.ends_with("main/0")),
        ("names of streams", |path| path != "recordings"),
        ("names of chains", |path| !path.ends_with(".main")),
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (what, is_synced) in lies {
        let mut disk = Disk::lying(steps, is_synced);
        let mut acknowledged = Acknowledged::default();
        for _ in steps {
            let step = disk.advance();
            if step.kind == Kind::Mark {
                acknowledged.add(&step.data);
            }
        }
        std::fs::create_dir_all(place).unwrap();
        disk.leave(place, Mercy::None, &mut StdRng::seed_from_u64(1));
        let fault = runtime.block_on(judge(place, &acknowledged, false)).err();
        std::fs::remove_dir_all(place).unwrap();
        println!("without syncs of {what}: {fault:?}");
        assert!(fault.is_some(), "nobody would notice if {what} were not synced");
    }
}

/// Each is the number of steps before the cut, and how the cut treats what was not synced.
fn choose_cuts(steps: &[Step], is_long: bool) -> Vec<(usize, Mercy)> {
    let all = 0..=steps.len();
    if is_long {
        return all.flat_map(|at| MERCIES.map(|mercy| (at, mercy))).collect();
    }
    let mut random = StdRng::seed_from_u64(3);
    let mut cuts: Vec<(usize, Mercy)> = Vec::new();
    let share = CUTS as f64 / (steps.len() + 1) as f64;
    for at in all {
        let wanted = share + random.random::<f64>();
        for _ in 0..wanted as usize {
            cuts.push((at, MERCIES[cuts.len() % MERCIES.len()]));
        }
    }
    cuts
}

fn replay(steps: &[Step], cuts: &[(usize, Mercy)], place: &Path) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut disk = Disk::new(steps);
    let mut acknowledged = Acknowledged::default();
    let mut failures = Vec::new();
    let mut taken = 0;
    for (number, (at, mercy)) in cuts.iter().enumerate() {
        while taken < *at {
            let step = disk.advance();
            taken += 1;
            if step.kind == Kind::Mark {
                acknowledged.add(&step.data);
            }
        }
        std::fs::create_dir_all(place).unwrap();
        let mut random = StdRng::seed_from_u64(number as u64);
        disk.leave(place, *mercy, &mut random);
        let outcome = runtime.block_on(judge(place, &acknowledged, number % 20 == 0));
        if let Err(fault) = outcome {
            let last = steps.get(at.saturating_sub(1)).map(|s| (s.kind, &s.path));
            failures.push(format!("cut {at} ({mercy:?}) behind {last:?}: {fault}"));
        }
        std::fs::remove_dir_all(place).unwrap();
    }
    failures
}

/// Starts on what is left, and compares.
async fn judge(data: &Path, acknowledged: &Acknowledged, is_twice: bool) -> Result<(), String> {
    let recordings = data.join("recordings");
    start(data, &recordings).await?;
    let before = compare(data, &recordings, acknowledged).await?;
    if is_twice {
        start(data, &recordings).await?;
        let after = compare(data, &recordings, acknowledged).await?;
        if before != after {
            return Err(format!("a second start changes {before:?} to {after:?}"));
        }
    }
    Ok(())
}

async fn start(data: &Path, recordings: &Path) -> Result<(), String> {
    let streams: Vec<StreamId> = STREAMS.iter().map(|s| s.parse().unwrap()).collect();
    let store = Store::open(data, recordings, &[], &streams, Arc::new(SystemClock))
        .await
        .map_err(|e| format!("the start fails: {e}"))?;
    store.index.close().await;
    Ok(())
}

/// Where each chain ends, and how many fragments there are.
type Ends = (BTreeMap<String, usize>, usize);

async fn compare(data: &Path, recordings: &Path, acknowledged: &Acknowledged) -> Result<Ends, String> {
    let report = check_folders(data, recordings).await.map_err(|e| e.to_string())?;
    if !report.faults.is_empty() {
        return Err(report.faults.join("; "));
    }
    let database = data.join("recorder.db");
    let open = rows(
        &database,
        "select stream || sequence from segment where state = 'recording'",
    )
    .await;
    if !open.is_empty() {
        return Err(format!("{open:?} are still open"));
    }
    let fragments = rows(&database, recording::FRAGMENTS).await;
    missing("fragments", &acknowledged.fragments, fragments.iter())?;
    let gaps = rows(&database, "select gap_id from gap").await;
    missing("gaps", &acknowledged.gaps, gaps.iter())?;
    let events = rows(&database, "select id from event").await;
    missing("events", &acknowledged.events, events.iter())?;
    let mut journaled = Vec::new();
    if let Some(volume) = recorder::record::Volume::read(recordings).map_err(|e| e.to_string())? {
        EventJournal::new(volume)
            .read(|events| journaled.extend(events))
            .map_err(|e| e.to_string())?;
    }
    let ids: Vec<String> = journaled
        .iter()
        .filter_map(|journaled| Some(journaled.event["id"].as_str()?.to_owned()))
        .collect();
    missing("events of the journal", &acknowledged.events, ids.iter())?;
    let mut ends = BTreeMap::new();
    for stream in STREAMS {
        let text = std::fs::read_to_string(recordings.join(stream).join("chain.log")).unwrap_or_default();
        let hash =
            |line| serde_json::from_str::<Signed>(line).map(|signed| signed.hash(Purpose::Chain).to_string());
        let hashes: Vec<String> = text
            .lines()
            .map(hash)
            .collect::<Result<_, _>>()
            .map_err(|e| format!("{stream}/chain.log: {e}"))?;
        if let Some((number, hash)) = acknowledged.heads.get(stream)
            && hashes.get(*number - 1) != Some(hash)
        {
            return Err(format!("entry {number} of {stream} is not the one that was told"));
        }
        ends.insert(stream.to_owned(), hashes.len());
    }
    Ok((ends, fragments.len()))
}

fn missing<'a>(
    what: &str,
    acknowledged: &BTreeSet<String>,
    found: impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    let found: BTreeSet<&String> = found.collect();
    let missing: Vec<_> = acknowledged.iter().filter(|one| !found.contains(one)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} acknowledged {what} are gone, e.g. {}",
        missing.len(),
        missing[0]
    ))
}
