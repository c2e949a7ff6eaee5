//! Makes a lost or damaged index anew from what lies on the disk of the recordings. Media is never deleted.

use std::path::Path;
use std::sync::Arc;

use archive::ids::StreamId;
use archive::time::Clock;
use site_config::recorder::RecorderSettings;

use crate::index::{Index, IndexError};
use crate::inputs::EventJournal;
use crate::record::Volume;
use crate::store::{Store, index_file};
use crate::{RunError, lock, upload_rules};

/// What a repair did.
#[derive(Debug, Clone, Default)]
pub struct Repaired {
    /// What was wrong with the index, if it was made anew.
    pub was_wrong: Option<String>,
    /// Events taken up from the journal.
    pub events: usize,
}

/// Rebuilds the index if it is lost or damaged, and brings index, chains and files together.
///
/// A damaged index is kept aside as `recorder.db.damaged-N`. A rebuilt index has everything to tell to the centre
/// again, which knows what it has; marks and holds come back from the centre.
///
/// # Errors
/// If a recorder is running, or the disk can't be used or belongs to another index.
pub async fn repair(settings: &RecorderSettings, clock: Arc<dyn Clock>) -> Result<Repaired, RunError> {
    let _lock = lock(settings)?;
    let recordings = settings.recordings_dir();
    let in_recordings = |source| RunError::File {
        path: recordings.clone(),
        source,
    };
    let streams = settings.streams();
    let rules = upload_rules(&settings.upload, &streams);
    let mut ids: Vec<StreamId> = streams.into_iter().map(|s| s.stream).collect();
    let file = index_file(&settings.data_dir);
    let Some(volume) = Volume::read(&recordings).map_err(in_recordings)? else {
        let missing = std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "no volume.json: is the disk mounted?",
        );
        return Err(in_recordings(missing));
    };
    let was_wrong = fault_of(&file, &recordings).await?;
    let index = match &was_wrong {
        None => Index::open(&file).await?,
        Some(fault) => {
            tracing::warn!(fault, "the index is made anew");
            keep_aside(&file)?;
            let index = Index::open(&file).await?;
            index.set_volume(&volume).await?;
            index.note_rebuilt().await?;
            ids.extend(volume.streams());
            index
        }
    };
    let store = Store::recover(index, volume.clone(), &settings.data_dir, &rules, &ids, clock).await?;
    let mut events = 0;
    let mut batches = Vec::new();
    EventJournal::new(volume)
        .read(|batch| batches.push(batch))
        .map_err(in_recordings)?;
    for batch in batches {
        events += store.index.adopt_events(&batch).await?;
    }
    store.index.close().await;
    Ok(Repaired { was_wrong, events })
}

/// Why the index can't be used any more, `None` if it can.
async fn fault_of(file: &Path, recordings: &Path) -> Result<Option<String>, IndexError> {
    if !file.exists() {
        return Ok(Some("there is no recorder.db".to_owned()));
    }
    let index = match Index::open(file).await {
        Ok(index) => index,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let fault = match index.integrity_fault().await {
        Err(error) => Some(error.to_string()),
        Ok(Some(fault)) => Some(fault),
        Ok(None) if index.is_bound().await? => {
            index.bind_volume(recordings).await?;
            None
        }
        Ok(None) => Some("it was never bound to a disk".to_owned()),
    };
    index.close().await;
    Ok(fault)
}

/// Gives the index's files names that nobody uses.
fn keep_aside(file: &Path) -> Result<(), RunError> {
    let name = |suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        std::path::PathBuf::from(name)
    };
    let number = (1..)
        .find(|n: &u32| !name(&format!(".damaged-{n}")).exists())
        .unwrap_or_default();
    for suffix in ["", "-wal", "-shm"] {
        let from = name(suffix);
        let to = name(&format!(".damaged-{number}{suffix}"));
        match std::fs::rename(&from, to) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(RunError::File { path: from, source });
            }
            _ => {}
        }
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    crate::files::sync_folder(folder).map_err(|source| RunError::File {
        path: folder.to_owned(),
        source,
    })
}
