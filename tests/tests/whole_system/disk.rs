//! A recordings disk of 200 MB that fills within a minute: what is held stays, and the rest goes as it is set up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use archive::segment::Digest;
use archive::time::{Clock, SystemClock, WallTime};
use serde_json::{Value, json};
use system_tests::programs::until;
use system_tests::stage::{Cameras, Centre, Edge, StreamSource};

use crate::site::{PASSWORD, USER, files, metric, rows};

const DISK_MB: u64 = 200;
const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_US: i64 = 60_000_000;

/// A file that is a disk; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None` where this program may not mount.
    fn mount(image: &Path, at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let file = std::fs::File::create(image).unwrap();
        file.set_len(DISK_MB << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(image)).unwrap();
        match run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at)) {
            Ok(()) => Some(Self(at.to_owned())),
            Err(reason) => {
                println!("SKIPPED: a loop device can't be mounted here: {reason}");
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever was killed a moment ago may still hold it.
        let is_gone = until(Duration::from_secs(10), || {
            run(Command::new("umount").arg(&self.0)).ok()
        });
        if is_gone.is_none() {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Two counters, whose cameras give 2.5 MB a second each.
struct Stage {
    cameras: Cameras,
    centre: Centre,
    edge: Edge,
    client: reqwest::Client,
    cookie: String,
    disk: Disk,
    dir: tempfile::TempDir,
}

impl Stage {
    async fn start(when_full: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let noise = dir.path().join("noise.mp4");
        // Noise can't be compressed, so the rate is kept.
        run(Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i"])
            .arg("color=gray:s=640x360:r=25,noise=alls=100:allf=t")
            .args([
                "-t",
                "8",
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-b:v",
                "20M",
            ])
            .args([
                "-maxrate", "20M", "-bufsize", "2M", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p",
            ])
            .arg(&noise))
        .unwrap();
        let edge_dir = dir.path().join("recorder");
        let disk = Disk::mount(&dir.path().join("disk"), &edge_dir.join("data/recordings"))?;
        let file = noise.display();
        let mounts = [
            format!("a=file:{file},audio=none"),
            format!("b=file:{file},audio=none"),
        ];
        let cameras = Cameras::start(&dir.path().join("cameras"), &[&mounts[0], &mounts[1]]).unwrap();
        let mut centre = Centre::create(&dir.path().join("centre"), "").unwrap();
        centre.add_unit("ha-noi", "Hà Nội", None).unwrap();
        centre.add_site("site", "ha-noi", "Một cửa").unwrap();
        centre
            .add_user(USER, "complaint_handler", "ha-noi", PASSWORD)
            .unwrap();
        centre.start().unwrap();
        let streams = [
            StreamSource::front("q01", cameras.url("a")),
            StreamSource::front("q02", cameras.url("b")),
        ];
        let retention = format!(
            "[retention]\nhigh_percent = 80\nlow_percent = 70\nreserve_mb = 20\npre_roll_s = 5\npost_roll_s = 5\n\
             when_full = {when_full:?}\n"
        );
        let url = centre.url();
        let mut edge = Edge::create(&edge_dir, "site", Some(&url), 4, &streams, &retention).unwrap();
        edge.enrol(&url, &centre.enrol_code("site").unwrap()).unwrap();
        edge.start().unwrap();
        let client = system_tests::programs::http_client();
        let signed_in = client
            .post(format!("{url}/api/v1/session"))
            .json(&json!({"username": USER, "password": PASSWORD}))
            .send()
            .await
            .unwrap();
        let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Some(Self {
            cameras,
            centre,
            edge,
            client,
            cookie,
            disk,
            dir,
        })
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let request = self
            .client
            .request(method, format!("{}/api/v1{path}", self.centre.url()))
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", "same-origin");
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Places a hold and waits until the recorder has it; gives its id.
    async fn hold(&self, counter: &str, from: WallTime, to: WallTime) -> String {
        let body =
            json!({"counter": counter, "from": from.to_string(), "to": to.to_string(), "reason": "vụ 7"});
        let held = self.call(reqwest::Method::POST, "/holds", Some(body)).await;
        let id = held["hold_id"].as_str().unwrap().to_owned();
        let marks = format!("select mark_id from mark where mark_id = '{id}'");
        self.wait_for("the hold", MINUTE, || async {
            (!self.index(&marks).await.is_empty()).then_some(())
        })
        .await;
        id
    }

    async fn index(&self, sql: &str) -> Vec<Vec<String>> {
        rows(&self.edge.data_dir().join("recorder.db"), sql).await
    }

    async fn wait_for<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        deadline: Duration,
        condition: impl Fn() -> F,
    ) -> T {
        let end_us = SystemClock.monotonic_us() + deadline.as_micros() as i64;
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            if SystemClock.monotonic_us() > end_us {
                let alerts = self.index("select kind, detail from alert").await;
                let log = self.edge.settings().with_file_name("minhquay-recorder.log");
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(15).collect();
                panic!(
                    "no {what} after {deadline:?}; alerts {alerts:?}\n{}",
                    tail.join("\n")
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Held segments: stream, sequence and digest.
    async fn held(&self) -> Vec<Vec<String>> {
        let sql = "select stream, cast(sequence as text), lower(hex(sha256)) from segment \
            where class = 'held' and state not in ('recording', 'tombstone') order by 1, sequence";
        self.index(sql).await
    }

    /// All held segments are on the disk byte for byte.
    fn assert_intact(&self, held: &[Vec<String>]) {
        let mut by_stream: BTreeMap<&str, BTreeMap<u64, PathBuf>> = BTreeMap::new();
        for row in held {
            let of_stream = by_stream
                .entry(&row[0])
                .or_insert_with(|| files(&self.disk.0, &row[0]));
            let path = &of_stream[&row[1].parse().unwrap()];
            let found = Digest::of(&std::fs::read(path).unwrap()).to_string();
            assert_eq!(found, row[2], "{row:?}");
        }
    }

    fn used_share(&self) -> f64 {
        let url = format!("{}/metrics", self.edge.url());
        let free = metric(&url, "recorder_disk_free_bytes").unwrap();
        1.0 - free / metric(&url, "recorder_disk_total_bytes").unwrap()
    }

    async fn alert(&self, kind: &str) -> Option<i64> {
        let sql = format!("select cast(start_wall_us as text) from alert where kind = '{kind}'");
        Some(self.index(&sql).await.first()?[0].parse().unwrap())
    }

    fn end(mut self) {
        self.edge.stop().unwrap();
        self.centre.stop().unwrap();
        drop(self.cameras);
        drop(self.disk);
        drop(self.dir);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_drops_the_oldest_continuous_footage_and_never_a_hold() {
    let Some(mut stage) = Stage::start("drop_oldest_continuous").await else {
        return;
    };
    let now = SystemClock.wall();
    stage.hold("q01", now - MINUTE_US, now + 10_000_000).await;
    // The line is down: from here on the centre gets nothing.
    stage.centre.stop().unwrap();
    let sealed = "select sequence from segment where state <> 'recording' and stream = 'q01.front.main'";
    stage
        .wait_for("held footage", MINUTE, || async {
            (stage
                .index(&sealed.replace("sequence", "cast(sequence as text)"))
                .await
                .len()
                > 6)
            .then_some(())
        })
        .await;
    let held = stage.held().await;
    assert!(
        held.len() >= 3 && held.iter().all(|row| row[0] == "q01.front.main"),
        "{held:?}"
    );

    // Half of the disk again has been recorded since it was full.
    let tombstones = "select stream, cast(segment_id as text), class, reason, lower(hex(sha256)) \
        from segment where state = 'tombstone' order by segment_id";
    let gone = stage
        .wait_for("deletions", 3 * MINUTE, || async {
            let gone = stage.index(tombstones).await;
            (gone.len() >= 10).then_some(gone)
        })
        .await;
    stage.assert_intact(&held);
    assert_eq!(stage.held().await, held);
    for row in &gone {
        assert_eq!(row[2], "continuous", "{row:?}");
        assert_eq!(row[4].len(), 64, "{row:?}");
    }
    let undelivered = gone
        .iter()
        .filter(|row| row[3].contains("does not have it"))
        .count();
    assert!(undelivered >= 5, "{gone:?}");
    let oldest_left = "select cast(min(segment_id) as text) from segment \
        where class = 'continuous' and state = 'sealed'";
    let oldest_left: i64 = stage.index(oldest_left).await[0][0].parse().unwrap();
    let newest_gone: i64 = gone.last().unwrap()[1].parse().unwrap();
    assert!(
        newest_gone < oldest_left,
        "{newest_gone} went before {oldest_left}"
    );
    let gaps = stage
        .index("select cause from gap where cause like 'disk%'")
        .await;
    assert!(gaps.is_empty(), "recording went on: {gaps:?}");
    assert!(stage.used_share() < 0.9);
    let gone_files = files(&stage.disk.0, "q02.front.main");
    let left =
        "select cast(count(*) as text) from segment where stream = 'q02.front.main' and state <> 'tombstone'";
    assert_eq!(gone_files.len().to_string(), stage.index(left).await[0][0]);
    stage.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_full_of_holds_stops_the_recording_until_they_are_released() {
    let Some(mut stage) = Stage::start("stop").await else {
        return;
    };
    let now = SystemClock.wall();
    let mut holds = Vec::new();
    for counter in ["q01", "q02"] {
        holds.push(stage.hold(counter, now - MINUTE_US, now + 60 * MINUTE_US).await);
    }
    stage.centre.stop().unwrap();
    let forecast = stage
        .wait_for("forecast", MINUTE, || stage.alert("disk_forecast"))
        .await;
    let used_then = stage.used_share();
    let open = "select stream from gap where cause = 'disk_full' and end_wall_us is null order by 1";
    stage
        .wait_for("stop of the recording", 3 * MINUTE, || async {
            (stage.index(open).await.len() == 2).then_some(())
        })
        .await;
    let low = stage
        .alert("disk_low")
        .await
        .expect("the alert is there when it stops");
    assert!(
        forecast + 5_000_000 < low,
        "the forecast came {} us before",
        low - forecast
    );
    assert!(
        used_then < 0.7,
        "{used_then} of the disk was used when the forecast came"
    );
    let held = stage.held().await;
    assert!(held.len() >= 10, "{held:?}");
    stage.assert_intact(&held);
    let gone = "select class from segment where state = 'tombstone'";
    assert!(stage.index(gone).await.is_empty(), "nothing may go");
    assert!(stage.used_share() > 0.85);

    // The centre is back and the case is closed.
    stage.centre.start().unwrap();
    for id in holds {
        stage
            .call(reqwest::Method::DELETE, &format!("/holds/{id}"), None)
            .await;
    }
    let ended = "select stream from gap where cause = 'disk_full' and end_wall_us is not null order by 1";
    stage
        .wait_for("recording after the release", 3 * MINUTE, || async {
            (stage.index(ended).await.len() >= 2).then_some(())
        })
        .await;
    let reasons = stage
        .index("select distinct reason from segment where state = 'tombstone'")
        .await;
    assert_eq!(reasons, [["room was needed; the centre has it"]]);
    stage.end();
}
