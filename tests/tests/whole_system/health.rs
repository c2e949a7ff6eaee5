//! Each fault of picture and sound, made by a camera of its own: known at the recorder and at the centre within half a
//! minute, over after its end; and what is none stays none.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::programs::until;

use crate::site::Site;

const PEOPLE: &str = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";
const FOUND_WITHIN: Duration = Duration::from_secs(30);
/// Time to know the scene, in looks of about a second.
const LOOKS: f64 = 12.0;

/// What each camera is made to do, and which alerts must come of it.
fn cameras() -> Vec<(Vec<Value>, Vec<&'static str>)> {
    let picture = |what: &str| json!({"fault": "picture", "what": what});
    let sound = |what: &str| json!({"fault": "sound", "what": what});
    vec![
        (
            vec![picture("cover"), sound("dead")],
            vec!["lens_covered", "sound_dead"],
        ),
        (
            vec![picture("black"), sound("clip")],
            vec!["picture_black", "sound_clipped"],
        ),
        (
            vec![picture("freeze"), sound("hum")],
            vec!["picture_frozen", "sound_hum"],
        ),
        (
            vec![picture("defocus"), json!({"fault": "audio_absent"})],
            vec!["picture_defocused", "sound_absent"],
        ),
        (vec![picture("move")], vec!["scene_moved"]),
        (vec![picture("lights_off")], vec![]),
        (vec![picture("empty")], vec![]),
    ]
}

/// People walking, and somebody who speaks.
fn film(dir: &Path) -> String {
    let (speech, film) = (dir.join("speech.wav"), dir.join("film.mkv"));
    let text = "Xin chào, mời bác ngồi. Bác cần làm thủ tục gì ạ? Tôi đến chứng thực bản sao từ bản chính. \
        Bác cho cháu xem bản chính để đối chiếu. Bản chính đây, cô xem giúp tôi.";
    let spoken = Command::new("espeak-ng")
        .args(["-v", "vi", "-w"])
        .arg(&speech)
        .arg(text)
        .status();
    assert!(spoken.unwrap().success());
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "error",
        "-nostdin",
        "-i",
        PEOPLE,
        "-stream_loop",
        "-1",
        "-i",
    ]);
    command
        .arg(&speech)
        .args(["-t", "20", "-c:v", "copy", "-c:a", "pcm_s16le"])
        .arg(&film);
    assert!(command.status().unwrap().success());
    film.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_picture_and_sound_is_an_alert_at_both_ends_and_ends_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let film = film(dir.path());
    let cameras = cameras();
    let mounts: Vec<String> = (0..cameras.len())
        .map(|n| {
            let name = if n == 0 {
                "cam".to_owned()
            } else {
                format!("cam{n}")
            };
            format!("{name}=room:{film},size=320x180,fps=8,gop=8,bitrate=300")
        })
        .collect();
    let mounts: Vec<&str> = mounts.iter().map(String::as_str).collect();
    let site = Site::start_with(&mounts, 10, |cameras| {
        let mut more = String::new();
        for n in 1..mounts.len() {
            let url = cameras.url(&format!("cam{n}"));
            write!(
                more,
                "\n[[counter]]\nid = \"q0{}\"\nname = \"Quầy {}\"\n[[counter.stream]]\nviewpoint = \"front\"\n\
                 [counter.stream.main]\nkind = \"rtsp\"\nurl = {url:?}\n",
                n + 1,
                n + 1
            )
            .unwrap();
        }
        // It is always service time here, whatever the time of day.
        more + "\n[health]\nservice_hours = \"00:00-24:00\"\n\
            service_days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]\nreport_every_s = 10\n"
    })
    .await;
    let looks = LOOKS * mounts.len() as f64;
    site.wait_for_metric("recorder_health_looks_total", Duration::from_secs(90), |seen| {
        seen >= looks
    });
    assert_eq!(alerts(&site, OPEN_AT_EDGE).await, BTreeSet::new());

    let mount = |n: usize| {
        if n == 0 {
            "cam".to_owned()
        } else {
            format!("cam{n}")
        }
    };
    let mut expected = BTreeSet::new();
    for (n, (faults, kinds)) in cameras.iter().enumerate() {
        for fault in faults {
            site.cameras.fault(&mount(n), fault.clone()).await.unwrap();
        }
        expected.extend(kinds.iter().map(|kind| format!("q0{}.front.main {kind}", n + 1)));
    }
    wait_for(&site, OPEN_AT_EDGE, &expected).await;
    wait_for_centre(&site, &expected).await;
    for n in 0..cameras.len() {
        site.cameras.clear(&mount(n)).await.unwrap();
    }
    wait_for(&site, OPEN_AT_EDGE, &BTreeSet::new()).await;
    wait_for_centre(&site, &BTreeSet::new()).await;
    // What was open has been open once: nothing flapped, and nothing else was found.
    assert_eq!(
        alerts(
            &site,
            "select stream || ' ' || kind from alert where stream <> ''"
        )
        .await,
        expected
    );
    let count = site
        .index("select cast(count(*) as text) from alert where stream <> ''")
        .await;
    assert_eq!(count[0][0], expected.len().to_string());
    the_day_is_signed_and_its_footage_retrieved(&site).await;
}

/// The first counter's day as the centre shows it.
async fn the_day_is_signed_and_its_footage_retrieved(site: &Site) {
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let health: Value = site.get("/counters/q01/health").await.json().await.unwrap();
        let day = &health["days"][0];
        let faults = day["reports"][0]["streams"][0]["faults"].as_array();
        let kinds: BTreeSet<&str> = faults
            .into_iter()
            .flatten()
            .filter_map(|fault| fault["kind"].as_str())
            .collect();
        let is_told = kinds == BTreeSet::from(["lens_covered", "sound_dead"]);
        if is_told && day["retrievals"][0]["is_whole"] == true && day["reports"][0]["read_back"] == true {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{health:#}");
        until(Duration::from_millis(500), || None::<()>);
    }
}

const OPEN_AT_EDGE: &str =
    "select stream || ' ' || kind from alert where end_wall_us is null and stream <> ''";
const OPEN_AT_CENTRE: &str =
    "select stream_id || ' ' || kind from alert where end_us is null and stream_id is not null";

async fn alerts(site: &Site, sql: &'static str) -> BTreeSet<String> {
    site.index(sql)
        .await
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect()
}

async fn wait_for(site: &Site, sql: &'static str, expected: &BTreeSet<String>) {
    let end = tokio::time::Instant::now() + FOUND_WITHIN;
    loop {
        let open = alerts(site, sql).await;
        if open == *expected {
            return;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "after {FOUND_WITHIN:?} the alerts are {open:#?}, not {expected:#?}\n{}",
            site.log_tail()
        );
        until(Duration::from_millis(300), || None::<()>);
    }
}

async fn wait_for_centre(site: &Site, expected: &BTreeSet<String>) {
    let end = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        let rows = site.catalogue(OPEN_AT_CENTRE).await;
        let open: BTreeSet<String> = rows.into_iter().map(|mut row| row.remove(0)).collect();
        if open == *expected {
            return;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "the centre knows {open:#?}, not {expected:#?}"
        );
        until(Duration::from_millis(200), || None::<()>);
    }
}
