//! Recorders: enrolment, sessions, facts, uploads.

use archive::gap::GapCause;
use archive::ids::{RunId, SegmentKey};
use archive::segment::{Digest, Fragment, SegmentManifest, Track, TrackKind};
use archive::time::{Anchor, ClockState, MediaTime};
use archive::uplink::{Fact, StreamHealth, ToRecorder, ToServer};
use axum::http::{Method, StatusCode};
use ed25519_dalek::SigningKey;
use serde_json::json;
use viewer_server::access::Role;
use viewer_server::commands;

use crate::stage::{Answer, MORNING, Recorder, SECOND, STREAM, Stage, event};

crate::on_each_database!(
    an_enrolment_code_works_once_and_only_for_its_site,
    wrong_tries_use_up_an_enrolment_code,
    the_newest_session_wins,
    facts_are_stored_once_and_never_leave_a_hole,
    a_counter_of_another_site_cannot_be_claimed,
    an_upload_resumes_where_it_broke_off,
    a_wrong_digest_starts_the_upload_anew,
    a_stored_segment_is_not_replaced,
    an_upload_is_abandoned_after_a_week_of_silence,
    a_segment_of_an_unknown_run_must_wait,
    a_heartbeat_shows_in_the_live_state,
);

/// Two GOPs of 2 s each after an init segment of 100 bytes.
pub fn segment(run: &RunId, sequence: u64, media_s: i64) -> (SegmentManifest, Vec<u8>) {
    let bytes: Vec<u8> = (0..2100u32)
        .map(|i| (i.wrapping_mul(31) + sequence as u32) as u8)
        .collect();
    let fragment = |offset: usize, start_s: i64| Fragment {
        offset_bytes: offset as u64,
        size_bytes: 1000,
        start: MediaTime(start_s * SECOND),
        duration_us: 2 * SECOND,
        is_keyframe: true,
        sha256: Digest::of(&bytes[offset..offset + 1000]),
    };
    let manifest = SegmentManifest {
        key: SegmentKey {
            stream: STREAM.parse().unwrap(),
            sequence,
        },
        run: run.clone(),
        size_bytes: 2100,
        init_size_bytes: 100,
        sha256: Digest::of(&bytes),
        tracks: vec![track()],
        fragments: vec![fragment(100, media_s), fragment(1100, media_s + 2)],
    };
    (manifest, bytes)
}

fn track() -> Track {
    Track {
        track_id: 1,
        kind: TrackKind::Video,
        codec: "avc1.640028".into(),
        timescale: 90_000,
        width: 1920,
        height: 1080,
        sample_rate: 0,
        channels: 0,
    }
}

/// Begins a run whose media time 0 is `offset_s` after the stage's morning.
pub async fn start_run(stage: &Stage, recorder: &mut Recorder, offset_s: i64) -> RunId {
    let run = RunId::from_uuid(uuid::Uuid::now_v7());
    let anchor = Anchor {
        media: MediaTime(0),
        wall: stage.now() + offset_s * SECOND,
        clock_state: ClockState::Synchronized,
        boot: None,
    };
    recorder
        .facts(vec![Fact::RunStarted {
            run: run.clone(),
            stream: STREAM.parse().unwrap(),
            tracks: vec![track()],
            anchor,
        }])
        .await;
    run
}

pub fn path(manifest: &SegmentManifest) -> String {
    format!(
        "/api/v1/edge/segments/{}/{}",
        manifest.key.stream, manifest.key.sequence
    )
}

pub async fn begin(stage: &Stage, recorder: &Recorder, manifest: &SegmentManifest) -> Answer {
    let body = serde_json::to_string(manifest).unwrap();
    stage
        .send(recorder.request(Method::POST, "/api/v1/edge/segments", body))
        .await
}

pub async fn patch(stage: &Stage, recorder: &Recorder, path: &str, offset: usize, bytes: &[u8]) -> Answer {
    let mut request = recorder.request(Method::PATCH, path, bytes.to_vec());
    request.headers_mut().insert("upload-offset", offset.into());
    stage.send(request).await
}

