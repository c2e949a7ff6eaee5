//! Where a receipt is in its day's root.

use archive::seal::day::{DayProof, receipt_leaf};

use super::BLOCK;
use super::blocks::path;
use crate::centre::Centre;
use crate::db::{DbError, DbResult, ReceiptRow};

impl Centre {
    /// The place of a receipt in the root of its day; `None` while the day is open.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn day_proof(&self, receipt: &ReceiptRow) -> DbResult<Option<DayProof>> {
        let Some(day) = self.db.day(receipt.business_date).await? else {
            return Ok(None);
        };
        let blocks = self.db.day_blocks(receipt.business_date).await?;
        let found = blocks
            .partition_point(|b| b.first_receipt_id <= receipt.receipt_id)
            .checked_sub(1);
        let missing = || {
            DbError::damaged(
                "day_root",
                format!(
                    "receipt {} is not among those of {}",
                    receipt.receipt_id, receipt.business_date
                ),
            )
        };
        let block = found.ok_or_else(missing)?;
        let receipts = self
            .db
            .receipts_from(
                receipt.business_date,
                &blocks[block].first_receipt_id,
                BLOCK as i64,
            )
            .await?;
        let rank = receipts
            .iter()
            .position(|(id, _)| *id == receipt.receipt_id)
            .ok_or_else(missing)?;
        let leaves: Vec<_> = receipts.iter().map(|(_, r)| receipt_leaf(r)).collect();
        let roots: Vec<_> = blocks.iter().map(|b| b.root).collect();
        Ok(Some(DayProof {
            day: day.signed,
            index: (block * BLOCK + rank) as u64,
            path: path(&leaves, rank, &roots, block),
            timestamp: day.timestamp,
        }))
    }
}
