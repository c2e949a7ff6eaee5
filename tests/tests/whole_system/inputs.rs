//! Events from a real broker arrive once, also those that came while the recorder was away.

use std::process::Command;
use std::time::Duration;

use archive::time::{Clock, SystemClock};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::json;
use system_tests::programs::{Program, free_port};

use crate::site::{COUNTER, Site};

const TOPIC: &str = "queue/hall/events";

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_broker_arrive_once_also_those_of_an_absence() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let settings = dir.path().join("mosquitto.conf");
    std::fs::write(
        &settings,
        format!("listener {port} 127.0.0.1\nallow_anonymous true\n"),
    )
    .unwrap();
    let mut command = Command::new("mosquitto");
    command
        .env("PATH", "/usr/sbin:/usr/bin:/bin")
        .arg("-c")
        .arg(&settings);
    let mut broker = Program::spawn("mosquitto", command, dir.path()).unwrap();
    broker
        .wait_for("an open port", Duration::from_secs(10), |_| {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .unwrap();
    let mut site = Site::start_with(&["cam=proof,audio=none,size=320x180"], 10, |_| {
        format!("[input.mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\ntopic = \"queue/+/events\"\n")
    })
    .await;
    // The broker drops what comes before the recorder has subscribed; repeating an event is harmless.
    let recorder = site.edge.program().unwrap();
    recorder
        .wait_for_line("broker is connected", Duration::from_secs(30))
        .unwrap();
    let mut seen = 0.0;
    while seen < 1.0 {
        publish(port, "first").await;
        seen = site.metric("recorder_events_total").unwrap_or(0.0);
    }
    site.edge.stop().unwrap();
    publish(port, "while away").await;
    publish(port, "while away").await;
    site.edge.start().unwrap();
    site.wait_for_metric("recorder_events_total", Duration::from_secs(30), |events| {
        events >= 2.0
    });
    site.wait_for_metric("recorder_uplink_connected", Duration::from_secs(30), |is| {
        is == 1.0
    });
    site.wait_until_uploaded(Duration::from_secs(30));
    let ids = site.catalogue("select id from event order by device_us").await;
    assert_eq!(ids, [["first"], ["while away"]]);
}

/// Gives an event to the broker; returns when the broker has it.
async fn publish(port: u16, id: &str) {
    let event = json!({
        "specversion": "1.0", "type": "dossier.scanned", "source": "/kiosk", "id": id,
        "time": SystemClock.wall().to_string(), "subject": COUNTER,
        "data": {"dossier": "H26.17.05-261123-0001"},
    });
    let name = format!("kiosk-{}", uuid::Uuid::now_v7());
    let (client, mut connection) = AsyncClient::new(MqttOptions::new(name, "127.0.0.1", port), 4);
    let payload = serde_json::to_vec(&event).unwrap();
    client
        .publish(TOPIC, QoS::AtLeastOnce, false, payload)
        .await
        .unwrap();
    while !matches!(
        connection.poll().await.unwrap(),
        Event::Incoming(Packet::PubAck(_))
    ) {}
}
