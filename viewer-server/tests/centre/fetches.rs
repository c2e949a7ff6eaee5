//! Footage that only its recorder has: on the timeline, fetched, seen while it comes.

use archive::uplink::{Order, StreamHealth, ToRecorder, ToServer};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use viewer_server::access::Role;

use crate::edge::{begin, patch, path, segment, start_run, upload_whole};
use crate::sealed::Chain;
use crate::stage::{Answer, MORNING, Recorder, SECOND, STREAM, Stage};

crate::on_each_database!(
    what_is_only_at_the_edge_is_told_apart_and_goes_when_it_comes_or_is_lost,
    a_fetch_reaches_the_recorder_and_is_done_when_all_is_here,
    what_has_come_of_a_segment_can_be_seen_before_it_is_whole,
    a_fetch_waits_for_a_recorder_that_is_away,
    a_fetch_of_what_nobody_has_fails_and_says_so,
    a_fetch_can_be_cancelled_by_whoever_asked_and_by_nobody_else,
    a_fetch_asks_for_a_sound_stretch_and_the_right_to_see,
    a_recorder_that_lost_its_index_is_asked_again,
    a_request_on_a_dead_line_is_cut_off_by_the_next,
);

async fn post(stage: &Stage, cookie: &str, path: &str, body: Value) -> Answer {
    let request = Request::post(path)
        .header(header::COOKIE, cookie)
        .header(header::CONTENT_TYPE, "application/json")
        .header("sec-fetch-site", "same-origin")
        .body(Body::from(body.to_string()));
    stage.send(request.unwrap()).await
}

/// Asks for a stretch in seconds after the morning.
async fn fetch(stage: &Stage, cookie: &str, from_s: i64, to_s: i64) -> Answer {
    let (from, to) = (MORNING + from_s * SECOND, MORNING + to_s * SECOND);
    let path = format!("/api/v1/streams/{STREAM}/fetch");
    let body = json!({"from": from.to_string(), "to": to.to_string()});
    post(stage, cookie, &path, body).await
}

async fn state(stage: &Stage, cookie: &str, fetch: &Value) -> Value {
    let id = fetch["fetch_id"].as_str().unwrap();
    stage.get(cookie, &format!("/api/v1/fetches/{id}")).await.json()
}

async fn heartbeat(stage: &Stage, recorder: &mut Recorder) {
    let health = StreamHealth {
        last_sample_age_ms: Some(10),
        newest_sequence: 9,
        pending_segments: 0,
        fault: None,
    };
    let beat = ToServer::Heartbeat {
        wall: stage.now(),
        disk_free_bytes: 1,
        disk_total_bytes: 2,
        pending_facts: 0,
        streams: [(Chain::stream(), health)].into(),
        chain_heads: Default::default(),
        disk_left_s: None,
        sent: None,
        clock: None,
    };
    recorder.tell(&beat).await;
    assert!(matches!(
        recorder.receive().await,
        ToRecorder::HeartbeatSeen { .. }
    ));
}

/// A recorder that has sealed three segments of 4 s from the morning on, and told of them.
async fn with_sealed(stage: &Stage) -> (Recorder, Chain, archive::ids::RunId) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    let (mut chain, mut facts) = Chain::open(&recorder.key, stage.now());
    for (sequence, media_s) in [(1, 0), (2, 4), (3, 8)] {
        facts.push(chain.seal(&segment(&run, sequence, media_s)));
    }
    recorder.facts(facts).await;
    stage.advance(3600 * SECOND);
    (recorder, chain, run)
}

fn stretches(list: &Value) -> Vec<(i64, i64)> {
    let seconds = |text: &Value| {
        let at = archive::time::WallTime::parse_rfc3339(text.as_str().unwrap()).unwrap();
        (at - MORNING) / SECOND
    };
    let list = list.as_array().unwrap().iter();
    list.map(|s| (seconds(&s["start"]), seconds(&s["end"]))).collect()
}

async fn timeline(stage: &Stage, cookie: &str) -> Value {
    let path = format!(
        "/api/v1/counters/ba-dinh-q01/timeline?from={MORNING}&to={}",
        MORNING + 20 * SECOND
    );
    stage.get(cookie, &path).await.json()["streams"][0].clone()
}

async fn playlist(stage: &Stage, cookie: &str, from_s: i64, to_s: i64) -> Answer {
    let (from, to) = (MORNING + from_s * SECOND, MORNING + to_s * SECOND);
    let path = format!("/api/v1/streams/{STREAM}/playlist.m3u8?from={from}&to={to}");
    stage.get(cookie, &path).await
}

