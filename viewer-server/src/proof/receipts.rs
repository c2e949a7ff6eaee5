//! Receipts: the centre signs the newest head of each chain that it has stored.

use archive::ids::RecorderId;
use archive::seal::signed::Purpose;
use archive::seal::{Receipt, Signed};

use crate::centre::Centre;
use crate::db::DbResult;

impl Centre {
    /// Signs and keeps a receipt for each chain of a recorder that has grown since its last; returns the new ones.
    ///
    /// # Errors
    /// [`crate::db::DbError`].
    pub async fn give_receipts(&self, recorder: &RecorderId) -> DbResult<Vec<Signed>> {
        let grown = self.db.chains_without_receipt(recorder).await?;
        if grown.is_empty() {
            return Ok(Vec::new());
        }
        let Some(row) = self.db.recorder(recorder).await? else {
            return Ok(Vec::new());
        };
        let Ok(recorder_key) = row.public_key.parse() else {
            return Ok(Vec::new());
        };
        let received = self.now();
        let receipts = grown.into_iter().map(|(stream, head)| {
            let receipt = Receipt {
                receipt_id: uuid::Uuid::now_v7(),
                recorder: recorder.clone(),
                recorder_key,
                stream,
                number: head.number,
                head: head.hash,
                received,
            };
            let signed = Signed::new(Purpose::Receipt, &self.key, &receipt);
            (receipt, signed)
        });
        let new = self
            .db
            .put_receipts(receipts.collect(), |at| self.date_of(at))
            .await?;
        metrics::counter!("minhquay_receipts_total").increment(new.len() as u64);
        Ok(new)
    }

    /// The newest receipt of each chain of a recorder, those included that it had none of.
    ///
    /// # Errors
    /// [`crate::db::DbError`].
    pub async fn newest_receipts(&self, recorder: &RecorderId) -> DbResult<Vec<Signed>> {
        self.give_receipts(recorder).await?;
        self.db.newest_receipts(recorder).await
    }
}
