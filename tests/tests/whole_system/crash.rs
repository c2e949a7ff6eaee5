//! A recorder that is killed under load loses at most the end of a GOP of each stream, nothing committed, and says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use archive::segment::Digest;
use archive::time::{Clock, SystemClock, WallTime};
use rand::{Rng, SeedableRng};
use system_tests::programs::{binary, until};
use system_tests::proof::read_proof;

use crate::site::Site;

/// Kills in CI.
const KILLS: usize = 10;
/// Kills if `MINHQUAY_LONG` is set.
const MANY_KILLS: usize = 200;
const STREAMS: usize = 8;
/// The camera's GOP in this test.
const GOP_US: i64 = 1_000_000;
/// Encoder, network and the rounding of the moment of the kill.
const TOLERANCE_US: i64 = 500_000;

/// The settings of the counters beside the first, all with the same camera.
fn more_counters(url: &str) -> String {
    let mut text = String::new();
    for number in 2..=STREAMS {
        write!(
            text,
            "[[counter]]\nid = \"q{number:02}\"\nname = \"Quầy {number}\"\n[[counter.stream]]\nviewpoint = \"front\"\n\
             [counter.stream.main]\nkind = \"rtsp\"\nurl = {url:?}\n"
        )
        .unwrap();
    }
    text
}

fn streams() -> impl Iterator<Item = String> {
    (1..=STREAMS).map(|number| format!("q{number:02}.front.main"))
}

/// All streams have a growing segment and no gap.
async fn wait_until_all_record(site: &Site) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    loop {
        let growing = site
            .index("select distinct stream from segment join fragment using (segment_id) where state = 'recording'")
            .await;
        let missing = site
            .index("select stream from gap where end_wall_us is null")
            .await;
        if growing.len() == STREAMS && missing.is_empty() {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "only {growing:?} record; {missing:?} miss\n{}",
            site.log_tail()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_loses_at_most_a_gop_of_each_stream_and_nothing_committed() {
    let kill_count = std::env::var_os("MINHQUAY_LONG").map_or(KILLS, |_| MANY_KILLS);
    let mut site = Site::start_with(&["cam=proof,gop=25"], 5, |cameras| {
        more_counters(&cameras.url("cam"))
    })
    .await;
    let mut random = rand::rngs::StdRng::seed_from_u64(20_261_123);
    let mut committed = BTreeSet::new();
    let mut kills = Vec::new();
    for _ in 0..kill_count {
        wait_until_all_record(&site).await;
        let before = fragments(&site).await.len();
        // A random moment in the life of a fragment, a segment and an upload.
        let moment = SystemClock.monotonic_us() + random.random_range(0..5_000_000);
        until(Duration::from_secs(30), || {
            (SystemClock.monotonic_us() >= moment).then_some(())
        });
        site.edge.kill();
        kills.push(SystemClock.wall());
        let after = fragments(&site).await;
        assert!(after.len() >= before);
        committed.extend(after);
        site.edge.start().unwrap();
    }
    wait_until_all_record(&site).await;
    site.edge.stop().unwrap();

    let check = Command::new(binary("minhquay-recorder"))
        .args(["check", "--config"])
        .arg(site.edge.settings())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&check.stdout);
    assert!(
        check.status.success(),
        "index, files and chains differ:\n{report}"
    );
    let mut lost = 0;
    let mut worst_us = 0;
    for stream in streams() {
        let files = site.recordings(&stream);
        for (of, sequence, offset, size, sha256) in &committed {
            if *of != stream {
                continue;
            }
            let bytes = std::fs::read(&files[sequence]).unwrap();
            let range = *offset as usize..(*offset + *size) as usize;
            let found = bytes.get(range).map(|bytes| Digest::of(bytes).to_string());
            lost += usize::from(found.as_ref() != Some(sha256));
        }
        let walls = files.values().map(|file| {
            let frames = read_proof(&[file]).unwrap().frames;
            frames
                .iter()
                .filter_map(|f| f.mark)
                .map(|m| m.wall)
                .collect::<Vec<_>>()
        });
        let walls: Vec<WallTime> = walls.flatten().collect();
        for kill in &kills {
            let last = walls.iter().filter(|wall| **wall <= *kill).max();
            let lost_us = *kill - *last.expect("something was recorded before");
            worst_us = worst_us.max(lost_us);
        }
    }
    println!(
        "{} kills of {STREAMS} streams, {} committed fragments, {lost} of them lost; worst loss before a kill {worst_us} us; {}",
        kills.len(),
        committed.len(),
        report.lines().last().unwrap_or_default()
    );
    assert_eq!(lost, 0, "committed fragments are lost");
    assert!(
        worst_us <= GOP_US + TOLERANCE_US,
        "{worst_us} us were lost before a kill"
    );
    let gaps = site
        .index("select stream, cast(count(*) as text) from gap where cause = 'recorder_down' group by stream")
        .await;
    let gaps: BTreeMap<&str, &str> = gaps
        .iter()
        .map(|row| (row[0].as_str(), row[1].as_str()))
        .collect();
    let expected = kill_count.to_string();
    for stream in streams() {
        assert_eq!(
            gaps.get(stream.as_str()),
            Some(&expected.as_str()),
            "{stream}: {gaps:?}"
        );
    }
}

/// A committed fragment: stream, sequence, offset, size, digest.
type Committed = (String, u64, u64, u64, String);

async fn fragments(site: &Site) -> Vec<Committed> {
    let sql = "select s.stream, cast(s.sequence as text), cast(f.offset_bytes as text), \
        cast(f.size_bytes as text), lower(hex(f.sha256)) from fragment f join segment s using (segment_id)";
    let number = |text: &String| text.parse().unwrap();
    site.index(sql)
        .await
        .into_iter()
        .map(|row| {
            (
                row[0].clone(),
                number(&row[1]),
                number(&row[2]),
                number(&row[3]),
                row[4].clone(),
            )
        })
        .collect()
}
