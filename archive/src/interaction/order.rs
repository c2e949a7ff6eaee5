//! One order for events that came in any: each once, by the time at which it counts.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{EventKey, EventRef, InteractionSettings, SiteEvent};
use crate::event::{CounterEvent, EventType, TicketRef};
use crate::time::WallTime;

/// A ticket as different sources write it, e.g. `A` `0123`, `A-123` or `a123`, on a date.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TicketName {
    pub date: Date,
    pub series: String,
    /// Without leading zeros.
    pub number: String,
}

/// An event in its place.
pub(super) struct Fact<'a> {
    pub at: WallTime,
    pub is_clock_ahead: bool,
    pub ticket: Option<TicketName>,
    pub event: &'a CounterEvent,
}

impl Fact<'_> {
    pub fn event_ref(&self) -> EventRef {
        EventRef {
            at: self.at,
            event_type: self.event.event_type,
            key: EventKey::from(self.event),
        }
    }
}

/// Drops duplicates and orders by time, then rank of kind, then key.
///
/// Of events with one key the first received counts, as in a store that ignores later ones.
pub(super) fn facts<'a>(
    events: &'a [SiteEvent],
    zone: &TimeZone,
    settings: &InteractionSettings,
) -> Vec<Fact<'a>> {
    let mut first: BTreeMap<(&str, &str), &SiteEvent> = BTreeMap::new();
    for site_event in events {
        let key = (site_event.event.source.as_str(), site_event.event.id.as_str());
        first
            .entry(key)
            .and_modify(|known| {
                if is_before(site_event, known) {
                    *known = site_event;
                }
            })
            .or_insert(site_event);
    }
    let mut facts: Vec<_> = first
        .into_values()
        .map(|site_event| fact(site_event, zone, settings))
        .collect();
    // The map gave them by key, and the sort is stable.
    facts.sort_by_key(|f| (f.at, rank(f.event.event_type)));
    facts
}

fn is_before(a: &SiteEvent, b: &SiteEvent) -> bool {
    let key = |e: &SiteEvent| (e.received, e.event.device_time, e.event.event_type);
    let text = |e: &SiteEvent| format!("{:?}", e.event);
    key(a) < key(b) || (key(a) == key(b) && a.event != b.event && text(a) < text(b))
}

fn fact<'a>(site_event: &'a SiteEvent, zone: &TimeZone, settings: &InteractionSettings) -> Fact<'a> {
    let event = &site_event.event;
    let is_clock_ahead = event.device_time > site_event.received + settings.clock_tolerance_us;
    let at = if is_clock_ahead {
        site_event.received
    } else {
        event.device_time
    };
    let ticket = event.data.ticket.as_ref().map(|ticket| {
        let (series, number) = printed(ticket);
        let significant = number.trim_start_matches('0');
        TicketName {
            date: at.date_in(zone),
            series,
            number: if significant.is_empty() { "0" } else { significant }.to_owned(),
        }
    });
    Fact {
        at,
        is_clock_ahead,
        ticket,
        event,
    }
}

/// Series and number in upper case; letters that a source put before the number become the series.
pub(super) fn printed(ticket: &TicketRef) -> (String, String) {
    let upper = |text: &str| {
        text.chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .flat_map(char::to_uppercase)
            .collect::<String>()
    };
    let (series, number) = (upper(&ticket.series), upper(&ticket.number));
    match number.find(|c: char| c.is_ascii_digit()) {
        Some(letters) if series.is_empty() => (number[..letters].to_owned(), number[letters..].to_owned()),
        _ => (series, number),
    }
}

/// At one instant: first what sets the scene, then a visit in its natural order, last what ends it.
fn rank(event_type: EventType) -> u8 {
    match event_type {
        EventType::OfficerSignedIn => 0,
        EventType::CounterOpened => 1,
        EventType::TicketIssued => 2,
        EventType::TicketCalled => 3,
        EventType::TicketRecalled => 4,
        EventType::TicketServingStarted => 5,
        EventType::DossierScanned => 6,
        EventType::DossierStatusChanged => 7,
        EventType::TicketHeld => 8,
        EventType::TicketResumed => 9,
        EventType::TicketTransferred => 10,
        EventType::TicketNoShow => 11,
        EventType::TicketFinished => 12,
        EventType::TicketCancelled => 13,
        EventType::RatingGiven => 14,
        EventType::CounterPaused => 15,
        EventType::CounterClosed => 16,
        EventType::OfficerSignedOut => 17,
    }
}
