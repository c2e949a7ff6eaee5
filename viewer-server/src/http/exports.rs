//! Exports: asked for, watched, saved, removed. Only who asked for one may know of it.

use std::sync::Arc;

use archive::ids::{CounterId, Quality, StreamId};
use archive::timeline::Window;
use axum::Json as Answered;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::Person;
use super::error::{Answer, Problem};
use super::extract::{Json, Path, name, window};
use super::places::Items;
use super::stored::{Stored, answer};
use crate::access::Action;
use crate::centre::Centre;
use crate::db::{ExportRow, ExportState, FootageRead};
use crate::export::{Content, ExportError, export_key};
use crate::places::Places;

/// Exports of one person that are not built yet.
const MAX_UNFINISHED: u64 = 5;
const MAX_LISTED: i64 = 100;
const HOUR_US: i64 = 3_600_000_000;
const GIB: u64 = 1024 * 1024 * 1024;

/// What to export.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// One stream; or
    stream: Option<String>,
    /// all main streams of a counter.
    counter: Option<String>,
    /// RFC 3339; the film starts with the keyframe at or before it.
    from: String,
    /// RFC 3339.
    to: String,
}

/// An export and how far it has come.
#[derive(Serialize, ToSchema)]
pub struct ExportView {
    id: String,
    counter_id: String,
    streams: Vec<String>,
    from: String,
    to: String,
    /// `waiting`, `running`, `done`, `failed` or `cancelled`.
    state: &'static str,
    /// 0 to 1.
    progress: f64,
    created_at: String,
    /// When it is removed.
    expires_at: String,
    /// Why it failed, by a stable name: `not_sealed`, `never_sealed`, `not_arrived`, `damaged`, `no_recording` or
    /// `server_error`.
    failure: Option<String>,
    failure_detail: Option<String>,
    file: Option<ExportFileView>,
    /// What is in the file, once done.
    content: Option<Content>,
}

/// The file of an export.
#[derive(Serialize, ToSchema)]
pub struct ExportFileView {
    name: String,
    size_bytes: u64,
    sha256: String,
    url: String,
}

fn view(row: ExportRow) -> ExportView {
    let progress = match row.state {
        ExportState::Done => 1.0,
        // What is left is the proof and the store.
        _ => (row.done_bytes as f64 / row.total_bytes.max(1) as f64).min(0.99),
    };
    let (failure, failure_detail) = row.failure.unzip();
    ExportView {
        id: row.export_id.to_string(),
        counter_id: row.counter.to_string(),
        streams: row.streams.iter().map(ToString::to_string).collect(),
        from: row.window.start.to_string(),
        to: row.window.end.to_string(),
        state: row.state.as_str(),
        progress,
        created_at: row.created.to_string(),
        expires_at: row.expires.to_string(),
        failure,
        failure_detail,
        file: row.file.map(|file| ExportFileView {
            url: format!("/api/v1/exports/{}/file", row.export_id),
            name: file.name,
            size_bytes: file.size_bytes,
            sha256: file.sha256.to_string(),
        }),
        content: row.content.and_then(|json| serde_json::from_str(&json).ok()),
    }
}

/// The counter and the streams that a request means.
fn wanted(places: &Places, request: &ExportRequest) -> Answer<(CounterId, Vec<StreamId>)> {
    match (&request.stream, &request.counter) {
        (Some(stream), None) => {
            let stream: StreamId = name("stream", stream)?;
            if places.stream(&stream).is_none() {
                return Err(Problem::not_found("stream"));
            }
            Ok((stream.counter(), vec![stream]))
        }
        (None, Some(counter)) => {
            let counter: CounterId = name("counter", counter)?;
            let all = || places.streams_of(&counter).map(|s| s.stream_id.clone());
            let has_main = |stream: &StreamId| {
                all().any(|s| s.viewpoint() == stream.viewpoint() && s.quality() == Quality::Main)
            };
            let streams = all().filter(|s| s.quality() == Quality::Main || !has_main(s));
            let streams: Vec<_> = streams.collect();
            Ok((counter, streams))
        }
        _ => Err(Problem::parameter("stream", "give either stream or counter")),
    }
}

/// Asks for footage with its proof.
#[utoipa::path(post, path = "/api/v1/exports", tag = "exports", request_body = ExportRequest,
    responses((status = 201, body = ExportView), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem),
        (status = 507, body = Problem)))]
