//! Cameras that lie, hang and change: each leaves a recording that plays or a gap that says why.

use std::cell::Cell;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::programs::until;

use crate::site::{STREAM, Site};

/// What is done to the camera, for how long, and which causes its gap may have; empty: it need not leave one.
struct Fault {
    command: Value,
    lasting_s: u64,
    causes: &'static [&'static str],
}

fn faults() -> Vec<Fault> {
    let fault = |command, lasting_s, causes| Fault {
        command,
        lasting_s,
        causes,
    };
    vec![
        fault(json!({"fault": "drop_connection"}), 0, &["camera_offline"]),
        fault(json!({"fault": "hang"}), 12, &["camera_silent", "camera_offline"]),
        fault(json!({"fault": "loss", "percent": 5.0}), 6, &[]),
        fault(json!({"fault": "garbage", "percent": 5.0}), 6, &[]),
        fault(json!({"fault": "pts_jump", "seconds": 30}), 3, &[]),
        fault(json!({"fault": "pts_jump", "seconds": -30}), 3, &[]),
        fault(json!({"fault": "ssrc_change"}), 3, &[]),
        fault(json!({"fault": "clock_off", "seconds": 3600}), 6, &[]),
    ]
}

fn contents() -> Vec<Value> {
    vec![
        json!({"source": "proof", "codec": "h265"}),
        json!({"source": "proof", "audio": "pcmu", "b-frames": 2}),
        json!({"source": "proof", "audio": "pcma"}),
        json!({"source": "proof", "audio": "opus"}),
        json!({"source": "proof", "audio": "none"}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_camera_fault_leaves_a_recording_that_plays_or_a_gap_that_says_why() {
    let mut site = Site::start("proof,gop=25", 4).await;
    wait_until_recording(&site);
    for Fault {
        command,
        lasting_s,
        causes,
    } in faults()
    {
        let before = site.index("select gap_id from gap").await.len();
        site.cameras.fault("cam", command.clone()).await.unwrap();
        let end = tokio::time::Instant::now() + Duration::from_secs(lasting_s);
        tokio::time::sleep_until(end).await;
        if !causes.is_empty() {
            wait_for_gap(&site, before, causes, &command).await;
        }
        site.cameras.clear("cam").await.unwrap();
        wait_until_recording(&site);
        site.edge.program().unwrap().check_running().unwrap();
    }
    // Sound that is announced but does not come must not keep the picture waiting.
    site.cameras
        .fault("cam", json!({"fault": "audio_absent"}))
        .await
        .unwrap();
    site.cameras
        .fault("cam", json!({"fault": "drop_connection"}))
        .await
        .unwrap();
    wait_until_recording(&site);
    site.cameras.clear("cam").await.unwrap();
    for content in contents() {
        site.cameras.reconfigure("cam", content).await.unwrap();
        wait_until_recording(&site);
        site.edge.program().unwrap().check_running().unwrap();
    }
    site.edge.stop().unwrap();
    let mut seconds = 0.0;
    for file in site.recordings(STREAM).values() {
        let output = Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-show_entries",
                "format=duration",
                "-of",
                "csv=p=0",
            ])
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {output:?}", file.display());
        seconds += String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse::<f64>()
            .unwrap_or(0.0);
    }
    assert!(seconds > 60.0, "only {seconds} s were recorded");
    let unexplained = site.index("select cause from gap where cause = ''").await;
    assert!(unexplained.is_empty());
}

/// Two more segments are sealed, so what comes now is recorded.
fn wait_until_recording(site: &Site) {
    let before = Cell::new(None);
    site.wait_for_metric(
        "recorder_segments_sealed_total",
        Duration::from_secs(90),
        |sealed| {
            if before.get().is_none() {
                before.set(Some(sealed));
            }
            before.get().is_some_and(|before| sealed >= before + 2.0)
        },
    );
}

async fn wait_for_gap(site: &Site, before: usize, causes: &[&str], command: &Value) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let gaps = site.index("select cause from gap order by start_wall_us").await;
        if gaps[before.min(gaps.len())..]
            .iter()
            .any(|row| causes.contains(&row[0].as_str()))
        {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{command}: no gap of {causes:?} in {gaps:?}"
        );
        until(Duration::from_millis(200), || None::<()>);
    }
}
