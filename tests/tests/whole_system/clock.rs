//! The recorder's clock is wrong and is set again and again: nothing is lost but the moments of the steps, nothing is
//! reordered, each step is explained, and at the centre all times are right.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use archive::time::{Clock, SystemClock, WallTime};
use serde_json::json;
use system_tests::proof::read_proof;

use crate::proof::{hours_from_now, segment_starts};
use crate::site::{COUNTER, STREAM, Site};

const SECOND: i64 = 1_000_000;
const HOUR_S: i64 = 3600;
/// What the times may be off in the end.
const TOLERANCE_US: i64 = 100_000;

/// Seconds from the true time to that of the recorder, one after the other.
fn offsets() -> Vec<i64> {
    let to_1970 = -(SystemClock.wall().0 / SECOND - 3 * HOUR_S);
    vec![to_1970, 0, HOUR_S, 0, 1, 0, to_1970, -HOUR_S]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_at_will_spoils_no_time_at_the_centre() {
    let mut site = Site::start("proof,gop=25", 4).await;
    site.edge.stop().unwrap();
    let began = SystemClock.wall();
    let offset_file = site.edge.settings().with_file_name("clock-offset");
    let set = |offset_s: i64| {
        // Renamed into place: the recorder must not read half a number.
        let fresh = offset_file.with_extension("new");
        std::fs::write(&fresh, format!("{offset_s:+}\n")).unwrap();
        std::fs::rename(&fresh, &offset_file).unwrap();
    };
    let offsets = offsets();
    set(offsets[0]);
    site.edge.set_environment(false_clock(&offset_file));
    site.edge.start().unwrap();
    for (place, offset_s) in offsets.iter().enumerate() {
        set(*offset_s);
        // One sealed by the end of each run before, one in the midst of each run.
        let sealed = 2.0 * place as f64 + 1.0;
        site.wait_for_metric(
            "recorder_segments_sealed_total",
            Duration::from_secs(90),
            |so_far| so_far >= sealed,
        );
        if place == 0 {
            called(&site, began).await;
        }
    }
    site.wait_until_uploaded(Duration::from_secs(60));
    let playlist = format!(
        "/streams/{STREAM}/playlist.m3u8?from={began}&to={}",
        hours_from_now(3)
    );
    let starts = segment_starts(&site.get(&playlist).await.text().await.unwrap());

    let missing = judge(&site, &starts);
    explained(&site, &missing, began, offsets.len() - 1).await;

    // What the recorder said is kept, at both ends.
    for said in [
        site.index("select cast(count(*) as text) from anchor where clock_state = 'impossible'").await,
        site.catalogue(
            "select cast(count(*) as text) from anchor where clock_state = 'impossible' and wall_us < 1577836800000000",
        )
        .await,
    ] {
        assert!(said[0][0].parse::<u32>().unwrap() >= 2, "{said:?}");
    }
    let found = site
        .get("/interactions")
        .await
        .json::<serde_json::Value>()
        .await
        .unwrap();
    let items = found["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{found}");
    let start = WallTime::parse_rfc3339(items[0]["start"].as_str().unwrap()).unwrap();
    assert!((start - began).abs() < 60 * SECOND, "{found}");
}

/// A ticket is called, by a queue system with a right clock, while the recorder believes in 1970.
async fn called(site: &Site, at: WallTime) {
    let event = json!({"specversion": "1.0", "type": "ticket.called", "source": "/qms", "id": "1",
        "time": at.to_string(), "subject": COUNTER, "data": {"ticket": {"series": "A", "number": "0001"}}});
    site.post(&site.edge.url(), site.edge.events_token(), &[event])
        .await;
}

/// Makes a program see the machine's wall clock moved by the seconds that stand in a file.
fn false_clock(offset: &Path) -> Vec<(String, String)> {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    let offset = offset.to_str().unwrap();
    [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", offset),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_FAKE_UTIME", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Every frame at its time and in order; gives the true times of those that are missing in between.
fn judge(site: &Site, starts: &std::collections::BTreeMap<u64, WallTime>) -> Vec<WallTime> {
    let files = site.footage(STREAM);
    let mut marks = Vec::new();
    let mut worst_us = 0;
    // By time, as the centre plays them.
    let mut played: Vec<_> = starts
        .iter()
        .map(|(sequence, start)| (*start, *sequence))
        .collect();
    played.sort_unstable();
    for (start, sequence) in &played {
        let reading = read_proof(&[&files[sequence]]).unwrap();
        let first_pts_us = reading.frames[0].pts_us;
        for frame in &reading.frames {
            let mark = frame
                .mark
                .unwrap_or_else(|| panic!("unreadable frame in {sequence}"));
            let error_us = *start + (frame.pts_us - first_pts_us) - mark.wall;
            assert!(
                error_us.abs() <= TOLERANCE_US,
                "frame {} of {sequence} is off by {error_us} us",
                mark.number
            );
            worst_us = worst_us.max(error_us.abs());
            marks.push(mark);
        }
    }
    assert_eq!(played.len(), files.len(), "the playlist has all files");
    println!("{} frames, worst wall time error {worst_us} us", marks.len());
    let turned: Vec<_> = marks.windows(2).filter(|w| w[1].number <= w[0].number).collect();
    assert!(turned.is_empty(), "reordered: {turned:?}");
    let mut missing = Vec::new();
    for pair in marks.windows(2) {
        for lost in 1..i64::from(pair[1].number - pair[0].number) {
            missing.push(pair[0].wall + lost * SECOND / 25);
        }
    }
    missing
}

/// The timeline names the steps, and no frame is missing outside the gaps.
async fn explained(site: &Site, missing: &[WallTime], from: WallTime, steps: usize) {
    let path = format!(
        "/counters/{COUNTER}/timeline?from={from}&to={}",
        hours_from_now(3)
    );
    let timeline: serde_json::Value = site.get(&path).await.json().await.unwrap();
    let stream = timeline["streams"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["stream_id"] == STREAM)
        .unwrap();
    let time = |value: &serde_json::Value| WallTime::parse_rfc3339(value.as_str().unwrap()).unwrap();
    let gaps = stream["gaps"].as_array().unwrap();
    let spans: Vec<_> = gaps
        .iter()
        .filter(|gap| gap["cause"] == "clock_step")
        .map(|gap| (time(&gap["start"]), time(&gap["end"])))
        .collect();
    assert_eq!(spans.len(), steps, "{gaps:?}");
    let unexplained: BTreeSet<_> = missing
        .iter()
        .filter(|at| {
            !spans
                .iter()
                .any(|(start, end)| **at >= *start - TOLERANCE_US && **at <= *end + TOLERANCE_US)
        })
        .collect();
    assert!(
        unexplained.is_empty(),
        "missing outside of {spans:?}: {unexplained:?}"
    );
    for (start, end) in &spans {
        assert!(
            *end - *start < 30 * SECOND,
            "a step costs seconds, not {start} to {end}"
        );
    }
}
