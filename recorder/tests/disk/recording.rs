//! A real recorder at work under the shim, and what it acknowledges meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use archive::time::{Clock, SystemClock};
use serde::{Deserialize, Serialize};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::trace::{Marker, build_shim};

pub const STREAMS: [&str; 2] = ["q01.front.main", "q02.front.main"];

/// Committed fragments, each as one text.
pub const FRAGMENTS: &str =
    "select s.stream || '/' || s.sequence || '/' || f.offset_bytes || '/' || hex(f.sha256)
    from fragment f join segment s using (segment_id)";

/// How long the recorder works each time, and whether it is killed at the end.
const RUNS: [(Duration, bool); 3] = [
    (Duration::from_secs(11), false),
    (Duration::from_secs(8), true),
    (Duration::from_secs(7), true),
];

/// What the recorder had acknowledged at a moment.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Acknowledged {
    pub events: BTreeSet<String>,
    pub fragments: BTreeSet<String>,
    pub gaps: BTreeSet<String>,
    /// Number and hash of each chain's head.
    pub heads: BTreeMap<String, (usize, String)>,
}

impl Acknowledged {
    /// Adds what a mark tells.
    pub fn add(&mut self, mark: &[u8]) {
        let more: Self = serde_json::from_slice(mark).unwrap();
        self.events.extend(more.events);
        self.fragments.extend(more.fragments);
        self.gaps.extend(more.gaps);
        self.heads.extend(more.heads);
    }
}

/// A folder in memory if there is such a disk: thousands of small disks are made in it.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// The texts of a query's only column; the database may be in use.
pub async fn rows(database: &Path, sql: &'static str) -> Vec<String> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(database)
        .read_only(true);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// A recorder with two streams, in a folder.
pub struct Edge {
    dir: PathBuf,
    shim: PathBuf,
    trace: PathBuf,
    port: u16,
    client: reqwest::Client,
}

/// Lets a recorder work, and gives the trace.
pub fn record(dir: &Path) -> PathBuf {
    let edge = Edge::create(dir);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut marker = Marker::open(&edge.trace);
    for (lasting, is_killed) in RUNS {
        runtime.block_on(edge.work(&mut marker, lasting, is_killed));
    }
    edge.trace
}

impl Edge {
    /// Writes the settings and builds the shim.
    pub fn create(dir: &Path) -> Self {
        // It is an error only if one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        std::fs::write(dir.join("token"), "geheim").unwrap();
        let mut text = format!(
            "site = \"s\"\ndata_dir = {:?}\nlisten = \"127.0.0.1:{port}\"\nevents_token_file = {:?}\n\
             [segment]\nduration_s = 4\nsync_ms = 400\n",
            dir.join("data"),
            dir.join("token")
        );
        for number in ["q01", "q02"] {
            text += &format!(
                "[[counter]]\nid = {number:?}\nname = {number:?}\n[[counter.stream]]\nviewpoint = \"front\"\n\
                 [counter.stream.main]\nkind = \"test\"\n"
            );
        }
        std::fs::write(dir.join("recorder.toml"), text).unwrap();
        std::fs::create_dir(dir.join("data")).unwrap();
        Self {
            dir: dir.to_owned(),
            shim: build_shim(dir),
            trace: dir.join("trace"),
            port,
            client: reqwest::Client::new(),
        }
    }

    /// Folder of the index; the recordings are below it.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The index's file.
    pub fn database(&self) -> PathBuf {
        self.data_dir().join("recorder.db")
    }

    /// Lets changes of paths that contain a text fail with an error number, until told otherwise.
    pub fn set_fault(&self, fault: Option<(i32, &str)>) {
        let file = self.dir.join("fault");
        match fault {
            Some((number, text)) => std::fs::write(file, format!("{number} {text}")).unwrap(),
            None => std::fs::remove_file(file).unwrap(),
        }
    }

    /// Starts the program.
    pub fn spawn(&self) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .unwrap();
        Command::new(env!("CARGO_BIN_EXE_minhquay-recorder"))
            .args(["run", "--config"])
            .arg(self.dir.join("recorder.toml"))
            .env("LD_PRELOAD", &self.shim)
            .env("WRITE_TRACE_ROOT", self.data_dir())
            .env("WRITE_TRACE_FILE", &self.trace)
            .env("WRITE_FAULT_FILE", self.dir.join("fault"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Stops the program in order.
    pub fn stop(&self, program: &mut Child) {
        let signal = Command::new("kill").arg(program.id().to_string()).status();
        assert!(signal.unwrap().success());
        let status = program.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    async fn work(&self, marker: &mut Marker, lasting: Duration, is_killed: bool) {
        let mut program = self.spawn();
        self.wait_until_recording(&mut program).await;
        let end_us = SystemClock.monotonic_us() + lasting.as_micros() as i64;
        let mut interval = tokio::time::interval(Duration::from_millis(300));
        while SystemClock.monotonic_us() < end_us {
            interval.tick().await;
            self.mark_events(marker).await;
            self.mark_index(marker).await;
        }
        if is_killed {
            marker.between_steps(|_| program.kill().unwrap());
            program.wait().unwrap();
        } else {
            self.stop(&mut program);
        }
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Waits until both streams are recorded.
    pub async fn wait_until_recording(&self, program: &mut Child) {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        let end_us = SystemClock.monotonic_us() + 60_000_000;
        loop {
            let answer = self.client.get(&url).send().await;
            if let Ok(answer) = answer
                && let Ok(text) = answer.text().await
            {
                let is_recording = |stream: &&str| {
                    text.contains(&format!("recorder_fragments_total{{stream=\"{stream}\"}}"))
                };
                if STREAMS.iter().all(is_recording) {
                    return;
                }
            }
            let ended = program.try_wait().unwrap();
            let is_late = SystemClock.monotonic_us() > end_us;
            assert!(ended.is_none() && !is_late, "{ended:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn mark_events(&self, marker: &mut Marker) {
        let id = uuid::Uuid::now_v7().to_string();
        let event = serde_json::json!({
            "specversion": "1.0", "type": "counter.opened", "source": "/test", "id": id,
            "time": "2026-11-23T08:00:00Z", "subject": "q01",
        });
        let answer = self
            .client
            .post(format!("http://127.0.0.1:{}/api/v1/events", self.port))
            .bearer_auth("geheim")
            .body(event.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 202);
        let acknowledged = Acknowledged {
            events: [id].into(),
            ..Acknowledged::default()
        };
        marker.mark(&serde_json::to_string(&acknowledged).unwrap());
    }

    /// What others can read in the index is acknowledged: uploads and facts are made of it.
    async fn mark_index(&self, marker: &mut Marker) {
        let database = self.dir.join("data/recorder.db");
        let heads = rows(
            &database,
            "select stream || ' ' || number || ' ' || lower(hex(hash)) from chain",
        )
        .await;
        let acknowledged = Acknowledged {
            events: BTreeSet::new(),
            fragments: rows(&database, FRAGMENTS).await.into_iter().collect(),
            gaps: rows(&database, "select gap_id from gap")
                .await
                .into_iter()
                .collect(),
            heads: heads
                .iter()
                .map(|head| {
                    let words: Vec<&str> = head.split(' ').collect();
                    (
                        words[0].to_owned(),
                        (words[1].parse().unwrap(), words[2].to_owned()),
                    )
                })
                .collect(),
        };
        marker.mark(&serde_json::to_string(&acknowledged).unwrap());
    }
}
