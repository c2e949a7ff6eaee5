//! Units, sites, counters, recorders: only what the caller may know of.

use std::sync::Arc;

use archive::ids::CounterId;
use archive::seal::PublicKey;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Person;
use super::error::{Answer, Problem};
use super::extract::{Path, Query, name};
use crate::access::Action;
use crate::centre::Centre;
use crate::supervision::{CounterState, StreamState};

/// A list.
#[derive(Serialize, ToSchema)]
pub struct Items<T> {
    /// What is in it.
    pub items: Vec<T>,
}

/// A unit.
#[derive(Serialize, ToSchema)]
pub struct UnitView {
    unit_id: String,
    name: String,
    parent_id: Option<String>,
}

/// The units that the caller's roles reach, and those above them.
#[utoipa::path(get, path = "/api/v1/units", tag = "places", responses((status = 200, body = Items<UnitView>)))]
pub async fn units(State(centre): State<Arc<Centre>>, person: Person) -> Answer<Json<Items<UnitView>>> {
    let places = centre.places().await?;
    let is_seen = |id| {
        person.role_for(Action::SeePlaces, &places.ancestry(id)).is_some()
            || person
                .grants
                .iter()
                .any(|g| places.ancestry(&g.unit).contains(&id))
    };
    let items = places
        .units()
        .into_iter()
        .filter(|u| is_seen(&u.unit_id))
        .map(|u| UnitView {
            unit_id: u.unit_id.to_string(),
            name: u.name.clone(),
            parent_id: u.parent_id.as_ref().map(ToString::to_string),
        });
    Ok(Json(Items {
        items: items.collect(),
    }))
}

/// A site.
#[derive(Serialize, ToSchema)]
pub struct SiteView {
    site_id: String,
    name: String,
    unit_id: String,
    unit_name: String,
    address: Option<String>,
}

/// The sites within the caller's roles.
#[utoipa::path(get, path = "/api/v1/sites", tag = "places", responses((status = 200, body = Items<SiteView>)))]
pub async fn sites(State(centre): State<Arc<Centre>>, person: Person) -> Answer<Json<Items<SiteView>>> {
    let places = centre.places().await?;
    let is_seen = |id| {
        person
            .role_for(Action::SeePlaces, &places.units_of_site(id))
            .is_some()
    };
    let items = places
        .sites()
        .into_iter()
        .filter(|s| is_seen(&s.site_id))
        .map(|s| SiteView {
            site_id: s.site_id.to_string(),
            name: s.name.clone(),
            unit_id: s.unit_id.to_string(),
            unit_name: places
                .unit(&s.unit_id)
                .map_or_else(String::new, |u| u.name.clone()),
            address: s.address.clone(),
        });
    Ok(Json(Items {
        items: items.collect(),
    }))
}

/// Which counters.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CounterQuery {
    /// Only of this site.
    site: Option<String>,
    /// Only of this unit and those below it.
    unit: Option<String>,
}

/// The counters within the caller's roles, each with what happens there now.
#[utoipa::path(get, path = "/api/v1/counters", tag = "places", params(CounterQuery),
    responses((status = 200, body = Items<CounterState>)))]
pub async fn counters(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Query(query): Query<CounterQuery>,
) -> Answer<Json<Items<CounterState>>> {
    let unit = query.unit.as_deref().map(|u| name("unit", u)).transpose()?;
    let places = centre.places().await?;
    let mut items = Vec::new();
    for state in seen_states(&centre, &person).await? {
        let id: CounterId = name("counter", &state.counter_id)?;
        let is_below = unit
            .as_ref()
            .is_none_or(|unit| places.units_of_counter(&id).contains(&unit));
        if is_below && query.site.as_ref().is_none_or(|site| *site == state.site_id) {
            items.push((*state).clone());
        }
    }
    Ok(Json(Items { items }))
}

/// The live states that the caller may see.
///
/// # Errors
/// [`Problem`] 5xx.
pub async fn seen_states(centre: &Centre, person: &Person) -> Answer<Vec<Arc<CounterState>>> {
    let places = centre.places().await?;
    if centre.supervision.snapshot().len() < places.counters().len() {
        centre.supervise().await?;
    }
    let mut states = centre.supervision.snapshot();
    states.retain(|s| is_seen(&places, person, &s.counter_id));
    Ok(states)
}

/// Whether the caller may see what happens at a counter.
pub fn is_seen(places: &crate::places::Places, person: &Person, counter: &str) -> bool {
    counter.parse().is_ok_and(|id| {
        person
            .role_for(Action::SeeInteractions, &places.units_of_counter(&id))
            .is_some()
    })
}

/// One counter.
#[utoipa::path(get, path = "/api/v1/counters/{id}", tag = "places", params(("id" = String, Path)),
    responses((status = 200, body = CounterState), (status = 404, body = Problem)))]