pub async fn upload_whole(stage: &Stage, recorder: &Recorder, segment: &(SegmentManifest, Vec<u8>)) {
    let (manifest, bytes) = segment;
    let begun = begin(stage, recorder, manifest).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{}", begun.text());
    let done = patch(stage, recorder, &path(manifest), 0, bytes).await;
    assert_eq!(done.header("upload-complete"), Some("?1"), "{}", done.text());
}

async fn an_enrolment_code_works_once_and_only_for_its_site(stage: &Stage) {
    let code = || async {
        let site = "ba-dinh-1".parse().unwrap();
        commands::enrol_code(&stage.centre.db, &*stage.clock, &site)
            .await
            .unwrap()
            .code
    };
    let key = SigningKey::from_bytes(&[7; 32]);
    let first = code().await;
    assert_eq!(
        stage.enrol(&first, "tay-ho-1", &key).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        stage.enrol(&first.to_lowercase(), "ba-dinh-1", &key).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        stage.enrol(&first, "ba-dinh-1", &key).await.status,
        StatusCode::FORBIDDEN
    );
    let late = code().await;
    stage.advance(25 * 3600 * SECOND);
    assert_eq!(
        stage.enrol(&late, "ba-dinh-1", &key).await.status,
        StatusCode::FORBIDDEN
    );
}

async fn wrong_tries_use_up_an_enrolment_code(stage: &Stage) {
    let site = "ba-dinh-1".parse().unwrap();
    let code = commands::enrol_code(&stage.centre.db, &*stage.clock, &site)
        .await
        .unwrap()
        .code;
    let key = SigningKey::from_bytes(&[7; 32]);
    let wrong = format!("{}-00000-00000-00000", &code[..5]);
    for _ in 0..5 {
        assert_eq!(
            stage.enrol(&wrong, "ba-dinh-1", &key).await.status,
            StatusCode::FORBIDDEN
        );
    }
    assert_eq!(
        stage.enrol(&code, "ba-dinh-1", &key).await.status,
        StatusCode::FORBIDDEN
    );
}

async fn the_newest_session_wins(stage: &Stage) {
    let mut older = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let newer = stage
        .connect(&older.id.clone(), &older.key.clone(), "ba-dinh-1", &[STREAM])
        .await;
    assert!(older.try_receive().await.is_none(), "the older session is closed");
    let ask = |r: &Recorder| r.request(Method::GET, &format!("/api/v1/edge/segments/{STREAM}/1"), "");
    assert_eq!(stage.send(ask(&older)).await.code(), "bad_token");
    assert_eq!(stage.send(ask(&newer)).await.status, StatusCode::NOT_FOUND);
}

async fn facts_are_stored_once_and_never_leave_a_hole(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let fact = |id: &str| Fact::Event {
        received: stage.now(),
        received_boot: None,
        event: event(id, "counter.opened", stage.now(), json!({})),
    };
    assert_eq!(recorder.facts_from(1, vec![fact("a"), fact("b")]).await, 2);
    assert_eq!(
        recorder
            .facts_from(1, vec![fact("a"), fact("b"), fact("c")])
            .await,
        3
    );
    assert_eq!(
        recorder.facts_from(6, vec![fact("f")]).await,
        3,
        "4 and 5 are missing"
    );
    let unusable = Fact::Event {
        received: stage.now(),
        received_boot: None,
        event: json!({"no": "event"}),
    };
    assert_eq!(
        recorder.facts_from(4, vec![unusable, fact("e")]).await,
        5,
        "a bad fact blocks nothing"
    );
    for (id, is_stored) in [("a", true), ("c", true), ("e", true), ("f", false)] {
        let stored = stage.centre.db.event("/test", id).await.unwrap();
        assert_eq!(stored.is_some(), is_stored, "{id}");
    }
    let again = stage
        .connect(
            &recorder.id.clone(),
            &recorder.key.clone(),
            "ba-dinh-1",
            &[STREAM],
        )
        .await;
    drop(again);
}

