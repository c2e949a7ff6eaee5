//! Uploads that nobody will finish: the recorder is gone, or has deleted what it was sending.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use archive::ids::{RecorderId, SegmentKey};
use archive::time::{DurationUs, WallTime};

use super::UploadError;
use crate::centre::Centre;

/// An upload of which nothing was heard for so long is abandoned; a recorder that comes back starts it anew.
const ABANDONED_AFTER_US: DurationUs = 7 * 24 * 3_600_000_000;
const EVERY: Duration = Duration::from_secs(24 * 3600);

impl Centre {
    /// Removes abandoned uploads now and once a day, until the server stops.
    pub async fn keep_removing_abandoned_uploads(self: Arc<Self>) {
        let mut daily = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                _ = daily.tick() => {}
            }
            match self.remove_abandoned_uploads().await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "abandoned uploads were removed"),
                Err(error) => tracing::error!(%error, "abandoned uploads could not be removed"),
            }
        }
    }

    /// Removes uploads of which nothing was heard for a week, with their bytes; says how many.
    ///
    /// # Errors
    /// [`UploadError`]; what was removed before it stays removed.
    pub async fn remove_abandoned_uploads(&self) -> Result<u64, UploadError> {
        let before = self.now() - ABANDONED_AFTER_US;
        let mut removed = 0;
        for (recorder, key) in self.db.uploads_begun_before(before).await? {
            removed += u64::from(self.remove_if_abandoned(&recorder, &key, before).await?);
        }
        // Bytes without a row stay behind if the server dies between the two.
        let folder = self.uploads.folder().to_owned();
        let found = tokio::task::spawn_blocking(move || old_parts(&folder, before)).await;
        for (recorder, key) in found
            .map_err(std::io::Error::other)
            .and_then(|found| found)
            .map_err(|source| UploadError::File {
                path: self.uploads.folder().to_owned(),
                source,
            })?
        {
            if self.db.upload(&recorder, &key).await?.is_none() {
                removed += u64::from(self.remove_if_abandoned(&recorder, &key, before).await?);
            }
        }
        metrics::counter!("minhquay_uploads_abandoned_total").increment(removed);
        Ok(removed)
    }

    async fn remove_if_abandoned(
        &self,
        recorder: &RecorderId,
        key: &SegmentKey,
        before: WallTime,
    ) -> Result<bool, UploadError> {
        let part = self.uploads.part(recorder, key);
        // Nobody appends meanwhile.
        let _lock = self.uploads.lock(&part).await?;
        let failed = |source| UploadError::File {
            path: part.clone(),
            source,
        };
        let has_bytes = match tokio::fs::metadata(&part).await {
            Ok(metadata) if modified(&metadata).map_err(failed)? >= before => return Ok(false),
            Ok(_) => true,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
            Err(source) => return Err(failed(source)),
        };
        let had_row = self.db.delete_upload(recorder, key, before).await?;
        if has_bytes {
            tokio::fs::remove_file(&part).await.map_err(failed)?;
        }
        Ok(had_row || has_bytes)
    }
}

fn modified(metadata: &std::fs::Metadata) -> std::io::Result<WallTime> {
    let since = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH);
    let us = since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    Ok(WallTime(us))
}

/// Parts in `<folder>/<recorder>/<stream>` that were last written before a moment.
fn old_parts(folder: &Path, before: WallTime) -> std::io::Result<Vec<(RecorderId, SegmentKey)>> {
    let mut found = Vec::new();
    for recorder in entries(folder)? {
        for stream in entries(&recorder)? {
            for part in entries(&stream)? {
                let Some(named) = named(&recorder, &stream, &part) else {
                    continue;
                };
                if modified(&std::fs::metadata(&part)?)? < before {
                    found.push(named);
                }
            }
        }
    }
    Ok(found)
}

/// What lies in a folder; nothing if it is no folder.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

fn named(recorder: &Path, stream: &Path, part: &Path) -> Option<(RecorderId, SegmentKey)> {
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let key = SegmentKey {
        stream: name(stream)?.parse().ok()?,
        sequence: name(part)?.strip_suffix(".part")?.parse().ok()?,
    };
    Some((name(recorder)?.parse().ok()?, key))
}
