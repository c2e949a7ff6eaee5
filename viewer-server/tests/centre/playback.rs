//! Playlists over gaps, bytes by range, and late anchors.

use archive::gap::{Gap, GapCause};
use archive::time::{Anchor, ClockState, MediaTime};
use archive::uplink::Fact;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use viewer_server::access::Role;

use crate::edge::{segment, start_run, upload_whole};
use crate::stage::{MORNING, SECOND, STREAM, Stage, visit};

crate::on_each_database!(
    a_playlist_breaks_at_a_gap_and_the_timeline_says_why,
    where_nothing_was_recorded_the_gap_is_named,
    many_windows_are_answered_each_in_its_place,
    serves_bytes_by_range,
    a_later_anchor_moves_what_is_stored,
    stills_are_named_only_where_footage_has_arrived,
    what_a_gap_explains_is_not_awaited,
);

async fn a_playlist_breaks_at_a_gap_and_the_timeline_says_why(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let first = start_run(stage, &mut recorder, 0).await;
    upload_whole(stage, &recorder, &segment(&first, 1, 0)).await;
    upload_whole(stage, &recorder, &segment(&first, 2, 4)).await;
    let second = start_run(stage, &mut recorder, 60).await;
    upload_whole(stage, &recorder, &segment(&second, 3, 0)).await;
    let gap = Gap {
        gap_id: uuid::Uuid::now_v7(),
        stream: STREAM.parse().unwrap(),
        start: MORNING + 8 * SECOND,
        end: Some(MORNING + 60 * SECOND),
        start_boot: None,
        end_boot: None,
        cause: GapCause::CameraOffline,
        detail: "connection refused".into(),
    };
    recorder.facts(vec![Fact::GapSeen { gap }]).await;
    stage.advance(3600 * SECOND);
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let path = format!(
        "/api/v1/streams/{STREAM}/playlist.m3u8?from={}&to={}",
        MORNING + 3 * SECOND,
        MORNING + 61 * SECOND
    );
    let playlist = stage.get(&cookie, &path).await;
    assert_eq!(
        playlist.header("content-type"),
        Some("application/vnd.apple.mpegurl")
    );
    let text = playlist.text().replace(recorder.id.as_str(), "REC");
    let media = |sequence| format!("/api/v1/segments/REC.{STREAM}.{sequence}/media.mp4");
    let (one, two, three) = (media(1), media(2), media(3));
    let expected = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-MAP:URI=\"{one}\",BYTERANGE=\"100@0\"\n\
         #EXT-X-PROGRAM-DATE-TIME:2026-11-23T01:00:02.000Z\n#EXTINF:2.000000,\n#EXT-X-BYTERANGE:1000@1100\n{one}\n\
         #EXT-X-MAP:URI=\"{two}\",BYTERANGE=\"100@0\"\n\
         #EXT-X-PROGRAM-DATE-TIME:2026-11-23T01:00:04.000Z\n#EXTINF:2.000000,\n#EXT-X-BYTERANGE:1000@100\n{two}\n\
         #EXT-X-PROGRAM-DATE-TIME:2026-11-23T01:00:06.000Z\n#EXTINF:2.000000,\n#EXT-X-BYTERANGE:1000@1100\n{two}\n\
         #EXT-X-DISCONTINUITY\n\
         #EXT-X-MAP:URI=\"{three}\",BYTERANGE=\"100@0\"\n\
         #EXT-X-PROGRAM-DATE-TIME:2026-11-23T01:01:00.000Z\n#EXTINF:2.000000,\n#EXT-X-BYTERANGE:1000@100\n{three}\n\
         #EXT-X-ENDLIST\n"
    );
    assert_eq!(text, expected);
    let path = format!(
        "/api/v1/counters/ba-dinh-q01/timeline?from={MORNING}&to={}",
        MORNING + 64 * SECOND
    );
    let timeline = stage.get(&cookie, &path).await.json();
    let stream = &timeline["streams"][0];
    let spans = stream["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 2, "{stream}");
    assert_eq!(spans[0]["end"], "2026-11-23T01:00:08.000000Z");
    assert_eq!(stream["gaps"].as_array().unwrap().len(), 1, "{stream}");
    assert_eq!(stream["gaps"][0]["cause"], "camera_offline");
    assert_eq!(stream["gaps"][0]["detail"], "connection refused");
}

