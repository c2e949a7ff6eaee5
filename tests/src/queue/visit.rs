//! One visit to a counter as the steps that a queue system, a scanner and a rating pad would report.

use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};

use super::{PROCEDURES, SimulatedCounter};

/// One event of a visit.
#[derive(Debug, Clone)]
pub struct Step {
    /// Time since the step before.
    pub after: Duration,
    /// The event's type.
    pub event_type: &'static str,
    /// The event's data.
    pub data: Value,
}

/// One visit.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The events in order.
    pub steps: Vec<Step>,
}

impl Visit {
    /// Draws a visit: one in twelve does not show up, one in eight brings two dossiers, two in three rate.
    pub fn draw(
        counter: &SimulatedCounter,
        number: u32,
        today: jiff::Timestamp,
        random: &mut impl Rng,
    ) -> Self {
        let ticket = json!({"series": counter.series, "number": format!("{number:04}")});
        let procedure = PROCEDURES[random.random_range(0..PROCEDURES.len())];
        let mut steps = Vec::new();
        let mut step = |seconds: f64, event_type, data| {
            steps.push(Step {
                after: Duration::from_secs_f64(seconds),
                event_type,
                data,
            });
        };
        let base = json!({"ticket": ticket, "procedure": procedure});
        step(0.2, "ticket.issued", base.clone());
        step(random.random_range(0.5..2.0), "ticket.called", base.clone());
        if random.random_ratio(1, 12) {
            step(8.0, "ticket.recalled", base.clone());
            step(8.0, "ticket.no_show", base);
            return Self { steps };
        }
        let mut serving = base.clone();
        serving["officer"] = json!(counter.officer.code);
        serving["officer_name"] = json!(counter.officer.name);
        step(random.random_range(2.0..5.0), "ticket.serving_started", serving);
        let dossiers = if random.random_ratio(1, 8) { 2 } else { 1 };
        for index in 0..dossiers {
            let code = dossier_code(counter.agency, today, number * 2 + index);
            step(
                random.random_range(3.0..8.0),
                "dossier.scanned",
                json!({"dossier": code, "symbology": "code128", "ticket": ticket}),
            );
        }
        step(random.random_range(12.0..45.0), "ticket.finished", base);
        if random.random_ratio(2, 3) {
            let score = [2, 2, 2, 2, 1, 1, 0][random.random_range(0..7)];
            let reasons = if score == 0 {
                json!(["attitude"])
            } else {
                json!([])
            };
            step(
                random.random_range(2.0..4.0),
                "rating.given",
                json!({"score": score, "scale": [0, 2], "ticket": ticket, "reasons": reasons}),
            );
        }
        Self { steps }
    }
}

/// A code as Circular 01/2018/TT-VPCP, article 19, forms it.
fn dossier_code(agency: &str, today: jiff::Timestamp, number: u32) -> String {
    let date = today
        .to_zoned(jiff::tz::TimeZone::get("Asia/Ho_Chi_Minh").unwrap_or(jiff::tz::TimeZone::UTC))
        .date();
    format!(
        "{agency}-{:02}{:02}{:02}-{:04}",
        date.year() % 100,
        date.month(),
        date.day(),
        number % 10_000
    )
}

#[cfg(test)]
mod tests {
    use super::super::{OFFICERS, event};
    use super::*;
    use archive::event::CounterEvent;
    use rand::SeedableRng;

    #[test]
    fn every_drawn_step_is_a_valid_counter_event() {
        let counter = SimulatedCounter {
            counter: "ba-dinh-q01".into(),
            series: "A",
            agency: "H26.17.05",
            officer: OFFICERS[0],
        };
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        let at: jiff::Timestamp = "2026-11-23T01:00:00Z".parse().unwrap();
        for number in 0..500 {
            for step in Visit::draw(&counter, number, at, &mut random).steps {
                let json = event(&counter.counter, step.event_type, at, step.data);
                CounterEvent::from_value(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
            }
        }
    }
}
