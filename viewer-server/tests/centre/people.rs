//! Signing in, roles, and what they keep apart.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;
use viewer_server::access::Role;

use crate::stage::{PASSWORD, SECOND, STREAM, Stage};

crate::on_each_database!(
    signs_in_and_out,
    a_wrong_password_is_refused_and_soon_throttled,
    a_session_ends_when_idle,
    another_sites_page_cannot_use_the_cookie,
    rooms_follow_the_roles,
    footage_is_for_roles_over_the_counters_unit_and_each_read_is_logged,
);

async fn signs_in_and_out(stage: &Stage) {
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let me = stage.get(&cookie, "/api/v1/me").await;
    assert_eq!(me.json()["username"], "lan");
    let request = Request::delete("/api/v1/session")
        .header(header::COOKIE, &cookie)
        .header("sec-fetch-site", "same-origin");
    let answer = stage.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let after = stage.get(&cookie, "/api/v1/me").await;
    assert_eq!(after.code(), "not_signed_in");
}

async fn a_wrong_password_is_refused_and_soon_throttled(stage: &Stage) {
    stage.add_user("lan", Role::Leader, "ha-noi").await;
    for _ in 0..10 {
        let answer = stage.try_sign_in("lan", "sai-mật-khẩu").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.code(), "bad_credentials");
    }
    let throttled = stage.try_sign_in("lan", PASSWORD).await;
    assert_eq!(throttled.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(throttled.code(), "too_many_attempts");
    stage.advance(16 * 60 * SECOND);
    assert_eq!(
        stage.try_sign_in("lan", PASSWORD).await.status,
        StatusCode::NO_CONTENT
    );
}

async fn a_session_ends_when_idle(stage: &Stage) {
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    stage.advance(59 * 60 * SECOND);
    assert_eq!(stage.get(&cookie, "/api/v1/me").await.status, StatusCode::OK);
    stage.advance(59 * 60 * SECOND);
    assert_eq!(stage.get(&cookie, "/api/v1/me").await.status, StatusCode::OK);
    stage.advance(61 * 60 * SECOND);
    assert_eq!(stage.get(&cookie, "/api/v1/me").await.code(), "not_signed_in");
}

async fn another_sites_page_cannot_use_the_cookie(stage: &Stage) {
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
    ] {
        let request = Request::delete("/api/v1/session")
            .header(header::COOKIE, &cookie)
            .header(name, value);
        let answer = stage.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.code(), "cross_site", "{name}: {value}");
    }
    assert_eq!(stage.get(&cookie, "/api/v1/me").await.status, StatusCode::OK);
    let sign_in = Request::post("/api/v1/session").header("sec-fetch-site", "cross-site");
    let answer = stage.send(sign_in.body("{}".into()).unwrap()).await;
    assert_eq!(
        answer.code(),
        "cross_site",
        "nobody is signed in as somebody else"
    );
}

async fn rooms_follow_the_roles(stage: &Stage) {
    let handler = stage.sign_in("hoa", Role::ComplaintHandler, "ba-dinh").await;
    let me = stage.get(&handler, "/api/v1/me").await.json();
    assert_eq!(me["rooms"], json!(["live", "search"]));
    assert_eq!(
        me["may"],
        json!({"see_footage": true, "hold_footage": true, "see_devices": false})
    );
    let admin = stage.sign_in("quan-tri", Role::Administrator, "ha-noi").await;
    let me = stage.get(&admin, "/api/v1/me").await.json();
    assert_eq!(me["rooms"], json!(["devices"]));
    assert_eq!(
        stage.get(&admin, "/api/v1/recorders").await.status,
        StatusCode::OK
    );
    assert_eq!(stage.get(&handler, "/api/v1/recorders").await.code(), "forbidden");
    assert_eq!(
        stage.get(&admin, "/api/v1/interactions").await.code(),
        "forbidden"
    );
}

async fn footage_is_for_roles_over_the_counters_unit_and_each_read_is_logged(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = crate::edge::start_run(stage, &mut recorder, 0).await;
    crate::edge::upload_whole(stage, &recorder, &crate::edge::segment(&run, 1, 0)).await;
    let path = format!(
        "/api/v1/streams/{STREAM}/playlist.m3u8?from={}&to={}",
        stage.now(),
        stage.now() + 4 * SECOND
    );
    let reads = || async {
        let stream = STREAM.parse().unwrap();
        stage.centre.db.footage_reads(&stream, "playlist").await.unwrap()
    };
    let city = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    assert_eq!(stage.get(&city, &path).await.status, StatusCode::OK);
    assert_eq!(reads().await, 1);
    let elsewhere = stage.sign_in("nga", Role::Leader, "tay-ho").await;
    assert_eq!(stage.get(&elsewhere, &path).await.status, StatusCode::NOT_FOUND);
    let admin = stage.sign_in("quan-tri", Role::Administrator, "ha-noi").await;
    assert_eq!(stage.get(&admin, &path).await.code(), "forbidden");
    assert_eq!(stage.get("", &path).await.code(), "not_signed_in");
    let media = format!("/api/v1/segments/{}.{STREAM}.1/media.mp4", recorder.id);
    assert_eq!(stage.get(&admin, &media).await.code(), "forbidden");
    assert_eq!(stage.get("", &media).await.code(), "not_signed_in");
    assert_eq!(reads().await, 1, "what was refused is no read");
}
