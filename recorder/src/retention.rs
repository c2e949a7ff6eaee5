//! Makes room: below the reserve the oldest segments that the centre has are deleted, leaving a tombstone.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::disk::Space;
use crate::index::{Change, Index};
use crate::record::{Ledger, Volume, WriteError, segment_path};

const EVERY: Duration = Duration::from_secs(30);
/// Most deletions of one look, so that a wrong reading of the disk can't empty it at once.
const MOST_AT_ONCE: usize = 100;
const MOST_RESERVE_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Bytes that stay free: a twentieth of the disk, at most 4 GiB.
pub fn reserve_bytes(space: Space) -> u64 {
    (space.total_bytes / 20).min(MOST_RESERVE_BYTES)
}

/// Looks now and then until shutdown.
pub async fn keep(index: Index, ledger: Ledger, volume: Volume, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.cancelled() => return,
        }
        let space = || crate::disk::space(&volume.root).unwrap_or_default();
        if let Err(error) = make_room(&index, &ledger, &volume, space).await {
            tracing::error!(%error, "no room could be made");
        }
    }
}

/// Deletes the oldest acknowledged segments while less than the reserve is free; gives their count.
///
/// # Errors
/// If the index can't be read or written.
pub async fn make_room(
    index: &Index,
    ledger: &Ledger,
    volume: &Volume,
    space: impl Fn() -> Space,
) -> Result<usize, WriteError> {
    let mut deleted = 0;
    while deleted < MOST_AT_ONCE {
        let now = space();
        if now.free_bytes >= reserve_bytes(now) {
            break;
        }
        let Some(segment) = index.oldest_acknowledged().await? else {
            tracing::warn!(
                free_bytes = now.free_bytes,
                "the disk gets full and the centre has nothing of what is on it"
            );
            break;
        };
        // The tombstone first: a row never points at bytes that are gone.
        let deletion = Change::Deleted {
            segment_id: segment.segment_id,
            reason: "room was needed; the centre has it".to_owned(),
        };
        if !ledger.commit(vec![deletion]).await?.refused.is_empty() {
            break;
        }
        // Never on a disk that took this one's place.
        let removed = volume
            .ensure()
            .and_then(|()| std::fs::remove_file(segment_path(&volume.root, &segment.key)));
        if let Err(error) = removed {
            tracing::warn!(segment = %segment.key, %error, "a deleted segment's file could not be removed");
        }
        metrics::counter!("recorder_segments_evicted_total").increment(1);
        deleted += 1;
    }
    Ok(deleted)
}
