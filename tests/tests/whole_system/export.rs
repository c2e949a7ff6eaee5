//! A film of a real recorder, exported by a real centre, proven by the real verifier, and found out when it is changed.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use archive::time::{Clock as _, SystemClock};
use serde_json::{Value, json};
use system_tests::programs::{binary, until};

use crate::site::{STREAM, Site};

const WAIT: Duration = Duration::from_secs(60);

/// `MINHQUAY_LONG=1` changes ten thousand bytes.
fn changes() -> u64 {
    if std::env::var_os("MINHQUAY_LONG").is_some() {
        10_000
    } else {
        150
    }
}

fn verify(file: &Path, keys: &Value) -> Output {
    let mut command = Command::new(binary("minhquay-verify"));
    let centre = keys["centre"]["fingerprint"].as_str().unwrap();
    let recorder = keys["recorders"][0]["key"]["fingerprint"].as_str().unwrap();
    command.args(["--json", "--centre-key", centre, "--recorder-key", recorder]);
    command.arg(file).output().unwrap()
}

/// Exports the first seconds of what the centre holds once that is sealed; returns the file.
async fn export(site: &Site, from: &str, to: &str) -> Vec<u8> {
    let deadline = SystemClock.monotonic_us() + WAIT.as_micros() as i64;
    let body = json!({"stream": STREAM, "from": from, "to": to});
    let id = loop {
        let answer = site.send(reqwest::Method::POST, "/exports", Some(&body)).await;
        let status = answer.status();
        let view: Value = answer.json().await.unwrap();
        if status == 201 {
            break view["id"].as_str().unwrap().to_owned();
        }
        // The seal and its receipt come a moment behind the footage.
        assert_eq!(view["code"], "not_sealed", "{view}");
        assert!(SystemClock.monotonic_us() < deadline, "{view}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    loop {
        let view: Value = site.get(&format!("/exports/{id}")).await.json().await.unwrap();
        match view["state"].as_str().unwrap() {
            "done" => break,
            "waiting" | "running" => {}
            _ => panic!("{view}"),
        }
        assert!(SystemClock.monotonic_us() < deadline, "{view}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let file = site.get(&format!("/exports/{id}/file")).await;
    assert_eq!(file.status(), 200);
    file.bytes().await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_film_proves_itself_and_no_byte_of_it_can_be_changed() {
    let site = Site::start("proof", 4).await;
    site.wait_for_metric("recorder_segments_uploaded_total", WAIT, |n| n >= 3.0);
    let sql = "select cast(start_us as text), cast(end_us as text) from segment order by sequence limit 3";
    let rows = site.catalogue(sql).await;
    let at = |text: &str| archive::time::WallTime(text.parse().unwrap());
    // From inside the first file to inside the third.
    let (from, to) = (at(&rows[0][0]) + 1_500_000, at(&rows[2][1]) - 1_500_000);
    let film = export(&site, &from.to_string(), &to.to_string()).await;
    let keys: Value = site.get("/proof/keys").await.json().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.mp4");
    std::fs::write(&file, &film).unwrap();
    let output = verify(&file, &keys);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(report.contains(STREAM) && report.contains("Quầy"), "{report}");

    // Another's key on paper is no proof.
    let mut others = keys.clone();
    others["centre"] = others["recorders"][0]["key"].clone();
    assert_eq!(verify(&file, &others).status.code(), Some(1));

    // Nor is any change of a single byte; a fixed seed, so that a failure can be looked at again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for change in 0..changes() {
        let mut changed = film.clone();
        let place = (random() % film.len() as u64) as usize;
        changed[place] ^= 1 << (random() % 8);
        std::fs::write(&file, &changed).unwrap();
        let output = verify(&file, &keys);
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "change {change} of byte {place} of {} was not found",
            film.len()
        );
    }
    std::fs::write(&file, &film).unwrap();
    assert_eq!(verify(&file, &keys).status.code(), Some(0));
    // What others mirror is public, though no day is over yet.
    let days = until(Duration::from_secs(5), || {
        system_tests::programs::http_text(&format!("{}/api/v1/proof/days", site.centre.url()))
    });
    assert!(days.unwrap().contains("\"items\":[]"));
}
