//! The recorder's SQLite: all its SQL. One connection writes, two read.
//!
//! **Invariant**: a row never points at bytes that are not synced; the callers sync first.

mod alerts;
mod chain;
mod change;
mod clock;
mod events;
mod facts;
mod fetches;
mod gaps;
mod health;
mod marks;
mod orders;
mod place;
mod runs;
mod segments;
mod stock;
mod uploads;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::watch;

use crate::record::Volume;

pub use chain::{KnownChain, Remains};
pub use change::{Applied, Batch, Change};
pub use clock::ClockSeen;
pub use events::Stored;
pub use gaps::RecordingEnd;
pub use health::{OpenDay, StoredSegment};
pub use marks::Rolls;
pub use runs::RunOpening;
pub use segments::{OpenSegment, SegmentRow, Tombstone};
pub use stock::Stock;
pub use uploads::{PendingSegment, UploadRule, Urgency};

/// What went wrong with the index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database said no.
    #[error("index {}: {source}", file.display())]
    Database {
        /// The database's file.
        file: PathBuf,
        /// Its error.
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("index {}: {source}", file.display())]
    Migration {
        /// The database's file.
        file: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// A stored value can't be read back.
    #[error("index: {what} is damaged: {reason}")]
    Damaged {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Events could not be written to their journal.
    #[error("the journal of events: {source}")]
    Journal {
        /// Why.
        source: std::io::Error,
    },
    /// Disk and index were not made for each other.
    #[error("{0}")]
    ForeignVolume(String),
}

impl From<sqlx::Error> for IndexError {
    fn from(source: sqlx::Error) -> Self {
        Self::Database {
            file: PathBuf::from("recorder.db"),
            source,
        }
    }
}

fn damaged(what: &'static str) -> impl FnOnce(String) -> IndexError {
    move |reason| IndexError::Damaged { what, reason }
}

/// Reads a JSON value of a column.
fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, json: &str) -> Result<T, IndexError> {
    serde_json::from_str(json).map_err(|e| damaged(what)(e.to_string()))
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types have string keys and finite numbers")
}

/// The name of a unit-like value, as serde writes it.
fn name_of<T: serde::Serialize>(value: &T) -> String {
    to_json(value).trim_matches('"').to_owned()
}

/// The index of one recorder.
#[derive(Debug, Clone)]
pub struct Index {
    writer: SqlitePool,
    reader: SqlitePool,
    /// Counts changes that the uplink may have to tell of.
    changes: Arc<watch::Sender<u64>>,
    /// What marks keep beyond their ends.
    rolls: Rolls,
}