async fn where_nothing_was_recorded_the_gap_is_named(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let gap = Gap {
        gap_id: uuid::Uuid::now_v7(),
        stream: STREAM.parse().unwrap(),
        start: MORNING + 8 * SECOND,
        end: Some(MORNING + 60 * SECOND),
        start_boot: None,
        end_boot: None,
        cause: GapCause::CameraOffline,
        detail: "connection refused".into(),
    };
    let facts = vec![Fact::GapSeen { gap: gap.clone() }];
    recorder.facts(facts).await;
    stage.advance(3600 * SECOND);
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let ask = |from_s: i64, to_s: i64| {
        let (from, to) = (MORNING + from_s * SECOND, MORNING + to_s * SECOND);
        let path = format!("/api/v1/streams/{STREAM}/playlist.m3u8?from={from}&to={to}");
        let cookie = cookie.clone();
        async move { stage.get(&cookie, &path).await }
    };
    let answer = ask(20, 40).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.code(), "no_recording");
    let expected = serde_json::json!({
        "gap_id": gap.gap_id.to_string(),
        "cause": "camera_offline",
        "start": "2026-11-23T01:00:08.000000Z",
        "end": "2026-11-23T01:01:00.000000Z",
    });
    assert_eq!(answer.json()["gap"], expected);
    let unexplained = ask(100, 120).await;
    assert_eq!(unexplained.code(), "no_recording");
    assert!(unexplained.json().get("gap").is_none());
}

async fn many_windows_are_answered_each_in_its_place(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    upload_whole(stage, &recorder, &segment(&run, 1, 0)).await;
    upload_whole(stage, &recorder, &segment(&run, 2, 4)).await;
    let gap = |start_s: i64, end_s: Option<i64>| Gap {
        gap_id: uuid::Uuid::now_v7(),
        stream: STREAM.parse().unwrap(),
        start: MORNING + start_s * SECOND,
        end: end_s.map(|s| MORNING + s * SECOND),
        start_boot: None,
        end_boot: None,
        cause: GapCause::CameraSilent,
        detail: String::new(),
    };
    let (ended, lasting) = (gap(8, Some(20)), gap(30, None));
    let facts = [&lasting, &ended].map(|gap| Fact::GapSeen { gap: gap.clone() });
    recorder.facts(facts.to_vec()).await;
    // Windows of one second, one after the other and several times over; more than fit into one question.
    let asked: Vec<_> = (0..600)
        .map(|i| {
            let start = MORNING + i % 40 * SECOND;
            let window = archive::timeline::Window {
                start,
                end: start + SECOND,
            };
            (STREAM.parse().unwrap(), window)
        })
        .collect();
    let spans = stage.centre.db.spans_of(&asked).await.unwrap();
    let gaps = stage.centre.db.gaps_of(&asked).await.unwrap();
    assert_eq!((spans.len(), gaps.len()), (600, 600));
    for (i, (spans, gaps)) in spans.iter().zip(&gaps).enumerate() {
        let second = i as i64 % 40;
        let starts: Vec<_> = spans.iter().map(|s| (s.wall.start - MORNING) / SECOND).collect();
        let expected: &[i64] = match second {
            0..4 => &[0],
            4..8 => &[4],
            _ => &[],
        };
        assert_eq!(starts, expected, "window {i}");
        let ids: Vec<_> = gaps.iter().map(|g| g.gap_id).collect();
        let expected = match second {
            8..20 => vec![ended.gap_id],
            30.. => vec![lasting.gap_id],
            _ => vec![],
        };
        assert_eq!(ids, expected, "window {i}");
    }
}

async fn serves_bytes_by_range(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    let (manifest, bytes) = segment(&run, 1, 0);
    upload_whole(stage, &recorder, &(manifest.clone(), bytes.clone())).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let path = format!("/api/v1/segments/{}.{STREAM}.1/media.mp4", recorder.id);
    let whole = stage.get(&cookie, &path).await;
    assert_eq!((whole.status, &whole.bytes[..]), (StatusCode::OK, &bytes[..]));
    let tag = whole.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{}\"", manifest.sha256));
    let ask = |name, value: &str| {
        let request = Request::get(&path)
            .header(header::COOKIE, &cookie)
            .header(name, value);
        stage.send(request.body(Body::empty()).unwrap())
    };
    let part = ask(header::RANGE, "bytes=100-1099").await;
    assert_eq!(
        (part.status, &part.bytes[..]),
        (StatusCode::PARTIAL_CONTENT, &bytes[100..1100])
    );
    assert_eq!(part.header("content-range"), Some("bytes 100-1099/2100"));
    let end = ask(header::RANGE, "bytes=-10").await;
    assert_eq!(&end.bytes[..], &bytes[2090..]);
    assert_eq!(
        ask(header::IF_NONE_MATCH, &tag).await.status,
        StatusCode::NOT_MODIFIED
    );
    let beyond = ask(header::RANGE, "bytes=5000-").await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), Some("bytes */2100"));
}