pub async fn counter(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
) -> Answer<Json<CounterState>> {
    let id: CounterId = name("id", &id)?;
    person.require_at(&*centre.places().await?, &id, Action::SeeInteractions)?;
    let states = seen_states(&centre, &person).await?;
    let state = states
        .iter()
        .find(|s| s.counter_id == id.as_str())
        .ok_or_else(|| Problem::not_found("counter"))?;
    Ok(Json((**state).clone()))
}

/// Something that a recorder says is wrong.
#[derive(Serialize, ToSchema)]
pub struct RecorderAlert {
    /// E.g. `disk_forecast` or `picture_black`.
    kind: &'static str,
    /// With which stream; null: with the recorder as a whole.
    stream_id: Option<String>,
    since: String,
    /// What was measured.
    detail: String,
}

/// A recorder and how it does.
#[derive(Serialize, ToSchema)]
pub struct RecorderView {
    recorder_id: String,
    site_id: String,
    site_name: String,
    connected: bool,
    last_seen: Option<String>,
    software: Option<String>,
    /// Its wall clock minus the centre's.
    clock_offset_ms: Option<i64>,
    disk_free_bytes: Option<i64>,
    disk_total_bytes: Option<i64>,
    /// Facts that it still holds.
    pending_facts: Option<i64>,
    /// Seconds until only footage that must stay would be left on its disk; null: never, or not known.
    disk_left_s: Option<i64>,
    /// What is wrong there, oldest first.
    alerts: Vec<RecorderAlert>,
    streams: Vec<StreamState>,
    /// How far the centre has each stream's signed chain.
    chains: Vec<ChainView>,
    /// How much came that does not fit the chains; more than none must be looked into.
    chain_conflicts: u64,
    /// The newest of it.
    chain_conflict: Option<ChainConflictView>,
    /// The recorder's key in short, as printed on paper.
    key_fingerprint: Option<String>,
}

/// A stream's signed chain as the centre has it.
#[derive(Serialize, ToSchema)]
pub struct ChainView {
    stream_id: String,
    /// Number of its newest entry.
    entries: u64,
    /// Number of the newest entry that the centre has signed a receipt for.
    receipted: u64,
}

/// Something that does not fit a chain.
#[derive(Serialize, ToSchema)]
pub struct ChainConflictView {
    stream_id: String,
    number: u64,
    reason: String,
    seen_at: String,
}

/// The recorders within the caller's roles.
#[utoipa::path(get, path = "/api/v1/recorders", tag = "devices",
    responses((status = 200, body = Items<RecorderView>), (status = 403, body = Problem)))]
pub async fn recorders(
    State(centre): State<Arc<Centre>>,
    person: Person,
) -> Answer<Json<Items<RecorderView>>> {
    if !person.may(Action::SeeDevices) {
        return Err(Problem::forbidden());
    }
    let places = centre.places().await?;
    let alerts = centre.db.open_alerts().await?;
    let mut items = Vec::new();
    for row in centre.db.recorders().await? {
        if person
            .role_for(Action::SeeDevices, &places.units_of_site(&row.site_id))
            .is_none()
        {
            continue;
        }
        let streams = places.streams_from(&row.recorder_id);
        let chains = centre.db.chains(&row.recorder_id).await?;
        let (chain_conflicts, newest) = centre.db.chain_conflicts(&row.recorder_id).await?;
        let key = row.public_key.parse::<PublicKey>();
        items.push(RecorderView {
            chains: chains
                .into_iter()
                .map(|chain| ChainView {
                    stream_id: chain.stream.to_string(),
                    entries: chain.head.number,
                    receipted: chain.receipted,
                })
                .collect(),
            chain_conflicts,
            chain_conflict: newest.map(|conflict| ChainConflictView {
                stream_id: conflict.stream,
                number: conflict.number,
                reason: conflict.reason,
                seen_at: conflict.seen.to_string(),
            }),
            key_fingerprint: key.ok().map(|key| key.fingerprint()),
            connected: centre.recorders.status(&row.recorder_id).is_some(),
            site_name: places
                .site(&row.site_id)
                .map_or_else(String::new, |s| s.name.clone()),
            streams: streams.into_iter().map(|s| centre.stream_state(s)).collect(),
            alerts: alerts
                .iter()
                .filter(|a| a.recorder == row.recorder_id)
                .map(|a| RecorderAlert {
                    kind: a.alert.kind.as_str(),
                    stream_id: a.alert.stream.as_ref().map(ToString::to_string),
                    since: a.alert.start.to_string(),
                    detail: a.alert.detail.clone(),
                })
                .collect(),
            recorder_id: row.recorder_id.to_string(),
            site_id: row.site_id.to_string(),
            last_seen: row.last_seen.map(|t| t.to_string()),
            software: row.software,
            clock_offset_ms: row.clock_offset_us.map(|us| us / 1000),
            disk_free_bytes: row.disk_free_bytes,
            disk_total_bytes: row.disk_total_bytes,
            pending_facts: row.pending_facts,
            disk_left_s: row.disk_left_s,
        });
    }
    Ok(Json(Items { items }))
}
