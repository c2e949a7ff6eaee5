//! One counter's live state, from its newest interactions and events and its streams' health.

use archive::event::EventType;
use archive::ids::{CounterId, TicketKey};
use archive::interaction::{Interaction, InteractionState, current};
use archive::time::{DurationUs, WallTime};
use serde::Serialize;
use utoipa::ToSchema;

use super::urgency;
use crate::centre::Centre;
use crate::db::{AlertRow, DbError, SearchFilter};
use crate::places::{Counter, Places, Stream};

const DAY_US: DurationUs = 24 * 3_600_000_000;
/// How far back the newest interactions of a counter are looked at.
const RECENT: usize = 8;

/// A ticket as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TicketView {
    /// The queue's letters.
    pub series: String,
    /// The number as printed.
    pub number: String,
    /// Both, as called.
    pub label: String,
    /// `yyyy-mm-dd` at the site.
    pub business_date: String,
}

/// An officer as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OfficerView {
    /// Staff code.
    pub code: String,
    /// Name, if known.
    pub name: Option<String>,
}

/// A stream and how it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StreamState {
    /// `counter.viewpoint.quality`.
    pub stream_id: String,
    /// E.g. `front`.
    pub viewpoint: String,
    /// `main` or `sub`.
    pub quality: &'static str,
    /// Whether it is set up with sound.
    pub has_audio: bool,
    /// RFC 6381.
    pub video_codec: Option<String>,
    /// RFC 6381.
    pub audio_codec: Option<String>,
    /// Pixels.
    pub width: i64,
    /// Pixels.
    pub height: i64,
    /// `recording`, `fault` (the recorder says so), `offline` (the recorder is not connected) or `unknown`.
    pub state: &'static str,
    /// Age of the newest sample at the recorder, in milliseconds, as last told.
    pub last_sample_age_ms: Option<u64>,
    /// Since when the fault lasts.
    pub since: Option<String>,
    /// Why nothing is recorded, as a gap's cause.
    pub fault_cause: Option<String>,
    /// Where the newest footage that has arrived ends: up to here there are stills.
    pub footage_until: Option<String>,
}

/// Something that asks for attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Alert {
    /// `recording_fault`, `recorder_offline`, `long_service`, `low_rating`, `long_wait`, or what a recorder tells of,
    /// e.g. `picture_black` or `disk_low`.
    pub kind: &'static str,
    /// Since when.
    pub since: Option<String>,
    /// What it is about: a cause, a stream.
    pub detail: String,
}

/// The newest rating.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LastRating {
    /// 0 worst to 100 best.
    pub percent: f64,
    /// When.
    pub given_at: String,
}

/// What happens at a counter now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LiveState {
    /// `open`, `paused`, `closed` or `unknown`.
    pub state: &'static str,
    /// The interaction in service.
    pub interaction_id: Option<String>,
    /// `called`, `serving` or `held`.
    pub phase: Option<&'static str>,
    /// Its ticket.
    pub ticket: Option<TicketView>,
    /// Its procedure.
    pub procedure: Option<String>,
    /// Who serves.
    pub officer: Option<OfficerView>,
    /// When it was called.
    pub called_at: Option<String>,
    /// When service started.
    pub started_at: Option<String>,
    /// Dossiers scanned.
    pub dossiers: Vec<String>,
    /// Tickets waiting, if the queue system says so.
    pub waiting: Option<u32>,
    /// Since when the first of them waits, if known.
    pub oldest_waiting_since: Option<String>,
    /// The newest rating of the day.
    pub last_rating: Option<LastRating>,
    /// The interaction before.
    pub last_interaction_id: Option<String>,
    /// What asks for attention.
    pub alerts: Vec<Alert>,
    /// Larger is worse; for ordering.
    pub urgency: i64,
    /// When this was computed.
    pub updated_at: String,
}

