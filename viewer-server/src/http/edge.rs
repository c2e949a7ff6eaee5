//! Calls of recorders: enrolment, session, segments.

use std::net::SocketAddr;
use std::sync::Arc;

use archive::ids::SegmentKey;
use archive::segment::SegmentManifest;
use archive::uplink::MAX_MESSAGE_BYTES;
use axum::Json as Answered;
use axum::extract::{ConnectInfo, Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::ConnectedRecorder;
use super::error::{Answer, Problem};
use super::extract::{Json, Path, body, name};
use crate::centre::Centre;
use crate::edge::{UploadState, enrol as enrol_recorder, serve};

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");

/// What a new recorder says of itself.
#[derive(Deserialize, ToSchema)]
pub struct Enrolment {
    /// One-time code.
    code: String,
    /// Ed25519, 64 hexadecimal digits.
    public_key: String,
    /// The site served.
    site: String,
    /// For people.
    name: String,
}

/// A recorder's name from now on.
#[derive(Serialize, ToSchema)]
pub struct EnrolmentAnswer {
    recorder_id: String,
    /// The centre's Ed25519 key, 64 hexadecimal digits.
    server_key: String,
}

/// Makes a recorder known by a one-time code.
#[utoipa::path(post, path = "/api/v1/edge/enrol", tag = "edge", request_body = Enrolment,
    responses((status = 201, body = EnrolmentAnswer), (status = 403, body = Problem), (status = 429, body = Problem)))]
pub async fn enrol(
    State(centre): State<Arc<Centre>>,
    address: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    Json(enrolment): Json<Enrolment>,
) -> Answer<(StatusCode, Answered<EnrolmentAnswer>)> {
    let now = centre.now();
    let from = address.map_or_else(String::new, |a| a.0.0.ip().to_string());
    centre.enrolments.check(&from, now)?;
    let site = name("site", &enrolment.site)?;
    let enrolled = enrol_recorder(
        &centre.db,
        &enrolment.code,
        &enrolment.public_key,
        site,
        &enrolment.name,
        now,
    )
    .await;
    let enrolled = enrolled.inspect_err(|_| centre.enrolments.failed(&from, now))?;
    let server_key = hex::encode(centre.key.verifying_key().as_bytes());
    let recorder_id = enrolled.recorder.to_string();
    Ok((
        StatusCode::CREATED,
        Answered(EnrolmentAnswer {
            recorder_id,
            server_key,
        }),
    ))
}

/// A recorder's session.
#[utoipa::path(get, path = "/api/v1/edge/session", tag = "edge",
    responses((status = 101, description = "WebSocket with messages of archive::uplink")))]
pub async fn session(State(centre): State<Arc<Centre>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .on_upgrade(move |socket| serve(centre, socket))
}

/// How far an upload has come.
#[derive(Serialize, ToSchema)]
pub struct UploadView {
    upload_offset: u64,
    complete: bool,
    sha256: String,
}

fn view(state: &UploadState) -> UploadView {
    UploadView {
        upload_offset: state.offset,
        complete: state.is_complete,
        sha256: state.sha256.to_string(),
    }
}

/// Begins the upload of a segment by its manifest, or says how far it has come.
#[utoipa::path(post, path = "/api/v1/edge/segments", tag = "edge", request_body = Object,
    responses((status = 200, body = UploadView), (status = 201, body = UploadView), (status = 409, body = Problem)))]
pub async fn begin_upload(
    State(centre): State<Arc<Centre>>,
    from: ConnectedRecorder,
    request: Request,
) -> Answer<(StatusCode, Answered<UploadView>)> {
    let bytes = body(request, &()).await?;
    let bad = |e: &dyn ToString| Problem::new(StatusCode::BAD_REQUEST, "bad_manifest", e.to_string());
    let json = std::str::from_utf8(&bytes).map_err(|e| bad(&e))?;
    let manifest: SegmentManifest = serde_json::from_str(json).map_err(|e| bad(&e))?;
    let state = centre.begin_upload(&from.recorder, &manifest, json).await?;
    let status = if state.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Answered(view(&state))))
}

fn key(stream: &str, sequence: u64) -> Answer<SegmentKey> {
    Ok(SegmentKey {
        stream: name("stream", stream)?,
        sequence,
    })
}

/// Says how far an upload has come.
#[utoipa::path(get, path = "/api/v1/edge/segments/{stream}/{sequence}", tag = "edge",
    params(("stream" = String, Path), ("sequence" = u64, Path)),
    responses((status = 200, body = UploadView), (status = 404, body = Problem)))]
pub async fn upload_state(
    State(centre): State<Arc<Centre>>,
    from: ConnectedRecorder,
    Path((stream, sequence)): Path<(String, u64)>,
) -> Answer<Answered<UploadView>> {
    let state = centre
        .upload_state(&from.recorder, &key(&stream, sequence)?)
        .await?;
    Ok(Answered(view(&state)))
}

/// Takes bytes of a segment from `Upload-Offset` on.
#[utoipa::path(patch, path = "/api/v1/edge/segments/{stream}/{sequence}", tag = "edge",
    params(("stream" = String, Path), ("sequence" = u64, Path)),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 204, description = "Upload-Offset says how far it has come"), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
pub async fn take_bytes(
    State(centre): State<Arc<Centre>>,
    from: ConnectedRecorder,
    Path((stream, sequence)): Path<(String, u64)>,
    headers: HeaderMap,
    request: Request,
) -> Answer<Response> {
    let offset = headers
        .get(&UPLOAD_OFFSET)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok());
    let offset = offset.ok_or_else(|| Problem::parameter("Upload-Offset", "must be a number of bytes"))?;
    let key = key(&stream, sequence)?;
    let state = centre
        .take_bytes(
            &from.recorder,
            &key,
            offset,
            request.into_body().into_data_stream(),
        )
        .await?;
    let mut answer = StatusCode::NO_CONTENT.into_response();
    answer
        .headers_mut()
        .insert(UPLOAD_OFFSET, HeaderValue::from(state.offset));
    if state.is_complete {
        answer
            .headers_mut()
            .insert(UPLOAD_COMPLETE, HeaderValue::from_static("?1"));
        centre.supervision.poke();
    }
    Ok(answer)
}
