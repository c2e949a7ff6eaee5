//! Whatever byte is changed of what was recorded, sealed, stored or exported, the offline verifier finds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use archive::time::{Clock, SystemClock};
use rand::{Rng, SeedableRng};
use serde_json::json;
use sqlx::{Column as _, ConnectOptions as _, Connection as _, Row as _, TypeInfo as _, ValueRef as _};
use system_tests::programs::binary;

use crate::site::{STREAM, Site};

/// Changes in all; the long version makes as many as the project promises.
fn changes() -> usize {
    if std::env::var_os("MINHQUAY_LONG").is_some() {
        10_000
    } else {
        4_000
    }
}

/// What was recorded, and the keys that a stranger has on paper.
struct Evidence {
    dir: tempfile::TempDir,
    recorder_key: String,
    centre_key: String,
}

impl Evidence {
    fn film(&self) -> PathBuf {
        self.dir.path().join("film.mp4")
    }

    fn edge(&self) -> PathBuf {
        self.dir.path().join("edge")
    }

    fn catalogue(&self) -> PathBuf {
        self.dir.path().join("centre/centre.db")
    }

    fn verify(&self, path: &Path) -> Output {
        Command::new(binary("minhquay-verify"))
            .arg(path)
            .args([
                "--recorder-key",
                &self.recorder_key,
                "--centre-key",
                &self.centre_key,
            ])
            .output()
            .unwrap()
    }

    fn assert_proven(&self, path: &Path) {
        let output = self.verify(path);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}: {text}", path.display());
    }
}

/// Records a few seconds over a camera that drops out once, exports, and keeps everything once the programs have ended.
async fn evidence() -> Evidence {
    let mut site = Site::start("proof,size=160x120,fps=10,gop=10,bitrate=64", 4).await;
    let long = Duration::from_secs(90);
    site.wait_for_metric("recorder_segments_uploaded_total", long, |n| n >= 2.0);
    site.cameras
        .fault("cam", json!({"fault": "drop_connection"}))
        .await
        .unwrap();
    let before = site.metric("recorder_segments_uploaded_total").unwrap_or(0.0);
    site.wait_for_metric("recorder_segments_uploaded_total", long, |n| n >= before + 2.0);
    let film = export(&site).await;
    site.edge.stop().unwrap();
    // What the orderly end sealed goes up with the next start, so that both ends hold the same.
    site.edge.start().unwrap();
    site.wait_until_uploaded(long);
    let keys = site
        .get("/proof/keys")
        .await
        .json::<serde_json::Value>()
        .await
        .unwrap();
    site.edge.stop().unwrap();
    site.centre.stop().unwrap();

    let dir = tempfile::tempdir_in(memory()).unwrap();
    let kept = Evidence {
        recorder_key: text(&keys["recorders"][0]["key"]["public_key"]),
        centre_key: text(&keys["centre"]["public_key"]),
        dir,
    };
    copy(&site.edge.data_dir(), &kept.edge());
    copy(&site.centre.data_dir(), &kept.dir.path().join("centre"));
    std::fs::write(kept.film(), film).unwrap();
    kept
}

/// Thousands of small rewrites are no work for a disk.
fn memory() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() {
        shm.to_owned()
    } else {
        std::env::temp_dir()
    }
}

fn text(value: &serde_json::Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text, not {value}"))
        .to_owned()
}

