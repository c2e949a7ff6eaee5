//! Where footage lies: a folder or an S3 bucket, by the same keys.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use archive::ids::{RecorderId, SegmentKey};
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutPayload};
use site_config::server::ServerSettings;
use tokio::io::AsyncWriteExt as _;

/// A failure of the footage store.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The settings name no store that can be used.
    #[error("storage.url {url:?}: {reason}")]
    Settings {
        /// The address as set up.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store failed.
    #[error("footage {key}: {source}")]
    Store {
        /// Which object.
        key: String,
        /// Why.
        source: object_store::Error,
    },
    /// A local file failed.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The footage store.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// Set if the store is a folder: finished files are moved in instead of copied.
    folder: Option<PathBuf>,
}

/// The footage of a segment.
pub fn media_key(recorder: &RecorderId, key: &SegmentKey) -> Path {
    Path::from(format!(
        "{recorder}/{}/{}/{}.mp4",
        key.stream,
        key.sequence / 1000,
        key.sequence
    ))
}

/// The manifest of a segment.
pub fn manifest_key(recorder: &RecorderId, key: &SegmentKey) -> Path {
    Path::from(format!(
        "{recorder}/{}/{}/{}.json",
        key.stream,
        key.sequence / 1000,
        key.sequence
    ))
}

impl Storage {
    /// Opens the store that the settings name.
    ///
    /// # Errors
    /// [`StorageError`] names what is wrong.
    pub fn open(settings: &ServerSettings) -> Result<Self, StorageError> {
        let url = settings.storage_url();
        let invalid = |reason: &dyn ToString| StorageError::Settings {
            url: url.clone(),
            reason: reason.to_string(),
        };
        if let Some(path) = url.strip_prefix("file://") {
            let folder = PathBuf::from(path);
            std::fs::create_dir_all(&folder).map_err(|source| StorageError::File {
                path: folder.clone(),
                source,
            })?;
            let store = LocalFileSystem::new_with_prefix(&folder)
                .map_err(|e| invalid(&e))?
                .with_fsync(true);
            return Ok(Self {
                store: Arc::new(store),
                folder: Some(folder),
            });
        }
        let rest = url.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let section = &settings.storage;
        if let Some(region) = &section.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &section.endpoint {
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(file) = &section.credentials_file {
            let text = std::fs::read_to_string(file).map_err(|source| StorageError::File {
                path: file.clone(),
                source,
            })?;
            let mut lines = text.lines().map(str::trim);
            let (Some(id), Some(secret)) = (lines.next(), lines.next()) else {
                return Err(invalid(&"storage.credentials_file needs two lines"));
            };
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        let store = builder.build().map_err(|e| invalid(&e))?;
        Ok(Self {
            store: if prefix.is_empty() {
                Arc::new(store)
            } else {
                Arc::new(PrefixStore::new(store, prefix))
            },
            folder: None,
        })
    }

    /// Takes over a finished, synced local file; afterwards it is gone.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn take_file(&self, file: &FilePath, key: &Path) -> Result<(), StorageError> {
        if let Some(folder) = &self.folder {
            let target = folder.join(key.as_ref());
            if self.move_in(file, &target).await.is_ok() {
                return Ok(());
            }
            // The folder is on another disk: copy.
        }
        self.copy_in(file, key).await?;
        tokio::fs::remove_file(file)
            .await
            .map_err(|source| file_error(file, source))
    }

    async fn move_in(&self, file: &FilePath, target: &FilePath) -> Result<(), StorageError> {
        let parent = target.parent().unwrap_or(target);
        tokio::fs::create_dir_all(parent)
            .await
            .map_err(|source| file_error(parent, source))?;
        tokio::fs::rename(file, target)
            .await
            .map_err(|source| file_error(target, source))?;
        let directory = tokio::fs::File::open(parent)
            .await
            .map_err(|source| file_error(parent, source))?;
        directory
            .sync_all()
            .await
            .map_err(|source| file_error(parent, source))
    }

    async fn copy_in(&self, file: &FilePath, key: &Path) -> Result<(), StorageError> {
        let mut source = tokio::fs::File::open(file)
            .await
            .map_err(|source| file_error(file, source))?;
        let mut target = object_store::buffered::BufWriter::new(Arc::clone(&self.store), key.clone());
        tokio::io::copy(&mut source, &mut target)
            .await
            .map_err(|source| file_error(file, source))?;
        target.shutdown().await.map_err(|source| file_error(file, source))
    }

    /// Stores a small object whole.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn put(&self, key: &Path, bytes: Bytes) -> Result<(), StorageError> {
        self.store
            .put(key, PutPayload::from_bytes(bytes))
            .await
            .map(drop)
            .map_err(|source| store_error(key, source))
    }

    /// Reads a range as a stream.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn read(
        &self,
        key: &Path,
        range: std::ops::Range<u64>,
    ) -> Result<BoxStream<'static, object_store::Result<Bytes>>, StorageError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let result = self
            .store
            .get_opts(key, options)
            .await
            .map_err(|source| store_error(key, source))?;
        Ok(result.into_stream())
    }

    /// Reads ranges into memory, in the order asked for.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn read_ranges(
        &self,
        key: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<Bytes>, StorageError> {
        self.store
            .get_ranges(key, ranges)
            .await
            .map_err(|source| store_error(key, source))
    }

    /// Reads a small object whole; `None` if there is none, or it is longer than `most_bytes`.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn read_whole(&self, key: &Path, most_bytes: u64) -> Result<Option<Bytes>, StorageError> {
        let result = match self.store.get(key).await {
            Ok(result) if result.meta.size <= most_bytes => result,
            Ok(_) | Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(store_error(key, source)),
        };
        let bytes = result.bytes().await.map_err(|source| store_error(key, source))?;
        Ok(Some(bytes))
    }

    /// Removes an object, if there is one.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn delete(&self, key: &Path) -> Result<(), StorageError> {
        match self.store.delete(key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(store_error(key, source)),
        }
    }

    /// A failure while an object was read as a stream.
    pub fn failed(&self, key: &Path, source: object_store::Error) -> StorageError {
        store_error(key, source)
    }

    /// Length of an object; `None` if there is none.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn size(&self, key: &Path) -> Result<Option<u64>, StorageError> {
        match self.store.head(key).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(store_error(key, source)),
        }
    }
}

fn file_error(path: &FilePath, source: std::io::Error) -> StorageError {
    StorageError::File {
        path: path.to_owned(),
        source,
    }
}

fn store_error(key: &Path, source: object_store::Error) -> StorageError {
    StorageError::Store {
        key: key.to_string(),
        source,
    }
}
