//! Holds: who may place and release them, and that recorders are told.

use archive::uplink::{Mark, MarkKind, Order, ToServer};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use viewer_server::access::Role;

use crate::stage::{Answer, MORNING, SECOND, STREAM, Stage};

crate::on_each_database!(
    a_hold_is_ordered_at_its_recorder_and_released_by_who_may,
    holds_are_refused_where_they_make_no_sense_or_are_not_allowed,
    a_recorder_that_lost_its_marks_is_told_of_the_holds_in_force
);

const UNTIL: i64 = 600 * SECOND;

async fn call(stage: &Stage, cookie: &str, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::COOKIE, cookie)
        .header("sec-fetch-site", "same-origin")
        .header(header::CONTENT_TYPE, "application/json");
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    stage.send(request.body(body).unwrap()).await
}

fn hold(counter: &str) -> Value {
    json!({"counter": counter, "from": MORNING.to_string(), "to": (MORNING + UNTIL).to_string(),
        "reason": "khiếu nại 12/2026"})
}

async fn place(stage: &Stage, cookie: &str, body: &Value) -> Answer {
    call(stage, cookie, Method::POST, "/api/v1/holds", Some(body)).await
}

async fn a_hold_is_ordered_at_its_recorder_and_released_by_who_may(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let handler = stage.sign_in("minh", Role::ComplaintHandler, "ba-dinh").await;
    let placed = place(stage, &handler, &hold("ba-dinh-q01")).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{}", placed.text());
    let id = placed.json()["hold_id"].as_str().unwrap().to_owned();
    let (first, orders) = recorder.next_orders().await;
    let mark = Mark {
        mark_id: id.clone(),
        kind: MarkKind::Hold,
        counter: "ba-dinh-q01".parse().unwrap(),
        from: MORNING,
        to: Some(MORNING + UNTIL),
    };
    assert_eq!((first, orders), (1, vec![Order::Mark { mark }]));
    recorder.tell(&ToServer::OrdersStored { through: 1 }).await;

    let auditor = stage.sign_in("ha", Role::Auditor, "ha-noi").await;
    let path = format!("/api/v1/holds/{id}");
    let refused = call(stage, &auditor, Method::DELETE, &path, None).await;
    assert_eq!(refused.code(), "forbidden");
    let elsewhere = stage.sign_in("tay", Role::Leader, "tay-ho").await;
    let unseen = call(stage, &elsewhere, Method::DELETE, &path, None).await;
    assert_eq!(unseen.code(), "not_found");
    let leader = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    for _ in 0..2 {
        let released = call(stage, &leader, Method::DELETE, &path, None).await;
        assert_eq!(released.status, StatusCode::NO_CONTENT);
    }
    let (first, orders) = recorder.next_orders().await;
    assert_eq!((first, orders), (2, vec![Order::Unmark { mark_id: id.clone() }]));

    let listed = |cookie: String| async move {
        let listed = stage.get(&cookie, "/api/v1/holds?counter=ba-dinh-q01").await;
        listed.json()["items"].as_array().unwrap().clone()
    };
    let seen = listed(auditor).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["placed_by"], "minh");
    assert_eq!(seen[0]["released_by"], "lan");
    assert_eq!(listed(elsewhere).await.len(), 0);
}

async fn holds_are_refused_where_they_make_no_sense_or_are_not_allowed(stage: &Stage) {
    let _recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let leader = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let with = |field: &str, value: Value| {
        let mut body = hold("ba-dinh-q01");
        body[field] = value;
        body
    };
    for (field, value) in [
        ("to", json!(MORNING.to_string())),
        ("from", json!("hôm qua")),
        ("reason", json!("  ")),
        ("reason", json!("x".repeat(501))),
        ("counter", json!("Quầy 1")),
    ] {
        let refused = place(stage, &leader, &with(field, value)).await;
        assert_eq!(refused.code(), "bad_parameter", "{field}");
        assert_eq!(refused.json()["errors"][0]["field"], field);
    }
    assert_eq!(place(stage, &leader, &hold("q9")).await.code(), "not_found");
    let officer = stage.sign_in("hoa", Role::Officer, "ha-noi").await;
    assert_eq!(
        place(stage, &officer, &hold("ba-dinh-q01")).await.code(),
        "forbidden"
    );
    let nobody = place(stage, "", &hold("ba-dinh-q01")).await;
    assert_eq!(nobody.code(), "not_signed_in");
}

async fn a_recorder_that_lost_its_marks_is_told_of_the_holds_in_force(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let leader = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    for released in [true, false] {
        let placed = place(stage, &leader, &hold("ba-dinh-q01")).await.json();
        let (first, orders) = recorder.next_orders().await;
        let through = first + orders.len() as u64 - 1;
        recorder.tell(&ToServer::OrdersStored { through }).await;
        if released {
            let path = format!("/api/v1/holds/{}", placed["hold_id"].as_str().unwrap());
            call(stage, &leader, Method::DELETE, &path, None).await;
            let (first, _) = recorder.next_orders().await;
            recorder.tell(&ToServer::OrdersStored { through: first }).await;
        }
    }
    let (id, key) = (recorder.id.clone(), recorder.key.clone());
    // The acknowledgement is stored before the next session asks where orders go on.
    recorder.facts(Vec::new()).await;
    drop(recorder);
    let mut again = stage
        .connect_with_orders(&id, &key, "ba-dinh-1", &[STREAM], 0)
        .await;
    let (_, orders) = again.next_orders().await;
    let holds: Vec<_> = orders
        .iter()
        .filter(|order| matches!(order, Order::Mark { mark } if mark.kind == MarkKind::Hold))
        .collect();
    assert_eq!(holds.len(), 1, "{orders:?}");
}
