//! The disk of the recordings, known by the UUID in its `volume.json`.

use std::io;
use std::path::{Path, PathBuf};

use archive::ids::StreamId;
use serde::{Deserialize, Serialize};

const FILE: &str = "volume.json";

/// A disk by its name and the folder where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Folder of the recordings.
    pub root: PathBuf,
    /// Its name.
    pub uuid: uuid::Uuid,
}

#[derive(Serialize, Deserialize)]
struct Written {
    volume: uuid::Uuid,
}

impl Volume {
    /// The disk in a folder, `None` if none was made there.
    ///
    /// # Errors
    /// If its name can't be read.
    pub fn read(root: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(root.join(FILE)) {
            Ok(text) => {
                let Written { volume } = serde_json::from_slice(&text)?;
                Ok(Some(Self {
                    root: root.to_owned(),
                    uuid: volume,
                }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Names the disk in a folder.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn create(root: &Path) -> io::Result<Self> {
        let uuid = uuid::Uuid::new_v4();
        let text = serde_json::to_vec(&Written { volume: uuid })?;
        crate::files::write_synced(&root.join(FILE), &text)?;
        let root = root.to_owned();
        Ok(Self { root, uuid })
    }

    /// Whether this disk still lies in its folder: it may have been unmounted or swapped for another meanwhile.
    ///
    /// # Errors
    /// If it is another, or none, or can't be read.
    pub fn ensure(&self) -> io::Result<()> {
        match Self::read(&self.root)? {
            Some(found) if found.uuid == self.uuid => Ok(()),
            Some(found) => Err(io::Error::other(format!(
                "this is volume {}, but the recordings belong on volume {}: was the disk swapped?",
                found.uuid, self.uuid
            ))),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("volume {} is not here: is the disk mounted?", self.uuid),
            )),
        }
    }

    /// The streams that were ever recorded on it.
    pub fn streams(&self) -> Vec<StreamId> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }
}
