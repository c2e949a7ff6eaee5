//! Opens what a recorder keeps, index and disk, and brings both together after whatever happened before.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::ids::StreamId;
use archive::time::{Clock, Moment};

use crate::index::{Index, UploadRule};
use crate::record::{Chains, Volume, salvage, sweep};
use crate::{RunError, files, uplink};

/// An index and the disk that belongs to it.
pub struct Store {
    /// The index.
    pub index: Index,
    /// The disk.
    pub volume: Volume,
    /// Its chains.
    pub chains: Chains,
}

/// The index's file.
pub(crate) fn index_file(data_dir: &Path) -> PathBuf {
    data_dir.join("recorder.db")
}

impl Store {
    /// Opens the index, binds it to the disk, takes up what the chains tell, and salvages what a crash left.
    ///
    /// # Errors
    /// If one of them can't be used, or they don't belong together.
    pub async fn open(
        data_dir: &Path,
        recordings: &Path,
        rules: &[UploadRule],
        streams: &[StreamId],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RunError> {
        make_folder(data_dir)?;
        make_folder(recordings)?;
        let index = Index::open(&index_file(data_dir)).await?;
        let volume = index.bind_volume(recordings).await?;
        Self::recover(index, volume, data_dir, rules, streams, clock).await
    }

    pub(crate) async fn recover(
        index: Index,
        volume: Volume,
        data_dir: &Path,
        rules: &[UploadRule],
        streams: &[StreamId],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RunError> {
        index.set_upload_rules(rules).await?;
        let key = uplink::ensure_key(data_dir)?;
        let now = Moment::now(&*clock);
        let mut chains = Chains::open(&index, volume.clone(), key, clock, streams).await?;
        sweep(&index, &chains).await?;
        salvage(&index, &mut chains, streams, now).await?;
        Ok(Self {
            index,
            volume,
            chains,
        })
    }
}

/// Makes a folder that is still there after a power cut.
fn make_folder(folder: &Path) -> Result<(), RunError> {
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)
        .and_then(|()| folder.parent().map_or(Ok(()), files::sync_folder))
        .map_err(|source| RunError::File {
            path: folder.to_owned(),
            source,
        })
}
