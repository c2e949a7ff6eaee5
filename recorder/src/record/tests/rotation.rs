//! Segments, gaps, and disks that fail or are full.

use archive::fmp4::{fragment_rows, scan_segment};
use archive::gap::GapCause;
use archive::segment::Digest;
use tokio::sync::watch;

use super::super::*;
use super::stage::*;
use crate::capture::{CaptureEvent, Captured};

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
