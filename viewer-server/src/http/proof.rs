//! What anyone may keep a copy of: the signed root of each day; and the keys that all of it is signed by.

use std::sync::Arc;

use archive::seal::{DayRoot, PublicKey, signed::Purpose};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Person;
use super::error::{Answer, Problem};
use super::extract::{Path, Query, name};
use crate::access::Action;
use crate::centre::Centre;
use crate::db::DayRow;

const MAX_DAYS: u32 = 400;

/// Which days.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DaysQuery {
    /// At most so many, 1 to 400; 31 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Days, the newest first.
#[derive(Serialize, ToSchema)]
pub struct DayPage {
    items: Vec<DayView>,
    next_cursor: Option<String>,
}

/// The signed root over a day's receipts.
#[derive(Serialize, ToSchema)]
pub struct DayView {
    /// yyyy-mm-dd in the sites' zone.
    date: String,
    /// How many receipts it has.
    count: u64,
    /// Merkle root over them, 64 hexadecimal digits.
    root: String,
    /// SHA-256 of the statement as signed: what the next day names, and what is stamped.
    hash: String,
    /// `hash` of the day before.
    previous: Option<String>,
    /// The statement, verbatim.
    text: String,
    /// Ed25519 by the centre over `minhquay-day-v1`, a line feed and `text`; 128 hexadecimal digits.
    signature: String,
    closed_at: String,
    /// RFC 3161 time-stamp token over `hash`, DER in Base64, if an authority has stamped it.
    timestamp: Option<String>,
    stamped_at: Option<String>,
}

fn view(day: DayRow) -> DayView {
    let statement = day.signed.read_unverified::<DayRoot>().ok();
    DayView {
        date: day.date.to_string(),
        count: day.receipts,
        root: day.root.to_string(),
        hash: day.signed.hash(Purpose::Day).to_string(),
        previous: statement.and_then(|s| s.previous).map(|hash| hash.to_string()),
        text: day.signed.text,
        signature: day.signed.signature,
        closed_at: day.closed.to_string(),
        timestamp: day.timestamp,
        stamped_at: day.stamped.map(|at| at.to_string()),
    }
}

/// The signed roots of days; for anyone, without signing in.
#[utoipa::path(get, path = "/api/v1/proof/days", tag = "proof", params(DaysQuery),
    responses((status = 200, body = DayPage), (status = 400, body = Problem)))]
pub async fn days(
    State(centre): State<Arc<Centre>>,
    Query(query): Query<DaysQuery>,
) -> Answer<Json<DayPage>> {
    let limit = query.limit.unwrap_or(31);
    if !(1..=MAX_DAYS).contains(&limit) {
        return Err(Problem::parameter("limit", "must be 1 to 400"));
    }
    let before = query.cursor.filter(|c| !c.is_empty());
    let before = before.map(|c| name("cursor", &c)).transpose()?;
    let days = centre.db.days(before, i64::from(limit)).await?;
    let is_full = days.len() == limit as usize;
    let next_cursor = days.last().filter(|_| is_full).map(|day| day.date.to_string());
    Ok(Json(DayPage {
        items: days.into_iter().map(view).collect(),
        next_cursor,
    }))
}

/// The signed root of one day; for anyone, without signing in.
#[utoipa::path(get, path = "/api/v1/proof/days/{date}", tag = "proof", params(("date" = String, Path)),
    responses((status = 200, body = DayView), (status = 404, body = Problem)))]
pub async fn day(State(centre): State<Arc<Centre>>, Path(date): Path<String>) -> Answer<Json<DayView>> {
    let day = centre.db.day(name("date", &date)?).await?;
    day.map(|day| Json(view(day)))
        .ok_or_else(|| Problem::not_found("closed day"))
}

/// A key that signs.
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    /// Ed25519, 64 hexadecimal digits.
    public_key: String,
    /// Its SHA-256 in groups of four digits, as printed on paper.
    fingerprint: String,
}

/// A recorder's key.
#[derive(Serialize, ToSchema)]
pub struct RecorderKeyView {
    recorder_id: String,
    site_id: String,
    site_name: String,
    key: KeyView,
}

/// The keys that footage is proven by.
#[derive(Serialize, ToSchema)]
pub struct KeysView {
    centre: KeyView,
    recorders: Vec<RecorderKeyView>,
}

fn key_view(key: &PublicKey) -> KeyView {
    KeyView {
        public_key: key.to_string(),
        fingerprint: key.fingerprint(),
    }
}

/// The centre's key and those of the recorders within the caller's sight.
#[utoipa::path(get, path = "/api/v1/proof/keys", tag = "proof", responses((status = 200, body = KeysView)))]
pub async fn keys(State(centre): State<Arc<Centre>>, person: Person) -> Answer<Json<KeysView>> {
    let places = centre.places().await?;
    let mut recorders = Vec::new();
    for row in centre.db.recorders().await? {
        let units = places.units_of_site(&row.site_id);
        let key = row.public_key.parse::<PublicKey>();
        let (Some(_), Ok(key)) = (person.role_for(Action::SeePlaces, &units), key) else {
            continue;
        };
        recorders.push(RecorderKeyView {
            recorder_id: row.recorder_id.to_string(),
            site_name: places
                .site(&row.site_id)
                .map_or_else(String::new, |s| s.name.clone()),
            site_id: row.site_id.to_string(),
            key: key_view(&key),
        });
    }
    Ok(Json(KeysView {
        centre: key_view(&PublicKey::from(&centre.key)),
        recorders,
    }))
}
