//! What the camera showed is at the centre: every frame once and in order, at its time, in step with its sound.

use std::path::Path;
use std::time::Duration;

use archive::time::WallTime;
use system_tests::programs::until;
use system_tests::proof::read_proof;

use crate::site::{STREAM, Site};

const SEGMENT_S: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_is_at_the_centre_once_in_order_at_its_time_and_in_step() {
    let site = Site::start("proof", SEGMENT_S).await;
    wait_for_seconds(&site, &[STREAM], 180).await;
    judge(&site, STREAM, 180).await;
}

/// The other codecs, and pictures over UDP.
#[tokio::test(flavor = "multi_thread")]
async fn other_codecs_and_udp_are_recorded_as_well() {
    let mounts = [
        "cam=proof,audio=none",
        "h265=proof,codec=h265,audio=opus",
        "law=proof,audio=pcma,b-frames=2",
        "udp=proof",
    ];
    let others = [("h265", "tcp"), ("law", "tcp"), ("udp", "udp")];
    let site = Site::start_with(&mounts, SEGMENT_S, |cameras| {
        let stream = |(name, transport): &(&str, &str)| {
            format!(
                "[[counter]]\nid = \"{name}\"\nname = \"Quầy {name}\"\n[[counter.stream]]\nviewpoint = \"front\"\n\
                 [counter.stream.main]\nkind = \"rtsp\"\nurl = {:?}\ntransport = \"{transport}\"\n",
                cameras.url(name)
            )
        };
        others.iter().map(stream).collect()
    })
    .await;
    let streams = ["h265.front.main", "law.front.main", "udp.front.main"];
    wait_for_seconds(&site, &streams, 40).await;
    for stream in streams {
        judge(&site, stream, 40).await;
    }
}

/// Waits until so many seconds of each stream are at the centre.
async fn wait_for_seconds(site: &Site, streams: &[&str], seconds: u32) {
    let segments = (seconds / SEGMENT_S) as usize;
    let deadline = Duration::from_secs(u64::from(seconds) + 120);
    for stream in streams {
        let arrived = until(deadline, || {
            (site.footage(stream).len() >= segments).then_some(())
        });
        arrived.unwrap_or_else(|| panic!("{stream} is not at the centre\n{}", site.log_tail()));
    }
    site.wait_until_uploaded(Duration::from_secs(60));
}

/// Judges what the centre holds of a stream.
async fn judge(site: &Site, stream: &str, recorded_s: u32) {
    let playlist = format!(
        "/streams/{stream}/playlist.m3u8?from={}&to={}",
        hours_from_now(-1),
        hours_from_now(1)
    );
    let playlist = site.get(&playlist).await.text().await.unwrap();
    assert!(!playlist.contains("DISCONTINUITY"), "{playlist}");
    let starts = segment_starts(&playlist);

    let mut numbers = Vec::new();
    let (mut wall_errors_us, mut sync_us) = (Vec::new(), Vec::new());
    // What arrives after the playlist was made is not judged.
    let files = site.footage(stream);
    for (place, (sequence, start)) in starts.iter().enumerate() {
        let file = &files[sequence];
        let reading = read_proof(&[file]).unwrap();
        let first_pts_us = reading.frames[0].pts_us;
        for frame in &reading.frames {
            let mark = frame
                .mark
                .unwrap_or_else(|| panic!("unreadable frame in {}", file.display()));
            numbers.push(mark.number);
            wall_errors_us.push(*start + (frame.pts_us - first_pts_us) - mark.wall);
        }
        // FFmpeg shows pictures with negative composition offsets late; the file itself says when they are due.
        let shown_late_us = first_pts_us - first_picture_us(file);
        let behind_us = reading.sound_behind_picture_us();
        // The run begins at a keyframe, just where a beep does: of that one the codec may have lost the start.
        let cut = usize::from(place == 0);
        sync_us.extend(behind_us.iter().skip(cut).map(|us| us + shown_late_us));
    }
    let breaks: Vec<_> = numbers.windows(2).filter(|w| w[1] != w[0] + 1).collect();
    assert!(
        breaks.is_empty(),
        "{stream}: frames missing, twice or out of order: {breaks:?}"
    );
    let expected = (recorded_s - SEGMENT_S) as usize * 25;
    assert!(
        numbers.len() >= expected,
        "{stream}: only {} frames",
        numbers.len()
    );
    let worst_wall_us = wall_errors_us.iter().map(|e| e.abs()).max().unwrap();
    let worst_sync_us = sync_us.iter().map(|e| e.abs()).max().unwrap();
    println!(
        "{stream}: {} frames, {} beeps; worst wall time error {worst_wall_us} us, worst sound offset {worst_sync_us} us",
        numbers.len(),
        sync_us.len()
    );
    assert!(
        worst_wall_us <= 100_000,
        "{stream}: wall time is off by up to {worst_wall_us} us"
    );
    assert!(
        sync_us.len() >= recorded_s as usize * 8 / 10,
        "{stream}: only {} beeps",
        sync_us.len()
    );
    assert!(
        worst_sync_us <= 40_000,
        "{stream}: sound is off by up to {worst_sync_us} us: {sync_us:?}"
    );
}

/// When the first picture of a file is due on the file's own scale.
fn first_picture_us(file: &Path) -> i64 {
    let scan = archive::fmp4::scan_segment(&std::fs::read(file).unwrap()).unwrap();
    let track = &scan.init.leading_track().track;
    let pts = scan.fragments[0].track(track.track_id).unwrap().first_pts();
    pts * 1_000_000 / i64::from(track.timescale)
}

pub fn hours_from_now(hours: i64) -> WallTime {
    use archive::time::Clock as _;
    archive::time::SystemClock.wall() + hours * 3_600_000_000
}

/// The wall time at which each file starts, as the playlist says.
pub fn segment_starts(playlist: &str) -> std::collections::BTreeMap<u64, WallTime> {
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
