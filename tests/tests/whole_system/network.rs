//! A bad line between site and centre: cut for long, flapping, lossy, thin. Afterwards both ends hold the same, nothing
//! went up twice, and the recording never noticed.
//!
//! `MINHQUAY_LONG=1` cuts it until more than three hundred segments wait, and spoils it for longer.

use std::time::Duration;

use archive::time::{Clock as _, SystemClock};
use serde_json::json;
use system_tests::programs::until;
use system_tests::proof::read_proof;
use system_tests::stage::{Fault, Wire};

use crate::site::{COUNTER, STREAM, Site};

/// Counters beside the first, all of one camera.
const OTHERS: usize = 5;

fn is_long() -> bool {
    std::env::var_os("MINHQUAY_LONG").is_some()
}

/// Lets so much time pass; it is the media that is waited for.
fn let_pass(duration: Duration) {
    let end = SystemClock.monotonic_us() + duration.as_micros() as i64;
    let _ = until(duration + Duration::from_secs(1), || {
        (SystemClock.monotonic_us() >= end).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn after_every_kind_of_bad_line_both_ends_hold_the_same_and_no_frame_is_missing() {
    let wire = match Wire::lay() {
        Ok(wire) => wire,
        Err(refused) => {
            eprintln!("SKIPPED: network namespaces are refused here: {refused:#}");
            return;
        }
    };
    let small = "proof,size=320x180,fps=10,gop=10,bitrate=200,audio=none";
    let mounts = [format!("cam={small}"), format!("more={small}")];
    let mounts: Vec<&str> = mounts.iter().map(String::as_str).collect();
    let mut site = Site::start_between(wire.site(), wire.centre(), &mounts, 4, |cameras| {
        let stream = |i: usize| {
            format!(
                "[[counter]]\nid = \"other{i}\"\nname = \"Quầy {i}\"\n[[counter.stream]]\nviewpoint = \"front\"\n\
                 [counter.stream.main]\nkind = \"rtsp\"\nurl = {:?}\n",
                cameras.url("more")
            )
        };
        // What waits must not go to make room, however full the machine's disk is.
        let upload = "[retention]\nhigh_percent = 99\nlow_percent = 98\nreserve_mb = 16\n\
            [upload]\npre_roll_s = 0\npost_roll_s = 0\n"
            .to_owned();
        std::iter::once(upload).chain((0..OTHERS).map(stream)).collect()
    })
    .await;
    wire.spoil(Fault::None).unwrap();
    let patience = Duration::from_secs(60);
    site.wait_for_metric("recorder_segments_uploaded_total", patience, |n| n >= 1.0);

    let before = site.catalogue("select stream_id from segment").await.len();
    // Cut: footage and events wait. One visit in the middle of it.
    wire.spoil(Fault::Cut).unwrap();
    let waiting = if is_long() { 320.0 } else { 30.0 };
    let cut = Duration::from_secs(if is_long() { 400 } else { 60 });
    site.wait_for_metric("recorder_pending_segments", cut, |n| n >= waiting / 2.0);
    let visited = SystemClock.wall();
    site.wait_for_metric("recorder_pending_segments", cut, |n| n >= waiting);
    let mut sent = 0;
    for (id, event_type, after_s) in [
        ("c", "ticket.called", 0),
        ("s", "ticket.serving_started", 1),
        ("f", "ticket.finished", 4),
    ] {
        let event = json!({
            "specversion": "1.0", "type": event_type, "source": "/test", "id": id,
            "time": (visited + after_s * 1_000_000).to_string(), "subject": COUNTER,
            "data": {"ticket": {"series": "A", "number": "0007"}},
        });
        site.post(&site.edge.url(), site.edge.events_token(), &[event])
            .await;
        sent += 1;
    }

    let sealed = "select cast(max(sequence) as text) from segment where stream = 'q01.front.main' and sha256 is not null";
    let sealed: u64 = site.index(sealed).await[0][0].parse().unwrap();

    // A thin line first, so that the visit is told before much of what waits has gone.
    wire.spoil(Fault::Thin(96)).unwrap();
    let deadline = SystemClock.monotonic_us() + 60_000_000;
    while site.index("select mark_id from mark").await.is_empty() {
        assert!(
            SystemClock.monotonic_us() < deadline,
            "the visit never came back as a mark"
        );
        let_pass(Duration::from_millis(200));
    }

    // Flapping, lossy, thin: something goes up all the same.
    let each = Duration::from_secs(if is_long() { 60 } else { 6 });
    for _ in 0..if is_long() { 10 } else { 2 } {
        wire.spoil(Fault::None).unwrap();
        let_pass(Duration::from_secs(3));
        wire.spoil(Fault::Cut).unwrap();
        let_pass(Duration::from_secs(3));
    }
    for fault in [Fault::Loss(5), Fault::Loss(1), Fault::Thin(512)] {
        wire.spoil(fault).unwrap();
        let_pass(each);
    }
    wire.spoil(Fault::None).unwrap();
    site.wait_until_uploaded(Duration::from_secs(if is_long() { 300 } else { 60 }));

    // The visit's footage went before what was left behind.
    let order = site
        .catalogue("select stream_id || ' ' || sequence from segment order by stored_us, stream_id")
        .await;
    let marked = site
        .index("select stream || ' ' || sequence, cast(sequence as text) from segment where worth = 2")
        .await;
    let awaited = marked
        .iter()
        .filter(|row| row[1].parse::<u64>().unwrap() <= sealed);
    let places: Vec<_> = awaited
        .filter_map(|row| order.iter().position(|stored| stored[0] == row[0]))
        .filter(|place| *place >= before)
        .collect();
    assert!(
        !places.is_empty(),
        "the visit marked nothing that waited: {marked:?}"
    );
    // What is on its way when the order comes goes up all the same.
    let last = places.iter().max().unwrap() - before;
    assert!(
        last < places.len() + 12,
        "of {} that waited the marked came at {places:?}",
        order.len() - before
    );

    // Nothing twice beyond the tails that were resumed, and those were resumed, not sent anew.
    let stored = site
        .catalogue("select cast(sum(size_bytes) as text) from segment")
        .await;
    let stored: f64 = stored[0][0].parse().unwrap();
    let came = site.centre_metric("minhquay_upload_bytes_total").unwrap();
    let more = came - stored;
    println!(
        "{} segments, {stored} bytes stored, {came} came, {} marked; connected {:?} times",
        order.len(),
        marked.len(),
        site.centre_metric("minhquay_recorder_sessions_total")
    );
    site.edge.stop().unwrap();
    assert!(
        (0.0..=stored / 100.0).contains(&more),
        "{more} bytes more came than are stored"
    );

    // Both ends hold the same.
    let sql = "select stream || ' ' || sequence, lower(hex(sha256)) from segment \
        where state in ('acknowledged', 'evictable') order by stream, sequence";
    let edge = site.index(sql).await;
    let centre = site
        .catalogue("select stream_id || ' ' || sequence, sha256 from segment order by stream_id, sequence")
        .await;
    assert!(edge.len() as f64 >= waiting, "{}", edge.len());
    let missing: Vec<_> = edge.iter().filter(|row| !centre.contains(row)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(edge.len(), centre.len());
    let events = site.catalogue("select id from event order by device_us").await;
    assert_eq!(events.len(), sent, "{events:?}");

    // The recording never noticed: every frame once and in order, in one run.
    let files = site.recordings(STREAM);
    let paths: Vec<_> = files.values().collect();
    let numbers: Vec<u32> = paths
        .iter()
        .flat_map(|path| read_proof(&[path]).unwrap().numbers())
        .collect();
    let breaks: Vec<_> = numbers.windows(2).filter(|w| w[1] != w[0] + 1).collect();
    assert!(breaks.is_empty(), "frames are missing: {breaks:?}");
    assert!(numbers.len() >= 10 * 20, "only {} frames", numbers.len());
    let runs = site
        .index("select run_id from run where stream = 'q01.front.main'")
        .await;
    assert_eq!(runs.len(), 1, "{runs:?}");
}
