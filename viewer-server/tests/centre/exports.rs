//! Exports: whole fragments verbatim with their proof, few at a time, cancelled, expired, taken up again.

use std::io::Read as _;

use archive::fmp4::{fragment_rows, scan_segment};
use archive::ids::{RunId, SegmentKey, StreamId};
use archive::seal::export::{ExportProof, PROOF_BOX};
use archive::seal::signed::Purpose;
use archive::seal::{ChainBody, ChainHead, ChainReader, PublicKey, Receipt, Signed, leaf, pictures};
use archive::segment::{Digest, SegmentManifest};
use archive::time::{Anchor, ClockState, MediaTime};
use archive::uplink::Fact;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use viewer_server::access::Role;
use viewer_server::commands;
use viewer_server::storage::{manifest_key, media_key};

use crate::edge::upload_whole;
use crate::sealed::Chain;
use crate::stage::{Answer, MORNING, Recorder, SECOND, STREAM, Stage};

crate::on_each_database!(
    a_film_is_whole_fragments_and_proves_itself,
    what_a_gap_parts_comes_as_films_in_a_zip,
    footage_without_a_seal_or_its_end_is_refused,
    damage_in_the_store_is_found_and_named,
    an_export_is_cancelled_removed_and_expires,
    an_export_goes_on_after_a_server_dies,
    only_who_may_see_the_footage_may_take_it_out,
    exports_are_bounded,
    the_check_finds_what_is_not_as_it_was,
);

const FILM: &[u8] = include_bytes!("../../../archive/fixtures/isofmp4mux-h264-aac.mp4");

type Segment = (SegmentManifest, Vec<u8>);

/// A real file, placed in a run.
fn segment(run: &RunId, sequence: u64, start_us: i64) -> Segment {
    let scan = scan_segment(FILM).unwrap();
    let mut fragments = fragment_rows(FILM, &scan, 0);
    let origin = fragments[0].start.0;
    for fragment in &mut fragments {
        fragment.start = MediaTime(fragment.start.0 - origin + start_us);
    }
    let end = fragments.last().unwrap().offset_bytes + fragments.last().unwrap().size_bytes;
    let bytes = FILM[..end as usize].to_vec();
    let manifest = SegmentManifest {
        key: SegmentKey {
            stream: STREAM.parse().unwrap(),
            sequence,
        },
        run: run.clone(),
        size_bytes: end,
        init_size_bytes: scan.init.size_bytes,
        sha256: Digest::of(&bytes),
        tracks: scan.init.tracks(),
        fragments,
    };
    (manifest, bytes)
}

fn length_us() -> i64 {
    let (manifest, _) = segment(&RunId::from_uuid(uuid::Uuid::nil()), 1, 0);
    manifest.end() - manifest.start()
}

struct Recorded {
    recorder: Recorder,
    chain: Chain,
    segments: Vec<Segment>,
}

/// Segments of one run from the morning on, sealed, receipted and uploaded; then an hour passes.
async fn recorded(stage: &Stage, count: u64) -> Recorded {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let (mut chain, mut facts) = Chain::open(&recorder.key, stage.now());
    let (run, segments, started) = run(1, count, 0);
    facts.push(started);
    facts.extend(segments.iter().map(|segment| chain.seal(segment)));
    facts.push(chain.lost(99));
    recorder.facts(facts).await;
    recorder.await_receipts(1).await;
    for segment in &segments {
        upload_whole(stage, &recorder, segment).await;
    }
    assert_eq!(segments[0].0.run, run);
    stage.advance(3600 * SECOND);
    Recorded {
        recorder,
        chain,
        segments,
    }
}

/// A run whose position 0 is `offset_us` after the morning, and the fact that it began.
fn run(first: u64, count: u64, offset_us: i64) -> (RunId, Vec<Segment>, Fact) {
    let run = RunId::from_uuid(uuid::Uuid::now_v7());
    let segments: Vec<_> = (0..count)
        .map(|i| segment(&run, first + i, i as i64 * length_us()))
        .collect();
    let started = Fact::RunStarted {
        run: run.clone(),
        stream: STREAM.parse().unwrap(),
        tracks: segments[0].0.tracks.clone(),
        anchor: Anchor {
            media: MediaTime(0),
            wall: MORNING + offset_us,
            clock_state: ClockState::Synchronized,
            boot: None,
        },
    };
    (run, segments, started)
}

