//! One site with one counter, and the questions that tests ask of both ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use system_tests::programs::{http_client, until};
use system_tests::stage::{Cameras, Centre, Edge, Place, StreamSource};

pub const COUNTER: &str = "q01";
pub const STREAM: &str = "q01.front.main";
pub const PASSWORD: &str = "mat-khau-thu-nghiem";
pub const USER: &str = "thu";

/// A site with one counter.
pub struct Site {
    pub cameras: Cameras,
    pub centre: Centre,
    pub edge: Edge,
    pub token: String,
    client: reqwest::Client,
    cookie: String,
    // Last, so that it goes when the programs are gone.
    _dir: tempfile::TempDir,
}

impl Site {
    /// Starts camera, centre and recorder; the camera's mount is `cam`.
    pub async fn start(mount: &str, segment_s: u32) -> Self {
        Self::start_with(&[&format!("cam={mount}")], segment_s, |_| String::new()).await
    }

    /// As [`Site::start`], with more mounts and more settings of the recorder.
    pub async fn start_with(mounts: &[&str], segment_s: u32, more: impl Fn(&Cameras) -> String) -> Self {
        Self::start_between(Place::here(), Place::here(), mounts, segment_s, more).await
    }

    /// As [`Site::start_with`], cameras and recorder in one place and the centre in another.
    pub async fn start_between(
        site: Place,
        office: Place,
        mounts: &[&str],
        segment_s: u32,
        more: impl Fn(&Cameras) -> String,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cameras = Cameras::start_at(&site, &dir.path().join("cameras"), mounts).unwrap();
        let mut centre = Centre::create_at(&office.address, &dir.path().join("centre"), "").unwrap();
        centre.add_unit("ha-noi", "Hà Nội", None).unwrap();
        centre.add_site("site", "ha-noi", "Một cửa").unwrap();
        centre
            .add_user(USER, "complaint_handler", "ha-noi", PASSWORD)
            .unwrap();
        let token = centre.add_events_token().unwrap();
        centre.start().unwrap();
        let stream = StreamSource::front(COUNTER, cameras.url("cam"));
        let url = centre.url();
        let mut edge = Edge::create_at(
            site,
            &dir.path().join("recorder"),
            "site",
            Some(&url),
            segment_s,
            &[stream],
            &more(&cameras),
        )
        .unwrap();
        edge.enrol(&url, &centre.enrol_code("site").unwrap()).unwrap();
        edge.start().unwrap();
        let client = http_client();
        let answer = client
            .post(format!("{url}/api/v1/session"))
            .json(&serde_json::json!({"username": USER, "password": PASSWORD}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 204);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self {
            cameras,
            centre,
            edge,
            token,
            client,
            cookie,
            _dir: dir,
        }
    }

    /// Asks the centre as the complaint handler.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("{}/api/v1{path}", self.centre.url());
        self.client
            .get(url)
            .header("cookie", &self.cookie)
            .send()
            .await
            .unwrap()
    }

    /// Calls the centre as the complaint handler's page does.
    pub async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> reqwest::Response {
        let url = format!("{}/api/v1{path}", self.centre.url());
        let mut call = self
            .client
            .request(method, url)
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", "same-origin");
        if let Some(body) = body {
            call = call.json(body);
        }
        call.send().await.unwrap()
    }

    /// Posts events to the centre or the recorder.
    pub async fn post(&self, url: &str, token: &str, events: &[serde_json::Value]) -> serde_json::Value {
        let answer = self
            .client
            .post(format!("{url}/api/v1/events"))
            .bearer_auth(token)
            .header("content-type", "application/cloudevents-batch+json")
            .body(serde_json::to_vec(events).unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 202);
        answer.json().await.unwrap()
    }

    /// A metric of the recorder, summed over its labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        metric(&format!("{}/metrics", self.edge.url()), name)
    }

    /// A metric of the centre, summed over its labels.
    pub fn centre_metric(&self, name: &str) -> Option<f64> {
        metric(&format!("{}/metrics", self.centre.url()), name)
    }

    /// Waits until [`Site::metric`] fulfils a condition.
    pub fn wait_for_metric(&self, name: &str, deadline: Duration, is_met: impl Fn(f64) -> bool) {
        let mut last = None;
        let met = until(deadline, || {
            last = self.metric(name);
            last.filter(|value| is_met(*value))
        });
        assert!(
            met.is_some(),
            "{name} is {last:?} after {deadline:?}\n{}",
            self.log_tail()
        );
    }

    /// Waits until all sealed segments and all facts are at the centre.
    pub fn wait_until_uploaded(&self, deadline: Duration) {
        self.wait_for_metric("recorder_pending_segments", deadline, |pending| pending == 0.0);
        self.wait_for_metric("recorder_pending_facts", deadline, |pending| pending == 0.0);
    }

    /// The last of what the recorder said.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.edge.settings().with_file_name("minhquay-recorder.log"));
        let log = log.unwrap_or_default();
        log.lines()
            .rev()
            .take(20)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// A stream's files at the centre, by sequence.
    pub fn footage(&self, stream: &str) -> BTreeMap<u64, PathBuf> {
        files(&self.centre.footage_dir(), stream)
    }

    /// A stream's files at the recorder, by sequence.
    pub fn recordings(&self, stream: &str) -> BTreeMap<u64, PathBuf> {
        files(&self.edge.recordings_dir(), stream)
    }

    /// Rows of the recorder's index, each as its columns' texts.
    pub async fn index(&self, sql: &'static str) -> Vec<Vec<String>> {
        rows(&self.edge.data_dir().join("recorder.db"), sql).await
    }

    /// Rows of the centre's database, each as its columns' texts.
    pub async fn catalogue(&self, sql: &'static str) -> Vec<Vec<String>> {
        rows(&self.centre.data_dir().join("centre.db"), sql).await
    }
}

/// Rows of a database, each as its columns' texts.
pub async fn rows(path: &Path, sql: &str) -> Vec<Vec<String>> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .read_only(true);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    rows.iter()
        .map(|row| (0..row.len()).map(|i| row.get::<String, _>(i)).collect())
        .collect()
}

/// A stream's files below a folder, by sequence.
pub fn files(root: &Path, stream: &str) -> BTreeMap<u64, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "mp4")
                && path.iter().any(|folder| folder == stream)
            {
                let sequence = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
                found.insert(sequence, path);
            }
        }
    }
    found
}

/// A metric at an address, summed over its labels.
pub fn metric(url: &str, name: &str) -> Option<f64> {
    let text = system_tests::programs::http_text(url)?;
    let values: Vec<f64> = text
        .lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}
