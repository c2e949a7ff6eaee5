//! Paths, queries and bodies; what is wrong with them is a problem document too.

use archive::time::WallTime;
use archive::timeline::Window;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::{Answer, Problem};

/// Longest window of one call.
const MAX_WINDOW_US: i64 = 31 * 24 * 3_600_000_000;

/// Names in the path.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|p| Self(p.0))
            .map_err(|e| Problem::new(StatusCode::NOT_FOUND, "not_found", e.body_text()))
    }
}

/// Parameters behind the question mark.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|q| Self(q.0))
            .map_err(|e| Problem::parameter("query", e.body_text()))
    }
}

/// A JSON body.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        let bytes = body(request, state).await?;
        let value = serde_json::from_slice(&bytes);
        value
            .map(Self)
            .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "bad_json", e.to_string()))
    }
}

/// A whole body, within the limit of its route.
///
/// # Errors
/// [`Problem`] 413 or 400.
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Answer<bytes::Bytes> {
    bytes::Bytes::from_request(request, state).await.map_err(|e| {
        let code = if e.status() == StatusCode::PAYLOAD_TOO_LARGE {
            "too_large"
        } else {
            "bad_body"
        };
        Problem::new(e.status(), code, e.body_text())
    })
}

/// Reads a time parameter.
///
/// # Errors
/// [`Problem`] 400.
pub fn time(field: &str, text: &str) -> Answer<WallTime> {
    // A '+' that was not encoded arrives as a blank.
    WallTime::parse_rfc3339(&text.replace(' ', "+")).map_err(|e| Problem::parameter(field, e))
}

/// Reads a time parameter that may be absent.
///
/// # Errors
/// [`Problem`] 400.
pub fn optional_time(field: &str, text: Option<&String>) -> Answer<Option<WallTime>> {
    text.filter(|t| !t.is_empty()).map(|t| time(field, t)).transpose()
}

/// Reads `from` and `to`.
///
/// # Errors
/// [`Problem`] 400 if `to` is not after `from`, or more than 31 days after it.
pub fn window(from: &str, to: &str) -> Answer<Window> {
    let window = Window {
        start: time("from", from)?,
        end: time("to", to)?,
    };
    match window.end - window.start {
        length if length <= 0 => Err(Problem::parameter("to", "must be after from")),
        length if length > MAX_WINDOW_US => {
            Err(Problem::parameter("to", "must be at most 31 days after from"))
        }
        _ => Ok(window),
    }
}

/// Reads a name of a checked form.
///
/// # Errors
/// [`Problem`] 400.
pub fn name<T: std::str::FromStr>(field: &str, text: &str) -> Answer<T>
where
    T::Err: ToString,
{
    text.parse().map_err(|e: T::Err| Problem::parameter(field, e))
}