/// A counter with its streams and what happens there.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CounterState {
    /// The id that queue systems name as `subject`.
    pub counter_id: String,
    /// For people.
    pub name: String,
    /// Its site.
    pub site_id: String,
    /// For people.
    pub site_name: String,
    /// The unit of its site.
    pub unit_id: String,
    /// Main before sub.
    pub streams: Vec<StreamState>,
    /// Now.
    pub live: LiveState,
}

impl CounterState {
    /// Whether nothing differs that people would want to be told.
    pub(super) fn is_same_but_for_age(&self, other: &Self) -> bool {
        let ageless = |state: &Self| {
            let mut state = state.clone();
            state.live.updated_at.clear();
            for stream in &mut state.streams {
                // Below two seconds a picture counts as live.
                stream.last_sample_age_ms = stream.last_sample_age_ms.map(|ms| ms / 2000);
            }
            state
        };
        ageless(self) == ageless(other)
    }
}

/// A ticket as shown.
pub fn ticket_view(ticket: &TicketKey) -> TicketView {
    TicketView {
        series: ticket.series.clone(),
        number: ticket.number.clone(),
        label: format!("{}{}", ticket.series, ticket.number),
        business_date: ticket.business_date.to_string(),
    }
}

impl Centre {
    pub(super) async fn counter_state(
        &self,
        places: &Places,
        counter: &Counter,
        at_edge: &[AlertRow],
    ) -> Result<CounterState, DbError> {
        let now = self.now();
        let id = &counter.counter_id;
        let streams: Vec<_> = places.streams_of(id).map(|s| self.stream_state(s)).collect();
        let filter = SearchFilter {
            counters: Some(vec![id.clone()]),
            from: Some(now - DAY_US),
            ..SearchFilter::default()
        };
        let recent: Vec<_> = self
            .db
            .search(&filter, RECENT)
            .await?
            .into_iter()
            .map(|r| r.interaction)
            .collect();
        let mut live = self.service(id, &recent, now).await?;
        self.add_rating(&mut live, &recent, now);
        self.add_wait(&mut live, counter, now).await?;
        live.alerts.extend(urgency::stream_alerts(&streams));
        let recorders: Vec<_> = places.streams_of(id).map(|s| &s.recorder_id).collect();
        live.alerts.extend(urgency::edge_alerts(id, &recorders, at_edge));
        live.urgency = urgency::of(&live.alerts);
        let site = places.site(&counter.site_id);
        Ok(CounterState {
            counter_id: id.to_string(),
            name: counter.name.clone(),
            site_id: counter.site_id.to_string(),
            site_name: site.map_or_else(String::new, |s| s.name.clone()),
            unit_id: site.map_or_else(String::new, |s| s.unit_id.to_string()),
            streams,
            live,
        })
    }

    /// A stream as its recorder last told of it.
    pub fn stream_state(&self, stream: &Stream) -> StreamState {
        let status = self
            .recorders
            .stream_status(&stream.recorder_id, &stream.stream_id);
        let fault = status.as_ref().and_then(|s| s.fault());
        let is_connected = self.recorders.status(&stream.recorder_id).is_some();
        StreamState {
            stream_id: stream.stream_id.to_string(),
            viewpoint: stream.stream_id.viewpoint().to_owned(),
            quality: stream.stream_id.quality().as_str(),
            has_audio: stream.has_audio,
            video_codec: stream.video_codec.clone(),
            audio_codec: stream.audio_codec.clone(),
            width: stream.width,
            height: stream.height,
            state: match (&status, fault) {
                (Some(_), Some(_)) => "fault",
                (Some(_), None) => "recording",
                (None, _) if is_connected => "unknown",
                (None, _) => "offline",
            },
            last_sample_age_ms: status.as_ref().and_then(|s| s.health.last_sample_age_ms),
            since: fault.and(status.as_ref()).map(|s| s.since.to_string()),
            fault_cause: fault.and_then(|f| serde_json::to_value(f).ok()?.as_str().map(str::to_owned)),
            footage_until: stream.footage_until.map(|t| t.to_string()),
        }
    }