async fn a_counter_of_another_site_cannot_be_claimed(stage: &Stage) {
    let _owner = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let site = "tay-ho-1".parse().unwrap();
    let code = commands::enrol_code(&stage.centre.db, &*stage.clock, &site)
        .await
        .unwrap()
        .code;
    let key = SigningKey::from_bytes(&[9; 32]);
    let id = stage.enrol(&code, "tay-ho-1", &key).await.json()["recorder_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let places = stage.centre.db.places(stage.now()).await.unwrap();
    assert_eq!(places.counters().len(), 1);
    let claimed = stage
        .centre
        .db
        .register_streams(
            &id,
            &site,
            &[archive::uplink::StreamDescription {
                stream: STREAM.parse().unwrap(),
                counter_name: "Quầy lạ".into(),
                has_audio: false,
            }],
        )
        .await
        .unwrap();
    assert_eq!(claimed.unwrap_err().as_str(), "ba-dinh-q01");
}

async fn an_upload_resumes_where_it_broke_off(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    let (manifest, bytes) = segment(&run, 1, 0);
    let begun = begin(stage, &recorder, &manifest).await;
    assert_eq!(begun.status, StatusCode::CREATED);
    assert_eq!(begun.json()["upload_offset"], 0);
    let path = path(&manifest);
    let first = patch(stage, &recorder, &path, 0, &bytes[..700]).await;
    assert_eq!(
        (first.status, first.header("upload-offset")),
        (StatusCode::NO_CONTENT, Some("700"))
    );
    let wrong = patch(stage, &recorder, &path, 100, &bytes[100..]).await;
    assert_eq!(
        (wrong.status, wrong.header("upload-offset")),
        (StatusCode::CONFLICT, Some("700"))
    );
    let again = begin(stage, &recorder, &manifest).await;
    assert_eq!(
        (again.status, again.json()["upload_offset"].as_u64()),
        (StatusCode::OK, Some(700))
    );
    let too_long = patch(stage, &recorder, &path, 700, &[0; 5000]).await;
    assert!(too_long.status.is_client_error());
    let asked = stage.send(recorder.request(Method::GET, &path, "")).await.json();
    assert_eq!(
        (asked["upload_offset"].as_u64(), asked["complete"].as_bool()),
        (Some(700), Some(false))
    );
    let last = patch(stage, &recorder, &path, 700, &bytes[700..]).await;
    assert_eq!(last.header("upload-complete"), Some("?1"));
    let asked = stage.send(recorder.request(Method::GET, &path, "")).await.json();
    assert_eq!(asked["complete"], true);
    let checked = commands::check(&stage.centre.db, &stage.centre.settings)
        .await
        .unwrap();
    assert_eq!((checked.segments, checked.faults), (1, Vec::new()));
}

async fn a_wrong_digest_starts_the_upload_anew(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    let (manifest, bytes) = segment(&run, 1, 0);
    begin(stage, &recorder, &manifest).await;
    let mut damaged = bytes.clone();
    damaged[1500] ^= 1;
    let refused = patch(stage, &recorder, &path(&manifest), 0, &damaged).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.code(), "digest_mismatch");
    let asked = stage
        .send(recorder.request(Method::GET, &path(&manifest), ""))
        .await
        .json();
    assert_eq!(asked["upload_offset"], 0);
    let done = patch(stage, &recorder, &path(&manifest), 0, &bytes).await;
    assert_eq!(done.header("upload-complete"), Some("?1"));
}

async fn a_stored_segment_is_not_replaced(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    let (manifest, bytes) = segment(&run, 1, 0);
    upload_whole(stage, &recorder, &(manifest.clone(), bytes)).await;
    let again = begin(stage, &recorder, &manifest).await;
    assert_eq!(
        (again.status, again.json()["complete"].as_bool()),
        (StatusCode::OK, Some(true))
    );
    let (mut other, _) = segment(&run, 1, 0);
    other.sha256 = Digest::of(b"something else");
    assert_eq!(begin(stage, &recorder, &other).await.status, StatusCode::CONFLICT);
}

