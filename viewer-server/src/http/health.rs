//! For those who look after the service.

use std::sync::Arc;

use axum::extract::State;
use metrics_exporter_prometheus::PrometheusHandle;

use super::error::Answer;
use crate::centre::Centre;

/// The process runs.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The database answers.
pub async fn readyz(State(centre): State<Arc<Centre>>) -> Answer<&'static str> {
    centre.db.ping().await?;
    Ok("ready\n")
}

/// Prometheus' text format.
pub async fn metrics(State(centre): State<Arc<Centre>>, handle: Option<PrometheusHandle>) -> String {
    metrics::gauge!("minhquay_recorders_connected").set(centre.recorders.count() as f64);
    handle.map_or_else(String::new, |h| h.render())
}
