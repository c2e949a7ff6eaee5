//! Footage taken out of the archive, each film with its proof inside.
//!
//! A film is the init segment and whole fragments, byte for byte as they were recorded; nothing is encoded or
//! spliced, so what a gap or a new run parts is parted into films. **Invariant**: footage goes through in pieces of
//! one fragment, whatever the length of the export.

mod build;
mod film;
mod plan;
mod proof;
mod work;
mod zipped;

use std::path::PathBuf;

use archive::time::WallTime;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::db::DbError;
use crate::storage::StorageError;

pub use plan::{Film, Planned};

/// Why footage can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Nothing was recorded.
    #[error("nothing was recorded then, or it has not arrived yet")]
    NoRecording,
    /// The end has not come up yet.
    #[error(
        "of {stream} only what was recorded until {until} has arrived; try again in a minute, or end there"
    )]
    NotArrived {
        /// Which stream.
        stream: String,
        /// Until when there is footage.
        until: WallTime,
    },
    /// The recorder has not told of the seal, or the centre has not receipted it.
    #[error("the recorder has not sealed {segment} yet; try again in a minute")]
    NotSealed {
        /// Which.
        segment: String,
    },
    /// It was recorded before there were chains, or its chain is damaged.
    #[error("{segment} was never sealed, so it can't be exported with a proof")]
    NeverSealed {
        /// Which.
        segment: String,
    },
    /// What is stored is not what was sealed.
    #[error("{segment} is not as it was recorded: {reason}")]
    Damaged {
        /// Which.
        segment: String,
        /// What differs.
        reason: String,
    },
    /// Nobody wants it any more.
    #[error("it was cancelled")]
    Cancelled,
    /// The folder of exports failed.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The footage store.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ExportError {
    /// A stable name; `None` for what is the server's own fault.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::NoRecording => Some("no_recording"),
            Self::NotArrived { .. } => Some("not_arrived"),
            Self::NotSealed { .. } => Some("not_sealed"),
            Self::NeverSealed { .. } => Some("never_sealed"),
            Self::Damaged { .. } => Some("damaged"),
            Self::Cancelled => Some("cancelled"),
            Self::File { .. } | Self::Db(_) | Self::Storage(_) => None,
        }
    }
}

/// What an export holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Content {
    /// Its films, by stream and time.
    pub films: Vec<FilmView>,
    /// What was asked for and no film shows.
    pub holes: Vec<HoleView>,
}

/// A film.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FilmView {
    /// Its file.
    pub name: String,
    /// What it shows.
    pub stream_id: String,
    /// Who recorded it.
    pub recorder_id: String,
    /// Its first picture, RFC 3339.
    pub from: String,
    /// Its end, RFC 3339.
    pub to: String,
    /// Length of the file.
    pub size_bytes: u64,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
}

/// A stretch that no film shows.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HoleView {
    /// Of which stream.
    pub stream_id: String,
    /// RFC 3339.
    pub from: String,
    /// RFC 3339.
    pub to: String,
    /// As on the timeline, if a gap explains it.
    pub cause: Option<String>,
}

/// Who builds exports, and where.
#[derive(Debug)]
pub struct Exports {
    folder: PathBuf,
    /// Names this server while it runs.
    lease: String,
    asked: Notify,
}

impl Exports {
    /// Builds in a folder on a local disk.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            lease: Uuid::new_v4().to_string(),
            asked: Notify::new(),
        }
    }
}

/// Where the file of an export lies in the footage store; no recorder's name starts so.
pub fn export_key(export_id: Uuid) -> Path {
    Path::from(format!("_exports/{export_id}"))
}
