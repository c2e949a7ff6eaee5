//! What makes footage provable at the centre: receipts for the recorders' chains, and a root over each day's receipts.

mod blocks;
mod check;
mod days;
mod path;
mod receipts;
mod stamp;
mod stamps;

use archive::ids::RecorderId;

pub use blocks::BLOCK;
pub(crate) use check::{check_proofs, check_segment};
pub use stamp::{StampError, TimeStamp, read_answer, request};

/// Tells that something does not fit a recorder's chain; the database keeps the evidence.
pub(crate) fn count_conflict(recorder: &RecorderId, what: &str) {
    metrics::counter!("minhquay_chain_conflicts_total").increment(1);
    tracing::error!(%recorder, what, "what the recorder sent does not fit its chain; it is kept as evidence");
}
