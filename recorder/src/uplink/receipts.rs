//! Receipts of the centre are checked and kept beside the chains that they are for.

use archive::seal::signed::Purpose;
use archive::seal::{Receipt, Signed};

use super::Uplink;
use crate::record::keep_receipt;

/// Keeps what the centre signed for this recorder. A disk that does not take it costs only the receipt: the centre
/// has it, and gives another for the next entry.
pub(super) async fn keep(uplink: &Uplink, receipts: Vec<Signed>) {
    for signed in receipts {
        let receipt = match signed.open::<Receipt>(Purpose::Receipt, &uplink.identity.server_key) {
            Ok(receipt) if receipt.recorder == uplink.identity.recorder => receipt,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, "a receipt is not signed by the centre that enrolled this recorder");
                continue;
            }
        };
        let (volume, stream) = (uplink.volume.clone(), receipt.stream.clone());
        let kept = tokio::task::spawn_blocking(move || keep_receipt(&volume, &stream, &signed)).await;
        match kept {
            Ok(Ok(())) => {
                metrics::counter!("recorder_receipts_total", "stream" => receipt.stream.to_string())
                    .increment(1);
            }
            Ok(Err(error)) => tracing::warn!(stream = %receipt.stream, %error, "a receipt could not be kept"),
            Err(error) => tracing::warn!(stream = %receipt.stream, %error, "a receipt could not be kept"),
        }
    }
}
