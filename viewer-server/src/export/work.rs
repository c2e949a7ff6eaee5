//! Building exports: few at a time, each by one server, cancelled and taken up again as it comes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use archive::time::DurationUs;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::film::file_error;
use super::{Content, ExportError, export_key};
use crate::centre::Centre;
use crate::db::{ExportFile, ExportRow};

const LOOK_EVERY: Duration = Duration::from_secs(5);
const TELL_EVERY: Duration = Duration::from_secs(1);
/// A server that says nothing for so long has died.
const LEASE_US: DurationUs = 30_000_000;
const HOUR_US: DurationUs = 3_600_000_000;

impl Centre {
    /// Builds exports until the server stops; what is under way then waits for the next.
    pub async fn keep_exporting(self: Arc<Self>) {
        self.remove_left_overs().await;
        let mut builds = JoinSet::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                _ = look.tick() => {}
                () = self.exports.asked.notified() => {}
                Some(_) = builds.join_next() => {}
            }
            if let Err(error) = self.expire_exports().await {
                tracing::error!(%error, "expired exports could not be removed");
            }
            while builds.len() < self.settings.export.parallel as usize {
                match self.claim_export().await {
                    Ok(Some(export)) => {
                        let centre = Arc::clone(&self);
                        builds.spawn(async move { centre.build(export).await });
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "no export could be taken up");
                        break;
                    }
                }
            }
        }
        builds.shutdown().await;
        if let Err(error) = self.db.release_exports(&self.exports.lease).await {
            tracing::warn!(%error, "exports under way could not be given back; they wait for their lease to end");
        }
    }

    /// Builds the oldest export that waits; returns whether there was one.
    ///
    /// # Errors
    /// [`ExportError::Db`]; what goes wrong with an export is written down with it.
    pub async fn export_next(&self) -> Result<bool, ExportError> {
        match self.claim_export().await? {
            Some(export) => {
                self.build(export).await;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Says that an export was asked for.
    pub fn poke_exports(&self) {
        self.exports.asked.notify_one();
    }

    async fn claim_export(&self) -> Result<Option<ExportRow>, ExportError> {
        let now = self.now();
        Ok(self
            .db
            .claim_export(&self.exports.lease, now, now + LEASE_US)
            .await?)
    }

    async fn build(&self, export: ExportRow) {
        let id = export.export_id;
        let lease = &self.exports.lease;
        let folder = self.exports.folder.join(id.to_string());
        let outcome = self.build_in(&export, &folder).await;
        // What could not be removed goes at the next start.
        let _ = tokio::fs::remove_dir_all(&folder).await;
        let told = match outcome {
            Ok(()) => {
                metrics::counter!("minhquay_exports_total", "outcome" => "done").increment(1);
                Ok(())
            }
            Err(ExportError::Cancelled) => {
                metrics::counter!("minhquay_exports_total", "outcome" => "cancelled").increment(1);
                Ok(())
            }
            Err(error) => {
                metrics::counter!("minhquay_exports_total", "outcome" => "failed").increment(1);
                tracing::error!(export = %id, %error, "export failed");
                let internal = "the server failed; its log says why".to_owned();
                let (code, detail) = error
                    .code()
                    .map_or(("server_error", internal), |code| (code, error.to_string()));
                self.db.fail_export(id, lease, code, &detail).await
            }
        };
        if let Err(error) = told {
            tracing::error!(export = %id, %error, "what became of an export could not be written down");
        }
    }

    async fn build_in(&self, export: &ExportRow, folder: &Path) -> Result<(), ExportError> {
        match tokio::fs::remove_dir_all(folder).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(file_error(folder, e)),
            _ => {}
        }
        tokio::fs::create_dir_all(folder)
            .await
            .map_err(|source| file_error(folder, source))?;
        let progress = AtomicU64::new(0);
        let cancelled = CancellationToken::new();
        let build = self.build_export(export, folder, &progress, &cancelled);
        let (file, content) = tokio::select! {
            built = build => built?,
            error = self.tell_progress(export.export_id, &progress) => {
                cancelled.cancel();
                return Err(error);
            }
        };
        self.store_export(export, folder, &file, &content).await
    }

    async fn store_export(
        &self,
        export: &ExportRow,
        folder: &Path,
        file: &ExportFile,
        content: &Content,
    ) -> Result<(), ExportError> {
        let id = export.export_id;
        let key = export_key(id);
        self.storage.take_file(&folder.join("file"), &key).await?;
        let content = serde_json::to_string(content).expect("contents have text keys only");
        let expires = self.now() + i64::from(self.settings.export.keep_hours) * HOUR_US;
        let is_wanted = self
            .db
            .finish_export(id, &self.exports.lease, file, &content, expires)
            .await?;
        if !is_wanted {
            self.storage.delete(&key).await?;
            return Err(ExportError::Cancelled);
        }
        tracing::info!(export = %id, films = content.matches("\"name\"").count(), bytes = file.size_bytes, "exported");
        Ok(())
    }

    /// Tells how far a build has come until it is not wanted any more.
    async fn tell_progress(&self, export_id: Uuid, progress: &AtomicU64) -> ExportError {
        let mut every = tokio::time::interval(TELL_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let done = progress.load(Ordering::Relaxed);
            let until = self.now() + LEASE_US;
            match self
                .db
                .export_progress(export_id, &self.exports.lease, done, until)
                .await
            {
                Ok(true) => {}
                Ok(false) => return ExportError::Cancelled,
                Err(error) => return error.into(),
            }
        }
    }

    /// Cancels an export, or removes it with its file.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn remove_export(&self, export_id: Uuid) -> Result<(), ExportError> {
        if !self.db.cancel_export(export_id).await? {
            // The file first: a row without a file is removed another time, a file without a row never.
            self.storage.delete(&export_key(export_id)).await?;
            self.db.delete_export(export_id).await?;
        }
        Ok(())
    }

    /// Removes exports whose time is over; says how many.
    ///
    /// # Errors
    /// [`ExportError`]; what was removed before it stays removed.
    pub async fn expire_exports(&self) -> Result<u64, ExportError> {
        let mut removed = 0;
        for export_id in self.db.expired_exports(self.now()).await? {
            self.storage.delete(&export_key(export_id)).await?;
            self.db.delete_export(export_id).await?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Removes folders of builds that a crash ended.
    async fn remove_left_overs(&self) {
        let Ok(mut entries) = tokio::fs::read_dir(&self.exports.folder).await else {
            return;
        };
        while let Ok(Some(entry)) = entries.next_entry().await {
            if let Err(error) = tokio::fs::remove_dir_all(entry.path()).await {
                tracing::warn!(path = %entry.path().display(), %error, "a build that a crash ended is left over");
            }
        }
    }
}
