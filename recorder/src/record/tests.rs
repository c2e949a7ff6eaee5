//! Salvage, rotation and gaps, on fragments that the real muxer made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archive::fmp4::{fragment_rows, scan_segment};
use archive::gap::GapCause;
use archive::ids::{SegmentKey, StreamId};
use archive::segment::Digest;
use archive::time::{Clock, SystemClock};
use archive::uplink::Fact;
use site_config::recorder::Source;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::capture::{CaptureContext, CaptureEvent, Captured};

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

async fn open_place(dir: tempfile::TempDir, segment_us: i64) -> Place {
    let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
    let (requests, requested) = watch::channel(None);
    let recorded = Recorded {
        stream: stream(),
        requests,
        health: Arc::default(),
    };
    let settings = WriterSettings {
        root: dir.path().to_owned(),
        segment_us,
        sync: Duration::from_millis(100),
    };
    let writer = Writer::new(settings, index.clone(), Arc::new(SystemClock), vec![recorded])
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
        salvage(&index, dir.path(), &[stream()], SystemClock.wall())
            .await
            .unwrap();

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
        salvage(&index, dir.path(), &[stream()], SystemClock.wall())
            .await
            .unwrap();
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
    salvage(&place.index, &root, &[stream()], SystemClock.wall())
        .await
        .unwrap();
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
