//! Counter events: CloudEvents 1.0 JSON with the types of public service counters.

use serde::{Deserialize, Serialize};

use crate::ids::{CounterId, InvalidId};
use crate::time::{InvalidTime, WallTime};

/// Largest event that is read, in bytes.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// A number was taken, at a kiosk or online; not yet an arrival.
    #[serde(rename = "ticket.issued")]
    TicketIssued,
    /// The number was called to a counter.
    #[serde(rename = "ticket.called")]
    TicketCalled,
    /// It was called again.
    #[serde(rename = "ticket.recalled")]
    TicketRecalled,
    /// Service began.
    #[serde(rename = "ticket.serving_started")]
    TicketServingStarted,
    /// Service was put on hold.
    #[serde(rename = "ticket.held")]
    TicketHeld,
    /// Service went on.
    #[serde(rename = "ticket.resumed")]
    TicketResumed,
    /// The ticket was sent to another counter.
    #[serde(rename = "ticket.transferred")]
    TicketTransferred,
    /// Nobody came after the calls.
    #[serde(rename = "ticket.no_show")]
    TicketNoShow,
    /// Service ended.
    #[serde(rename = "ticket.finished")]
    TicketFinished,
    /// The ticket was withdrawn.
    #[serde(rename = "ticket.cancelled")]
    TicketCancelled,
    /// A dossier's barcode was read.
    #[serde(rename = "dossier.scanned")]
    DossierScanned,
    /// The dossier software reports a new state.
    #[serde(rename = "dossier.status_changed")]
    DossierStatusChanged,
    /// The citizen rated the service.
    #[serde(rename = "rating.given")]
    RatingGiven,
    /// The counter opened.
    #[serde(rename = "counter.opened")]
    CounterOpened,
    /// The counter paused.
    #[serde(rename = "counter.paused")]
    CounterPaused,
    /// The counter closed.
    #[serde(rename = "counter.closed")]
    CounterClosed,
    /// An officer took the counter.
    #[serde(rename = "officer.signed_in")]
    OfficerSignedIn,
    /// The officer left it.
    #[serde(rename = "officer.signed_out")]
    OfficerSignedOut,
}

/// A ticket as a queue system names it; the site and date come from the event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TicketRef {
    /// The queue's letters, may be empty.
    #[serde(default)]
    pub series: String,
    /// The number as printed.
    pub number: String,
}

/// The fields of `data` that MinhQuay understands; all others are kept in the stored event.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EventData {
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRef>,
    /// The officer's staff code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub officer: Option<String>,
    /// The officer's name, if the source knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub officer_name: Option<String>,
    /// The administrative procedure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procedure: Option<String>,
    /// The dossier's code as scanned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dossier: Option<String>,
    /// The dossier's new state, for `dossier.status_changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The barcode's kind, e.g. `code128`, `qr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbology: Option<String>,
    /// The rating within `scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Worst and best score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<[f64; 2]>,
    /// Why the rating was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The counter that a ticket was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_counter: Option<CounterId>,
    /// Tickets still waiting, if the queue system says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
}

/// One counter event, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CounterEvent {
    /// Who reports; with `id` the idempotency key.
    pub source: String,
    /// Unique within `source`.
    pub id: String,
    /// What happened.
    pub event_type: EventType,
    /// When, by the clock of the device.
    pub device_time: WallTime,
    /// Where: a counter.
    pub counter: CounterId,
    /// What is known of it.
    pub data: EventData,
}

