//! Reads a stored segment from the recorder's own disk again, soon after the start and then once a day for each stream.

use std::collections::BTreeMap;
use std::path::Path;

use archive::alert::AlertKind;
use archive::health::ReadBack;
use archive::ids::{CounterId, StreamId};
use archive::segment::Digest;

use super::keep::Watching;
use crate::index::StoredSegment;
use crate::record::segment_path;

const A_DAY_US: i64 = 24 * 3600 * 1_000_000;
/// A failure is looked at again sooner.
const AFTER_FAILURE_US: i64 = 300_000_000;
/// While nothing is stored yet.
const AGAIN_US: i64 = 10_000_000;

/// When each stream is due.
#[derive(Debug, Default)]
pub(super) struct ReadBacks {
    due_us: BTreeMap<StreamId, i64>,
}

impl ReadBacks {
    /// Reads back what is due, one stream at a call, so that the disk is not held up.
    pub async fn due(&mut self, w: &Watching, now_us: i64) -> Option<(CounterId, ReadBack)> {
        let is_due = |stream: &&StreamId| self.due_us.get(*stream).is_none_or(|due| *due <= now_us);
        let stream = w.examiners.keys().find(is_due)?.clone();
        let segment = match w.index.any_stored_segment(&stream).await {
            Ok(Some(segment)) => segment,
            Ok(None) => {
                self.due_us.insert(stream, now_us + AGAIN_US);
                return None;
            }
            Err(error) => {
                tracing::error!(%stream, %error, "no segment could be chosen to be read back");
                self.due_us.insert(stream, now_us + AFTER_FAILURE_US);
                return None;
            }
        };
        let name = segment.key.to_string();
        let path = segment_path(&w.recordings, &segment.key);
        let read = tokio::task::spawn_blocking(move || read_back(&path, &segment)).await;
        let failure = match read {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            Err(panic) => Some(panic.to_string()),
        };
        let next_us = if failure.is_none() {
            A_DAY_US
        } else {
            AFTER_FAILURE_US
        };
        self.due_us.insert(stream.clone(), now_us + next_us);
        let told = match &failure {
            None => w.alerts.clear(AlertKind::RetrievalFailed, Some(&stream)).await,
            Some(failure) => {
                let detail = format!("{name} on the recorder's disk: {failure}");
                w.alerts
                    .raise(AlertKind::RetrievalFailed, Some(&stream), &detail)
                    .await
            }
        };
        if let Err(error) = told {
            tracing::error!(%stream, %error, "an alert could not be kept");
        }
        let found = ReadBack {
            at: w.clock.wall(),
            segment: name,
            is_whole: failure.is_none(),
            detail: failure.unwrap_or_else(|| "the digest is that of the recording".to_owned()),
        };
        Some((stream.counter(), found))
    }
}

fn read_back(path: &Path, segment: &StoredSegment) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    if Digest::of(&bytes) == segment.sha256 {
        Ok(())
    } else {
        Err(format!(
            "{} bytes whose digest is not that of the recording",
            bytes.len()
        ))
    }
}
