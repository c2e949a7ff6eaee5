//! Counter events from integrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use serde_json::Value;

use super::auth::EventWriter;
use super::error::{Answer, Problem};
use super::extract::body;
use crate::centre::Centre;
use crate::ingest::{Accepted, MAX_BATCH};

/// Takes one event or a batch; answered once they are synced.
///
/// `application/cloudevents+json` is one, `application/cloudevents-batch+json` many, `application/json` either.
#[utoipa::path(post, path = "/api/v1/events", tag = "events",
    request_body(content = Object, content_type = "application/cloudevents-batch+json"),
    responses((status = 202, body = Accepted), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 415, body = Problem)))]
pub async fn post(
    State(centre): State<Arc<Centre>>,
    _writer: EventWriter,
    request: Request,
) -> Answer<(StatusCode, Json<Accepted>)> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let bytes = body(request, &()).await?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "bad_json", e.to_string()))?;
    let events = match (kind.as_str(), value) {
        ("application/cloudevents-batch+json" | "application/json", Value::Array(events)) => events,
        ("application/cloudevents+json" | "application/json", event @ Value::Object(_)) => vec![event],
        ("application/cloudevents-batch+json", _) => {
            return Err(Problem::parameter("body", "must be an array"));
        }
        ("application/cloudevents+json" | "application/json", _) => {
            return Err(Problem::parameter("body", "must be an event"));
        }
        _ => {
            let detail = "send application/cloudevents+json or application/cloudevents-batch+json";
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type",
                detail,
            ));
        }
    };
    if events.len() > MAX_BATCH {
        return Err(Problem::parameter(
            "body",
            format!("must have at most {MAX_BATCH} events"),
        ));
    }
    Ok((StatusCode::ACCEPTED, Json(centre.accept_events(&events).await?)))
}
