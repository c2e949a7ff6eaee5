//! Events in, interactions out.

use archive::time::WallTime;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use viewer_server::access::Role;
use viewer_server::db::Why;

use crate::stage::{MORNING, SECOND, STREAM, Stage, event, visit};

crate::on_each_database!(
    a_batch_is_taken_once_and_bad_events_harm_no_others,
    only_a_token_with_the_scope_may_write,
    events_become_an_interaction_with_its_history,
    a_late_event_revises_with_its_cause,
    a_forgotten_interaction_is_closed_by_the_clock,
);

const DOSSIER: &str = "000.00.17.H26-180615-0001";

async fn a_batch_is_taken_once_and_bad_events_harm_no_others(stage: &Stage) {
    let _recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let mut foreign = event("x", "counter.opened", MORNING, json!({}));
    foreign["subject"] = json!("no-such-counter");
    let batch = json!([
        event("1", "counter.opened", MORNING, json!({})),
        {"specversion": "1.0"},
        foreign,
        event("2", "counter.closed", MORNING + SECOND, json!({})),
        event("1", "counter.opened", MORNING, json!({})),
    ]);
    let answer = stage.post_events(&batch).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let answer = answer.json();
    assert_eq!(
        (answer["accepted"].as_u64(), answer["duplicates"].as_u64()),
        (Some(2), Some(1))
    );
    let rejected: Vec<_> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["index"].as_u64().unwrap())
        .collect();
    assert_eq!(rejected, [1, 2]);
    let again = stage.post_events(&batch).await.json();
    assert_eq!(
        (again["accepted"].as_u64(), again["duplicates"].as_u64()),
        (Some(0), Some(3))
    );
}

async fn only_a_token_with_the_scope_may_write(stage: &Stage) {
    for authorization in [None, Some("Bearer mq_0000"), Some("Basic bGFuOmxhbg==")] {
        let mut request = Request::post("/api/v1/events").header(header::CONTENT_TYPE, "application/json");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = stage.send(request.body("[]".into()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.code(), "bad_token");
    }
    let request = Request::post("/api/v1/events")
        .header(header::CONTENT_TYPE, "text/plain")
        .header(header::AUTHORIZATION, format!("Bearer {}", stage.token));
    let answer = stage.send(request.body("[]".into()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

async fn only(stage: &Stage, cookie: &str) -> Value {
    let found = stage.get(cookie, "/api/v1/interactions").await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
    found["items"][0].clone()
}

async fn events_become_an_interaction_with_its_history(stage: &Stage) {
    let _recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    stage.advance(600 * SECOND);
    stage.post_events(&visit("0123", MORNING, DOSSIER)).await;
    let found = only(stage, &cookie).await;
    assert_eq!(found["state"], "finished");
    assert_eq!(found["ticket"]["label"], "A0123");
    assert_eq!(found["ticket"]["business_date"], "2026-11-23");
    assert_eq!(found["officer"], json!({"code": "nv017", "name": "Trần Thị Hoa"}));
    assert_eq!(found["dossiers"][0]["code"], DOSSIER);
    assert_eq!(found["rating"]["percent"], 100.0);
    assert_eq!(found["coverage"], "none");
    let path = format!(
        "/api/v1/interactions/{}",
        found["interaction_id"].as_str().unwrap()
    );
    let detail = stage.get(&cookie, &path).await.json();
    assert_eq!(detail["events"].as_array().unwrap().len(), 5);
    assert_eq!(detail["revisions"][0]["revision"], 1);
    let counter = stage.get(
        &cookie,
        "/api/v1/counters/ba-dinh-q01/timeline?from=2026-11-23T00:00:00Z&to=2026-11-23T02:00:00Z",
    );
    let timeline = counter.await.json();
    assert_eq!(timeline["interactions"].as_array().unwrap().len(), 1);
    assert_eq!(timeline["events"].as_array().unwrap().len(), 5);
    let elsewhere = stage.sign_in("nga", Role::Leader, "tay-ho").await;
    assert_eq!(stage.get(&elsewhere, &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        stage.get(&elsewhere, "/api/v1/interactions").await.json()["items"],
        json!([])
    );
}

async fn a_late_event_revises_with_its_cause(stage: &Stage) {
    let _recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    stage.advance(600 * SECOND);
    let all = visit("0123", MORNING, DOSSIER);
    let mut early = all.as_array().unwrap().clone();
    let late = early.remove(2);
    stage.post_events(&Value::Array(early)).await;
    let before = only(stage, &cookie).await;
    assert_eq!(before["dossiers"], json!([]));
    stage.post_events(&late).await;
    let after = only(stage, &cookie).await;
    assert_eq!(after["interaction_id"], before["interaction_id"]);
    assert_eq!(after["dossiers"][0]["code"], DOSSIER);
    assert_eq!(after["revision"], 2);
    let path = format!(
        "/api/v1/interactions/{}",
        after["interaction_id"].as_str().unwrap()
    );
    let revision = &stage.get(&cookie, &path).await.json()["revisions"][1];
    assert!(
        revision["cause"].as_str().unwrap().ends_with("scanned"),
        "{revision}"
    );
    let changed: Vec<_> = revision["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["field"].as_str().unwrap())
        .collect();
    assert!(changed.contains(&"dossiers"), "{changed:?}");
    stage.post_events(&all).await;
    assert_eq!(
        only(stage, &cookie).await["revision"],
        2,
        "duplicates change nothing"
    );
}

async fn a_forgotten_interaction_is_closed_by_the_clock(stage: &Stage) {
    let _recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let called = |at: WallTime| {
        event(
            "c",
            "ticket.called",
            at,
            json!({"ticket": {"series": "A", "number": "7"}}),
        )
    };
    stage.post_events(&called(MORNING)).await;
    assert_eq!(only(stage, &cookie).await["state"], "called");
    stage.advance(50 * 60 * SECOND);
    assert_eq!(stage.get(&cookie, "/api/v1/me").await.status, StatusCode::OK);
    stage.advance(50 * 60 * SECOND);
    stage.centre.derive_due(Why::TimePassed).await.unwrap();
    let closed = only(stage, &cookie).await;
    assert_eq!(closed["state"], "abandoned");
    assert_eq!(closed["revision"], 2);
}
