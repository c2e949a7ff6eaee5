//! Salvage, rotation and gaps, on fragments that the real muxer made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archive::fmp4::{fragment_rows, scan_segment};
use archive::gap::GapCause;
use archive::ids::{SegmentKey, StreamId};
use archive::seal::{ChainBody, ChainEntry, PublicKey};
use archive::segment::Digest;
use archive::time::{Clock, SystemClock};
use archive::uplink::Fact;
use site_config::recorder::Source;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::capture::{CaptureContext, CaptureEvent, Captured};
use crate::index::KnownChain;

fn stream() -> StreamId {
    "q01.front.main".parse().unwrap()
}

/// One run of the test source with at least three GOPs, ended in order.
async fn captured() -> Vec<Captured> {
    crate::capture::init().unwrap();
    let (output, mut input) = mpsc::channel(256);
    let (_requests, requested) = watch::channel(None);
    let shutdown = CancellationToken::new();
    let context = CaptureContext {
        stream: stream(),
        source: Source::Test,
        clock: Arc::new(SystemClock),
        output,
        requests: requested,
        tap: Arc::default(),
        examiner: crate::capture::Examiner::idle(stream()),
        health: Arc::default(),
        shutdown: shutdown.clone(),
    };
    let capture = tokio::spawn(crate::capture::supervise(context));
    let mut events = Vec::new();
    let all = async {
        while let Some(event) = input.recv().await {
            events.push(event);
            if fragments(&events) > 10 {
                shutdown.cancel();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    capture.await.unwrap();
    events
}

fn fragments(events: &[Captured]) -> usize {
    let is_fragment = |c: &&Captured| matches!(c.event, CaptureEvent::Fragment { .. });
    events.iter().filter(is_fragment).count()
}

fn key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[7; 32])
}

struct Place {
    dir: tempfile::TempDir,
    index: Index,
    requests: watch::Receiver<Option<EndRequest>>,
    writer: Writer,
}

async fn place(segment_us: i64) -> Place {
    let dir = tempfile::tempdir().unwrap();
    open_place(dir, segment_us).await
}

async fn open_chains(dir: &Path, index: &Index) -> Chains {
    let volume = index.bind_volume(dir).await.unwrap();
    Chains::open(index, volume, key(), Arc::new(SystemClock), &[stream()])
        .await
        .unwrap()
}

async fn salvage_all(dir: &Path, index: &Index) {
    let mut chains = open_chains(dir, index).await;
    sweep(index, &chains).await.unwrap();
    salvage(index, &mut chains, &[stream()], SystemClock.wall())
        .await
        .unwrap();
}

async fn open_place(dir: tempfile::TempDir, segment_us: i64) -> Place {
    let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
    let pem = ed25519_dalek::pkcs8::EncodePrivateKey::to_pkcs8_pem(&key(), Default::default()).unwrap();
    std::fs::write(dir.path().join("recorder.key"), pem.as_bytes()).unwrap();
    let chains = open_chains(dir.path(), &index).await;
    let (requests, requested) = watch::channel(None);
    let recorded = Recorded {
        stream: stream(),
        requests,
        health: Arc::default(),
        settings: BTreeMap::new(),
    };
    let settings = WriterSettings {
        segment_us,
        sync: Duration::from_millis(100),
    };
    let writer = Writer::new(
        settings,
        index.clone(),
        chains,
        Arc::new(SystemClock),
        vec![recorded],
    )
    .await
    .unwrap();
    Place {
        dir,
        index,
        requests: requested,
        writer,
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn salvage_keeps_every_whole_fragment_and_cuts_torn_ends() {
    let mut place = place(600_000_000).await;
    let events = captured().await;
    let mut taken = 0;
    for event in events {
        let is_fragment = matches!(event.event, CaptureEvent::Fragment { .. });
        if matches!(event.event, CaptureEvent::Ended { .. }) {
            break;
        }
        place.writer.take(event).await;
        taken += usize::from(is_fragment);
        if taken == 4 && is_fragment {
            place.writer.flush().await;
        }
    }
    // A crash: the writer is gone without a word, its last fragments are written but not in the index.
    drop(place.writer);
    place.index.close().await;
    let key = SegmentKey {
        stream: stream(),
        sequence: 1,
    };
    let whole = std::fs::read(segment_path(place.dir.path(), &key)).unwrap();
    let scan = scan_segment(&whole).unwrap();
    let ends: Vec<u64> = scan.fragments.iter().map(|f| f.end_bytes()).collect();
    let committed = ends[3];
    assert!(ends.len() > 6, "{ends:?}");

    let mut tails: Vec<Vec<u8>> = Vec::new();
    for end in &ends[3..] {
        for cut in [
            end.saturating_sub(1),
            *end,
            end + 1,
            end + 31,
            end + 40,
            end + 700,
        ] {
            if cut >= committed && cut <= whole.len() as u64 {
                tails.push(whole[..cut as usize].to_vec());
            }
        }
    }
    let garbage: [&[u8]; 4] = [
        &[0; 4096],
        &[0xff; 100],
        b"\0\0\0\x20prft",
        b"\0\0\0\x08moof\0\0\0\x08mdat",
    ];
    tails.extend(garbage.map(|tail| [&whole[..], tail].concat()));
    for bytes in tails {
        let dir = tempfile::tempdir().unwrap();
        copy(place.dir.path(), dir.path());
        let file = segment_path(dir.path(), &key);
        std::fs::write(&file, &bytes).unwrap();
        let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
        salvage_all(dir.path(), &index).await;

        let expected = ends
            .iter()
            .copied()
            .filter(|end| *end <= bytes.len() as u64)
            .max()
            .unwrap();
        let kept = std::fs::read(&file).unwrap();
        assert_eq!(kept, whole[..expected as usize], "cut at {}", bytes.len());
        let manifest = index.manifest(1).await.unwrap();
        assert_eq!(manifest.sha256, Digest::of(&kept));
        assert_eq!(manifest.size_bytes, expected);
        let rescan = scan_segment(&kept).unwrap();
        assert_eq!(manifest.fragments, fragment_rows(&kept, &rescan, 0));
        assert_eq!(index.segments_after(0, 10).await.unwrap()[0].state, "sealed");
        let gap = index.open_gap(&stream()).await.unwrap().unwrap();
        assert_eq!(gap.cause, GapCause::RecorderDown);
        assert_eq!(
            Some(gap.start),
            index.wall_of(&manifest.run, manifest.end()).await.unwrap()
        );

        let facts = index.facts_after(0).await.unwrap().unwrap().1;
        assert!(facts.iter().any(|fact| matches!(fact, Fact::RunEnded { .. })));
        salvage_all(dir.path(), &index).await;
        assert_eq!(
            index.facts_after(0).await.unwrap().unwrap().1,
            facts,
            "a second salvage changes nothing"
        );
        index.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_start_at_keyframes_and_an_orderly_stop_leaves_a_gap_that_the_next_run_ends() {
    let mut place = place(2_000_000).await;
    let root = place.dir.path().to_owned();
    for event in captured().await {
        place.writer.take(event).await;
    }
    place.writer.flush().await;
    let first = place.index.segments_after(0, 100).await.unwrap();
    assert!(first.len() >= 2, "{first:?}");
    for segment in &first {
        assert_eq!(segment.state, "sealed");
        let manifest = place.index.manifest(segment.segment_id).await.unwrap();
        assert!(manifest.fragments[0].is_keyframe);
        let bytes = std::fs::read(segment_path(&root, &segment.key)).unwrap();
        assert_eq!(manifest.sha256, Digest::of(&bytes));
        let scan = scan_segment(&bytes).unwrap();
        assert_eq!(manifest.fragments, fragment_rows(&bytes, &scan, 0));
        for fragment in &scan.fragments {
            assert!(fragment.reference.is_some(), "each fragment tells its wall time");
        }
    }
    let gap = place.index.open_gap(&stream()).await.unwrap().unwrap();
    assert_eq!(gap.cause, GapCause::RecorderStopped);

    place.index.close().await;
    drop(place.writer);
    let mut place = open_place(place.dir, 2_000_000).await;
    salvage_all(&root, &place.index).await;
    for event in captured().await {
        place.writer.take(event).await;
    }
    place.writer.flush().await;
    let gaps = place.index.gaps(&stream()).await.unwrap();
    let causes: Vec<_> = gaps.iter().map(|g| (g.cause, g.end.is_some())).collect();
    let stopped = GapCause::RecorderStopped;
    assert_eq!(causes, [(stopped, true), (stopped, false)]);
    let sequences: Vec<u64> = place
        .index
        .segments_after(0, 100)
        .await
        .unwrap()
        .iter()
        .map(|s| s.key.sequence)
        .collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_disk_asks_for_a_new_run_which_records_once_the_disk_is_back() {
    let mut place = place(600_000_000).await;
    let obstacle = place.dir.path().join("q01.front.main");
    std::fs::write(&obstacle, b"").unwrap();
    for event in captured().await {
        if let CaptureEvent::Ended { run, .. } = event.event {
            // The capture does as it is asked.
            let request = place.requests.borrow().clone().unwrap();
            assert_eq!(Some(&request.run), run.as_ref());
            let event = CaptureEvent::Ended {
                run,
                cause: request.cause,
                detail: request.detail,
            };
            let stream = stream();
            place.writer.take(Captured { stream, event }).await;
        } else {
            place.writer.take(event).await;
        }
    }
    place.writer.flush().await;
    let gap = place.index.open_gap(&stream()).await.unwrap().unwrap();
    assert_eq!(gap.cause, GapCause::DiskFailed);
    assert!(place.index.segments_after(0, 10).await.unwrap().is_empty());

    std::fs::remove_file(&obstacle).unwrap();
    for event in captured().await {
        place.writer.take(event).await;
    }
    place.writer.flush().await;
    let gaps = place.index.gaps(&stream()).await.unwrap();
    assert_eq!(
        (gaps[0].cause, gaps[0].end.is_some()),
        (GapCause::DiskFailed, true)
    );
    assert_eq!(
        place.index.segments_after(0, 10).await.unwrap()[0].state,
        "sealed"
    );
}

/// All entries of the stream's log, which must hold.
fn entries(root: &Path) -> Vec<ChainEntry> {
    let path = chain_log::log_path(root, &stream());
    let key = PublicKey::from(&key());
    let reading = chain_log::read_log(&path, &stream(), key, KnownChain::default())
        .unwrap()
        .unwrap();
    assert_eq!(reading.fault, None);
    reading.entries.into_iter().map(|logged| logged.entry).collect()
}

fn kinds(entries: &[ChainEntry]) -> Vec<&'static str> {
    let kind = |entry: &ChainEntry| match entry.body {
        ChainBody::Opened { .. } => "opened",
        ChainBody::Settings { .. } => "settings",
        ChainBody::RunStarted { .. } => "run_started",
        ChainBody::Segment(_) => "segment",
        ChainBody::Gap { .. } => "gap",
        ChainBody::Deleted { .. } => "deleted",
        ChainBody::Lost { .. } => "lost",
        ChainBody::Resumed { .. } => "resumed",
    };
    entries.iter().map(kind).collect()
}

async fn record_once(place: &mut Place) {
    for event in captured().await {
        place.writer.take(event).await;
    }
    place.writer.flush().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_tells_of_all_that_was_recorded_and_the_index_knows_its_end() {
    let mut place = place(2_000_000).await;
    let root = place.dir.path().to_owned();
    record_once(&mut place).await;
    let told = entries(&root);
    let mut expected = vec!["opened", "settings", "run_started"];
    let segments = place.index.segments_after(0, 100).await.unwrap();
    expected.extend(segments.iter().map(|_| "segment"));
    expected.push("gap");
    assert_eq!(kinds(&told), expected);
    let head = place.index.chain_heads().await.unwrap()[&stream()];
    assert_eq!(head.number, told.len() as u64);
    let mut anchors = Vec::new();
    for (entry, row) in told.iter().skip(3).zip(&segments) {
        let ChainBody::Segment(sealed) = &entry.body else {
            panic!("{entry:?}")
        };
        let manifest = place.index.manifest(row.segment_id).await.unwrap();
        let bytes = std::fs::read(segment_path(&root, &row.key)).unwrap();
        let init = Digest::of(&bytes[..manifest.init_size_bytes as usize]);
        let root = archive::seal::leaf::segment_root(manifest.init_size_bytes, init, &manifest.fragments);
        assert_eq!((sealed.sequence, sealed.root), (row.key.sequence, root));
        assert_eq!(
            (sealed.sha256, sealed.size_bytes),
            (Digest::of(&bytes), bytes.len() as u64)
        );
        assert_eq!((sealed.start, sealed.end), (manifest.start(), manifest.end()));
        anchors.extend(sealed.anchors.clone());
    }
    let ChainBody::RunStarted { run, anchor, .. } = &told[2].body else {
        panic!("{:?}", told[2])
    };
    let all = place.index.anchors(run).await.unwrap();
    assert_eq!([&[*anchor][..], &anchors].concat(), all);
    let facts = place.index.facts_after(0).await.unwrap().unwrap().1;
    let chained = facts
        .iter()
        .filter(|fact| matches!(fact, Fact::Chained { .. }))
        .count();
    assert_eq!(chained, told.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_behind_its_chain_takes_up_what_the_chain_tells() {
    let mut place = place(2_000_000).await;
    let root = place.dir.path().to_owned();
    let database = root.join("recorder.db");
    record_once(&mut place).await;
    place.index.close().await;
    let old = std::fs::read(&database).unwrap();
    drop(place.writer);

    let mut place = open_place(place.dir, 2_000_000).await;
    record_once(&mut place).await;
    let segments = place.index.segments_after(0, 100).await.unwrap();
    let deletion = |segment_id| Change::Deleted {
        segment_id,
        class: crate::retention::Class::Continuous,
        reason: "room was needed".to_owned(),
    };
    let last = segments.last().unwrap().clone();
    let (first, deleted) = (segments[0].segment_id, deletion(segments[0].segment_id));
    let changes = [deleted.clone(), deleted];
    let committed = place.writer.chains.commit(&place.index, &changes).await.unwrap();
    assert_eq!(committed.refused, [first], "nothing is deleted twice");
    let manifest = place.index.manifest(last.segment_id).await.unwrap();
    let gaps = place.index.gaps(&stream()).await.unwrap();
    let heads = place.index.chain_heads().await.unwrap();
    let anchors = place.index.anchors(&manifest.run).await.unwrap();
    place.index.close().await;
    drop(place.writer);

    // The old index stands for one whose commits a power cut took back: the logs were synced before them.
    std::fs::write(&database, old).unwrap();
    let index = Index::open(&database).await.unwrap();
    salvage_all(&root, &index).await;
    assert_eq!(index.chain_heads().await.unwrap(), heads);
    assert_eq!(index.manifest(last.segment_id).await.unwrap(), manifest);
    assert_eq!(index.anchors(&manifest.run).await.unwrap(), anchors);
    assert_eq!(index.gaps(&stream()).await.unwrap(), gaps);
    let left: Vec<u64> = index
        .segments_after(0, 100)
        .await
        .unwrap()
        .iter()
        .map(|s| s.key.sequence)
        .collect();
    assert_eq!(left, (2..=last.key.sequence).collect::<Vec<_>>());
    let gone = segment_path(&root, &segments[0].key);
    assert!(!gone.exists(), "the deletion is finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chain_is_kept_aside_and_goes_on_with_a_word_about_it() {
    let mut place = place(2_000_000).await;
    let root = place.dir.path().to_owned();
    record_once(&mut place).await;
    place.index.close().await;
    drop(place.writer);
    let path = chain_log::log_path(&root, &stream());
    let whole = std::fs::read(&path).unwrap();
    let count = entries(&root).len() as u64;

    std::fs::write(&path, [&whole[..], b"{\"text\":\"torn"].concat()).unwrap();
    let mut place = open_place(place.dir, 2_000_000).await;
    record_once(&mut place).await;
    let told = entries(&root);
    assert_eq!(
        kinds(&told)[count as usize],
        "run_started",
        "a torn end is nothing"
    );
    place.index.close().await;
    drop(place.writer);

    let cut = whole.len() - 40;
    std::fs::write(&path, &whole[..cut]).unwrap();
    let before = told.len() as u64;
    let mut place = open_place(place.dir, 2_000_000).await;
    record_once(&mut place).await;
    assert_eq!(
        std::fs::read(path.with_file_name("chain.damaged-1")).unwrap(),
        &whole[..cut]
    );
    let head = place.index.chain_heads().await.unwrap()[&stream()];
    assert!(head.number > before + 1);
    let facts = place.index.facts_after(0).await.unwrap().unwrap().1;
    let resumed = facts.iter().find_map(|fact| match fact {
        Fact::Chained { number, entry, .. } if *number == before + 1 => entry.read_unverified().ok(),
        _ => None,
    });
    let resumed: ChainEntry = resumed.unwrap();
    assert!(matches!(resumed.body, ChainBody::Resumed { .. }), "{resumed:?}");
    // To the centre, which has all entries, the chain has no hole.
    let mut reader = archive::seal::ChainReader::new(stream(), PublicKey::from(&key()), Default::default());
    for fact in &facts {
        if let Fact::Chained { entry, .. } = fact {
            reader.next(entry).unwrap();
        }
    }
    assert_eq!(reader.head(), head);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_commit_left_in_the_chain_is_told_once() {
    let mut place = place(600_000_000).await;
    let root = place.dir.path().to_owned();
    let gap = |detail: &str| {
        Change::Gap(archive::gap::Gap {
            gap_id: uuid::Uuid::from_u128(1),
            stream: stream(),
            start: archive::time::WallTime(1),
            end: None,
            start_boot: None,
            end_boot: None,
            cause: GapCause::CameraOffline,
            detail: detail.to_owned(),
        })
    };
    // A stream whose log can't be written takes the whole transaction back, when the first log is written.
    let impossible = Change::Gap(archive::gap::Gap {
        gap_id: uuid::Uuid::from_u128(2),
        stream: "q02.front.main".parse().unwrap(),
        start: archive::time::WallTime(1),
        end: None,
        start_boot: None,
        end_boot: None,
        cause: GapCause::CameraOffline,
        detail: String::new(),
    });
    std::fs::write(root.join("q02.front.main"), b"").unwrap();
    let chains = &mut place.writer.chains;
    chains
        .commit(&place.index, &[gap("a"), impossible.clone()])
        .await
        .unwrap_err();
    assert!(place.index.gaps(&stream()).await.unwrap().is_empty());
    assert_eq!(kinds(&entries(&root)), ["opened", "gap"]);
    chains.commit(&place.index, &[gap("a")]).await.unwrap();
    assert_eq!(kinds(&entries(&root)), ["opened", "gap"], "it is not told twice");
    chains
        .commit(&place.index, &[gap("b"), impossible])
        .await
        .unwrap_err();
    chains.commit(&place.index, &[gap("c")]).await.unwrap();
    assert_eq!(kinds(&entries(&root)), ["opened", "gap", "gap", "gap"]);
    let facts = place.index.facts_after(0).await.unwrap().unwrap().1;
    let chained = facts
        .iter()
        .filter(|fact| matches!(fact, Fact::Chained { .. }))
        .count();
    assert_eq!(chained, 4);
}

/// Settings of a recorder in this folder.
fn settings(root: &Path) -> site_config::recorder::RecorderSettings {
    let file = root.join("recorder.toml");
    let text = format!(
        "site = \"s\"\ndata_dir = {root:?}\nrecordings_dir = {root:?}\n[[counter]]\nid = \"q01\"\nname = \"1\"\n\
         [[counter.stream]]\nviewpoint = \"front\"\n[counter.stream.main]\nkind = \"test\"\n"
    );
    std::fs::write(&file, text).unwrap();
    site_config::load(&file).unwrap()
}

async fn rows(database: &Path, sql: &'static str) -> Vec<String> {
    use sqlx::ConnectOptions as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    rows
}

/// All that the disk of the recordings can tell, as JSON texts.
const TOLD: [&str; 5] = [
    "select json_array(run_id, stream, tracks) from run order by 1",
    "select json_array(run_id, media_us, wall_us, clock_state) from anchor where is_chained order by 1",
    "select json_array(s.stream, s.sequence, s.run_id, s.state, s.init_size_bytes, s.size_bytes, hex(s.sha256),
         s.start_wall_us, s.end_wall_us, s.chain_number, f.offset_bytes, f.size_bytes, f.start_media_us, f.duration_us,
         f.is_keyframe, hex(f.sha256))
     from segment s left join fragment f using (segment_id) where s.state <> 'tombstone' order by 1",
    "select json_array(gap_id, stream, start_wall_us, end_wall_us, cause, detail) from gap order by 1",
    "select json_array(source, id, received_wall_us, json) from event order by 1",
];

async fn told(root: &Path) -> Vec<Vec<String>> {
    let mut told = Vec::new();
    for sql in TOLD {
        told.push(rows(&root.join("recorder.db"), sql).await);
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_made_anew_from_the_disk() {
    let mut place = place(2_000_000).await;
    let root = place.dir.path().to_owned();
    let database = root.join("recorder.db");
    record_once(&mut place).await;
    let journal = crate::inputs::EventJournal::new(place.writer.chains.volume().clone());
    let event = serde_json::json!({"specversion": "1.0", "type": "counter.opened", "source": "/t", "id": "1",
        "time": "2026-11-23T08:00:00Z", "subject": "q1"});
    place
        .index
        .store_events(&[event], SystemClock.wall(), &journal)
        .await
        .unwrap();
    let first = place.index.segments_after(0, 1).await.unwrap().remove(0);
    let deletion = Change::Deleted {
        segment_id: first.segment_id,
        class: crate::retention::Class::Continuous,
        reason: "room was needed".to_owned(),
    };
    place
        .writer
        .chains
        .commit(&place.index, &[deletion])
        .await
        .unwrap();
    std::fs::remove_file(segment_path(&root, &first.key)).unwrap();
    place.index.close().await;
    drop(place.writer);
    let settings = settings(&root);
    let sound = crate::check::check(&settings).await.unwrap();
    assert_eq!(sound.faults, Vec::<String>::new());
    let before = told(&root).await;
    assert!(before.iter().all(|rows| !rows.is_empty()), "{before:?}");

    let damages: [&dyn Fn(); 2] = [&|| std::fs::remove_file(&database).unwrap(), &|| {
        let mut bytes = std::fs::read(&database).unwrap();
        let middle = bytes.len() / 2;
        bytes[4096..middle].fill(0x55);
        std::fs::write(&database, bytes).unwrap();
    }];
    for (number, damage) in damages.into_iter().enumerate() {
        damage();
        let repaired = crate::repair::repair(&settings, Arc::new(SystemClock))
            .await
            .unwrap();
        assert!(repaired.was_wrong.is_some());
        assert_eq!(repaired.events, 1);
        assert_eq!(told(&root).await, before);
        let report = crate::check::check(&settings).await.unwrap();
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(report.segments, sound.segments);
        assert_eq!(root.join("recorder.db.damaged-1").exists(), number == 1);
        let repaired = crate::repair::repair(&settings, Arc::new(SystemClock))
            .await
            .unwrap();
        assert_eq!(repaired.was_wrong, None, "a sound index is left alone");
    }
    // The recorder goes on where it was.
    let mut place = open_place(place.dir, 2_000_000).await;
    record_once(&mut place).await;
    place.index.close().await;
    let report = crate::check::check(&settings).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    assert!(report.segments > sound.segments);

    let victim = segment_path(
        &root,
        &SegmentKey {
            stream: stream(),
            sequence: 2,
        },
    );
    let mut bytes = std::fs::read(&victim).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&victim, bytes).unwrap();
    let log = chain_log::log_path(&root, &stream());
    let mut lines = std::fs::read_to_string(&log).unwrap();
    lines.truncate(lines.trim_end().rfind('\n').unwrap() + 1);
    std::fs::write(&log, lines).unwrap();
    let report = crate::check::check(&settings).await.unwrap();
    assert_eq!(report.faults.len(), 2, "{:?}", report.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_nothing_is_recorded_until_there_is_room_again() {
    let mut place = place(600_000_000).await;
    let (tell_room, has_room) = watch::channel(true);
    place.writer = place.writer.while_there_is_room(has_room);
    let mut fragments = 0;
    let mut recorded = 0;
    for event in captured().await {
        let is_fragment = matches!(event.event, CaptureEvent::Fragment { .. });
        fragments += usize::from(is_fragment);
        if fragments == 5 && recorded == 0 {
            tell_room.send_replace(false);
            recorded = 4;
        }
        if fragments == 9 && is_fragment {
            assert_eq!(*place.requests.borrow(), None, "the camera goes on without room");
            tell_room.send_replace(true);
        }
        if let CaptureEvent::Ended { run, .. } = event.event {
            let request = place.requests.borrow().clone().unwrap();
            assert_eq!(
                (Some(&request.run), request.cause),
                (run.as_ref(), GapCause::DiskFull)
            );
            let event = CaptureEvent::Ended {
                run,
                cause: request.cause,
                detail: request.detail,
            };
            let stream = stream();
            place.writer.take(Captured { stream, event }).await;
        } else {
            place.writer.take(event).await;
        }
    }
    place.writer.flush().await;
    let gap = place.index.open_gap(&stream()).await.unwrap().unwrap();
    assert_eq!(gap.cause, GapCause::DiskFull);
    let manifest = place.index.manifest(1).await.unwrap();
    assert_eq!(manifest.fragments.len(), recorded);
    let end = place.index.wall_of(&manifest.run, manifest.end()).await.unwrap();
    assert_eq!(Some(gap.start), end, "the gap begins where the recording ends");

    for event in captured().await {
        place.writer.take(event).await;
    }
    place.writer.flush().await;
    let gaps = place.index.gaps(&stream()).await.unwrap();
    assert_eq!((gaps[0].cause, gaps[0].end.is_some()), (GapCause::DiskFull, true));
    assert_eq!(place.index.segments_after(0, 10).await.unwrap().len(), 2);
}
