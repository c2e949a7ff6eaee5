//! The recorder's own HTTP: events, health, metrics.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use archive::ids::StreamId;
use archive::time::Clock;
use axum::Json;
use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use crate::capture::Health;
use crate::index::Index;
use crate::inputs::Inputs;
use crate::inputs::http::EventsToken;

/// What the calls need.
pub struct State {
    /// The numbers.
    pub metrics: PrometheusHandle,
    /// How the streams do.
    pub health: BTreeMap<StreamId, Arc<Health>>,
    /// Folder of the recordings.
    pub recordings: PathBuf,
    /// The index.
    pub index: Index,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The token that events need and where they go; `None`: the call is off.
    pub events: Option<(EventsToken, Inputs)>,
}

/// The numbers of this process; made once.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            // Taken already only if a program embeds the recorder and counts itself.
            let _ = metrics::set_global_recorder(recorder);
            handle
        })
        .clone()
}

/// Serves until shutdown.
pub async fn serve(listener: tokio::net::TcpListener, mut state: State, shutdown: CancellationToken) {
    let mut router = Router::new();
    if let Some((token, inputs)) = state.events.take() {
        router = router.merge(crate::inputs::http::router(token, inputs));
    }
    let router = router
        .route("/healthz", get(healthz))
        .route("/metrics", get(render_metrics))
        .with_state(Arc::new(state));
    let serving = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "the recorder's own HTTP ended");
    }
}

/// The recorder lives; how each stream does is in the body.
async fn healthz(Shared(state): Shared<Arc<State>>) -> Json<serde_json::Value> {
    let now_us = state.clock.monotonic_us();
    let streams: BTreeMap<_, _> = state
        .health
        .iter()
        .map(|(stream, health)| {
            let health = serde_json::json!({
                "last_sample_age_ms": health.last_sample_age_ms(now_us),
                "fault": health.fault(),
            });
            (stream.as_str(), health)
        })
        .collect();
    Json(serde_json::json!({ "status": "recording", "streams": streams }))
}

async fn render_metrics(Shared(state): Shared<Arc<State>>) -> String {
    let now_us = state.clock.monotonic_us();
    for (stream, health) in &state.health {
        if let Some(age_ms) = health.last_sample_age_ms(now_us) {
            metrics::gauge!("recorder_last_sample_age_seconds", "stream" => stream.to_string())
                .set(age_ms as f64 / 1e3);
        }
        metrics::gauge!("recorder_stream_fault", "stream" => stream.to_string())
            .set(f64::from(u8::from(health.fault().is_some())));
    }
    if let Ok(pending) = state.index.pending_facts().await {
        metrics::gauge!("recorder_pending_facts").set(pending as f64);
    }
    let waiting = state.index.waiting_segments().await.unwrap_or_default();
    for stream in state.health.keys() {
        let label = stream.to_string();
        if let Ok(newest) = state.index.newest_sealed(stream).await {
            metrics::gauge!("recorder_newest_sequence", "stream" => label.clone()).set(newest as f64);
        }
        let (pending, kept) = waiting
            .iter()
            .find(|(name, ..)| *name == label)
            .map_or((0, 0), |(_, pending, kept)| (*pending, *kept));
        metrics::gauge!("recorder_pending_segments", "stream" => label.clone()).set(pending as f64);
        metrics::gauge!("recorder_unasked_segments", "stream" => label).set(kept as f64);
    }
    if let Ok(space) = crate::disk::space(&state.recordings) {
        metrics::gauge!("recorder_disk_free_bytes").set(space.free_bytes as f64);
        metrics::gauge!("recorder_disk_total_bytes").set(space.total_bytes as f64);
    }
    state.metrics.render()
}