async fn what_is_only_at_the_edge_is_told_apart_and_goes_when_it_comes_or_is_lost(stage: &Stage) {
    let (mut recorder, mut chain, run) = with_sealed(stage).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let stream = timeline(stage, &cookie).await;
    assert_eq!(stretches(&stream["at_edge"]), [(0, 12)]);
    assert_eq!(stretches(&stream["gaps"]), [(12, 20)]);
    upload_whole(stage, &recorder, &segment(&run, 2, 4)).await;
    let stream = timeline(stage, &cookie).await;
    assert_eq!(stretches(&stream["spans"]), [(4, 8)]);
    assert_eq!(stretches(&stream["at_edge"]), [(0, 4), (8, 12)]);
    // It is told once more that the second was sealed; that does not bring it back.
    let lost = chain.lost(3);
    recorder.facts(vec![chain.seal(&segment(&run, 2, 4)), lost]).await;
    let stream = timeline(stage, &cookie).await;
    assert_eq!(stretches(&stream["at_edge"]), [(0, 4)]);
}

async fn a_fetch_reaches_the_recorder_and_is_done_when_all_is_here(stage: &Stage) {
    let (mut recorder, _, run) = with_sealed(stage).await;
    heartbeat(stage, &mut recorder).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let answer = fetch(stage, &cookie, 1, 7).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let begun = answer.json();
    assert_eq!(begun["state"], "on_its_way");
    assert_eq!(
        (&begun["bytes_done"], &begun["bytes_total"]),
        (&json!(0), &json!(4200))
    );
    let (first, orders) = recorder.next_orders().await;
    let Order::Fetch { stream, from, to, .. } = &orders[0] else {
        panic!("{orders:?}")
    };
    let asked = (
        stream.as_str(),
        (*from - MORNING) / SECOND,
        (*to - MORNING) / SECOND,
    );
    assert_eq!((first, asked), (1, (STREAM, 1, 7)));
    let again = fetch(stage, &cookie, 1, 7).await.json();
    assert_eq!(again["fetch_id"], begun["fetch_id"], "it is the same request");
    recorder.tell(&ToServer::OrdersStored { through: 1 }).await;
    heartbeat(stage, &mut recorder).await;
    upload_whole(stage, &recorder, &segment(&run, 1, 0)).await;
    let half = state(stage, &cookie, &begun).await;
    assert_eq!(
        (&half["state"], &half["bytes_done"]),
        (&json!("on_its_way"), &json!(2100))
    );
    assert_eq!(stretches(&half["available"]), [(1, 4)]);
    upload_whole(stage, &recorder, &segment(&run, 2, 4)).await;
    let done = state(stage, &cookie, &begun).await;
    assert_eq!(
        (&done["state"], &done["bytes_done"]),
        (&json!("done"), &json!(4200))
    );
    assert_eq!(stretches(&done["available"]), [(1, 7)]);
    let reads = stage.centre.db.footage_reads(&Chain::stream(), "fetch").await;
    assert_eq!(reads.unwrap(), 2, "each asking is written down");
}

