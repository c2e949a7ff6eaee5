//! Tries the whole path to the picture: once a day, and soon after the first footage came, a segment of each stream is
//! read back from the store, compared with its digest, and its first keyframe decoded.
//!
//! Nobody sees the picture, so this is no read of footage in the sense of the access log.

use std::sync::Arc;
use std::time::Duration;

use archive::fmp4::index;
use archive::ids::StreamId;
use archive::time::DurationUs;
use futures::StreamExt as _;
use sha2::Digest as _;

use crate::centre::Centre;
use crate::db::{DbError, Retrieval, SegmentRow};
use crate::storage::media_key;

/// How often it is looked what is due.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A failure is tried again sooner than a day later.
const AFTER_FAILURE_US: DurationUs = 600_000_000;

impl Centre {
    /// Tries what is due until the server stops.
    pub async fn keep_retrieving(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.retrieve_due().await {
                tracing::error!(%error, "stored footage could not be tried");
            }
        }
    }

    /// Tries each stream that has footage and was not tried today, one after another.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn retrieve_due(&self) -> Result<(), DbError> {
        let places = self.places().await?;
        for counter in places.counters() {
            for stream in places.streams_of(&counter.counter_id) {
                if self.shutdown.is_cancelled() {
                    return Ok(());
                }
                self.retrieve_if_due(&stream.stream_id).await?;
            }
        }
        Ok(())
    }

    async fn retrieve_if_due(&self, stream: &StreamId) -> Result<(), DbError> {
        let now = self.now();
        let date = self.date_of(now);
        let last = self.db.retrieval(stream, date).await?;
        if last.is_some_and(|last| last.is_whole || now - last.checked < AFTER_FAILURE_US) {
            return Ok(());
        }
        let Some((least, greatest)) = self.db.sequences(stream).await? else {
            return Ok(());
        };
        let wanted = rand::random_range(least..=greatest);
        let Some(segment) = self.db.segment_from(stream, wanted).await? else {
            return Ok(());
        };
        let failure = self.retrieve(&segment).await.err();
        if let Some(failure) = &failure {
            tracing::error!(segment = %segment.key, failure, "stored footage could not be retrieved");
        }
        metrics::counter!("minhquay_retrievals_total", "whole" => failure.is_none().to_string()).increment(1);
        let tried = Retrieval {
            key: segment.key,
            recorder: segment.recorder,
            date,
            checked: now,
            is_whole: failure.is_none(),
            detail: failure.unwrap_or_else(|| "read back whole; its first picture can be seen".to_owned()),
        };
        self.db.put_retrieval(&tried).await?;
        self.supervision.poke();
        Ok(())
    }

    async fn retrieve(&self, segment: &SegmentRow) -> Result<(), String> {
        let key = media_key(&segment.recorder, &segment.key);
        let mut bytes = self
            .storage
            .read(&key, 0..segment.size_bytes)
            .await
            .map_err(|e| e.to_string())?;
        let mut hash = sha2::Sha256::new();
        while let Some(piece) = bytes.next().await {
            hash.update(piece.map_err(|e| e.to_string())?);
        }
        if hex::encode(hash.finalize()) != segment.sha256 {
            return Err("the digest is not that of the recording".to_owned());
        }
        let gops = index::decode(&segment.gop_index).map_err(|e| e.to_string())?;
        let first = gops.first().ok_or("it holds no picture")?;
        let range = first.offset_bytes..first.offset_bytes + first.size_bytes;
        let still = self.make_still(segment, range, 160).await;
        still.map(drop).map_err(|e| e.to_string())
    }
}
