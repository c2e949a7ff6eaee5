//! What the wall tells of a counter.

use serde_json::{Value, json};
use viewer_server::access::Role;

use crate::stage::{MORNING, SECOND, STREAM, Stage, event};

crate::on_each_database!(
    who_waits_for_long_shows_until_called,
    how_many_wait_stays_when_an_event_does_not_say
);

const MINUTE: i64 = 60 * SECOND;

async fn live(stage: &Stage, cookie: &str) -> (Value, bool) {
    stage.centre.supervise().await.unwrap();
    let counter = stage.get(cookie, "/api/v1/counters/ba-dinh-q01").await.json();
    let live = &counter["live"];
    let alerts = live["alerts"].as_array().unwrap();
    let is_long = alerts.iter().any(|a| a["kind"] == "long_wait");
    (live["oldest_waiting_since"].clone(), is_long)
}

async fn who_waits_for_long_shows_until_called(stage: &Stage) {
    let _recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let ticket = |number: &str| json!({"ticket": {"series": "A", "number": number}});
    let issued = json!([
        event("i7", "ticket.issued", MORNING, ticket("0007")),
        event("i8", "ticket.issued", MORNING + MINUTE, ticket("0008")),
    ]);
    stage.advance(10 * MINUTE);
    assert_eq!(live(stage, &cookie).await, (Value::Null, false));
    stage.post_events(&issued).await;
    stage.advance(10 * SECOND);
    assert_eq!(live(stage, &cookie).await, (json!(MORNING.to_string()), false));
    stage.advance(20 * MINUTE);
    assert_eq!(live(stage, &cookie).await, (json!(MORNING.to_string()), true));
    stage
        .post_events(&event("c7", "ticket.called", MORNING + 30 * MINUTE, ticket("7")))
        .await;
    stage.advance(10 * SECOND);
    let next = (MORNING + MINUTE).to_string();
    assert_eq!(live(stage, &cookie).await, (json!(next), false));
    stage
        .post_events(&event(
            "x8",
            "ticket.cancelled",
            MORNING + 30 * MINUTE,
            ticket("8"),
        ))
        .await;
    stage.advance(10 * SECOND);
    assert_eq!(live(stage, &cookie).await, (Value::Null, false));
}

async fn how_many_wait_stays_when_an_event_does_not_say(stage: &Stage) {
    let _recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let cookie = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    stage.advance(10 * MINUTE);
    let ticket = json!({"series": "A", "number": "0007"});
    let called = json!({"ticket": ticket, "waiting": 4});
    stage
        .post_events(&event("c7", "ticket.called", MORNING, called))
        .await;
    let recalled = json!({"ticket": ticket});
    stage
        .post_events(&event("r7", "ticket.recalled", MORNING + 20 * SECOND, recalled))
        .await;
    stage.advance(10 * SECOND);
    stage.centre.supervise().await.unwrap();
    let counter = stage.get(&cookie, "/api/v1/counters/ba-dinh-q01").await.json();
    assert_eq!(counter["live"]["waiting"], 4);
}
