//! How a counter did, day by day: what its recorder signed, and whether footage could be retrieved.

use std::sync::Arc;

use archive::health::{HealthReport, StreamDay};
use archive::ids::CounterId;
use archive::seal::PublicKey;
use archive::seal::signed::Purpose;
use axum::Json;
use axum::extract::State;
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Person;
use super::error::{Answer, Problem};
use super::extract::{Path, Query, name};
use crate::access::Action;
use crate::centre::Centre;
use crate::db::{HealthReportRow, Retrieval};
use crate::places::Places;

const MOST_DAYS: u8 = 31;

/// Which days.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HealthQuery {
    /// `YYYY-MM-DD`; absent: today.
    date: Option<String>,
    /// So many days, the last of which is `date`: 1 to 31; absent: 1.
    days: Option<u8>,
}

/// A counter's health, the newest day first.
#[derive(Serialize, ToSchema)]
pub struct HealthView {
    counter_id: String,
    name: String,
    days: Vec<DayView>,
}

/// One day.
#[derive(Serialize, ToSchema)]
pub struct DayView {
    date: String,
    reports: Vec<ReportView>,
    retrievals: Vec<RetrievalView>,
}

/// What a recorder signed.
#[derive(Serialize, ToSchema)]
pub struct ReportView {
    recorder_id: String,
    from: String,
    to: String,
    /// Whether the day is over.
    is_final: bool,
    received: String,
    streams: Vec<StreamHealthView>,
    clock_offset_min_ms: Option<i64>,
    clock_offset_max_ms: Option<i64>,
    /// Seconds during which nothing steered the recorder's clock.
    unsynchronized_s: u64,
    disk_free_bytes: Option<u64>,
    /// Whether a segment read from the recorder's own disk was what was recorded; null: none was read.
    read_back: Option<bool>,
    /// What was signed, verbatim, under `minhquay-health-v1`.
    text: String,
    /// Ed25519, 128 hexadecimal digits.
    signature: String,
    /// The recorder's key, 64 hexadecimal digits.
    public_key: String,
}

/// A stream's day.
#[derive(Serialize, ToSchema)]
pub struct StreamHealthView {
    stream_id: String,
    /// Seconds over which its picture was looked at.
    picture_s: u64,
    /// Seconds over which its sound was listened to.
    sound_s: u64,
    /// Seconds that are not recorded.
    gap_s: u64,
    faults: Vec<FaultView>,
}

/// What was wrong.
#[derive(Serialize, ToSchema)]
pub struct FaultView {
    /// E.g. `lens_covered`.
    kind: &'static str,
    seconds: u64,
    times: u32,
    /// What was measured when it last began.
    detail: String,
}

/// A try to retrieve footage.
#[derive(Serialize, ToSchema)]
pub struct RetrievalView {
    stream_id: String,
    sequence: u64,
    checked: String,
    is_whole: bool,
    detail: String,
}

/// How a counter did.
#[utoipa::path(get, path = "/api/v1/counters/{id}/health", tag = "devices", params(("id" = String, Path), HealthQuery),
    responses((status = 200, body = HealthView), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn health(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
    Query(query): Query<HealthQuery>,
) -> Answer<Json<HealthView>> {
    let id: CounterId = name("id", &id)?;
    let places = centre.places().await?;
    may_see(&person, &places, &id)?;
    let counter = places.counter(&id).ok_or_else(|| Problem::not_found("counter"))?;
    let last: Date = match &query.date {
        Some(text) => text
            .parse()
            .map_err(|_| Problem::parameter("date", "must be a date as YYYY-MM-DD"))?,
        None => centre.date_of(centre.now()),
    };
    let count = query.days.unwrap_or(1);
    if !(1..=MOST_DAYS).contains(&count) {
        return Err(Problem::parameter("days", "must be 1 to 31"));
    }
    let mut days = Vec::new();
    for back in 0..i64::from(count) {
        let date = last.saturating_sub(back.days());
        let reports = centre.db.health_reports(&id, date).await?;
        let mut retrievals = Vec::new();
        for stream in places.streams_of(&id) {
            retrievals.extend(centre.db.retrieval(&stream.stream_id, date).await?.map(retrieval));
        }
        days.push(DayView {
            date: date.to_string(),
            reports: reports.into_iter().filter_map(report).collect(),
            retrievals,
        });
    }
    Ok(Json(HealthView {
        counter_id: id.to_string(),
        name: counter.name.clone(),
        days,
    }))
}

/// Who looks after the devices, and who sees what is done at the counter.
fn may_see(person: &Person, places: &Places, counter: &CounterId) -> Answer<()> {
    person
        .require_at(places, counter, Action::SeeDevices)
        .or_else(|_| person.require_at(places, counter, Action::SeeInteractions))
        .map(drop)
}

/// A stored report was verified when it came; one that no longer is was changed since, and is not shown as one.
fn report(row: HealthReportRow) -> Option<ReportView> {
    let key: PublicKey = row.public_key.parse().ok()?;
    let told: HealthReport = match row.signed.open(Purpose::Health, &key) {
        Ok(told) => told,
        Err(error) => {
            tracing::error!(recorder = %row.recorder, %error, "a stored report of health is not as it was signed");
            return None;
        }
    };
    let stream = |stream: StreamDay| StreamHealthView {
        stream_id: stream.stream.to_string(),
        picture_s: stream.picture_s,
        sound_s: stream.sound_s,
        gap_s: stream.gap_s,
        faults: stream
            .faults
            .into_iter()
            .map(|fault| FaultView {
                kind: fault.kind.as_str(),
                seconds: fault.seconds,
                times: fault.times,
                detail: fault.detail,
            })
            .collect(),
    };
    Some(ReportView {
        recorder_id: row.recorder.to_string(),
        from: told.from.to_string(),
        to: told.to.to_string(),
        is_final: told.is_final,
        received: row.received.to_string(),
        streams: told.streams.into_iter().map(stream).collect(),
        clock_offset_min_ms: told.clock.offset_min_us.map(|us| us / 1000),
        clock_offset_max_ms: told.clock.offset_max_us.map(|us| us / 1000),
        unsynchronized_s: told.clock.unsynchronized_s,
        disk_free_bytes: told.disk_free_bytes,
        read_back: told.read_back.map(|read| read.is_whole),
        text: row.signed.text,
        signature: row.signed.signature,
        public_key: row.public_key,
    })
}

fn retrieval(tried: Retrieval) -> RetrievalView {
    RetrievalView {
        stream_id: tried.key.stream.to_string(),
        sequence: tried.key.sequence,
        checked: tried.checked.to_string(),
        is_whole: tried.is_whole,
        detail: tried.detail,
    }
}
