//! The page in a real browser on the real programs; what it does there is in `web-viewer/e2e-site`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::site::{COUNTER, PASSWORD, Site, USER};

const ADMINISTRATOR: &str = "quan-tri";
/// So that what just happened can be played soon.
const SEGMENT_S: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_is_watched_live_and_its_interaction_found_and_played_in_a_browser() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web-viewer");
    for needed in ["dist/index.html", "node_modules/.bin/playwright"] {
        assert!(
            page.join(needed).exists(),
            "web-viewer/{needed} is missing: make page"
        );
    }
    let mut site = Site::start("proof", SEGMENT_S).await;
    site.centre
        .add_user(ADMINISTRATOR, "administrator", "ha-noi", PASSWORD)
        .unwrap();
    site.wait_for_metric("recorder_segments_uploaded_total", Duration::from_secs(60), |n| {
        n >= 1.0
    });
    let described = json!({
        "url": site.centre.url(),
        "token": site.token,
        "counter": COUNTER,
        "users": {
            "handler": {"name": USER, "password": PASSWORD},
            "administrator": {"name": ADMINISTRATOR, "password": PASSWORD},
        },
        "camera": site.cameras.control_url("cam"),
    });
    let results = tempfile::tempdir().unwrap();
    let output = Command::new("node_modules/.bin/playwright")
        .args(["test", "--config", "playwright.site.config.ts"])
        .current_dir(&page)
        .env("MINHQUAY_SITE", described.to_string())
        .env("MINHQUAY_RESULTS", results.path())
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        site.centre.program().unwrap().log_tail(),
        site.log_tail(),
    );
    site.edge.program().unwrap().check_running().unwrap();
    site.centre.program().unwrap().check_running().unwrap();
}