/// Why a text is not a counter event.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEvent {
    /// Larger than [`MAX_EVENT_BYTES`].
    #[error("an event has at most {MAX_EVENT_BYTES} bytes, this has {0}")]
    TooLarge(usize),
    /// Not JSON, or a field has the wrong type.
    #[error("not a counter event: {0}")]
    Json(#[from] serde_json::Error),
    /// `specversion` is not `1.0`.
    #[error("specversion {0:?} is not known: 1.0")]
    Version(String),
    /// A required text is empty or too long.
    #[error("{field} must have 1 to {max} characters")]
    Length {
        /// Which field.
        field: &'static str,
        /// The most that it may have.
        max: usize,
    },
    /// `time` is not RFC 3339 with an offset.
    #[error("time: {0}")]
    Time(#[from] InvalidTime),
    /// `subject` is not a counter.
    #[error("subject: {0}")]
    Subject(#[from] InvalidId),
    /// The type needs a field that `data` lacks.
    #[error("{event_type} needs data.{field}")]
    Missing {
        /// The type.
        event_type: String,
        /// The field.
        field: &'static str,
    },
    /// A rating outside its scale, or a scale that is no range.
    #[error("data.score {score} is outside data.scale [{worst}, {best}]")]
    Score {
        /// The score.
        score: f64,
        /// The scale's worst.
        worst: f64,
        /// The scale's best.
        best: f64,
    },
}

#[derive(Deserialize)]
struct Envelope {
    specversion: String,
    #[serde(rename = "type")]
    event_type: EventType,
    source: String,
    id: String,
    time: String,
    subject: String,
    #[serde(default)]
    data: EventData,
}

impl CounterEvent {
    /// Reads one event in the JSON format of CloudEvents 1.0.
    ///
    /// # Errors
    /// [`InvalidEvent`] names the field and what was expected.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidEvent> {
        if json.len() > MAX_EVENT_BYTES {
            return Err(InvalidEvent::TooLarge(json.len()));
        }
        // By way of a value, because fields that are skipped would not be checked to be UTF-8, yet are stored.
        Self::from_value(&serde_json::from_slice(json)?)
    }

    /// Reads one event from parsed JSON.
    ///
    /// # Errors
    /// As [`CounterEvent::parse`].
    pub fn from_value(json: &serde_json::Value) -> Result<Self, InvalidEvent> {
        Self::check(Envelope::deserialize(json)?)
    }

    fn check(envelope: Envelope) -> Result<Self, InvalidEvent> {
        if envelope.specversion != "1.0" {
            return Err(InvalidEvent::Version(envelope.specversion));
        }
        for (field, text) in [("source", &envelope.source), ("id", &envelope.id)] {
            if !(1..=200).contains(&text.chars().count()) {
                return Err(InvalidEvent::Length { field, max: 200 });
            }
        }
        let event = Self {
            source: envelope.source,
            id: envelope.id,
            event_type: envelope.event_type,
            device_time: WallTime::parse_rfc3339(&envelope.time)?,
            counter: envelope.subject.parse()?,
            data: envelope.data,
        };
        event.check_data()?;
        Ok(event)
    }

    fn check_data(&self) -> Result<(), InvalidEvent> {
        let data = &self.data;
        let missing = |field| InvalidEvent::Missing {
            event_type: self.event_type.as_str().to_owned(),
            field,
        };
        let texts = [
            ("data.officer", data.officer.as_ref()),
            ("data.officer_name", data.officer_name.as_ref()),
            ("data.procedure", data.procedure.as_ref()),
            ("data.dossier", data.dossier.as_ref()),
            ("data.status", data.status.as_ref()),
            ("data.ticket.number", data.ticket.as_ref().map(|t| &t.number)),
        ];
        for (field, text) in texts {
            if text.is_some_and(|t| !(1..=300).contains(&t.chars().count())) {
                return Err(InvalidEvent::Length { field, max: 300 });
            }
        }
        if data
            .ticket
            .as_ref()
            .is_some_and(|t| t.series.chars().count() > 16)
        {
            return Err(InvalidEvent::Length {
                field: "data.ticket.series",
                max: 16,
            });
        }
        if self.event_type.as_str().starts_with("ticket.") && data.ticket.is_none() {
            return Err(missing("ticket"));
        }
        if self.event_type.as_str().starts_with("dossier.") && data.dossier.is_none() {
            return Err(missing("dossier"));
        }
        if self.event_type == EventType::RatingGiven {
            let score = data.score.ok_or_else(|| missing("score"))?;
            let [worst, best] = data.scale.ok_or_else(|| missing("scale"))?;
            let is_range = worst < best && (best - worst).is_finite();
            if !(is_range && (worst..=best).contains(&score)) {
                return Err(InvalidEvent::Score { score, worst, best });
            }
        }
        Ok(())
    }

    /// The rating on a scale from 0 (worst) to 100 (best).
    pub fn rating_percent(&self) -> Option<f64> {
        let [worst, best] = self.data.scale?;
        Some((self.data.score? - worst) / (best - worst) * 100.0)
    }
}

impl EventType {
    /// The name in the envelope's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TicketIssued => "ticket.issued",
            Self::TicketCalled => "ticket.called",
            Self::TicketRecalled => "ticket.recalled",
            Self::TicketServingStarted => "ticket.serving_started",
            Self::TicketHeld => "ticket.held",
            Self::TicketResumed => "ticket.resumed",
            Self::TicketTransferred => "ticket.transferred",
            Self::TicketNoShow => "ticket.no_show",
            Self::TicketFinished => "ticket.finished",
            Self::TicketCancelled => "ticket.cancelled",
            Self::DossierScanned => "dossier.scanned",
            Self::DossierStatusChanged => "dossier.status_changed",
            Self::RatingGiven => "rating.given",
            Self::CounterOpened => "counter.opened",
            Self::CounterPaused => "counter.paused",
            Self::CounterClosed => "counter.closed",
            Self::OfficerSignedIn => "officer.signed_in",
            Self::OfficerSignedOut => "officer.signed_out",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"specversion":"1.0","type":"ticket.serving_started","source":"/qms/ba-dinh",
        "id":"7f0c","time":"2026-11-23T08:03:11+07:00","subject":"ba-dinh-q01",
        "data":{"ticket":{"series":"A","number":"0123"},"officer":"nv017","procedure":"Đăng ký khai sinh","room":4}}"#;

    #[test]
    fn refuses_what_could_not_be_stored_as_text() {
        let mut bytes = EXAMPLE
            .replace("\"data\":{", "\"data\":{\"seat\":\"?\",")
            .into_bytes();
        let at = bytes.iter().position(|byte| *byte == b'?').unwrap();
        CounterEvent::parse(&bytes).unwrap();
        bytes[at] = 0xff;
        assert!(matches!(CounterEvent::parse(&bytes), Err(InvalidEvent::Json(_))));
    }

    #[test]
    fn reads_the_documented_example() {
        let event = CounterEvent::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(event.event_type, EventType::TicketServingStarted);
        assert_eq!(event.device_time.to_string(), "2026-11-23T01:03:11.000000Z");
        assert_eq!(event.data.ticket.unwrap().number, "0123");
    }

    #[test]
    fn says_which_field_is_wrong() {
        let cases = [
            (("2026-11-23T08:03:11+07:00", "yesterday"), "time: \"yesterday\""),
            (("\"1.0\"", "\"0.3\""), "specversion \"0.3\""),
            (("ba-dinh-q01", "Quầy 1"), "subject: counter \"Quầy 1\""),
            (("\"7f0c\"", "\"\""), "id must have 1 to 200"),
            (("\"ticket\":", "\"tocket\":"), "needs data.ticket"),
            (("serving_started", "sung"), "unknown variant `ticket.sung`"),
        ];
        for ((from, to), expected) in cases {
            let error = CounterEvent::parse(EXAMPLE.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn refuses_a_score_outside_its_scale() {
        let rating = EXAMPLE
            .replace("ticket.serving_started", "rating.given")
            .replace("\"room\":4", "\"score\":5,\"scale\":[0,2]");
        let error = CounterEvent::parse(rating.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "data.score 5 is outside data.scale [0, 2]");
    }
}