pub async fn ask(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Json(request): Json<ExportRequest>,
) -> Answer<Response> {
    let settings = &centre.settings.export;
    let asked = window(&request.from, &request.to)?;
    if asked.duration_us() > i64::from(settings.max_hours) * HOUR_US {
        let message = format!("must be at most {} hours after from", settings.max_hours);
        return Err(Problem::parameter("to", message));
    }
    let places = centre.places().await?;
    let (counter, streams) = wanted(&places, &request)?;
    let role = person.require_at(&places, &counter, Action::ExportFootage)?;
    let (streams, total_bytes) = plan(&centre, streams, asked).await?;
    let (unfinished, kept_bytes) = centre.db.export_load(&person.username).await?;
    if unfinished >= MAX_UNFINISHED {
        let detail = format!("{unfinished} of your exports are not built yet; wait for one or cancel one");
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_exports",
            detail,
        ));
    }
    if kept_bytes.saturating_add(total_bytes) > u64::from(settings.quota_gb) * GIB {
        let detail = "exports take all the room that they may; remove some or wait until they expire";
        return Err(Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "export_quota",
            detail,
        ));
    }
    let now = centre.now();
    for stream in &streams {
        let read = FootageRead {
            username: &person.username,
            role,
            action: "export",
            stream,
            span: Some((asked.start, asked.end)),
        };
        centre.db.log_footage_read(&read, now).await?;
    }
    let export = ExportRow {
        export_id: Uuid::now_v7(),
        username: person.username,
        role,
        counter,
        streams,
        window: asked,
        state: ExportState::Waiting,
        created: now,
        expires: now + i64::from(settings.keep_hours) * HOUR_US,
        done_bytes: 0,
        total_bytes,
        failure: None,
        file: None,
        content: None,
    };
    centre.db.put_export(&export).await?;
    centre.poke_exports();
    let location = HeaderValue::from_str(&format!("/api/v1/exports/{}", export.export_id));
    let location = location.unwrap_or(HeaderValue::from_static("/api/v1/exports"));
    let answer = (
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Answered(view(export)),
    );
    Ok(answer.into_response())
}

/// The streams that have footage to be proven, and how much it is.
async fn plan(centre: &Centre, streams: Vec<StreamId>, asked: Window) -> Answer<(Vec<StreamId>, u64)> {
    let mut planned = Vec::new();
    let mut total_bytes = 0;
    let is_only = streams.len() == 1;
    for stream in streams {
        match centre.plan_export(&stream, asked).await {
            Ok(plan) => {
                total_bytes += plan.size_bytes();
                planned.push(stream);
            }
            Err(ExportError::NoRecording) if is_only => {
                let gaps = centre.db.gaps(&stream, asked).await?;
                let gap = crate::playback::reason(&gaps, asked);
                return Err(gap.map_or_else(Problem::no_recording, Problem::not_recorded));
            }
            Err(ExportError::NoRecording) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if planned.is_empty() {
        return Err(Problem::no_recording());
    }
    Ok((planned, total_bytes))
}

/// The exports that the caller asked for, the newest first.
#[utoipa::path(get, path = "/api/v1/exports", tag = "exports", responses((status = 200, body = Items<ExportView>)))]
pub async fn list(State(centre): State<Arc<Centre>>, person: Person) -> Answer<Answered<Items<ExportView>>> {
    let rows = centre.db.exports_of(&person.username, MAX_LISTED).await?;
    Ok(Answered(Items {
        items: rows.into_iter().map(view).collect(),
    }))
}

async fn own(centre: &Centre, person: &Person, id: &str) -> Answer<ExportRow> {
    let id = id.parse().map_err(|_| Problem::not_found("export"))?;
    let row = centre.db.export(id).await?;
    row.filter(|row| row.username == person.username)
        .ok_or_else(|| Problem::not_found("export"))
}

/// One export and how far it has come.
#[utoipa::path(get, path = "/api/v1/exports/{id}", tag = "exports", params(("id" = String, Path)),
    responses((status = 200, body = ExportView), (status = 404, body = Problem)))]
pub async fn one(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
) -> Answer<Answered<ExportView>> {
    Ok(Answered(view(own(&centre, &person, &id).await?)))
}

/// The file of an export that is done: one film (MP4), or several in a ZIP.
#[utoipa::path(get, path = "/api/v1/exports/{id}/file", tag = "exports", params(("id" = String, Path)),
    responses((status = 200, content_type = "video/mp4"), (status = 206, content_type = "video/mp4"),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 416, body = Problem)))]
pub async fn file(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let row = own(&centre, &person, &id).await?;
    // Rights may have been taken away since.
    let places = centre.places().await?;
    let role = person.require_at(&places, &row.counter, Action::ExportFootage)?;
    let Some(file) = &row.file else {
        let detail = format!("the export is {}", row.state.as_str());
        return Err(Problem::new(StatusCode::CONFLICT, "export_not_done", detail));
    };
    for stream in &row.streams {
        let read = FootageRead {
            username: &person.username,
            role,
            action: "download",
            stream,
            span: Some((row.window.start, row.window.end)),
        };
        centre.db.log_footage_read(&read, centre.now()).await?;
    }
    let is_zip = file.name.ends_with(".zip");
    let stored = Stored {
        size_bytes: file.size_bytes,
        sha256: &file.sha256.to_string(),
        content_type: if is_zip { "application/zip" } else { "video/mp4" },
        cache_control: "private, no-store",
        save_as: Some(&file.name),
    };
    let key = export_key(row.export_id);
    let read = |bytes| async { Ok(Body::from_stream(centre.storage.read(&key, bytes).await?)) };
    answer(&stored, &headers, read).await
}

/// Cancels an export, or removes it with its file.
#[utoipa::path(delete, path = "/api/v1/exports/{id}", tag = "exports", params(("id" = String, Path)),
    responses((status = 204, description = "It is gone, or will not be built"), (status = 404, body = Problem)))]
pub async fn remove(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let row = own(&centre, &person, &id).await?;
    centre.remove_export(row.export_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
