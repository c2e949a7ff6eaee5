//! The HTTP service: one file a resource, one file that maps errors.

mod assets;
mod auth;
mod counter_health;
mod edge;
mod error;
mod events;
mod exports;
mod extract;
mod fetches;
mod footage;
mod health;
mod holds;
mod interactions;
mod live;
mod live_state;
mod places;
mod proof;
mod range;
mod session;
mod stored;
mod timeline;
mod views;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::assets::Assets;
use self::error::Problem;
use crate::centre::Centre;

/// Largest body of any call but an upload of footage.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// No script but the page's own, no frame, no other site.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self' blob:; font-src 'self'; connect-src 'self'; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

#[derive(OpenApi)]
#[openapi(info(
    title = "MinhQuay",
    description = "Recording and review of public service counters. Errors are RFC 9457 problem documents with a \
        stable `code`; times are RFC 3339; lists are paged by opaque cursors."
))]
struct Description;

fn described() -> OpenApiRouter<Arc<Centre>> {
    let uploads = OpenApiRouter::new()
        .routes(routes!(edge::upload_state, edge::take_bytes))
        .layer(DefaultBodyLimit::disable());
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(session::sign_in, session::sign_out))
        .routes(routes!(session::me))
        .routes(routes!(places::units))
        .routes(routes!(places::sites))
        .routes(routes!(places::counters))
        .routes(routes!(places::counter))
        .routes(routes!(places::recorders))
        .routes(routes!(counter_health::health))
        .routes(routes!(proof::days))
        .routes(routes!(proof::day))
        .routes(routes!(proof::keys))
        .routes(routes!(timeline::timeline))
        .routes(routes!(interactions::search))
        .routes(routes!(interactions::interaction))
        .routes(routes!(interactions::dossier))
        .routes(routes!(holds::place, holds::list))
        .routes(routes!(holds::release))
        .routes(routes!(footage::get_playlist))
        .routes(routes!(footage::media))
        .routes(routes!(footage::still))
        .routes(routes!(fetches::begin))
        .routes(routes!(fetches::state, fetches::cancel))
        .routes(routes!(exports::ask, exports::list))
        .routes(routes!(exports::one, exports::remove))
        .routes(routes!(exports::file))
        .routes(routes!(live::watch))
        .routes(routes!(live::add_candidates, live::close))
        .routes(routes!(live_state::live_state))
        .routes(routes!(events::post))
        .routes(routes!(edge::enrol))
        .routes(routes!(edge::session))
        .routes(routes!(edge::begin_upload))
        .routes(routes!(live::publish, live::unpublish))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .merge(uploads)
}

/// The OpenAPI document, indented.
pub fn openapi() -> String {
    let (_, description) = described().split_for_parts();
    description.to_pretty_json().expect("the document is plain JSON")
}

/// The whole service.
pub fn router(centre: Arc<Centre>, ui_dir: Option<PathBuf>, metrics: Option<PrometheusHandle>) -> Router {
    let assets = Assets::new(ui_dir);
    let document = openapi();
    let json = [(header::CONTENT_TYPE, "application/json")];
    let (routes, _) = described().split_for_parts();
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    // Footage and event streams must reach the page as they come.
    let compressed = DefaultPredicate::new()
        .and(NotForContentType::const_new("video/"))
        .and(NotForContentType::const_new("application/zip"))
        .and(NotForContentType::const_new("text/event-stream"));
    routes
        .route(
            "/api/v1/openapi.json",
            get(move || async move { (json, document) }),
        )
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route(
            "/metrics",
            get(move |state| health::metrics(state, metrics.clone())),
        )
        .fallback(move |method: Method, uri: Uri| async move { assets.answer(method, uri).await })
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CompressionLayer::new().compress_when(compressed))
        .layer(header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::REFERRER_POLICY, "same-origin"))
        .layer(header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(header(
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ))
        .layer(header(
            HeaderName::from_static("permissions-policy"),
            "camera=(), microphone=(), geolocation=()",
        ))
        .layer(header(header::CACHE_CONTROL, "no-store"))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(centre)
}

async fn method_not_allowed(request: Request) -> Response {
    let detail = format!("{} is not a call of this address", request.method());
    Problem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        detail,
    )
    .into_response()
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request panicked");
    let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
    Problem::new(status, "server_error", "the server failed; its log says why").into_response()
}
