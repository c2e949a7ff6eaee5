//! What makes footage provable at the centre: receipts for the recorders' chains.

mod receipts;

use archive::ids::RecorderId;

/// Tells that something does not fit a recorder's chain; the database keeps the evidence.
pub(crate) fn count_conflict(recorder: &RecorderId, what: &str) {
    metrics::counter!("minhquay_chain_conflicts_total").increment(1);
    tracing::error!(%recorder, what, "what the recorder sent does not fit its chain; it is kept as evidence");
}
