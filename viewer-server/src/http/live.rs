//! Live pictures: WHEP for people, WHIP for recorders (RFC 9725).

use std::sync::Arc;

use archive::ids::StreamId;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::auth::{ConnectedRecorder, Person};
use super::error::{Answer, Problem};
use super::extract::{Path, body, name};
use super::footage::admit;
use crate::centre::Centre;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Longest description or fragment that is read.
const MAX_SDP_BYTES: usize = 64 * 1024;

/// Starts a live session: an offer to receive H.264 and Opus, answered with all candidates.
#[utoipa::path(post, path = "/api/v1/streams/{id}/whep", tag = "live", params(("id" = String, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, content_type = "application/sdp", body = String, description = "Location names the session"),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 415, body = Problem),
        (status = 503, body = Problem, description = "`stream_offline`: no recorder, or it does not publish")))]
pub async fn watch(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Response> {
    let stream: StreamId = name("id", &id)?;
    let offer = text(request, SDP).await?;
    admit(&centre, &person, &stream, "live", None).await?;
    let answered = centre.live.watch(&stream, &person.session, &offer).await?;
    let location = format!("/api/v1/live-sessions/{}", answered.session);
    Ok(created(location, answered.sdp))
}

/// Adds candidates that were found after the offer.
#[utoipa::path(patch, path = "/api/v1/live-sessions/{id}", tag = "live", params(("id" = String, Path)),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses((status = 204), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn add_candidates(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
    request: Request,
) -> Answer<StatusCode> {
    let fragment = text(request, FRAGMENT).await?;
    centre.live.patch(&id, &person.session, &fragment).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a live session.
#[utoipa::path(delete, path = "/api/v1/live-sessions/{id}", tag = "live", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn close(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    centre.live.close(&id, &person.session)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Publishes a stream that somebody watches.
#[utoipa::path(post, path = "/api/v1/edge/streams/{stream}/whip", tag = "edge", params(("stream" = String, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, content_type = "application/sdp", body = String), (status = 403, body = Problem),
        (status = 409, body = Problem, description = "`not_wanted`: nobody watches"), (status = 415, body = Problem)))]
pub async fn publish(
    State(centre): State<Arc<Centre>>,
    from: ConnectedRecorder,
    Path(stream): Path<String>,
    request: Request,
) -> Answer<Response> {
    let stream = own_stream(&centre, &from, &stream).await?;
    let offer = text(request, SDP).await?;
    let answer = centre.live.publish(&stream, &offer).await?;
    Ok(created(format!("/api/v1/edge/streams/{stream}/whip"), answer))
}

/// Ends the publication of a stream.
#[utoipa::path(delete, path = "/api/v1/edge/streams/{stream}/whip", tag = "edge", params(("stream" = String, Path)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn unpublish(
    State(centre): State<Arc<Centre>>,
    from: ConnectedRecorder,
    Path(stream): Path<String>,
) -> Answer<StatusCode> {
    let stream = own_stream(&centre, &from, &stream).await?;
    centre.live.unpublish(&stream)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn own_stream(centre: &Centre, from: &ConnectedRecorder, stream: &str) -> Answer<StreamId> {
    let stream: StreamId = name("stream", stream)?;
    let places = centre.places().await?;
    let is_own = places
        .stream(&stream)
        .is_some_and(|s| s.recorder_id == from.recorder);
    let refusal = || {
        Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_stream",
            "the stream is not this recorder's",
        )
    };
    is_own.then_some(stream).ok_or_else(refusal)
}

async fn text(request: Request, media_type: &str) -> Answer<String> {
    let given = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let given = given
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    if !given.trim().eq_ignore_ascii_case(media_type) {
        let detail = format!("the body must be {media_type}");
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "bad_content_type",
            detail,
        ));
    }
    let bytes = body(request, &()).await?;
    if bytes.len() > MAX_SDP_BYTES {
        let detail = format!("at most {MAX_SDP_BYTES} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    String::from_utf8(bytes.into())
        .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "bad_body", e.to_string()))
}

fn created(location: String, sdp: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, location),
    ];
    (StatusCode::CREATED, headers, sdp).into_response()
}
