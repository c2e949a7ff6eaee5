//! For those who look after the service.

use std::sync::Arc;

use archive::time::WallTime;
use axum::extract::State;
use metrics_exporter_prometheus::PrometheusHandle;

use super::error::Answer;
use crate::centre::Centre;
use crate::db::RecorderRow;

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
    // Recorders often stand where Prometheus does not reach, so what they last said is told here.
    match centre.db.recorders().await {
        Ok(recorders) => {
            let now = centre.now();
            recorders.iter().for_each(|recorder| tell_recorder(recorder, now));
        }
        Err(error) => tracing::warn!(%error, "the recorders' figures can't be read"),
    }
    handle.map_or_else(String::new, |h| h.render())
}

fn tell_recorder(recorder: &RecorderRow, now: WallTime) {
    let gauge = |name: &'static str, value: Option<f64>| {
        if let Some(value) = value {
            let (id, site) = (recorder.recorder_id.to_string(), recorder.site_id.to_string());
            metrics::gauge!(name, "recorder" => id, "site" => site).set(value);
        }
    };
    let seconds = |us: i64| us as f64 / 1e6;
    gauge(
        "minhquay_recorder_last_seen_age_seconds",
        recorder.last_seen.map(|seen| seconds(now - seen)),
    );
    gauge(
        "minhquay_recorder_clock_offset_seconds",
        recorder.clock_offset_us.map(seconds),
    );
    gauge(
        "minhquay_recorder_disk_free_bytes",
        recorder.disk_free_bytes.map(|bytes| bytes as f64),
    );
    gauge(
        "minhquay_recorder_disk_total_bytes",
        recorder.disk_total_bytes.map(|bytes| bytes as f64),
    );
    gauge(
        "minhquay_recorder_pending_facts",
        recorder.pending_facts.map(|facts| facts as f64),
    );
}