async fn ask(stage: &Stage, cookie: &str, from_us: i64, to_us: i64) -> Answer {
    let body = json!({"stream": STREAM, "from": (MORNING + from_us).to_string(), "to": (MORNING + to_us).to_string()});
    post(stage, cookie, &body).await
}

async fn post(stage: &Stage, cookie: &str, body: &Value) -> Answer {
    let request = Request::post("/api/v1/exports")
        .header(header::COOKIE, cookie)
        .header(header::CONTENT_TYPE, "application/json")
        .header("sec-fetch-site", "same-origin");
    stage.send(request.body(body.to_string().into()).unwrap()).await
}

async fn delete(stage: &Stage, cookie: &str, id: &str) -> StatusCode {
    let request = Request::delete(format!("/api/v1/exports/{id}"))
        .header(header::COOKIE, cookie)
        .header("sec-fetch-site", "same-origin");
    stage.send(request.body(Body::empty()).unwrap()).await.status
}

async fn view(stage: &Stage, cookie: &str, id: &str) -> Value {
    stage.get(cookie, &format!("/api/v1/exports/{id}")).await.json()
}

/// Asks, builds and fetches; returns the view and the file.
async fn export(stage: &Stage, cookie: &str, from_us: i64, to_us: i64) -> (Value, Vec<u8>) {
    let asked = ask(stage, cookie, from_us, to_us).await;
    assert_eq!(asked.status, StatusCode::CREATED, "{}", asked.text());
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(asked.header("location"), Some(&*format!("/api/v1/exports/{id}")));
    assert_eq!(asked.json()["state"], "waiting");
    assert!(stage.centre.export_next().await.unwrap());
    let view = view(stage, cookie, &id).await;
    assert_eq!(view["state"], "done", "{view}");
    let file = stage.get(cookie, view["file"]["url"].as_str().unwrap()).await;
    assert_eq!(file.status, StatusCode::OK);
    let bytes = file.bytes.to_vec();
    assert_eq!(view["file"]["sha256"], Digest::of(&bytes).to_string());
    (view, bytes)
}