    async fn service(
        &self,
        counter: &CounterId,
        recent: &[Interaction],
        now: WallTime,
    ) -> Result<LiveState, DbError> {
        let since = now - DAY_US;
        let opening = self.db.newest_event(
            counter,
            ["counter.opened", "counter.paused", "counter.closed"],
            None,
            since,
        );
        let opening = opening.await?;
        let counted = self.db.newest_event(
            counter,
            ["ticket.called", "ticket.recalled", "ticket.issued"],
            Some("waiting"),
            since,
        );
        let waiting = counted.await?.and_then(|e| e.event.data.waiting);
        let served = current(recent, counter, now);
        let shown = served.or(recent.first());
        let started = served.and_then(|i| i.started);
        let long_us = i64::from(self.settings.interaction.long_service_minutes) * 60_000_000;
        let mut alerts = Vec::new();
        if let Some(started) = started.filter(|s| now - *s > long_us) {
            alerts.push(Alert {
                kind: "long_service",
                since: Some(started.to_string()),
                detail: String::new(),
            });
        }
        Ok(LiveState {
            state: match opening.map(|e| e.event.event_type) {
                Some(EventType::CounterOpened) => "open",
                Some(EventType::CounterPaused) => "paused",
                Some(EventType::CounterClosed) => "closed",
                _ if served.is_some() => "open",
                _ => "unknown",
            },
            interaction_id: served.map(|i| i.interaction_id.to_string()),
            phase: served.map(|i| i.state.as_str()),
            ticket: served.and_then(|i| i.ticket.as_ref()).map(ticket_view),
            procedure: served.and_then(|i| i.procedure.clone()),
            officer: shown.and_then(|i| i.officer.as_ref()).map(|o| OfficerView {
                code: o.code.clone(),
                name: o.name.clone(),
            }),
            called_at: served.and_then(|i| i.called).map(|t| t.to_string()),
            started_at: started.map(|t| t.to_string()),
            dossiers: served.map_or_else(Vec::new, |i| {
                i.dossiers.iter().map(|d| d.code.to_string()).collect()
            }),
            waiting,
            oldest_waiting_since: None,
            last_rating: None,
            last_interaction_id: recent
                .iter()
                .find(|i| !i.state.is_open() && i.state != InteractionState::NoShow)
                .map(|i| i.interaction_id.to_string()),
            alerts,
            urgency: 0,
            updated_at: now.to_string(),
        })
    }

    /// Nobody waits at a closed counter, or where the queue system says that nobody does.
    async fn add_wait(&self, live: &mut LiveState, counter: &Counter, now: WallTime) -> Result<(), DbError> {
        if live.state == "closed" || live.waiting == Some(0) {
            return Ok(());
        }
        let queue = self.queue(&counter.site_id).await?;
        let Some(since) = queue.oldest_for(&counter.counter_id) else {
            return Ok(());
        };
        live.oldest_waiting_since = Some(since.to_string());
        let long_us = i64::from(self.settings.interaction.long_wait_minutes) * 60_000_000;
        if now - since > long_us {
            live.alerts.push(Alert {
                kind: "long_wait",
                since: Some(since.to_string()),
                detail: String::new(),
            });
        }
        Ok(())
    }

    fn add_rating(&self, live: &mut LiveState, recent: &[Interaction], now: WallTime) {
        const LOW_RATING_SHOWS_US: DurationUs = 15 * 60_000_000;
        let Some(rating) = recent.iter().find_map(|i| i.rating.as_ref()) else {
            return;
        };
        live.last_rating = Some(LastRating {
            percent: rating.percent,
            given_at: rating.given.to_string(),
        });
        let is_low = rating.percent <= f64::from(self.settings.interaction.low_rating_percent);
        if is_low && now - rating.given < LOW_RATING_SHOWS_US {
            live.alerts.push(Alert {
                kind: "low_rating",
                since: Some(rating.given.to_string()),
                detail: rating.reasons.join(", "),
            });
        }
    }
}