async fn export(site: &Site) -> Vec<u8> {
    let rows = site
        .catalogue(
            "select cast(min(start_us) as text), cast(max(end_us) as text) from segment where sequence <= 2",
        )
        .await;
    let time = |us: &str| archive::time::WallTime(us.parse().unwrap()).to_string();
    let asked = json!({"stream": STREAM, "from": time(&rows[0][0]), "to": time(&rows[0][1])});
    let created = site.send(reqwest::Method::POST, "/exports", Some(&asked)).await;
    assert_eq!(created.status(), 201);
    let created: serde_json::Value = created.json().await.unwrap();
    let id = text(&created["id"]);
    let mut state = serde_json::Value::Null;
    let deadline = SystemClock.monotonic_us() + 60_000_000;
    while state["state"] != "done" && SystemClock.monotonic_us() < deadline {
        state = site.get(&format!("/exports/{id}")).await.json().await.unwrap();
        assert_ne!(state["state"], "failed", "{state}");
    }
    assert_eq!(state["state"], "done", "{state}");
    let file = site.get(&format!("/exports/{id}/file")).await;
    file.bytes().await.unwrap().to_vec()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The media, chains and receipts under a folder.
fn media(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".mp4") || ["chain.log", "receipts.log", "volume.json"].contains(&&*name)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every value of the tables that tell of media, time, identity and order; `None` if they can't be read.
async fn content(database: &Path, tables: &[&'static str]) -> Option<Vec<String>> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(database)
        .read_only(true)
        .immutable(true);
    let mut connection = options.connect().await.ok()?;
    let mut all = Vec::new();
    for table in tables {
        let rows = sqlx::query(*table).fetch_all(&mut connection).await.ok()?;
        for row in rows {
            let values: Vec<String> = (0..row.len())
                .map(|i| {
                    let raw = row.try_get_raw(i).map(|raw| raw.type_info().name().to_owned());
                    let value = row
                        .try_get::<i64, _>(i)
                        .map(|n| n.to_string())
                        .or_else(|_| row.try_get::<String, _>(i))
                        .or_else(|_| row.try_get::<Vec<u8>, _>(i).map(|bytes| format!("{bytes:x?}")));
                    format!("{}={raw:?}{value:?}", row.column(i).name())
                })
                .collect();
            all.push(values.join(","));
        }
    }
    connection.close().await.ok()?;
    all.sort();
    Some(all)
}

const EDGE_TABLES: [&str; 5] = [
    "select stream, sequence, run_id, init_size_bytes, size_bytes, sha256, state = 'tombstone' from segment",
    "select * from fragment",
    "select run_id, stream, tracks from run",
    "select run_id, media_us, wall_us, clock_state from anchor",
    "select gap_id, stream, start_wall_us, end_wall_us, cause, detail from gap",
];

const CENTRE_TABLES: [&str; 8] = [
    "select recorder_id, public_key from recorder",
    "select recorder_id, stream_id, number, hash, previous, text, signature from chain_entry",
    "select * from receipt",
    "select business_date, receipts, root, hash, text, signature from day_root",
    "select run_id, stream_id, recorder_id, tracks from run",
    "select run_id, media_us, wall_us, steered_us, clock_state from anchor",
    "select stream_id, sequence, recorder_id, run_id, start_us, end_us, start_media_us, end_media_us, size_bytes, \
     init_size_bytes, init_sha256, sha256, gop_index from segment",
    "select gap_id, recorder_id, stream_id, start_us, end_us, cause, detail from gap",
];

/// What was changed where, and whether the verifier noticed.
#[derive(Default)]
struct Tally {
    found: usize,
    harmless: usize,
    missed: Vec<String>,
}

impl Tally {
    fn take(&mut self, other: Tally) {
        self.found += other.found;
        self.harmless += other.harmless;
        self.missed.extend(other.missed);
    }
}

/// Changes one byte of a file, asks the verifier about `target`, and puts the byte back.
async fn change(
    evidence: &Evidence,
    random: &mut rand::rngs::StdRng,
    file: &Path,
    target: &Path,
    tables: &[&'static str],
    whole: Option<&Vec<String>>,
) -> Tally {
    use std::os::unix::fs::FileExt as _;
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let at = random.random_range(0..opened.metadata().unwrap().len());
    let mut byte = [0];
    opened.read_exact_at(&mut byte, at).unwrap();
    let changed = byte[0] ^ (1 << random.random_range(0..8));
    opened.write_all_at(&[changed], at).unwrap();
    let is_noticed = evidence.verify(target).status.code() != Some(0);
    // A byte of a database may be one of a page that is not used, of an index, or of another table.
    let is_harmless = whole.is_some() && content(file, tables).await.as_ref() == whole;
    opened.write_all_at(&byte, at).unwrap();
    let mut tally = Tally::default();
    match (is_noticed, is_harmless) {
        (true, _) => tally.found = 1,
        (false, true) => tally.harmless = 1,
        (false, false) => tally.missed.push(format!("byte {at} of {}", file.display())),
    }
    tally
}

async fn change_many(evidence: &Evidence, seed: u64, count: usize) -> BTreeMap<&'static str, Tally> {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut tallies: BTreeMap<&'static str, Tally> = BTreeMap::new();
    let edge_db = evidence.edge().join("recorder.db");
    let edge_files = media(&evidence.edge().join("recordings"));
    let centre_db = evidence.catalogue();
    let centre_files = media(&evidence.dir.path().join("centre/footage"));
    let edge_whole = content(&edge_db, &EDGE_TABLES).await;
    let centre_whole = content(&centre_db, &CENTRE_TABLES).await;
    assert!(edge_whole.is_some() && centre_whole.is_some());
    for round in 0..count {
        let (what, tally) = match round % 5 {
            0 | 1 => {
                let film = evidence.film();
                (
                    "exported film",
                    change(evidence, &mut random, &film, &film, &[], None).await,
                )
            }
            2 => {
                let file = &edge_files[random.random_range(0..edge_files.len())];
                let tally = change(evidence, &mut random, file, &evidence.edge(), &[], None).await;
                ("recorder's disk", tally)
            }
            3 => {
                let whole = edge_whole.as_ref();
                let tally = change(
                    evidence,
                    &mut random,
                    &edge_db,
                    &evidence.edge(),
                    &EDGE_TABLES,
                    whole,
                )
                .await;
                ("recorder's index", tally)
            }
            _ if round % 10 == 4 => {
                let file = &centre_files[random.random_range(0..centre_files.len())];
                let tally = change(evidence, &mut random, file, &centre_db, &[], None).await;
                ("centre's footage", tally)
            }
            _ => {
                let whole = centre_whole.as_ref();
                let tally = change(
                    evidence,
                    &mut random,
                    &centre_db,
                    &centre_db,
                    &CENTRE_TABLES,
                    whole,
                )
                .await;
                ("centre's catalogue", tally)
            }
        };
        tallies.entry(what).or_default().take(tally);
    }
    tallies
}

#[tokio::test(flavor = "multi_thread")]
async fn every_changed_byte_that_matters_is_found() {
    let evidence = evidence().await;
    evidence.assert_proven(&evidence.film());
    evidence.assert_proven(&evidence.edge());
    evidence.assert_proven(&evidence.catalogue());

    // Each worker changes bytes of its own copy.
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let runs = (0..workers).map(|worker| {
        let dir = tempfile::tempdir_in(memory()).unwrap();
        copy(evidence.dir.path(), dir.path());
        let own = Evidence {
            dir,
            recorder_key: evidence.recorder_key.clone(),
            centre_key: evidence.centre_key.clone(),
        };
        let count = changes() / workers;
        tokio::spawn(async move { change_many(&own, 20_261_123 + worker as u64, count).await })
    });
    let mut tallies: BTreeMap<&'static str, Tally> = BTreeMap::new();
    for run in runs.collect::<Vec<_>>() {
        for (what, tally) in run.await.unwrap() {
            tallies.entry(what).or_default().take(tally);
        }
    }
    let mut missed = Vec::new();
    for (what, tally) in tallies {
        let (found, harmless) = (tally.found, tally.harmless);
        println!(
            "{what}: {found} found, {harmless} without meaning, {} missed",
            tally.missed.len()
        );
        missed.extend(tally.missed);
    }
    assert!(missed.is_empty(), "{missed:#?}");
    evidence.assert_proven(&evidence.film());
}
