//! What the camera showed is at the centre: every frame once and in order, at its time, in step with its sound.

use std::time::Duration;

use archive::time::WallTime;
use system_tests::proof::read_proof;

use crate::site::{STREAM, Site};

/// How long is recorded.
const RECORDED_S: f64 = 180.0;
const SEGMENT_S: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_is_at_the_centre_once_in_order_at_its_time_and_in_step() {
    let site = Site::start("proof", SEGMENT_S).await;
    let segments = RECORDED_S / f64::from(SEGMENT_S);
    site.wait_for_metric("recorder_segments_sealed_total", Duration::from_secs(300), |n| {
        n >= segments
    });
    site.wait_for_metric("recorder_segments_uploaded_total", Duration::from_secs(60), |n| {
        n >= segments
    });

    let playlist = format!(
        "/streams/{STREAM}/playlist.m3u8?from={}&to={}",
        hours_from_now(-1),
        hours_from_now(1)
    );
    let playlist = site.get(&playlist).await.text().await.unwrap();
    assert!(!playlist.contains("DISCONTINUITY"), "{playlist}");
    let starts = segment_starts(&playlist);
    let files = site.footage();
    assert!(files.len() as f64 >= segments, "{files:?}");

    let mut numbers = Vec::new();
    let (mut wall_errors_us, mut sync_us) = (Vec::new(), Vec::new());
    for (sequence, file) in &files {
        let reading = read_proof(&[file]).unwrap();
        let start = starts[sequence];
        let first_pts_us = reading.frames[0].pts_us;
        for frame in &reading.frames {
            let mark = frame
                .mark
                .unwrap_or_else(|| panic!("unreadable frame in {}", file.display()));
            numbers.push(mark.number);
            wall_errors_us.push(start + (frame.pts_us - first_pts_us) - mark.wall);
        }
        sync_us.extend(reading.sound_behind_picture_us());
    }
    let breaks: Vec<_> = numbers.windows(2).filter(|w| w[1] != w[0] + 1).collect();
    assert!(
        breaks.is_empty(),
        "frames missing, twice or out of order: {breaks:?}"
    );
    assert!(
        numbers.len() as f64 >= (RECORDED_S - f64::from(SEGMENT_S)) * 25.0,
        "only {} frames",
        numbers.len()
    );
    let worst_wall_us = wall_errors_us.iter().map(|e| e.abs()).max().unwrap();
    let worst_sync_us = sync_us.iter().map(|e| e.abs()).max().unwrap();
    println!(
        "{} frames, {} beeps; worst wall time error {worst_wall_us} us, worst sound offset {worst_sync_us} us",
        numbers.len(),
        sync_us.len()
    );
    assert!(
        worst_wall_us <= 100_000,
        "wall time is off by up to {worst_wall_us} us"
    );
    assert!(
        sync_us.len() as f64 >= RECORDED_S * 0.8,
        "only {} beeps",
        sync_us.len()
    );
    assert!(
        worst_sync_us <= 40_000,
        "sound is off by up to {worst_sync_us} us"
    );
}

fn hours_from_now(hours: i64) -> WallTime {
    use archive::time::Clock as _;
    archive::time::SystemClock.wall() + hours * 3_600_000_000
}

/// The wall time at which each file starts, as the playlist says.
fn segment_starts(playlist: &str) -> std::collections::BTreeMap<u64, WallTime> {
    let mut starts = std::collections::BTreeMap::new();
    let mut time = None;
    for line in playlist.lines() {
        if let Some(text) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
            time = Some(WallTime::parse_rfc3339(text).unwrap());
        } else if let Some(id) = line.strip_suffix("/media.mp4") {
            let sequence = id.rsplit('.').next().unwrap().parse().unwrap();
            starts.entry(sequence).or_insert(time.unwrap());
        }
    }
    starts
}
