//! Holds: footage that nobody deletes, here or at the recorders, until it is released.

use std::sync::Arc;

use archive::ids::CounterId;
use axum::Json as Answered;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Person;
use super::error::{Answer, Problem};
use super::extract::{Json, Path, Query, name, window};
use super::places::Items;
use crate::access::Action;
use crate::centre::Centre;
use crate::db::Hold;

const MAX_REASON_CHARS: usize = 500;

/// A hold to place.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// A counter's id; all its streams are held.
    counter: String,
    /// RFC 3339.
    from: String,
    /// RFC 3339, at most 31 days after `from`; may lie ahead.
    to: String,
    /// For people, e.g. the number of a case; 1 to 500 characters.
    reason: String,
}

/// A hold.
#[derive(Serialize, ToSchema)]
pub struct HoldView {
    hold_id: String,
    counter_id: String,
    from: String,
    to: String,
    reason: String,
    placed_by: String,
    placed_at: String,
    /// Null while it is in force.
    released_by: Option<String>,
    released_at: Option<String>,
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        let (released_by, released_at) = hold.released.unzip();
        Self {
            hold_id: hold.hold_id.to_string(),
            counter_id: hold.counter.to_string(),
            from: hold.from.to_string(),
            to: hold.to.to_string(),
            reason: hold.reason,
            placed_by: hold.placed_by,
            placed_at: hold.placed.to_string(),
            released_by,
            released_at: released_at.map(|t| t.to_string()),
        }
    }
}

/// Holds footage of a counter; its recorders are told as soon as they can be reached.
#[utoipa::path(post, path = "/api/v1/holds", tag = "holds", request_body = NewHold,
    responses((status = 201, body = HoldView), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub async fn place(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Json(new): Json<NewHold>,
) -> Answer<(StatusCode, Answered<HoldView>)> {
    let counter: CounterId = name("counter", &new.counter)?;
    person.require_at(&*centre.places().await?, &counter, Action::HoldFootage)?;
    let window = window(&new.from, &new.to)?;
    let reason = new.reason.trim();
    if !(1..=MAX_REASON_CHARS).contains(&reason.chars().count()) {
        return Err(Problem::parameter("reason", "must have 1 to 500 characters"));
    }
    let hold = Hold {
        hold_id: uuid::Uuid::now_v7(),
        counter,
        from: window.start,
        to: window.end,
        reason: reason.to_owned(),
        placed_by: person.username,
        placed: centre.now(),
        released: None,
    };
    for recorder in centre.db.put_hold(&hold).await? {
        centre.recorders.poke_orders(&recorder);
    }
    tracing::info!(hold = %hold.hold_id, counter = %hold.counter, by = hold.placed_by, "footage is held");
    Ok((StatusCode::CREATED, Answered(hold.into())))
}

/// Which holds.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HoldQuery {
    /// Only of this counter.
    counter: Option<String>,
}

/// The holds within the caller's roles, newest first, also those released.
#[utoipa::path(get, path = "/api/v1/holds", tag = "holds", params(HoldQuery),
    responses((status = 200, body = Items<HoldView>), (status = 403, body = Problem)))]
pub async fn list(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Query(query): Query<HoldQuery>,
) -> Answer<Answered<Items<HoldView>>> {
    if !person.may(Action::SeeInteractions) {
        return Err(Problem::forbidden());
    }
    let counter = query.counter.as_deref().map(|c| name("counter", c)).transpose()?;
    let places = centre.places().await?;
    let holds = centre.db.holds(counter.as_ref()).await?.into_iter();
    let is_seen = |hold: &Hold| {
        let place = places.units_of_counter(&hold.counter);
        person.role_for(Action::SeeInteractions, &place).is_some()
    };
    Ok(Answered(Items {
        items: holds.filter(is_seen).map(HoldView::from).collect(),
    }))
}

/// Releases a hold. It stays on record.
#[utoipa::path(delete, path = "/api/v1/holds/{id}", tag = "holds", params(("id" = String, Path)),
    responses((status = 204, description = "Released, or was released before"), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub async fn release(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let id: uuid::Uuid = name("id", &id)?;
    let hold = centre
        .db
        .hold(&id)
        .await?
        .ok_or_else(|| Problem::not_found("hold"))?;
    person.require_at(&*centre.places().await?, &hold.counter, Action::HoldFootage)?;
    let released = centre
        .db
        .release_hold(&id, &person.username, centre.now())
        .await?;
    for recorder in released.iter().flatten() {
        centre.recorders.poke_orders(recorder);
    }
    if released.is_some() {
        tracing::info!(hold = %id, counter = %hold.counter, by = person.username, "a hold is released");
    }
    Ok(StatusCode::NO_CONTENT)
}
