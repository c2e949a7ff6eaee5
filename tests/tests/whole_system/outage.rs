//! The centre is away for two minutes: afterwards both ends hold the same.

use std::time::Duration;

use archive::time::{Clock, SystemClock};
use serde_json::json;
use system_tests::programs::until;

use crate::site::{COUNTER, STREAM, Site};

const AWAY: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_both_ends_hold_the_same_segments_and_events() {
    let mut site = Site::start("proof", 10).await;
    site.wait_for_metric("recorder_segments_uploaded_total", Duration::from_secs(60), |n| {
        n >= 1.0
    });
    site.centre.stop().unwrap();
    let back = SystemClock.monotonic_us() + AWAY.as_micros() as i64;
    let mut sent = 0;
    while SystemClock.monotonic_us() < back {
        let event = json!({
            "specversion": "1.0", "type": "dossier.scanned", "source": "/test", "id": format!("scan-{sent}"),
            "time": SystemClock.wall().to_string(), "subject": COUNTER,
            "data": {"dossier": format!("H26.17.05-261123-{sent:04}")},
        });
        let answer = site
            .post(
                &site.edge.url(),
                site.edge.events_token(),
                &[event.clone(), event],
            )
            .await;
        assert_eq!(
            (&answer["accepted"], &answer["duplicates"]),
            (&json!(1), &json!(1)),
            "{answer}"
        );
        sent += 1;
        let next = SystemClock.monotonic_us() + 2_000_000;
        until(Duration::from_secs(3), || {
            (SystemClock.monotonic_us() >= next).then_some(())
        });
    }
    site.centre.start().unwrap();
    site.wait_for_metric(
        "recorder_uplink_connected",
        Duration::from_secs(60),
        |connected| connected == 1.0,
    );
    site.edge.program().unwrap();
    site.wait_until_uploaded(Duration::from_secs(120));

    let sql = "select cast(sequence as text), lower(hex(sha256)) from segment \
        where state in ('acknowledged', 'evictable') order by sequence";
    let edge = site.index(sql).await;
    let centre = site
        .catalogue("select cast(sequence as text), sha256 from segment order by sequence")
        .await;
    assert!(edge.len() >= 12, "{edge:?}");
    assert_eq!(
        &centre[..edge.len().min(centre.len())],
        &edge[..edge.len().min(centre.len())]
    );
    assert!(centre.len() >= edge.len());
    for (sequence, path) in site.footage(STREAM) {
        let bytes = std::fs::read(path).unwrap();
        let row = centre
            .iter()
            .find(|row| row[0] == sequence.to_string())
            .expect("each file is in the catalogue");
        assert_eq!(archive::segment::Digest::of(&bytes).to_string(), row[1]);
    }
    let edge = site.index("select id from event order by event_id").await;
    let centre = site.catalogue("select id from event order by device_us").await;
    assert_eq!(edge.len(), sent);
    assert_eq!(edge, centre);
    let runs = site.index("select run_id from run").await;
    assert_eq!(runs.len(), 1, "the recording was interrupted: {runs:?}");
}
