//! The control port: HTTP by which a test or demonstration commands faults.
//!
//! `GET /mounts`; `POST /mounts/{name}/fault` with a [`Fault`]; `POST /mounts/{name}/clear`;
//! `PUT /mounts/{name}` with a [`MountSpec`], which cuts clients off and shows the new content; `GET /healthz`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};

use super::{CameraError, FakeCamera, Fault, MountSpec, MountState};

type Answer = Result<StatusCode, (StatusCode, String)>;

/// The routes of the control port.
pub fn router(camera: Arc<FakeCamera>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/mounts", get(state))
        .route("/mounts/{name}", put(reconfigure))
        .route("/mounts/{name}/fault", post(apply))
        .route("/mounts/{name}/clear", post(clear))
        .with_state(camera)
}

async fn state(State(camera): State<Arc<FakeCamera>>) -> Json<Vec<MountState>> {
    Json(camera.state())
}

async fn apply(
    State(camera): State<Arc<FakeCamera>>,
    Path(name): Path<String>,
    Json(fault): Json<Fault>,
) -> Answer {
    command(move || camera.apply(&name, fault)).await
}

async fn clear(State(camera): State<Arc<FakeCamera>>, Path(name): Path<String>) -> Answer {
    command(move || camera.clear(&name)).await
}

async fn reconfigure(
    State(camera): State<Arc<FakeCamera>>,
    Path(name): Path<String>,
    Json(spec): Json<MountSpec>,
) -> Answer {
    command(move || camera.reconfigure(&name, spec)).await
}

/// Runs a command where it may block: to close a client or to start an encoder takes a while.
async fn command(run: impl FnOnce() -> Result<(), CameraError> + Send + 'static) -> Answer {
    let result = tokio::task::spawn_blocking(run)
        .await
        .map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    result.map(|()| StatusCode::NO_CONTENT).map_err(|error| {
        let status = match error {
            CameraError::NoMount(_) => StatusCode::NOT_FOUND,
            CameraError::Spec(_) | CameraError::File { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, error.to_string())
    })
}
