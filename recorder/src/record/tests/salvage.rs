//! Salvage after a crash.

use archive::fmp4::{fragment_rows, scan_segment};
use archive::gap::GapCause;
use archive::ids::SegmentKey;
use archive::segment::Digest;
use archive::uplink::Fact;

use super::super::*;
use super::stage::*;
use crate::capture::CaptureEvent;

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
