//! Fetching footage that only its recorder has.

use std::sync::Arc;

use archive::ids::StreamId;
use archive::timeline::Window;
use axum::Json as Answered;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::Person;
use super::error::{Answer, Problem};
use super::extract::{Json, Path, name, window};
use super::footage::{admit, may_see};
use super::timeline::SpanView;
use crate::centre::Centre;
use crate::db::{FetchOutcome, FetchRow};
use crate::edge::FetchProgress;

/// Longest stretch of one fetch.
const MOST_US: i64 = 24 * 3_600_000_000;

/// Which stretch to fetch.
#[derive(Deserialize, ToSchema)]
pub struct FetchQuery {
    /// RFC 3339.
    from: String,
    /// RFC 3339, at most 24 hours later.
    to: String,
}

/// How far a fetch has come.
#[derive(Serialize, ToSchema)]
pub struct FetchView {
    fetch_id: String,
    stream_id: String,
    from: String,
    to: String,
    /// `waiting` for the recorder to connect, `on_its_way`, `done`, `failed` or `cancelled`.
    state: String,
    /// Why it failed: `nothing_there`.
    reason: Option<String>,
    bytes_done: u64,
    /// As far as it is known.
    bytes_total: u64,
    /// What of it can be seen.
    available: Vec<SpanView>,
    /// Seconds until all is here at the rate so far; null if that can't be said.
    left_s: Option<u64>,
}

fn view(progress: &FetchProgress) -> FetchView {
    let fetch = &progress.fetch;
    FetchView {
        fetch_id: fetch.fetch_id.to_string(),
        stream_id: fetch.stream.to_string(),
        from: fetch.window.start.to_string(),
        to: fetch.window.end.to_string(),
        state: progress.state().to_owned(),
        reason: fetch.reason.clone(),
        bytes_done: progress.bytes_done,
        bytes_total: progress.bytes_total,
        available: progress.available.iter().map(|w| SpanView::of(*w)).collect(),
        left_s: progress.left_s,
    }
}

/// Fetches footage from its recorder, ahead of everything else; when the recorder is away, as soon as it is back.
#[utoipa::path(post, path = "/api/v1/streams/{id}/fetch", tag = "footage", params(("id" = String, Path)),
    request_body = FetchQuery, responses((status = 202, body = FetchView), (status = 400, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn begin(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
    Json(query): Json<FetchQuery>,
) -> Answer<(StatusCode, Answered<FetchView>)> {
    let stream: StreamId = name("id", &id)?;
    let Window { start, end } = window(&query.from, &query.to)?;
    if end - start > MOST_US {
        return Err(Problem::parameter("to", "must be at most 24 hours after from"));
    }
    let end = end.min(centre.now());
    if end <= start {
        return Err(Problem::parameter("from", "must lie in the past"));
    }
    admit(&centre, &person, &stream, "fetch", Some((start, end))).await?;
    let places = centre.places().await?;
    let recorder = places
        .stream(&stream)
        .map(|s| s.recorder_id.clone())
        .ok_or_else(|| Problem::not_found("stream"))?;
    let window = Window { start, end };
    let fetch_id = centre
        .db
        .put_fetch(&stream, &recorder, window, &person.username, centre.now())
        .await?;
    centre.recorders.poke_orders(&recorder);
    let fetch = centre.db.fetch(fetch_id).await?;
    let progress = centre
        .fetch_progress(fetch.ok_or_else(|| Problem::not_found("fetch"))?)
        .await?;
    Ok((StatusCode::ACCEPTED, Answered(view(&progress))))
}

async fn find(centre: &Centre, person: &Person, id: &str) -> Answer<FetchRow> {
    let id: Uuid = name("id", id)?;
    let fetch = centre.db.fetch(id).await?;
    let fetch = fetch.ok_or_else(|| Problem::not_found("fetch"))?;
    may_see(centre, person, &fetch.stream).await?;
    Ok(fetch)
}

/// How far a fetch has come.
#[utoipa::path(get, path = "/api/v1/fetches/{id}", tag = "footage", params(("id" = String, Path)),
    responses((status = 200, body = FetchView), (status = 404, body = Problem)))]
pub async fn state(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
) -> Answer<Answered<FetchView>> {
    let fetch = find(&centre, &person, &id).await?;
    Ok(Answered(view(&centre.fetch_progress(fetch).await?)))
}

/// Cancels one's own fetch; what has come stays.
#[utoipa::path(delete, path = "/api/v1/fetches/{id}", tag = "footage", params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn cancel(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let fetch = find(&centre, &person, &id).await?;
    if fetch.username != person.username {
        return Err(Problem::forbidden());
    }
    centre
        .db
        .end_fetch(&fetch, FetchOutcome::Cancelled, None, centre.now())
        .await?;
    centre.recorders.poke_orders(&fetch.recorder);
    Ok(StatusCode::NO_CONTENT)
}
