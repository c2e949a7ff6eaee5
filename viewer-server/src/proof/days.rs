//! Closing days: once a business day is over, one signed root holds all its receipts.

use std::sync::Arc;
use std::time::Duration;

use archive::seal::day::receipt_leaf;
use archive::seal::signed::Purpose;
use archive::seal::{DayRoot, Signed, merkle};
use archive::time::DurationUs;
use jiff::civil::Date;

use super::BLOCK;
use crate::centre::Centre;
use crate::db::{DayBlock, DbResult};

const EVERY: Duration = Duration::from_secs(60);
const MINUTE_US: DurationUs = 60_000_000;
/// Rounds that are left out after a failure.
const PAUSE_ROUNDS: u32 = 9;

impl Centre {
    /// Closes days that are over and has them stamped, until the server stops.
    pub async fn keep_closing_days(self: Arc<Self>) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pause = 0;
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                _ = every.tick() => {}
            }
            if let Err(error) = self.close_days().await {
                tracing::error!(%error, "a day could not be closed; it is tried again");
            }
            if pause > 0 {
                pause -= 1;
            } else if let Err(error) = self.stamp_days().await {
                pause = PAUSE_ROUNDS;
                metrics::counter!("minhquay_timestamp_failures_total").increment(1);
                tracing::warn!(%error, "a day's root could not be stamped; it is tried again in ten minutes");
            }
        }
    }

    /// Closes each day that is over and has no root yet, the oldest first; says how many.
    ///
    /// The first is that of the first receipt; a day without receipts is closed too, so that none can be missing.
    ///
    /// # Errors
    /// [`crate::db::DbError`]; what was closed before it stays closed.
    pub async fn close_days(&self) -> DbResult<u64> {
        // Receipts are given a moment after their time is taken, and replicas' clocks differ a little.
        let margin_us = i64::from(self.settings.proof.close_after_minutes) * MINUTE_US;
        let today = self.date_of(self.now() - margin_us);
        let mut closed = 0;
        while let Some(date) = self.db.day_to_close().await? {
            if date >= today || self.shutdown.is_cancelled() {
                break;
            }
            closed += u64::from(self.close_day(date).await?);
        }
        Ok(closed)
    }

    async fn close_day(&self, date: Date) -> DbResult<bool> {
        let mut blocks: Vec<DayBlock> = Vec::new();
        let mut count = 0;
        let mut after = String::new();
        loop {
            let receipts = self.db.receipts_of_day(date, &after, BLOCK as i64).await?;
            let (Some((first, _)), Some((last, _))) = (receipts.first(), receipts.last()) else {
                break;
            };
            let leaves: Vec<_> = receipts.iter().map(|(_, r)| receipt_leaf(r)).collect();
            count += leaves.len() as u64;
            blocks.push(DayBlock {
                first_receipt_id: first.clone(),
                root: merkle::root(&leaves),
            });
            after.clone_from(last);
        }
        let roots: Vec<_> = blocks.iter().map(|b| b.root).collect();
        let previous = self.db.newest_day().await?;
        let root = DayRoot {
            date,
            count,
            root: merkle::root(&roots),
            previous: previous.map(|day| day.signed.hash(Purpose::Day)),
        };
        let signed = Signed::new(Purpose::Day, &self.key, &root);
        let is_new = self.db.put_day(&root, &signed, &blocks, self.now()).await?;
        if is_new {
            metrics::counter!("minhquay_day_roots_total").increment(1);
            tracing::info!(%date, count, root = %root.root, "day closed");
        }
        Ok(is_new)
    }
}
