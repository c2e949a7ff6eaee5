//! A counter's timeline: what can be played, what is missing and why, who was served, what happened.

use std::collections::HashMap;
use std::sync::Arc;

use archive::ids::CounterId;
use archive::time::DurationUs;
use archive::timeline::{Timeline, Window};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Person;
use super::error::{Answer, Problem};
use super::extract::{Path, Query, name, window};
use super::views::{InteractionView, interaction_views};
use crate::access::Action;
use crate::centre::Centre;
use crate::places::Stream;
use crate::playback::{part, recorded, runs};

const MAX_INTERACTIONS: i64 = 2000;
const MAX_EVENTS: i64 = 5000;
/// Footage younger than this may still be on its way.
const ON_ITS_WAY_US: DurationUs = 3 * 60_000_000;

/// A window of wall time.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WindowQuery {
    /// RFC 3339.
    from: String,
    /// RFC 3339, at most 31 days later.
    to: String,
}

/// A stretch of wall time.
#[derive(Serialize, ToSchema)]
pub struct SpanView {
    start: String,
    end: String,
}

impl SpanView {
    pub(super) fn of(window: Window) -> Self {
        Self {
            start: window.start.to_string(),
            end: window.end.to_string(),
        }
    }
}

/// What can't be played, and why.
#[derive(Serialize, ToSchema)]
pub struct GapView {
    gap_id: Option<String>,
    start: String,
    end: Option<String>,
    /// Null if no reason is known.
    cause: Option<String>,
    detail: String,
    /// Whether footage may still be on its way from the recorder.
    pending: bool,
}

/// A stream's part.
#[derive(Serialize, ToSchema)]
pub struct StreamTimeline {
    stream_id: String,
    viewpoint: String,
    quality: &'static str,
    has_audio: bool,
    /// What can be played.
    spans: Vec<SpanView>,
    /// What only the recorder has; `POST /streams/{id}/fetch` brings it.
    at_edge: Vec<SpanView>,
    gaps: Vec<GapView>,
}

/// An event on the timeline.
#[derive(Serialize, ToSchema)]
pub struct TimelineEvent {
    at: String,
    #[serde(rename = "type")]
    event_type: &'static str,
    ticket: Option<String>,
    interaction_id: Option<String>,
    dossier: Option<String>,
    score: Option<f64>,
}

/// A counter's timeline.
#[derive(Serialize, ToSchema)]
pub struct CounterTimeline {
    from: String,
    to: String,
    streams: Vec<StreamTimeline>,
    interactions: Vec<InteractionView>,
    events: Vec<TimelineEvent>,
}

/// The timeline of a counter.
#[utoipa::path(get, path = "/api/v1/counters/{id}/timeline", tag = "places", params(("id" = String, Path), WindowQuery),
    responses((status = 200, body = CounterTimeline), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn timeline(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
    Query(query): Query<WindowQuery>,
) -> Answer<Json<CounterTimeline>> {
    let id: CounterId = name("id", &id)?;
    let window = window(&query.from, &query.to)?;
    let places = centre.places().await?;
    person.require_at(&places, &id, Action::SeeInteractions)?;
    let mut streams = Vec::new();
    for stream in places.streams_of(&id) {
        streams.push(stream_timeline(&centre, stream, window).await?);
    }
    let rows = centre
        .db
        .counter_interactions(&id, window, MAX_INTERACTIONS)
        .await?;
    let mut interaction_of = HashMap::new();
    for row in &rows {
        for event in &row.interaction.events {
            interaction_of.insert(event.key.clone(), row.interaction.interaction_id.to_string());
        }
    }
    let events = centre.db.counter_events(&id, window, MAX_EVENTS).await?;
    let events = events.into_iter().map(|row| {
        let event = row.event;
        let key = archive::interaction::EventKey {
            source: event.source,
            id: event.id,
        };
        TimelineEvent {
            at: row.at.to_string(),
            event_type: event.event_type.as_str(),
            ticket: event.data.ticket.map(|t| format!("{}{}", t.series, t.number)),
            interaction_id: interaction_of.get(&key).cloned(),
            dossier: event.data.dossier,
            score: event.data.score,
        }
    });
    Ok(Json(CounterTimeline {
        from: window.start.to_string(),
        to: window.end.to_string(),
        events: events.collect(),
        interactions: interaction_views(&centre, &places, rows).await?,
        streams,
    }))
}

async fn stream_timeline(centre: &Centre, stream: &Stream, window: Window) -> Answer<StreamTimeline> {
    let id = &stream.stream_id;
    let now = centre.now();
    let past = Window {
        start: window.start.min(now),
        end: window.end.min(now).max(window.start.min(now)),
    };
    let mut rows = centre.db.spans(id, past).await?;
    let remote = centre.db.edge_segments(id, past).await?;
    if !remote.is_empty() {
        rows.extend(centre.arriving(id, past).await?.into_iter().map(|a| a.row.span));
    }
    let gaps = centre.db.gaps(id, past).await?;
    let newest = centre.db.newest_footage(id).await?;
    let is_connected = centre.recorders.status(&stream.recorder_id).is_some();
    let laid = Timeline::lay(past, &runs(&rows), &recorded(&rows), &gaps, &[]);
    let details: HashMap<_, _> = gaps.iter().map(|g| (g.gap_id, g.detail.as_str())).collect();
    let remote: Vec<_> = remote.iter().map(|segment| segment.wall).collect();
    let (holes, at_edge) = part(&laid.holes, &remote);
    let gap_views = holes.iter().map(|hole| {
        let is_newest = newest.is_none_or(|newest| hole.end > newest);
        GapView {
            gap_id: hole.gap_id.map(|id| id.to_string()),
            start: hole.start.to_string(),
            end: (hole.end < now).then(|| hole.end.to_string()),
            cause: hole
                .cause
                .and_then(|c| serde_json::to_value(c).ok()?.as_str().map(str::to_owned)),
            detail: hole
                .gap_id
                .and_then(|id| details.get(&id))
                .map_or_else(String::new, |d| (*d).to_owned()),
            pending: hole.cause.is_none() && is_newest && (is_connected || now - hole.start < ON_ITS_WAY_US),
        }
    });
    Ok(StreamTimeline {
        stream_id: id.to_string(),
        viewpoint: id.viewpoint().to_owned(),
        quality: id.quality().as_str(),
        has_audio: stream.has_audio,
        spans: laid.spans.iter().map(|s| SpanView::of(s.window())).collect(),
        at_edge: at_edge.into_iter().map(SpanView::of).collect(),
        gaps: gap_views.collect(),
    })
}
