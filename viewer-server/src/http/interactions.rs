//! Interactions: search, one of them, and all visits of a dossier.

use std::sync::Arc;

use archive::dossier;
use archive::ids::{CounterId, InteractionId, SiteId};
use archive::interaction::{FieldChange, Interaction};
use archive::search_query::Chip;
use archive::time::WallTime;
use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Person;
use super::error::{Answer, Problem};
use super::extract::{Path, Query, name, optional_time};
use super::views::{InteractionView, interaction_view, interaction_views};
use crate::access::Action;
use crate::centre::Centre;
use crate::db::{Cursor, SearchFilter, TermKind, term_id};
use crate::places::Places;
use crate::search::narrow_counters;
use crate::words::{fold_dossier, fold_number, fold_series};

const DEFAULT_LIMIT: usize = 25;
const MAX_LIMIT: usize = 100;

/// What to look for; all that is given must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// One box: ticket, dossier, officer, procedure, counter, date, time.
    q: Option<String>,
    /// A ticket, e.g. `A0123`.
    ticket: Option<String>,
    /// A dossier's code.
    dossier: Option<String>,
    /// A counter's id.
    counter: Option<String>,
    /// A site's id.
    site: Option<String>,
    /// An officer's staff code.
    officer: Option<String>,
    /// Only rated at or below, 0 to 100.
    rating_max: Option<f64>,
    /// Beginning at or after, RFC 3339.
    from: Option<String>,
    /// Beginning before, RFC 3339.
    to: Option<String>,
    /// At most so many, 1 to 100.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of interactions.
#[derive(Serialize, ToSchema)]
pub struct Found {
    items: Vec<InteractionView>,
    /// For the next page; null on the last.
    next_cursor: Option<String>,
    /// How `q` was understood.
    #[schema(value_type = Vec<Object>)]
    understood: Vec<Chip>,
}

/// Finds interactions, newest first.
#[utoipa::path(get, path = "/api/v1/interactions", tag = "interactions", params(Search),
    responses((status = 200, body = Found), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub async fn search(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Query(search): Query<Search>,
) -> Answer<Json<Found>> {
    if !person.may(Action::SeeInteractions) {
        return Err(Problem::forbidden());
    }
    let places = centre.places().await?;
    let mut filter = filter(&centre, &search)?;
    let allowed = person.sites_for(&places, Action::SeeInteractions);
    narrow_sites(&mut filter, allowed);
    let understood = match search.q.as_deref().map(str::trim).filter(|q| !q.is_empty()) {
        Some(q) if q.chars().count() > archive::search_query::MAX_QUERY_CHARS => {
            return Err(Problem::parameter("q", "is too long"));
        }
        Some(q) => centre.understand(q, &mut filter).await?,
        None => Vec::new(),
    };
    keep_counters_in_sight(&mut filter, &places);
    let limit = search.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::parameter("limit", "must be 1 to 100"));
    }
    let mut rows = centre.db.search(&filter, limit + 1).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows
        .last()
        .filter(|_| has_more)
        .map(|row| encode_cursor(&row.interaction));
    let items = interaction_views(&centre, &places, rows).await?;
    Ok(Json(Found {
        items,
        next_cursor,
        understood,
    }))
}

fn filter(centre: &Centre, search: &Search) -> Answer<SearchFilter> {
    let given = |text: &Option<String>| {
        text.as_deref()
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
    };
    let mut filter = SearchFilter {
        rating_max: search.rating_max,
        from: optional_time("from", search.from.as_ref())?,
        to: optional_time("to", search.to.as_ref())?,
        cursor: given(&search.cursor).map(|c| decode_cursor(&c)).transpose()?,
        ..SearchFilter::default()
    };
    if search.rating_max.is_some_and(|r| !(0.0..=100.0).contains(&r)) {
        return Err(Problem::parameter("rating_max", "must be 0 to 100"));
    }
    if let Some(code) = given(&search.dossier) {
        let accepted = dossier::accept(&code, &centre.interaction.dossier_patterns);
        filter.dossiers = Some(vec![fold_dossier(&accepted.code)]);
    }
    if let Some(ticket) = given(&search.ticket) {
        let number_at = ticket.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
        let (series, number) = ticket.split_at(number_at);
        let series = series.trim_end_matches(['-', ' ']);
        filter.ticket = Some((
            (!series.is_empty()).then(|| fold_series(series)),
            fold_number(number),
        ));
    }
    if let Some(counter) = given(&search.counter) {
        narrow_counters(&mut filter, vec![name::<CounterId>("counter", &counter)?]);
    }
    if let Some(site) = given(&search.site) {
        filter.sites = Some(vec![name::<SiteId>("site", &site)?]);
    }
    if let Some(officer) = given(&search.officer) {
        filter.officers = Some(vec![term_id(TermKind::Officer, &officer)]);
    }
    Ok(filter)
}

fn narrow_sites(filter: &mut SearchFilter, allowed: Option<Vec<SiteId>>) {
    let Some(allowed) = allowed else { return };
    filter.sites = Some(match filter.sites.take() {
        Some(asked) => asked.into_iter().filter(|s| allowed.contains(s)).collect(),
        None => allowed,
    });
}

/// `quầy 3` means every third counter there is; only those at sites in sight are worth a look.
fn keep_counters_in_sight(filter: &mut SearchFilter, places: &Places) {
    if let (Some(counters), Some(sites)) = (&mut filter.counters, &filter.sites) {
        // A counter that has gone may have interactions still.
        counters.retain(|id| {
            places
                .counter(id)
                .is_none_or(|counter| sites.contains(&counter.site_id))
        });
    }
}

