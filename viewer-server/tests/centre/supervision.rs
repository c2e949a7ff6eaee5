//! What the wall tells of a counter.

use archive::alert::{Alert, AlertKind};
use archive::uplink::Fact;
use serde_json::{Value, json};
use viewer_server::access::Role;

use crate::stage::{MORNING, SECOND, STREAM, Stage, event};

crate::on_each_database!(
    who_waits_for_long_shows_until_called,
    how_many_wait_stays_when_an_event_does_not_say,
    an_alert_of_a_recorder_shows_at_its_counter_and_its_device_until_it_is_over
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

async fn an_alert_of_a_recorder_shows_at_its_counter_and_its_device_until_it_is_over(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let leader = stage.sign_in("lan", Role::Leader, "ha-noi").await;
    let admin = stage.sign_in("quan-tri", Role::Administrator, "ha-noi").await;
    let alert = |kind, stream: Option<&str>| Alert {
        alert_id: uuid::Uuid::now_v7(),
        kind,
        stream: stream.map(|s| s.parse().unwrap()),
        start: MORNING,
        end: None,
        detail: "3 MB are free".into(),
    };
    let low = alert(AlertKind::DiskLow, None);
    let forecast = alert(AlertKind::DiskForecast, None);
    let black = alert(AlertKind::PictureBlack, Some(STREAM));
    let foreign = alert(AlertKind::PictureBlack, Some("tay-ho-q01.front.main"));
    let seen = |alert: &Alert| Fact::AlertSeen { alert: alert.clone() };
    let through = recorder
        .facts([&low, &forecast, &black, &foreign].map(seen).to_vec())
        .await;
    assert_eq!(through, 4, "also what is not the recorder's to tell is answered");
    let shown = || async {
        stage.centre.supervise().await.unwrap();
        let counter = stage.get(&leader, "/api/v1/counters/ba-dinh-q01").await.json();
        let device = stage.get(&admin, "/api/v1/recorders").await.json()["items"][0].clone();
        let kinds = |alerts: &Value| -> Vec<String> {
            let alerts = alerts.as_array().unwrap().iter();
            alerts.map(|a| a["kind"].as_str().unwrap().to_owned()).collect()
        };
        (
            kinds(&counter["live"]["alerts"]),
            kinds(&device["alerts"]),
            device,
        )
    };
    let (counter, device, whole) = shown().await;
    assert_eq!(counter, ["disk_low", "picture_black"]);
    assert_eq!(device, ["disk_low", "disk_forecast", "picture_black"]);
    assert_eq!(whole["alerts"][2]["stream_id"], STREAM);
    assert_eq!(whole["alerts"][0]["detail"], "3 MB are free");

    let over = |alert: Alert| Alert {
        end: Some(MORNING + SECOND),
        ..alert
    };
    recorder.facts(vec![seen(&over(low)), seen(&over(black))]).await;
    let (counter, device, _) = shown().await;
    assert_eq!(counter, [""; 0]);
    assert_eq!(device, ["disk_forecast"]);
}
