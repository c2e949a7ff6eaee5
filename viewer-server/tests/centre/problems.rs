//! Each bad request answers a problem document.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use viewer_server::access::Role;

use crate::stage::{STREAM, Stage};

crate::on_each_database!(bad_requests_answer_problem_documents, serves_health_and_openapi);

async fn bad_requests_answer_problem_documents(stage: &Stage) {
    let _recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let playlist = format!("/api/v1/streams/{STREAM}/playlist.m3u8");
    let cases = [
        ("/api/v1/interactions?limit=0".to_owned(), 400, "bad_parameter"),
        ("/api/v1/interactions?limit=ten".to_owned(), 400, "bad_parameter"),
        ("/api/v1/interactions?colour=red".to_owned(), 400, "bad_parameter"),
        (
            "/api/v1/interactions?from=yesterday".to_owned(),
            400,
            "bad_parameter",
        ),
        ("/api/v1/interactions?cursor=%00".to_owned(), 400, "bad_parameter"),
        (
            "/api/v1/interactions?counter=Q%201".to_owned(),
            400,
            "bad_parameter",
        ),
        (
            "/api/v1/interactions?rating_max=200".to_owned(),
            400,
            "bad_parameter",
        ),
        ("/api/v1/interactions/no-uuid".to_owned(), 400, "bad_parameter"),
        (
            "/api/v1/interactions/018f0000-0000-7000-8000-000000000000".to_owned(),
            404,
            "not_found",
        ),
        (
            "/api/v1/dossiers/H26.17.05-250701-9999".to_owned(),
            404,
            "not_found",
        ),
        ("/api/v1/dossiers/%FF".to_owned(), 404, "not_found"),
        ("/api/v1/counters/nowhere".to_owned(), 404, "not_found"),
        (playlist.clone(), 400, "bad_parameter"),
        (
            format!("{playlist}?from=2026-11-23T01:00:00Z&to=2026-11-23T01:00:00Z"),
            400,
            "bad_parameter",
        ),
        (
            format!("{playlist}?from=2026-11-23T01:00:00Z&to=2026-12-30T01:00:00Z"),
            400,
            "bad_parameter",
        ),
        (
            format!("{playlist}?from=2026-11-23T01:00:00Z&to=2026-11-23T02:00:00Z"),
            404,
            "no_recording",
        ),
        (
            format!("/api/v1/streams/{STREAM}/still.jpg?at=2026-11-23T01:00:00Z"),
            404,
            "no_recording",
        ),
        (
            format!("/api/v1/streams/{STREAM}/still.jpg?at=2026-11-23T01:00:00Z&width=9999"),
            400,
            "bad_parameter",
        ),
        (
            "/api/v1/streams/..%2F..%2Fetc/still.jpg?at=2026-11-23T01:00:00Z".to_owned(),
            400,
            "bad_parameter",
        ),
        ("/api/v1/segments/x/media.mp4".to_owned(), 400, "bad_parameter"),
        ("/api/v1/nothing".to_owned(), 404, "not_found"),
    ];
    for (path, status, code) in cases {
        let answer = stage.get(&cookie, &path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        assert_eq!(answer.code(), code, "{path}");
    }
    let bodies = [
        ("/api/v1/session", "{", 400, "bad_json"),
        ("/api/v1/session", "[]", 400, "bad_json"),
        ("/api/v1/session", "{\"username\":\"lan\"}", 400, "bad_json"),
        ("/api/v1/edge/enrol", "null", 400, "bad_json"),
    ];
    for (path, body, status, code) in bodies {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let answer = stage.send(request.body(body.into()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body}");
        assert_eq!(answer.code(), code, "{path} {body}");
    }
    let request = Request::builder().method(Method::PUT).uri("/api/v1/session");
    let answer = stage.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.code(), "method_not_allowed");
}

async fn serves_health_and_openapi(stage: &Stage) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(stage.get("", path).await.status, StatusCode::OK, "{path}");
    }
    let document = stage.get("", "/api/v1/openapi.json").await.json();
    for path in [
        "/api/v1/interactions",
        "/api/v1/streams/{id}/playlist.m3u8",
        "/api/v1/events",
        "/api/v1/live-state",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    let policy = stage.get("", "/healthz").await;
    let policy = policy.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe-inline"));
}