impl Index {
    /// Opens or creates the index and brings its schema up to date.
    ///
    /// # Errors
    /// If the file can't be opened, is no database or was made by a newer version.
    pub async fn open(file: &Path) -> Result<Self, IndexError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let in_file = |source| IndexError::Database {
            file: file.to_owned(),
            source,
        };
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            // A disk that may only be read for a while must not leave a connection that only reads for ever.
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql("begin immediate; rollback")
                        .execute(connection)
                        .await
                        .map(|_| ())
                })
            })
            // SQLite takes a transaction back by itself when the disk fails; sqlx does not notice, and what came after
            // would lie in a savepoint that nobody commits. Such a connection is replaced.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_with(options.clone())
            .await
            .map_err(in_file)?;
        let opening = async {
            sqlx::migrate!("src/index/migrations")
                .run(&writer)
                .await
                .map_err(|source| IndexError::Migration {
                    file: file.to_owned(),
                    source,
                })?;
            Self::reading(options).await.map_err(in_file)
        };
        let reader = match opening.await {
            Ok(reader) => reader,
            Err(error) => {
                // A connection that closes later would take the log of whatever then bears the file's name.
                writer.close().await;
                return Err(error);
            }
        };
        Ok(Self {
            writer,
            reader,
            changes: Arc::default(),
            rolls: Rolls::default(),
        })
    }

    /// Opens an existing index to read only, for `check`.
    ///
    /// # Errors
    /// If there is none.
    pub async fn open_read_only(file: &Path) -> Result<Self, IndexError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(false);
        let reader = Self::reading(options)
            .await
            .map_err(|source| IndexError::Database {
                file: file.to_owned(),
                source,
            })?;
        Ok(Self {
            writer: reader.clone(),
            reader,
            changes: Arc::default(),
            rolls: Rolls::default(),
        })
    }

    async fn reading(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
        SqlitePoolOptions::new()
            .max_connections(2)
            .connect_with(options.read_only(true))
            .await
    }

    /// The same index, whose marks keep so much beyond their ends; those stored before keep what they had.
    pub fn with_rolls(self, rolls: Rolls) -> Self {
        Self { rolls, ..self }
    }

    /// Changes whenever there may be something new for the server.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn note_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Ends all connections; the write-ahead log is folded into the database.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, IndexError> {
        let value = sqlx::query_scalar("select value from setting where name = $1")
            .bind(name)
            .fetch_optional(&self.reader)
            .await?;
        Ok(value)
    }

    async fn set_setting(&self, name: &str, value: &str) -> Result<(), IndexError> {
        sqlx::query(
            "insert into setting (name, value) values ($1, $2)
             on conflict (name) do update set value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Binds the index to the disk of the recordings, once; refuses any other disk afterwards.
    ///
    /// # Errors
    /// [`IndexError::ForeignVolume`] if disk and index don't belong together.
    pub async fn bind_volume(&self, recordings: &Path) -> Result<Volume, IndexError> {
        let unreadable = |e: std::io::Error| damaged("volume.json")(e.to_string());
        let on_disk = Volume::read(recordings).map_err(unreadable)?;
        let folder = recordings.display();
        match (on_disk, self.setting("volume").await?) {
            (Some(disk), Some(index)) if disk.uuid.to_string() == index => Ok(disk),
            (Some(disk), Some(index)) => Err(IndexError::ForeignVolume(format!(
                "the disk at {folder} is volume {}, but this index belongs to volume {index}: \
                 mount the disk that belongs to it, or give another data_dir",
                disk.uuid
            ))),
            (None, Some(index)) => Err(IndexError::ForeignVolume(format!(
                "{folder} has no volume.json, but this index belongs to volume {index}: \
                 is the disk mounted?"
            ))),
            (Some(disk), None) if !disk.streams().is_empty() => Err(IndexError::ForeignVolume(format!(
                "the disk at {folder} is volume {} of another index: give its data_dir, or an empty \
                 recordings_dir; if the index was lost, `minhquay-recorder check --repair` makes it anew",
                disk.uuid
            ))),
            // The disk first: cut between the two, the next start binds a disk without recordings.
            (disk, None) => {
                let volume = match disk {
                    Some(volume) => volume,
                    None => Volume::create(recordings).map_err(unreadable)?,
                };
                self.set_volume(&volume).await?;
                Ok(volume)
            }
        }
    }

    /// Whether the index was ever bound to a disk.
    pub async fn is_bound(&self) -> Result<bool, IndexError> {
        Ok(self.setting("volume").await?.is_some())
    }

    /// What SQLite finds wrong in the file, `None` if nothing.
    pub async fn integrity_fault(&self) -> Result<Option<String>, IndexError> {
        let found: String = sqlx::query_scalar("pragma integrity_check(1)")
            .fetch_one(&self.reader)
            .await?;
        Ok((found != "ok").then_some(found))
    }

    /// Binds the index to a disk, whatever it was bound to.
    pub async fn set_volume(&self, volume: &Volume) -> Result<(), IndexError> {
        self.set_setting("volume", &volume.uuid.to_string()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn binds_a_disk_that_a_power_cut_left_without_an_index() {
        let data = tempfile::tempdir().unwrap();
        let disk = tempfile::tempdir().unwrap();
        let volume = Volume::create(disk.path()).unwrap();
        let index = Index::open(&data.path().join("recorder.db")).await.unwrap();
        assert_eq!(index.bind_volume(disk.path()).await.unwrap(), volume);
    }

    #[tokio::test]
    async fn refuses_a_swapped_or_unmounted_disk() {
        let data = tempfile::tempdir().unwrap();
        let disk = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let index = Index::open(&data.path().join("recorder.db")).await.unwrap();
        index.bind_volume(disk.path()).await.unwrap();
        index.bind_volume(disk.path()).await.unwrap();

        let unmounted = index.bind_volume(other.path()).await.unwrap_err().to_string();
        assert!(unmounted.contains("is the disk mounted?"), "{unmounted}");

        std::fs::create_dir(disk.path().join("q01.front.main")).unwrap();
        let second = Index::open(&data.path().join("second.db")).await.unwrap();
        let foreign = second.bind_volume(disk.path()).await.unwrap_err().to_string();
        assert!(foreign.contains("of another index"), "{foreign}");
        second.bind_volume(other.path()).await.unwrap();
        let swapped = index.bind_volume(other.path()).await.unwrap_err().to_string();
        assert!(swapped.contains("this index belongs to volume"), "{swapped}");
    }
}
