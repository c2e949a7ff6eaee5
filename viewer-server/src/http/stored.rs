//! A stored file as an answer, whole or in part.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::error::{Answer, Problem};
use super::range::{Wanted, wanted};

/// A file whose bytes never change.
pub struct Stored<'a> {
    /// Its length.
    pub size_bytes: u64,
    /// Its digest, which names its bytes for caches.
    pub sha256: &'a str,
    /// Its media type.
    pub content_type: &'a str,
    /// How long it may be kept.
    pub cache_control: &'static str,
    /// What people save it as, if it is for saving: of letters, digits, '.', '-' and '_'.
    pub save_as: Option<&'a str>,
}

/// Answers with the range that was asked for (RFC 9110 §14) as `read` gives it, or with nothing if the caller has
/// the file.
///
/// # Errors
/// [`Problem`] 416, or whatever `read` fails of.
pub async fn answer<F>(
    stored: &Stored<'_>,
    headers: &HeaderMap,
    read: impl FnOnce(Range<u64>) -> F,
) -> Answer<Response>
where
    F: Future<Output = Answer<Body>>,
{
    let tag = format!("\"{}\"", stored.sha256);
    let mut answer = Response::builder()
        .header(header::ETAG, &tag)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_TYPE, stored.content_type)
        .header(header::CACHE_CONTROL, stored.cache_control);
    if let Some(name) = stored.save_as {
        let disposition = format!("attachment; filename=\"{name}\"");
        answer = answer.header(header::CONTENT_DISPOSITION, disposition);
    }
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    if text(header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&tag)) {
        return built(answer.status(StatusCode::NOT_MODIFIED), Body::empty());
    }
    let size_bytes = stored.size_bytes;
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|t| t == tag));
    let (answer, bytes) = match wanted(range, size_bytes) {
        Wanted::All => (answer.status(StatusCode::OK), 0..size_bytes),
        Wanted::Part(bytes) => {
            let content = format!("bytes {}-{}/{size_bytes}", bytes.start, bytes.end - 1);
            (
                answer
                    .status(StatusCode::PARTIAL_CONTENT)
                    .header(header::CONTENT_RANGE, content),
                bytes,
            )
        }
        Wanted::Nothing => {
            let detail = format!("the file has {size_bytes} bytes");
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", detail);
            return Err(problem.with_header(header::CONTENT_RANGE, format!("bytes */{size_bytes}")));
        }
    };
    let answer = answer.header(header::CONTENT_LENGTH, bytes.end - bytes.start);
    let body = read(bytes).await?;
    built(answer, body)
}

fn built(answer: axum::http::response::Builder, body: Body) -> Answer<Response> {
    answer
        .body(body)
        .map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", e.to_string()))
}