async fn what_has_come_of_a_segment_can_be_seen_before_it_is_whole(stage: &Stage) {
    let (mut recorder, _, run) = with_sealed(stage).await;
    heartbeat(stage, &mut recorder).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let begun = fetch(stage, &cookie, 0, 12).await.json();
    assert_eq!(
        playlist(stage, &cookie, 0, 12).await.status,
        StatusCode::NOT_FOUND
    );
    let (manifest, bytes) = segment(&run, 1, 0);
    begin(stage, &recorder, &manifest).await;
    // A fragment and a half.
    let part = patch(stage, &recorder, &path(&manifest), 0, &bytes[..1600]).await;
    assert_eq!(part.status, StatusCode::NO_CONTENT);
    assert_eq!(
        stretches(&state(stage, &cookie, &begun).await["available"]),
        [(0, 2)]
    );
    assert_eq!(stretches(&timeline(stage, &cookie).await["spans"]), [(0, 2)]);
    assert_eq!(stretches(&timeline(stage, &cookie).await["at_edge"]), [(2, 12)]);
    let text = playlist(stage, &cookie, 0, 12).await.text();
    assert!(
        text.contains("#EXT-X-PLAYLIST-TYPE:EVENT") && !text.contains("ENDLIST"),
        "{text}"
    );
    assert_eq!(text.matches("#EXTINF").count(), 1, "{text}");
    let media = text.lines().last().unwrap().to_owned();
    let range = |bytes: &'static str| {
        let request = Request::get(&media).header(header::COOKIE, &cookie);
        request.header(header::RANGE, bytes).body(Body::empty()).unwrap()
    };
    let seen = stage.send(range("bytes=100-1099")).await;
    assert_eq!(seen.status, StatusCode::PARTIAL_CONTENT, "{}", seen.text());
    assert_eq!(seen.bytes, &bytes[100..1100]);
    assert_eq!(seen.header("content-range"), Some("bytes 100-1099/2100"));
    let unverified = stage.send(range("bytes=1100-1500")).await;
    assert_eq!(unverified.status, StatusCode::RANGE_NOT_SATISFIABLE);
    // The third comes before the second: the playlist only ever grows at its end.
    upload_whole(stage, &recorder, &segment(&run, 3, 8)).await;
    let done = patch(stage, &recorder, &path(&manifest), 1600, &bytes[1600..]).await;
    assert_eq!(done.header("upload-complete"), Some("?1"));
    let grown = playlist(stage, &cookie, 0, 12).await.text();
    assert!(grown.starts_with(text.trim_end()), "{grown}\n{text}");
    assert_eq!(grown.matches("#EXTINF").count(), 2, "{grown}");
    assert_eq!(
        stage.send(range("bytes=1100-1500")).await.bytes,
        &bytes[1100..1501]
    );
    recorder.tell(&ToServer::OrdersStored { through: 1 }).await;
    heartbeat(stage, &mut recorder).await;
    upload_whole(stage, &recorder, &segment(&run, 2, 4)).await;
    let whole = playlist(stage, &cookie, 0, 12).await.text();
    assert!(
        whole.contains("PLAYLIST-TYPE:VOD") && whole.contains("ENDLIST"),
        "{whole}"
    );
    assert_eq!(whole.matches("#EXTINF").count(), 6, "{whole}");
}

async fn a_fetch_waits_for_a_recorder_that_is_away(stage: &Stage) {
    let (recorder, _, run) = with_sealed(stage).await;
    let (id, key) = (recorder.id.clone(), recorder.key.clone());
    drop(recorder);
    while stage.centre.recorders.status(&id).is_some() {
        tokio::task::yield_now().await;
    }
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let begun = fetch(stage, &cookie, 4, 8).await.json();
    assert_eq!(
        (&begun["state"], &begun["left_s"]),
        (&json!("waiting"), &Value::Null)
    );
    let mut recorder = stage.connect(&id, &key, "ba-dinh-1", &[STREAM]).await;
    assert!(matches!(
        recorder.next_orders().await.1[..],
        [Order::Fetch { .. }]
    ));
    recorder.tell(&ToServer::OrdersStored { through: 1 }).await;
    assert_eq!(state(stage, &cookie, &begun).await["state"], "on_its_way");
    heartbeat(stage, &mut recorder).await;
    upload_whole(stage, &recorder, &segment(&run, 2, 4)).await;
    assert_eq!(state(stage, &cookie, &begun).await["state"], "done");
}

async fn a_fetch_of_what_nobody_has_fails_and_says_so(stage: &Stage) {
    let (mut recorder, mut chain, _) = with_sealed(stage).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let begun = fetch(stage, &cookie, 8, 12).await.json();
    recorder.next_orders().await;
    recorder.tell(&ToServer::OrdersStored { through: 1 }).await;
    let lost = chain.lost(3);
    recorder.facts(vec![lost]).await;
    let asked = state(stage, &cookie, &begun).await;
    assert_eq!(
        asked["state"], "on_its_way",
        "the recorder may hold what it has not told of"
    );
    heartbeat(stage, &mut recorder).await;
    let failed = state(stage, &cookie, &begun).await;
    assert_eq!(
        (&failed["state"], &failed["reason"]),
        (&json!("failed"), &json!("nothing_there"))
    );
}

async fn cancel(stage: &Stage, cookie: &str, fetch: &Value) -> Answer {
    let id = fetch["fetch_id"].as_str().unwrap();
    let request = Request::delete(format!("/api/v1/fetches/{id}"))
        .header(header::COOKIE, cookie)
        .header("sec-fetch-site", "same-origin");
    stage.send(request.body(Body::empty()).unwrap()).await
}