async fn an_upload_is_abandoned_after_a_week_of_silence(stage: &Stage) {
    const DAY: i64 = 24 * 3600 * SECOND;
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    let (manifest, bytes) = segment(&run, 1, 0);
    begin(stage, &recorder, &manifest).await;
    patch(stage, &recorder, &path(&manifest), 0, &bytes[..700]).await;
    let folder = stage.centre.settings.data_dir.join("uploads");
    let of_recorder = folder.join(recorder.id.as_str()).join(STREAM);
    let part = of_recorder.join("1.part");
    let forgotten = of_recorder.join("77.part");
    std::fs::write(&forgotten, "bytes of an upload that no row tells of").unwrap();
    for file in [&part, &forgotten] {
        let written = std::time::UNIX_EPOCH + std::time::Duration::from_micros(MORNING.0 as u64);
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_modified(written).unwrap();
    }
    let remove = || async { stage.centre.remove_abandoned_uploads().await.unwrap() };
    stage.advance(6 * DAY);
    assert_eq!(remove().await, 0);
    assert!(part.exists() && forgotten.exists());
    stage.advance(2 * DAY);
    assert_eq!(remove().await, 2);
    assert!(!part.exists() && !forgotten.exists());
    let asked = stage
        .send(recorder.request(Method::GET, &path(&manifest), ""))
        .await;
    assert_eq!(asked.code(), "upload_unknown");
    upload_whole(stage, &recorder, &(manifest, bytes)).await;
    assert_eq!(remove().await, 0);
}

async fn a_segment_of_an_unknown_run_must_wait(stage: &Stage) {
    let recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = RunId::from_uuid(uuid::Uuid::now_v7());
    let answer = begin(stage, &recorder, &segment(&run, 1, 0).0).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.code(), "run_unknown");
    let mut odd = segment(&run, 1, 0).0;
    odd.fragments[1].offset_bytes = u64::MAX;
    assert!(begin(stage, &recorder, &odd).await.status.is_client_error());
}

async fn a_heartbeat_shows_in_the_live_state(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let state = || async {
        stage.centre.supervise().await.unwrap();
        let counter = stage.get(&cookie, "/api/v1/counters/ba-dinh-q01").await.json();
        (
            counter["streams"][0]["state"].clone(),
            counter["streams"][0]["fault_cause"].clone(),
        )
    };
    assert_eq!(state().await, (json!("unknown"), json!(null)));
    let beat = |fault| {
        let health = StreamHealth {
            last_sample_age_ms: Some(40),
            newest_sequence: 0,
            pending_segments: 0,
            fault,
        };
        ToServer::Heartbeat {
            wall: stage.now() + 250_000,
            disk_free_bytes: 10,
            disk_total_bytes: 100,
            pending_facts: 0,
            streams: [(STREAM.parse().unwrap(), health)].into(),
            chain_heads: [].into(),
            disk_left_s: Some(86_400),
            sent: None,
            clock: None,
        }
    };
    recorder.tell(&beat(None)).await;
    assert!(matches!(
        recorder.receive().await,
        ToRecorder::HeartbeatSeen { .. }
    ));
    assert_eq!(state().await, (json!("recording"), json!(null)));
    recorder.tell(&beat(Some(GapCause::CameraOffline))).await;
    assert!(matches!(
        recorder.receive().await,
        ToRecorder::HeartbeatSeen { .. }
    ));
    assert_eq!(state().await, (json!("fault"), json!("camera_offline")));
    let admin = stage.sign_in("quan-tri", Role::Administrator, "ha-noi").await;
    let device = &stage.get(&admin, "/api/v1/recorders").await.json()["items"][0];
    assert_eq!(device["connected"], true);
    assert_eq!(device["clock_offset_ms"], 250);
    assert_eq!(device["disk_left_s"], 86_400);
}
