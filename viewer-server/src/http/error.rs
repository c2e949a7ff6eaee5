//! One mapping from every failure to an RFC 9457 problem document; each 5xx is logged once, here.

use archive::gap::Gap;
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::{PasswordError, TooManyAttempts};
use crate::db::DbError;
use crate::edge::{EnrolError, UploadError};
use crate::export::ExportError;
use crate::live::LiveError;
use crate::playback::StillError;
use crate::storage::StorageError;

/// A field of the request that is wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FieldError {
    /// Which field or parameter.
    pub field: String,
    /// What is allowed.
    pub message: String,
}

/// The gap that is the reason why there is no recording.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GapNamed {
    /// Its id on the timeline.
    pub gap_id: String,
    /// As on the timeline, e.g. `camera_offline`.
    pub cause: String,
    /// Where the recording ends.
    pub start: String,
    /// Where it goes on; null while it has not.
    pub end: Option<String>,
}

/// A problem document (RFC 9457). `code` is stable; programs go by it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Short, in English.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Stable name of the problem.
    pub code: &'static str,
    /// Fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Why there is no recording, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Box<GapNamed>>,
    #[serde(skip)]
    header: Option<(HeaderName, HeaderValue)>,
}

/// Result of an HTTP handler.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem by status and stable code.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: status.as_u16(),
            detail: (!detail.is_empty()).then_some(detail),
            code,
            errors: Vec::new(),
            gap: None,
            header: None,
        }
    }

    /// 400: a parameter or field is wrong.
    pub fn parameter(field: &str, message: impl ToString) -> Self {
        let message = message.to_string();
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "bad_parameter",
            format!("{field}: {message}"),
        );
        problem.errors.push(FieldError {
            field: field.to_owned(),
            message,
        });
        problem
    }

    /// 401: nobody is signed in.
    pub fn not_signed_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_signed_in", "sign in first")
    }

    /// 403: the caller's roles do not allow it.
    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "your roles do not allow this; an administrator can grant them",
        )
    }

    /// 404: there is no such thing, or the caller may not know of it.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no such {what}"),
        )
    }

    /// 404: nothing was recorded.
    pub fn no_recording() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_recording",
            "nothing was recorded then, or it has not arrived yet",
        )
    }

    /// 404: nothing was recorded, for this reason.
    pub fn not_recorded(gap: &Gap) -> Self {
        let gap = GapNamed {
            gap_id: gap.gap_id.to_string(),
            cause: serde_json::to_value(gap.cause)
                .ok()
                .and_then(|cause| Some(cause.as_str()?.to_owned()))
                .unwrap_or_default(),
            start: gap.start.to_string(),
            end: gap.end.map(|end| end.to_string()),
        };
        let end = gap.end.as_deref().unwrap_or("now");
        let detail = format!("nothing was recorded from {} to {end}: {}", gap.start, gap.cause);
        let mut problem = Self::new(StatusCode::NOT_FOUND, "no_recording", detail);
        problem.gap = Some(Box::new(gap));
        problem
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl ToString) -> Self {
        self.header = HeaderValue::from_str(&value.to_string())
            .ok()
            .map(|value| (name, value));
        self
    }

    fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %chain(error), "request failed");
        metrics::counter!("minhquay_http_server_errors_total").increment(1);
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "the server failed; its log says why",
        )
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let header = self.header.clone();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = header {
            headers.insert(name, value);
        }
        response
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        Self::internal(&error)
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        Self::internal(&error)
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        Self::internal(&error)
    }
}

impl From<archive::fmp4::index::IndexError> for Problem {
    fn from(error: archive::fmp4::index::IndexError) -> Self {
        Self::internal(&error)
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        match (&error, error.code()) {
            (ExportError::NoRecording, _) => Self::no_recording(),
            (_, Some(code)) => Self::new(StatusCode::CONFLICT, code, error.to_string()),
            (_, None) => Self::internal(&error),
        }
    }
}

impl From<StillError> for Problem {
    fn from(error: StillError) -> Self {
        match error {
            StillError::NoRecording => Self::no_recording(),
            other => Self::internal(&other),
        }
    }
}

impl From<LiveError> for Problem {
    fn from(error: LiveError) -> Self {
        let (status, code) = match &error {
            LiveError::StreamOffline { .. } | LiveError::NotPublished { .. } | LiveError::Refused { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "stream_offline")
            }
            LiveError::CodecNotPlayable { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "codec_not_playable"),
            LiveError::UnusableOffer { .. } => (StatusCode::BAD_REQUEST, "bad_offer"),
            LiveError::NotWanted { .. } => (StatusCode::CONFLICT, "not_wanted"),
            LiveError::UnknownSession => return Self::not_found("live session"),
            LiveError::NoFreePort => (StatusCode::SERVICE_UNAVAILABLE, "too_many_viewers"),
            LiveError::Peer { .. } => return Self::internal(&error),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<TooManyAttempts> for Problem {
    fn from(TooManyAttempts { retry_after_s }: TooManyAttempts) -> Self {
        let detail = format!("too many failed attempts; try again in {retry_after_s} s");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", detail)
            .with_header(header::RETRY_AFTER, retry_after_s)
    }
}

impl From<EnrolError> for Problem {
    fn from(error: EnrolError) -> Self {
        match &error {
            EnrolError::Refused(_) => {
                Self::new(StatusCode::FORBIDDEN, "enrolment_refused", error.to_string())
            }
            EnrolError::Key => Self::parameter("public_key", &error),
            EnrolError::Name => Self::parameter("name", &error),
            EnrolError::Db(_) => Self::internal(&error),
        }
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let (status, code) = match &error {
            UploadError::Manifest(_) => (StatusCode::BAD_REQUEST, "bad_manifest"),
            UploadError::ForeignStream(_) => (StatusCode::FORBIDDEN, "foreign_stream"),
            UploadError::RunUnknown(_) => (StatusCode::CONFLICT, "run_unknown"),
            UploadError::Conflict(_) => (StatusCode::CONFLICT, "segment_conflict"),
            UploadError::Unknown(_) => (StatusCode::NOT_FOUND, "upload_unknown"),
            UploadError::Offset { .. } => (StatusCode::CONFLICT, "upload_offset"),
            UploadError::TooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "upload_too_long"),
            UploadError::BrokenOff { .. } => (StatusCode::BAD_REQUEST, "upload_broken_off"),
            UploadError::DigestMismatch => (StatusCode::UNPROCESSABLE_ENTITY, "digest_mismatch"),
            UploadError::NotAsSealed { .. } => (StatusCode::CONFLICT, "not_as_sealed"),
            UploadError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "upload_busy"),
            UploadError::File { .. } | UploadError::Db(_) | UploadError::Storage(_) => {
                return Self::internal(&error);
            }
        };
        let problem = Self::new(status, code, error.to_string());
        match error {
            UploadError::Offset { offset } | UploadError::BrokenOff { offset, .. } => {
                problem.with_header(HeaderName::from_static("upload-offset"), offset)
            }
            UploadError::DigestMismatch => problem.with_header(HeaderName::from_static("upload-offset"), 0),
            _ => problem,
        }
    }
}