async fn a_fetch_can_be_cancelled_by_whoever_asked_and_by_nobody_else(stage: &Stage) {
    let (mut recorder, _, _) = with_sealed(stage).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let begun = fetch(stage, &cookie, 0, 4).await.json();
    recorder.next_orders().await;
    let other = stage.sign_in("minh", Role::Auditor, "ha-noi").await;
    assert_eq!(cancel(stage, &other, &begun).await.status, StatusCode::FORBIDDEN);
    recorder.tell(&ToServer::OrdersStored { through: 1 }).await;
    assert_eq!(
        cancel(stage, &cookie, &begun).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(state(stage, &cookie, &begun).await["state"], "cancelled");
    let request = begun["fetch_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        recorder.next_orders().await,
        (2, vec![Order::FetchCancelled { request }])
    );
    assert_eq!(
        cancel(stage, &cookie, &begun).await.status,
        StatusCode::NO_CONTENT
    );
}

async fn a_fetch_asks_for_a_sound_stretch_and_the_right_to_see(stage: &Stage) {
    let (_recorder, _, _) = with_sealed(stage).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    for (from_s, to_s) in [(4, 4), (0, 90_000), (100_000, 100_010)] {
        let answer = fetch(stage, &cookie, from_s, to_s).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::BAD_REQUEST, "bad_parameter".to_owned())
        );
    }
    let begun = fetch(stage, &cookie, 0, 4).await.json();
    let admin = stage.sign_in("quan-tri", Role::Administrator, "ha-noi").await;
    assert_eq!(fetch(stage, &admin, 0, 4).await.status, StatusCode::FORBIDDEN);
    let id = begun["fetch_id"].as_str().unwrap();
    let seen = stage.get(&admin, &format!("/api/v1/fetches/{id}")).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    let unknown = stage
        .get(&cookie, &format!("/api/v1/fetches/{}", uuid::Uuid::nil()))
        .await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

async fn a_recorder_that_lost_its_index_is_asked_again(stage: &Stage) {
    let (mut recorder, _, run) = with_sealed(stage).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let begun = fetch(stage, &cookie, 0, 4).await.json();
    let (_, told) = recorder.next_orders().await;
    recorder.tell(&ToServer::OrdersStored { through: 1 }).await;
    heartbeat(stage, &mut recorder).await;
    let (id, key) = (recorder.id.clone(), recorder.key.clone());
    let mut recorder = stage.connect(&id, &key, "ba-dinh-1", &[STREAM]).await;
    assert_eq!(recorder.next_orders().await, (2, told));
    heartbeat(stage, &mut recorder).await;
    upload_whole(stage, &recorder, &segment(&run, 1, 0)).await;
    let unsure = state(stage, &cookie, &begun).await;
    assert_eq!(unsure["state"], "on_its_way", "it does not have the order yet");
    recorder.tell(&ToServer::OrdersStored { through: 2 }).await;
    heartbeat(stage, &mut recorder).await;
    assert_eq!(state(stage, &cookie, &begun).await["state"], "done");
}

async fn a_request_on_a_dead_line_is_cut_off_by_the_next(stage: &Stage) {
    let (recorder, _, run) = with_sealed(stage).await;
    let (manifest, bytes) = segment(&run, 1, 0);
    begin(stage, &recorder, &manifest).await;
    // Its line dies after 700 bytes, and nobody tells the server.
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(1);
    sender
        .send(Ok(bytes::Bytes::copy_from_slice(&bytes[..700])))
        .await
        .unwrap();
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let mut request = recorder.request(Method::PATCH, &path(&manifest), body);
    request.headers_mut().insert("upload-offset", 0.into());
    let app = stage.app.clone();
    let dead = tokio::spawn(async move { tower::ServiceExt::oneshot(app, request).await.unwrap().status() });
    while sender.capacity() == 0 {
        tokio::task::yield_now().await;
    }
    let mut offset = 0;
    while offset != 700 {
        // Asks anew as a recorder does that has a new session; each time whoever writes is cut off.
        let again = begin(stage, &recorder, &manifest).await;
        offset = again.json()["upload_offset"].as_u64().unwrap();
    }
    assert_eq!(dead.await.unwrap(), StatusCode::BAD_REQUEST);
    let done = patch(stage, &recorder, &path(&manifest), 700, &bytes[700..]).await;
    assert_eq!(done.header("upload-complete"), Some("?1"), "{}", done.text());
    drop(sender);
}