/// Media and proof of a film, the proof's signatures and digests checked.
fn open(stage: &Stage, recorder: &Recorder, film: &[u8]) -> (Vec<u8>, ExportProof) {
    let at = film.windows(16).position(|bytes| bytes == PROOF_BOX).unwrap() - 8;
    let size = u32::from_be_bytes(film[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((at + size, &film[at + 4..at + 8]), (film.len(), &b"uuid"[..]));
    let (media, signed) = (&film[..at], &film[at + 24..]);
    let signed: Signed = serde_json::from_slice(signed).unwrap();
    let centre = PublicKey::from(&stage.centre.key);
    let proof: ExportProof = signed.open(Purpose::Export, &centre).unwrap();
    assert_eq!((proof.version, proof.centre_key), (1, centre));
    assert_eq!(proof.recorder_key, PublicKey::from(&recorder.key));
    let first: archive::seal::ChainEntry = proof.chain[0].read_unverified().unwrap();
    let head = ChainHead {
        number: first.number - 1,
        hash: first.previous,
    };
    let mut reader = ChainReader::new(proof.stream.clone(), proof.recorder_key, head);
    let entries: Vec<_> = proof.chain.iter().map(|e| reader.next(e).unwrap()).collect();
    let covering: Receipt = proof
        .receipts
        .last()
        .unwrap()
        .receipt
        .open(Purpose::Receipt, &centre)
        .unwrap();
    assert_eq!(
        (covering.number, covering.head),
        (reader.head().number, reader.head().hash)
    );
    let mut at = proof.segments[0].init_size_bytes as usize;
    assert_eq!(Digest::of(&media[..at]), proof.segments[0].init_sha256);
    let init = archive::fmp4::read_init(&media[..at]).unwrap();
    for segment in &proof.segments {
        let entry = entries.iter().find(|e| e.number == segment.entry).unwrap();
        let ChainBody::Segment(sealed) = &entry.body else {
            panic!("{entry:?}");
        };
        let leaves = leaf::leaves(segment.init_size_bytes, segment.init_sha256, &segment.fragments);
        sealed.check_leaves(&leaves).unwrap();
        let mut digests = Vec::new();
        let wanted = segment.fragments.iter().skip(segment.first as usize);
        for fragment in wanted.take(segment.count as usize) {
            let bytes = &media[at..at + fragment.size_bytes as usize];
            assert_eq!(Digest::of(bytes), fragment.sha256);
            digests.extend(pictures::digests(bytes, &init).unwrap());
            at += bytes.len();
        }
        assert!(!digests.is_empty());
        assert_eq!(segment.pictures, STANDARD.encode(digests));
    }
    assert_eq!(at, media.len());
    (media.to_vec(), proof)
}

async fn a_film_is_whole_fragments_and_proves_itself(stage: &Stage) {
    let recorded = recorded(stage, 3).await;
    let cookie = stage.sign_in("hoa", Role::ComplaintHandler, "ba-dinh").await;
    let length = length_us();
    // From inside the first file to inside the last.
    let (view, film) = export(stage, &cookie, length / 2, 2 * length + length / 2).await;
    let name = view["file"]["name"].as_str().unwrap();
    assert!(name.starts_with("ba-dinh-q01_front_main_20261123-08"), "{name}");
    assert_eq!(view["progress"], 1.0);
    assert_eq!(view["content"]["films"].as_array().unwrap().len(), 1);
    let (_, proof) = open(stage, &recorded.recorder, &film);
    assert_eq!(proof.counter_name, "Quầy 01");
    assert_eq!(proof.asked_from, MORNING + length / 2);
    let [first, middle, last] = &proof.segments[..] else {
        panic!("three segments");
    };
    assert_eq!((middle.first, middle.count as usize), (0, middle.fragments.len()));
    assert_eq!(last.first, 0);
    let start = first.fragments[first.first as usize].clone();
    assert!(start.is_keyframe && start.start.0 <= length / 2);
    let end = &last.fragments[(last.count - 1) as usize];
    assert!(
        end.start.0 < 2 * length + length / 2 && (end.start + end.duration_us).0 >= 2 * length + length / 2
    );
    let stream: StreamId = STREAM.parse().unwrap();
    for action in ["export", "download"] {
        assert_eq!(
            stage.centre.db.footage_reads(&stream, action).await.unwrap(),
            1,
            "{action}"
        );
    }
    let part = Request::get(view["file"]["url"].as_str().unwrap())
        .header(header::COOKIE, &cookie)
        .header(header::RANGE, "bytes=4-7");
    let part = stage.send(part.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (part.status, &part.bytes[..]),
        (StatusCode::PARTIAL_CONTENT, &b"ftyp"[..])
    );
    // Once the day is closed, its root is in the proof.
    assert!(proof.receipts.iter().all(|r| r.day.is_none()));
    stage.advance(24 * 3600 * SECOND);
    stage.centre.close_days().await.unwrap();
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let (_, film) = export(stage, &cookie, 0, length).await;
    let (media, proof) = open(stage, &recorded.recorder, &film);
    assert!(
        media == recorded.segments[0].1,
        "a whole segment is what was recorded, byte for byte"
    );
    let receipt = proof.receipts.last().unwrap();
    let key = PublicKey::from(&stage.centre.key);
    receipt
        .day
        .as_ref()
        .unwrap()
        .verify(&receipt.receipt, &key)
        .unwrap();
}

async fn what_a_gap_parts_comes_as_films_in_a_zip(stage: &Stage) {
    let mut recorded = recorded(stage, 3).await;
    let length = length_us();
    let (_, segments, started) = run(4, 1, 60 * SECOND);
    let seal = recorded.chain.seal(&segments[0]);
    recorded.recorder.facts(vec![started, seal]).await;
    upload_whole(stage, &recorded.recorder, &segments[0]).await;
    let cookie = stage.sign_in("hoa", Role::ComplaintHandler, "ba-dinh").await;
    let to = MORNING + 60 * SECOND + length;
    let body = json!({"counter": "ba-dinh-q01", "from": MORNING.to_string(), "to": to.to_string()});
    let id = post(stage, &cookie, &body).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(stage.centre.export_next().await.unwrap());
    let view = view(stage, &cookie, &id).await;
    assert_eq!(view["state"], "done", "{view}");
    assert!(view["file"]["name"].as_str().unwrap().ends_with(".zip"));
    let hole = &view["content"]["holes"][0];
    assert_eq!(hole["from"], (MORNING + 3 * length).to_string(), "{view}");
    assert_eq!(hole["to"], (MORNING + 60 * SECOND).to_string());
    let file = stage.get(&cookie, view["file"]["url"].as_str().unwrap()).await;
    assert_eq!(file.header("content-type"), Some("application/zip"));
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(file.bytes)).unwrap();
    assert_eq!(zip.len(), 3);
    let mut read = |name: &str| {
        let mut bytes = Vec::new();
        zip.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let manifest: Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    let expected = [3 * recorded.segments[0].1.len(), segments[0].1.len()];
    for (film, count) in manifest["films"].as_array().unwrap().iter().zip([3, 1]) {
        let bytes = read(film["name"].as_str().unwrap());
        assert_eq!(film["sha256"], Digest::of(&bytes).to_string());
        let (media, proof) = open(stage, &recorded.recorder, &bytes);
        assert_eq!(proof.segments.len(), count);
        let init = proof.segments[0].init_size_bytes as usize;
        assert_eq!(
            media.len(),
            expected[usize::from(count == 1)] - (count - 1) * init
        );
    }
}

async fn footage_without_a_seal_or_its_end_is_refused(stage: &Stage) {
    let mut recorded = recorded(stage, 2).await;
    let cookie = stage.sign_in("hoa", Role::ComplaintHandler, "ba-dinh").await;
    let length = length_us();
    let tail = ask(stage, &cookie, 0, 2 * length + SECOND).await;
    assert_eq!(
        (tail.status, tail.code()),
        (StatusCode::CONFLICT, "not_arrived".into())
    );
    let none = ask(stage, &cookie, -60 * SECOND, -50 * SECOND).await;
    assert_eq!(
        (none.status, none.code()),
        (StatusCode::NOT_FOUND, "no_recording".into())
    );
    let unsealed = segment(&recorded.segments[0].0.run, 3, 2 * length);
    upload_whole(stage, &recorded.recorder, &unsealed).await;
    let early = ask(stage, &cookie, 0, 3 * length).await;
    assert_eq!(
        (early.status, early.code()),
        (StatusCode::CONFLICT, "not_sealed".into())
    );
    let beyond = segment(&recorded.segments[0].0.run, 4, 3 * length);
    let seal = recorded.chain.seal(&beyond);
    recorded.recorder.facts(vec![seal]).await;
    assert_eq!(ask(stage, &cookie, 0, 3 * length).await.code(), "never_sealed");
    let wrong = json!({"from": MORNING.to_string(), "to": (MORNING + SECOND).to_string()});
    assert_eq!(post(stage, &cookie, &wrong).await.code(), "bad_parameter");
    let long = ask(stage, &cookie, 0, 13 * 3600 * SECOND).await;
    assert_eq!(long.code(), "bad_parameter");
}

async fn damage_in_the_store_is_found_and_named(stage: &Stage) {
    let recorded = recorded(stage, 2).await;
    let cookie = stage.sign_in("hoa", Role::ComplaintHandler, "ba-dinh").await;
    let (manifest, bytes) = &recorded.segments[1];
    let mut damaged = bytes.clone();
    let at = damaged.len() - 5;
    damaged[at] ^= 1;
    let key = media_key(&recorded.recorder.id, &manifest.key);
    stage.centre.storage.put(&key, damaged.into()).await.unwrap();
    let id = ask(stage, &cookie, 0, 2 * length_us()).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(stage.centre.export_next().await.unwrap());
    let view = view(stage, &cookie, &id).await;
    assert_eq!(
        (&view["state"], &view["failure"]),
        (&"failed".into(), &"damaged".into())
    );
    let detail = view["failure_detail"].as_str().unwrap();
    assert!(detail.contains(&format!("{STREAM}/2")), "{detail}");
    let file = stage.get(&cookie, &format!("/api/v1/exports/{id}/file")).await;
    assert_eq!(file.code(), "export_not_done");
}

async fn an_export_is_cancelled_removed_and_expires(stage: &Stage) {
    let _recorded = recorded(stage, 1).await;
    let cookie = stage.sign_in("hoa", Role::ComplaintHandler, "ba-dinh").await;
    let id = ask(stage, &cookie, 0, length_us()).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(delete(stage, &cookie, &id).await, StatusCode::NO_CONTENT);
    assert_eq!(view(stage, &cookie, &id).await["state"], "cancelled");
    assert!(!stage.centre.export_next().await.unwrap(), "nobody builds it");
    assert_eq!(delete(stage, &cookie, &id).await, StatusCode::NO_CONTENT);
    assert_eq!(delete(stage, &cookie, &id).await, StatusCode::NOT_FOUND);
    let (view, _) = export(stage, &cookie, 0, length_us()).await;
    let (other, _) = export(stage, &cookie, 0, length_us()).await;
    let listed = stage.get(&cookie, "/api/v1/exports").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let id = view["id"].as_str().unwrap();
    assert_eq!(delete(stage, &cookie, id).await, StatusCode::NO_CONTENT);
    let url = |view: &Value| view["file"]["url"].as_str().unwrap().to_owned();
    assert_eq!(
        stage.get(&cookie, &url(&view)).await.status,
        StatusCode::NOT_FOUND
    );
    let kept = stage.centre.settings.data_dir.join("footage/_exports");
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
    stage.advance(23 * 3600 * SECOND);
    assert_eq!(stage.centre.expire_exports().await.unwrap(), 0);
    stage.advance(2 * 3600 * SECOND);
    assert_eq!(stage.centre.expire_exports().await.unwrap(), 1);
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0);
    assert!(
        stage
            .centre
            .db
            .export(other["id"].as_str().unwrap().parse().unwrap())
            .await
            .unwrap()
            .is_none()
    );
}

async fn an_export_goes_on_after_a_server_dies(stage: &Stage) {
    let recorded = recorded(stage, 1).await;
    let cookie = stage.sign_in("hoa", Role::ComplaintHandler, "ba-dinh").await;
    let id = ask(stage, &cookie, 0, length_us()).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let now = stage.now();
    let taken = stage
        .centre
        .db
        .claim_export("a server that dies", now, now + 30 * SECOND)
        .await
        .unwrap();
    assert_eq!(taken.unwrap().export_id.to_string(), id);
    let left_over = stage.centre.settings.data_dir.join("exports").join(&id);
    std::fs::create_dir_all(&left_over).unwrap();
    std::fs::write(left_over.join("film-0"), "half").unwrap();
    let other = stage.reopened("").await;
    assert!(!other.centre.export_next().await.unwrap(), "it may still live");
    assert_eq!(view(stage, &cookie, &id).await["state"], "running");
    stage.advance(31 * SECOND);
    assert!(other.centre.export_next().await.unwrap());
    let view = view(stage, &cookie, &id).await;
    assert_eq!(view["state"], "done");
    let file = stage.get(&cookie, view["file"]["url"].as_str().unwrap()).await;
    open(stage, &recorded.recorder, &file.bytes);
    assert!(!left_over.exists());
}

async fn only_who_may_see_the_footage_may_take_it_out(stage: &Stage) {
    let _recorded = recorded(stage, 1).await;
    let length = length_us();
    let admin = stage.sign_in("quan-tri", Role::Administrator, "ha-noi").await;
    assert_eq!(ask(stage, &admin, 0, length).await.code(), "forbidden");
    let far = stage.sign_in("minh", Role::ComplaintHandler, "tay-ho").await;
    assert_eq!(ask(stage, &far, 0, length).await.code(), "not_found");
    assert_eq!(ask(stage, "", 0, length).await.code(), "not_signed_in");
    let cookie = stage.sign_in("hoa", Role::ComplaintHandler, "ba-dinh").await;
    let (view, _) = export(stage, &cookie, 0, length).await;
    let other = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    for path in [
        view["file"]["url"].as_str().unwrap().to_owned(),
        format!("/api/v1/exports/{}", view["id"].as_str().unwrap()),
    ] {
        assert_eq!(stage.get(&other, &path).await.code(), "not_found", "{path}");
    }
    assert_eq!(
        delete(stage, &other, view["id"].as_str().unwrap()).await,
        StatusCode::NOT_FOUND
    );
}

async fn exports_are_bounded(stage: &Stage) {
    let _recorded = recorded(stage, 1).await;
    let cookie = stage.sign_in("hoa", Role::ComplaintHandler, "ba-dinh").await;
    for _ in 0..5 {
        assert_eq!(
            ask(stage, &cookie, 0, length_us()).await.status,
            StatusCode::CREATED
        );
    }
    let answer = ask(stage, &cookie, 0, length_us()).await;
    assert_eq!(answer.code(), "too_many_exports");
    let other = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    assert_eq!(
        ask(stage, &other, 0, length_us()).await.status,
        StatusCode::CREATED
    );
}

async fn the_check_finds_what_is_not_as_it_was(stage: &Stage) {
    let recorded = recorded(stage, 2).await;
    stage.advance(24 * 3600 * SECOND);
    stage.centre.close_days().await.unwrap();
    let check = || async {
        commands::check(&stage.centre.db, &stage.centre.settings)
            .await
            .unwrap()
    };
    let checked = check().await;
    assert_eq!(checked.faults, Vec::<String>::new());
    let counts = (
        checked.segments,
        checked.unsealed,
        checked.entries,
        checked.receipts,
        checked.days,
    );
    assert_eq!(counts, (2, 0, 5, 1, 1));
    let pool = sqlx::AnyPool::connect(&stage.centre.settings.database_url())
        .await
        .unwrap();
    for (change, undo, found) in [
        (
            "UPDATE chain_entry SET text = replace(text, 'gone', 'Gone') WHERE number = 5",
            "UPDATE chain_entry SET text = replace(text, 'Gone', 'gone') WHERE number = 5",
            "entry 5",
        ),
        (
            "UPDATE receipt SET text = replace(text, 'recorder', 'Recorder')",
            "UPDATE receipt SET text = replace(text, 'Recorder', 'recorder')",
            "receipt",
        ),
        (
            "UPDATE day_root SET text = replace(text, 'count', 'Count')",
            "UPDATE day_root SET text = replace(text, 'Count', 'count')",
            "not signed by this centre",
        ),
        (
            "UPDATE segment SET sha256 = replace(sha256, '0', '1') WHERE sequence = 2",
            "",
            "not what entry 4",
        ),
    ] {
        sqlx::query(change).execute(&pool).await.unwrap();
        let faults = check().await.faults;
        assert!(
            faults.iter().any(|fault| fault.contains(found)),
            "{found}: {faults:?}"
        );
        if !undo.is_empty() {
            sqlx::query(undo).execute(&pool).await.unwrap();
            assert!(check().await.faults.is_empty(), "{undo}");
        }
    }
    let manifest = manifest_key(&recorded.recorder.id, &recorded.segments[0].0.key);
    stage.centre.storage.delete(&manifest).await.unwrap();
    let faults = check().await.faults;
    assert!(
        faults.iter().any(|fault| fault.contains("manifest is missing")),
        "{faults:?}"
    );
    pool.close().await;
}