async fn a_later_anchor_moves_what_is_stored(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    upload_whole(stage, &recorder, &segment(&run, 1, 6)).await;
    let starts = || async {
        let window = archive::timeline::Window {
            start: MORNING,
            end: MORNING + 60 * SECOND,
        };
        let spans = stage
            .centre
            .db
            .spans(&STREAM.parse().unwrap(), window)
            .await
            .unwrap();
        spans.iter().map(|s| s.wall.start - MORNING).collect::<Vec<_>>()
    };
    assert_eq!(starts().await, [6 * SECOND]);
    let anchor = Anchor {
        media: MediaTime(10 * SECOND),
        wall: MORNING + 10 * SECOND + 4000,
        clock_state: ClockState::Synchronized,
        boot: None,
    };
    recorder.facts(vec![Fact::Anchored { run, anchor }]).await;
    assert_eq!(starts().await, [6 * SECOND + 2400]);
}

/// The one interaction and the one stream as the page sees them.
async fn seen(stage: &Stage, cookie: &str) -> (serde_json::Value, serde_json::Value) {
    // Places are read again after two seconds.
    stage.advance(3 * SECOND);
    stage.centre.supervise().await.unwrap();
    let found = stage.get(cookie, "/api/v1/interactions").await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
    let counter = stage.get(cookie, "/api/v1/counters/ba-dinh-q01").await.json();
    (found["items"][0].clone(), counter["streams"][0].clone())
}

async fn stills_are_named_only_where_footage_has_arrived(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    stage.advance(200 * SECOND);
    stage
        .post_events(&visit("0007", MORNING, "H26.17.05-261123-0007"))
        .await;
    let (interaction, stream) = seen(stage, &cookie).await;
    assert_eq!(interaction["coverage"], "pending");
    assert!(interaction["still_url"].is_null(), "{interaction}");
    assert!(stream["footage_until"].is_null(), "{stream}");

    upload_whole(stage, &recorder, &segment(&run, 5, 20)).await;
    let (interaction, stream) = seen(stage, &cookie).await;
    let later = format!(
        "/api/v1/streams/{STREAM}/still.jpg?at={}&width=320",
        MORNING + 20 * SECOND + 1000
    );
    assert_eq!(interaction["still_url"], later);
    assert_eq!(stream["footage_until"], (MORNING + 24 * SECOND).to_string());

    upload_whole(stage, &recorder, &segment(&run, 3, 8)).await;
    let (interaction, stream) = seen(stage, &cookie).await;
    let started = format!(
        "/api/v1/streams/{STREAM}/still.jpg?at={}&width=320",
        MORNING + 10 * SECOND
    );
    assert_eq!(interaction["still_url"], started);
    assert_eq!(
        stream["footage_until"],
        (MORNING + 24 * SECOND).to_string(),
        "what arrives late is not the newest"
    );
}

async fn what_a_gap_explains_is_not_awaited(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    upload_whole(stage, &recorder, &segment(&run, 1, 20)).await;
    stage.advance(200 * SECOND);
    stage
        .post_events(&visit("0007", MORNING, "H26.17.05-261123-0007"))
        .await;
    let gap = |start_s, end_s| Fact::GapSeen {
        gap: Gap {
            gap_id: uuid::Uuid::now_v7(),
            stream: STREAM.parse().unwrap(),
            start: MORNING + start_s * SECOND,
            end: Some(MORNING + end_s * SECOND),
            start_boot: None,
            end_boot: None,
            cause: GapCause::CameraOffline,
            detail: String::new(),
        },
    };
    recorder.facts(vec![gap(24, 200)]).await;
    let (interaction, _) = seen(stage, &cookie).await;
    assert_eq!(interaction["coverage"], "pending");
    recorder.facts(vec![gap(-60, 20)]).await;
    let (interaction, _) = seen(stage, &cookie).await;
    assert_eq!(interaction["coverage"], "partial");
    assert!(
        interaction["missing_s"].as_f64().unwrap() > 100.0,
        "{interaction}"
    );
}
