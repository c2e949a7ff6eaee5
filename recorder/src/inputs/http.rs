//! `POST /api/v1/events` on the recorder, for sites without a link.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Inputs;

const MOST_BODY_BYTES: usize = 4 * 1024 * 1024;
const MOST_EVENTS: usize = 1000;

/// The digest of the token that callers must give.
pub struct EventsToken([u8; 32]);

impl EventsToken {
    /// Reads the token's file, if one is set up.
    ///
    /// # Errors
    /// The file and why it can't be used.
    pub fn load(file: Option<&Path>) -> Result<Option<Self>, (PathBuf, std::io::Error)> {
        let Some(file) = file else { return Ok(None) };
        let text = std::fs::read_to_string(file).map_err(|e| (file.to_owned(), e))?;
        let token = text.trim();
        if token.is_empty() {
            let empty = std::io::Error::new(std::io::ErrorKind::InvalidData, "holds no token");
            return Err((file.to_owned(), empty));
        }
        Ok(Some(Self(Sha256::digest(token).into())))
    }

    /// Takes the same time whatever is wrong.
    fn is(&self, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.0.ct_eq(&given).into()
    }
}

/// The call.
pub fn router<S: Clone + Send + Sync + 'static>(token: EventsToken, inputs: Inputs) -> Router<S> {
    Router::new()
        .route("/api/v1/events", post(post_events))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .with_state(Arc::new((token, inputs)))
}

async fn post_events(
    State(state): State<Arc<(EventsToken, Inputs)>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (token, inputs) = &*state;
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    if !given.is_some_and(|given| token.is(given.trim())) {
        return problem(
            StatusCode::UNAUTHORIZED,
            "not_signed_in",
            "a valid bearer token is needed",
        );
    }
    let events = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Array(events)) if events.len() <= MOST_EVENTS => events,
        Ok(Value::Array(events)) => {
            let detail = format!(
                "a batch has at most {MOST_EVENTS} events, this has {}",
                events.len()
            );
            return problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &detail);
        }
        Ok(event) => vec![event],
        Err(error) => {
            return problem(
                StatusCode::BAD_REQUEST,
                "bad_parameter",
                &format!("not JSON: {error}"),
            );
        }
    };
    match inputs.store("http", &events).await {
        Ok(stored) => {
            let rejected: Vec<_> = stored
                .rejected
                .iter()
                .map(|(index, reason)| json!({ "index": index, "reason": reason }))
                .collect();
            let answer = json!({
                "accepted": stored.accepted,
                "duplicates": stored.duplicates,
                "rejected": rejected,
            });
            (StatusCode::ACCEPTED, Json(answer)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "events could not be stored");
            problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_stored",
                "the events could not be stored; send them again",
            )
        }
    }
}

/// A problem document (RFC 9457).
fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
        "code": code,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}
