//! What the derivation promises, one behaviour a test. Times are minutes after 08:00 in Hà Nội.

mod bindings;
mod properties;
mod visits;

use jiff::tz::TimeZone;

use super::*;
use crate::event::{EventData, TicketRef};

const MINUTE: DurationUs = 60_000_000;

fn zone() -> TimeZone {
    TimeZone::fixed(jiff::tz::offset(7))
}

/// Minutes after 08:00 on 23/11/2026.
fn at(minutes: f64) -> WallTime {
    let eight = WallTime::parse_rfc3339("2026-11-23T08:00:00+07:00").unwrap();
    eight + (minutes * MINUTE as f64) as i64
}

fn kind(name: &str) -> EventType {
    serde_json::from_value(name.into()).unwrap()
}

/// An event at counter `q01`, `q02`…; its id is its content, so events that differ have other ids.
fn event(minutes: f64, counter: &str, name: &str, data: EventData) -> SiteEvent {
    let event = CounterEvent {
        source: "/qms".to_owned(),
        id: format!("{minutes}/{counter}/{name}/{data:?}"),
        event_type: kind(name),
        device_time: at(minutes),
        counter: counter.parse().unwrap(),
        data,
    };
    SiteEvent {
        received: event.device_time + 1_000_000,
        event,
    }
}

fn data(ticket: &str) -> EventData {
    EventData {
        ticket: (!ticket.is_empty()).then(|| TicketRef {
            series: String::new(),
            number: ticket.to_owned(),
        }),
        ..EventData::default()
    }
}

/// `ticket.` events: minute, counter, name behind the dot, ticket.
fn ticket(minutes: f64, counter: &str, name: &str, ticket: &str) -> SiteEvent {
    event(minutes, counter, &format!("ticket.{name}"), data(ticket))
}

fn scan(minutes: f64, counter: &str, code: &str) -> SiteEvent {
    let data = EventData {
        dossier: Some(code.to_owned()),
        symbology: Some("code128".to_owned()),
        ..EventData::default()
    };
    event(minutes, counter, "dossier.scanned", data)
}

fn rating(minutes: f64, counter: &str, ticket: &str, score: f64) -> SiteEvent {
    let data = EventData {
        score: Some(score),
        scale: Some([0.0, 2.0]),
        reasons: vec!["attitude".to_owned()],
        ..data(ticket)
    };
    event(minutes, counter, "rating.given", data)
}

fn derived(events: &[SiteEvent]) -> Vec<Interaction> {
    let site = "ba-dinh".parse().unwrap();
    thread_local!(static SETTINGS: InteractionSettings = InteractionSettings::default());
    SETTINGS.with(|settings| derive(&site, &zone(), settings, events))
}

/// The only interaction of the events.
fn only(events: &[SiteEvent]) -> Interaction {
    let mut all = derived(events);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// Each interaction as `ticket@counter state closed_by`.
fn outline(events: &[SiteEvent]) -> Vec<String> {
    let line = |i: &Interaction| {
        let ticket = i
            .ticket
            .as_ref()
            .map_or("-".to_owned(), |t| format!("{}{}", t.series, t.number));
        let closed_by = i.closed_by.map_or("open", ClosedBy::as_str);
        format!("{ticket}@{} {} {closed_by}", i.counter, i.state)
    };
    derived(events).iter().map(line).collect()
}
