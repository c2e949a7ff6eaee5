//! A recorder that is killed loses at most the end of a GOP, nothing committed, and says why.

use std::collections::BTreeSet;
use std::time::Duration;

use archive::segment::Digest;
use archive::time::{Clock, SystemClock, WallTime};
use rand::{Rng, SeedableRng};
use system_tests::proof::read_proof;

use crate::site::{STREAM, Site};

const KILLS: usize = 20;
/// The camera's GOP in this test.
const GOP_US: i64 = 1_000_000;
/// Encoder, network and the rounding of the moment of the kill.
const TOLERANCE_US: i64 = 500_000;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_at_most_a_gop_and_nothing_committed() {
    let mut site = Site::start("proof,gop=25", 5).await;
    let mut random = rand::rngs::StdRng::seed_from_u64(20_261_123);
    let mut committed = BTreeSet::new();
    let mut kills = Vec::new();
    for _ in 0..KILLS {
        site.wait_for_metric(
            "recorder_last_sample_age_seconds",
            Duration::from_secs(60),
            |age| age < 1.0,
        );
        let fragments = fragments(&site).await.len();
        // A random moment in the life of a fragment, a segment and an upload.
        let moment = SystemClock.monotonic_us() + random.random_range(1_500_000..5_000_000);
        system_tests::programs::until(Duration::from_secs(30), || {
            (SystemClock.monotonic_us() >= moment).then_some(())
        });
        site.edge.kill();
        kills.push(SystemClock.wall());
        let after = self::fragments(&site).await;
        assert!(after.len() >= fragments);
        committed.extend(after);
        site.edge.start().unwrap();
    }
    site.wait_for_metric(
        "recorder_last_sample_age_seconds",
        Duration::from_secs(60),
        |age| age < 1.0,
    );
    site.edge.stop().unwrap();

    let files = site.recordings(STREAM);
    for (sequence, offset, size, sha256) in &committed {
        let bytes = std::fs::read(&files[sequence]).unwrap();
        let range = *offset as usize..(*offset + *size) as usize;
        let found = bytes.get(range).map(Digest::of);
        assert_eq!(
            found.map(|d| d.to_string()).as_ref(),
            Some(sha256),
            "fragment {offset} of {sequence} is lost"
        );
    }
    let mut walls: Vec<WallTime> = Vec::new();
    for file in files.values() {
        walls.extend(
            read_proof(&[file])
                .unwrap()
                .frames
                .iter()
                .filter_map(|f| f.mark)
                .map(|m| m.wall),
        );
    }
    let mut lost_us = Vec::new();
    for kill in &kills {
        let last = walls
            .iter()
            .filter(|wall| **wall <= *kill)
            .max()
            .expect("something was recorded before");
        lost_us.push(*kill - *last);
    }
    let worst_us = lost_us.iter().copied().max().unwrap();
    println!(
        "{} kills, {} committed fragments; worst loss before a kill {worst_us} us",
        kills.len(),
        committed.len()
    );
    assert!(
        worst_us <= GOP_US + TOLERANCE_US,
        "lost before the kills: {lost_us:?}"
    );
    let gaps = site.index("select cause from gap order by start_wall_us").await;
    let down = gaps.iter().filter(|row| row[0] == "recorder_down").count();
    assert_eq!(down, KILLS, "{gaps:?}");
}

/// Committed fragments: sequence, offset, size, digest.
async fn fragments(site: &Site) -> Vec<(u64, u64, u64, String)> {
    let sql = "select cast(s.sequence as text), cast(f.offset_bytes as text), cast(f.size_bytes as text), \
        lower(hex(f.sha256)) from fragment f join segment s using (segment_id)";
    let number = |text: &String| text.parse().unwrap();
    site.index(sql)
        .await
        .into_iter()
        .map(|row| (number(&row[0]), number(&row[1]), number(&row[2]), row[3].clone()))
        .collect()
}
