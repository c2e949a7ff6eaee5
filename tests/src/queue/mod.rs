//! A simulated queue system: tickets, calls, scans and ratings at a lifelike pace, posted as counter events.

mod people;
mod visit;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

pub use people::{OFFICERS, Officer, PROCEDURES};
pub use visit::{Step, Visit};

/// A counter that the simulation serves.
#[derive(Debug, Clone)]
pub struct SimulatedCounter {
    /// The `subject` of its events.
    pub counter: String,
    /// The letter of its tickets.
    pub series: &'static str,
    /// The agency in the codes of its dossiers, e.g. `H26.17.05`.
    pub agency: &'static str,
    /// Who sits there.
    pub officer: Officer,
}

/// Posts events to a server with a token.
#[derive(Debug, Clone)]
pub struct EventPoster {
    /// `http://host:port` of the server or of a recorder.
    pub url: String,
    /// Token with scope `events:write`.
    pub token: String,
    /// Shared connections.
    pub client: reqwest::Client,
}

impl EventPoster {
    /// Posts a batch and gives the answer.
    ///
    /// # Errors
    /// If the service can't be reached or does not answer 202.
    pub async fn post(&self, events: &[Value]) -> anyhow::Result<Value> {
        let answer = self
            .client
            .post(format!("{}/api/v1/events", self.url))
            .bearer_auth(&self.token)
            .header("content-type", "application/cloudevents-batch+json")
            .body(serde_json::to_vec(events)?)
            .send()
            .await?;
        anyhow::ensure!(
            answer.status() == 202,
            "POST /events: {} {}",
            answer.status(),
            answer.text().await?
        );
        Ok(answer.json().await?)
    }

    /// Posts a batch until it is accepted, as queue systems do; gives up only when dropped.
    pub async fn post_until_accepted(&self, events: &[Value]) {
        while let Err(error) = self.post(events).await {
            tracing::warn!(%error, "events not accepted, trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// An event as JSON, at a time given by the caller.
pub fn event(counter: &str, event_type: &str, at: jiff::Timestamp, data: Value) -> Value {
    let source = format!(
        "/qms/{}",
        counter.rsplit_once('-').map_or(counter, |(site, _)| site)
    );
    json!({
        "specversion": "1.0", "type": event_type, "source": source, "id": uuid::Uuid::now_v7().to_string(),
        "time": at.to_string(), "subject": counter, "data": data,
    })
}

/// Serves one counter for ever, `first_wait` after the start.
///
/// `speed` divides every duration: 1 is lifelike.
pub async fn serve(
    counter: SimulatedCounter,
    poster: EventPoster,
    seed: u64,
    first_wait: Duration,
    speed: f64,
) {
    let mut random = StdRng::seed_from_u64(seed);
    let now = || jiff::Timestamp::from_microsecond(now_us()).expect("the clock shows a time of this age");
    poster
        .post_until_accepted(&[
            event(&counter.counter, "counter.opened", now(), json!({})),
            event(
                &counter.counter,
                "officer.signed_in",
                now(),
                json!({"officer": counter.officer.code, "officer_name": counter.officer.name}),
            ),
        ])
        .await;
    tokio::time::sleep(first_wait).await;
    let mut number = first_number(now());
    let mut waiting = random.random_range(2..6);
    loop {
        number += 1;
        let visit = Visit::draw(&counter, number, now(), &mut random);
        for step in &visit.steps {
            tokio::time::sleep(step.after.div_f64(speed)).await;
            let mut data = step.data.clone();
            if step.event_type == "ticket.called" {
                waiting = next_waiting(waiting, &mut random);
                data["waiting"] = json!(waiting);
            }
            poster
                .post_until_accepted(&[event(&counter.counter, step.event_type, now(), data)])
                .await;
        }
        let pause = Duration::from_millis(random.random_range(4_000..12_000)).div_f64(speed);
        tokio::time::sleep(pause).await;
    }
}

fn next_waiting(waiting: u32, random: &mut StdRng) -> u32 {
    (waiting + random.random_range(0..3)).saturating_sub(1).min(12)
}

/// Tickets count up through the day, also over a restart of the simulation: one number every 40 s.
fn first_number(now: jiff::Timestamp) -> u32 {
    let seconds = now.as_second().rem_euclid(86_400);
    u32::try_from(seconds / 40).unwrap_or(0)
}

fn now_us() -> i64 {
    use archive::time::Clock as _;
    archive::time::SystemClock.wall().as_micros()
}