fn encode_cursor(last: &Interaction) -> String {
    let text = format!("{} {}", last.began().0, last.interaction_id);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn decode_cursor(text: &str) -> Answer<Cursor> {
    let read = || {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text)
            .ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (began, interaction) = text.split_once(' ')?;
        Some(Cursor {
            began: WallTime(began.parse().ok()?),
            interaction: interaction.parse().ok()?,
        })
    };
    read().ok_or_else(|| Problem::parameter("cursor", "is no next_cursor of an answer"))
}

/// An event that made an interaction.
#[derive(Serialize, ToSchema)]
pub struct EventView {
    at: String,
    received_at: String,
    #[serde(rename = "type")]
    event_type: &'static str,
    source: String,
    id: String,
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

/// One change of an interaction.
#[derive(Serialize, ToSchema)]
pub struct RevisionView {
    revision: u64,
    at: String,
    /// Source and id of the event that caused it; null if only time passed.
    cause: Option<String>,
    #[schema(value_type = Vec<Object>)]
    changes: Vec<FieldChange>,
}

/// An interaction with all that is known of it.
#[derive(Serialize, ToSchema)]
pub struct InteractionDetail {
    #[serde(flatten)]
    interaction: InteractionView,
    previous_id: Option<String>,
    next_id: Option<String>,
    /// The one that it was transferred from.
    predecessor_id: Option<String>,
    /// The one that it was transferred to.
    successor_id: Option<String>,
    events: Vec<EventView>,
    revisions: Vec<RevisionView>,
}

/// One interaction.
#[utoipa::path(get, path = "/api/v1/interactions/{id}", tag = "interactions", params(("id" = String, Path)),
    responses((status = 200, body = InteractionDetail), (status = 404, body = Problem)))]
pub async fn interaction(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
) -> Answer<Json<InteractionDetail>> {
    let id: InteractionId = name("id", &id)?;
    let row = centre
        .db
        .interaction(&id)
        .await?
        .ok_or_else(|| Problem::not_found("interaction"))?;
    let places = centre.places().await?;
    person.require_at(&places, &row.interaction.counter, Action::SeeInteractions)?;
    let (previous, next) = centre.db.neighbours(&row.interaction).await?;
    let mut events = Vec::new();
    for event in &row.interaction.events {
        if let Some(stored) = centre.db.event(&event.key.source, &event.key.id).await? {
            events.push(EventView {
                at: event.at.to_string(),
                received_at: stored.received.to_string(),
                event_type: event.event_type.as_str(),
                source: event.key.source.clone(),
                id: event.key.id.clone(),
                data: stored.body.get("data").cloned().unwrap_or_default(),
            });
        }
    }
    let revisions = centre.db.revisions(&id).await?.into_iter().map(|r| RevisionView {
        revision: r.revision,
        at: r.at.to_string(),
        cause: r.cause.map(|(source, id)| format!("{source} {id}")),
        changes: r.changes,
    });
    Ok(Json(InteractionDetail {
        previous_id: previous.map(String::from),
        next_id: next.map(String::from),
        predecessor_id: row.interaction.predecessor.clone().map(String::from),
        successor_id: centre.db.successor(&id).await?.map(String::from),
        events,
        revisions: revisions.collect(),
        interaction: interaction_view(&centre, &places, row).await?,
    }))
}

/// A change of a dossier's status.
#[derive(Serialize, ToSchema)]
pub struct StatusView {
    at: String,
    status: String,
    source: String,
}

/// A dossier and every visit about it.
#[derive(Serialize, ToSchema)]
pub struct DossierView {
    code: String,
    is_known_pattern: bool,
    warning: Option<String>,
    /// Oldest first.
    visits: Vec<InteractionView>,
    statuses: Vec<StatusView>,
}

/// A dossier, over every counter and day.
#[utoipa::path(get, path = "/api/v1/dossiers/{code}", tag = "interactions", params(("code" = String, Path)),
    responses((status = 200, body = DossierView), (status = 404, body = Problem)))]
pub async fn dossier(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(code): Path<String>,
) -> Answer<Json<DossierView>> {
    if !person.may(Action::SeeInteractions) {
        return Err(Problem::forbidden());
    }
    let places = centre.places().await?;
    let accepted = dossier::accept(&code, &centre.interaction.dossier_patterns);
    let folded = fold_dossier(&accepted.code);
    let sites = person.sites_for(&places, Action::SeeInteractions);
    let visits = centre.db.dossier_visits(&folded, sites.as_deref()).await?;
    let mut statuses = centre.db.dossier_statuses(&folded).await?;
    statuses.retain(|(site, _)| sites.as_ref().is_none_or(|sites| sites.contains(site)));
    if visits.is_empty() && statuses.is_empty() {
        return Err(Problem::not_found("dossier"));
    }
    let code = visits
        .iter()
        .flat_map(|v| &v.interaction.dossiers)
        .find(|link| fold_dossier(&link.code) == folded)
        .map_or_else(|| accepted.code.to_string(), |link| link.code.to_string());
    Ok(Json(DossierView {
        is_known_pattern: centre.interaction.dossier_patterns.is_code(&code),
        warning: accepted.warnings.first().and_then(super::views::warning_name),
        code,
        visits: interaction_views(&centre, &places, visits).await?,
        statuses: statuses
            .into_iter()
            .map(|(_, row)| StatusView {
                at: row.at.to_string(),
                status: row.event.data.status.unwrap_or_default(),
                source: row.event.source,
            })
            .collect(),
    }))
}
