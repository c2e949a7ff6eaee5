//! The chain beside the index.

use archive::gap::GapCause;
use archive::seal::{ChainBody, ChainEntry, PublicKey};
use archive::segment::Digest;
use archive::uplink::Fact;

use super::super::*;
use super::stage::*;

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
