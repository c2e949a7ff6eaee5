//! Segments coming up: resumable, checked against their digest, stored once.
//!
//! Bytes are appended to `<uploads>/<recorder>/<stream>/<sequence>.part` and synced before their number
//! is acknowledged, so the file's length is the truth about how far an upload has come.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use archive::fmp4::index;
use archive::ids::{RecorderId, SegmentKey};
use archive::seal::leaf::segment_root;
use archive::segment::{Digest, SegmentManifest, gop_ranges};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;

use super::arriving::Verified;
use super::pieces::Pieces;
use super::{InvalidManifest, check_manifest};
use crate::centre::Centre;
use crate::db::{DbError, StoredSegment};
use crate::proof;
use crate::storage::{StorageError, manifest_key, media_key};

/// Bytes must come at least this often.
const BODY_SILENCE: Duration = Duration::from_secs(30);
/// How long a new request waits for an older one of the same segment to end.
const LOCK_WAIT: Duration = Duration::from_secs(40);

/// How far an upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadState {
    /// Bytes synced.
    pub offset: u64,
    /// Whether the segment is stored.
    pub is_complete: bool,
    /// Whether this call began the upload.
    pub is_new: bool,
    /// Digest as promised.
    pub sha256: Digest,
}

/// Why an upload does not go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The manifest makes no sense.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// The stream belongs to another recorder.
    #[error("stream {0} is not recorded by this recorder")]
    ForeignStream(String),
    /// The run has not been told of.
    #[error("run {0} is not known yet: its facts must be acknowledged first")]
    RunUnknown(String),
    /// The segment is stored with another digest.
    #[error("segment {0} is stored with another digest")]
    Conflict(String),
    /// No upload of this segment was begun.
    #[error("no upload of segment {0} was begun")]
    Unknown(String),
    /// The bytes start elsewhere than where the last ended.
    #[error("the upload goes on at byte {offset}")]
    Offset {
        /// Where it goes on.
        offset: u64,
    },
    /// More bytes came than the manifest promised.
    #[error("more bytes came than the {size_bytes} promised")]
    TooLong {
        /// As promised.
        size_bytes: u64,
    },
    /// The connection broke or fell silent; what came is kept.
    #[error("the body broke off at byte {offset}: {reason}")]
    BrokenOff {
        /// Where it goes on.
        offset: u64,
        /// What happened.
        reason: String,
    },
    /// The whole has another digest than promised; it must come again.
    #[error("the bytes have another SHA-256 than promised")]
    DigestMismatch,
    /// The recorder's chain tells of another segment.
    #[error("segment {key} is not the one that the recorder's chain seals: {difference}")]
    NotAsSealed {
        /// Which.
        key: String,
        /// What differs.
        difference: &'static str,
    },
    /// Another request of the same segment does not end.
    #[error("another request uploads this segment")]
    Busy,
    /// The upload folder failed.
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

/// Who may append to a part.
#[derive(Debug, Default)]
struct Lock {
    held: Arc<tokio::sync::Mutex<()>>,
    /// Cuts off whoever appends: a request that comes later is on a line that works.
    overtaken: Notify,
}

/// The right to append to a part.
pub(super) struct Appending {
    lock: Arc<Lock>,
    _held: tokio::sync::OwnedMutexGuard<()>,
}

/// The folder of uploads and who writes in it.
#[derive(Debug)]
pub struct Uploads {
    folder: PathBuf,
    /// How far parts have been verified while they come.
    pub(super) verified: Verified,
    locks: Mutex<HashMap<PathBuf, Weak<Lock>>>,
}

impl Uploads {
    /// Keeps parts in a folder on a local disk.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            verified: Verified::default(),
            locks: Mutex::new(HashMap::new()),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn part(&self, recorder: &RecorderId, key: &SegmentKey) -> PathBuf {
        self.folder
            .join(recorder.as_str())
            .join(key.stream.as_str())
            .join(format!("{}.part", key.sequence))
    }

    /// Waits for the right to append to a part. Whoever has it is cut off; what came that way is kept.
    pub(super) async fn lock(&self, part: &Path) -> Result<Appending, UploadError> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(part).and_then(Weak::upgrade);
            let lock = known.unwrap_or_default();
            locks.insert(part.to_owned(), Arc::downgrade(&lock));
            lock
        };
        lock.overtaken.notify_waiters();
        let held = tokio::time::timeout(LOCK_WAIT, Arc::clone(&lock.held).lock_owned())
            .await
            .map_err(|_| UploadError::Busy)?;
        Ok(Appending { lock, _held: held })
    }
}

impl Centre {
    /// Begins an upload, or says how far it has come.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn begin_upload(
        &self,
        recorder: &RecorderId,
        manifest: &SegmentManifest,
        manifest_json: &str,
    ) -> Result<UploadState, UploadError> {
        check_manifest(manifest)?;
        let key = &manifest.key;
        if let Some(stored) = self.db.segment(recorder, key).await? {
            if stored.sha256 != manifest.sha256.to_string() {
                return Err(UploadError::Conflict(key.to_string()));
            }
            return Ok(UploadState {
                offset: manifest.size_bytes,
                is_complete: true,
                is_new: false,
                sha256: manifest.sha256,
            });
        }
        if self.db.stream_recorder(&key.stream).await?.as_ref() != Some(recorder) {
            return Err(UploadError::ForeignStream(key.stream.to_string()));
        }
        if !self.db.knows_run(recorder, manifest).await? {
            return Err(UploadError::RunUnknown(manifest.run.to_string()));
        }
        let part = self.uploads.part(recorder, key);
        let _lock = self.uploads.lock(&part).await?;
        let known = self.db.upload(recorder, key).await?;
        let is_same = known.as_ref().is_some_and(|u| u.manifest == *manifest);
        if !is_same {
            if known.is_some() {
                remove(&part).await?;
            }
            self.db
                .put_upload(recorder, manifest, manifest_json, self.now())
                .await?;
        }
        Ok(UploadState {
            offset: length(&part).await?,
            is_complete: false,
            is_new: !is_same,
            sha256: manifest.sha256,
        })
    }

    /// Says how far an upload has come.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn upload_state(
        &self,
        recorder: &RecorderId,
        key: &SegmentKey,
    ) -> Result<UploadState, UploadError> {
        if let Some(stored) = self.db.segment(recorder, key).await? {
            let sha256 = Digest::try_from(stored.sha256).unwrap_or(Digest([0; 32]));
            return Ok(UploadState {
                offset: stored.size_bytes,
                is_complete: true,
                is_new: false,
                sha256,
            });
        }
        let upload = self.db.upload(recorder, key).await?;
        let upload = upload.ok_or_else(|| UploadError::Unknown(key.to_string()))?;
        Ok(UploadState {
            offset: length(&self.uploads.part(recorder, key)).await?,
            is_complete: false,
            is_new: false,
            sha256: upload.manifest.sha256,
        })
    }

    /// Takes bytes from `offset` on; when the last has come, verifies and stores the segment.
    ///
    /// # Errors
    /// [`UploadError`]; what came before a fault is kept, except for a wrong digest.
    pub async fn take_bytes<S, E>(
        &self,
        recorder: &RecorderId,
        key: &SegmentKey,
        offset: u64,
        body: S,
    ) -> Result<UploadState, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: std::fmt::Display,
    {
        let part = self.uploads.part(recorder, key);
        let appending = self.uploads.lock(&part).await?;
        let Some(upload) = self.db.upload(recorder, key).await? else {
            // The last bytes may have come before, and the answer got lost.
            return self.upload_state(recorder, key).await;
        };
        let manifest = upload.manifest;
        let known = length(&part).await?;
        if offset != known {
            return Err(UploadError::Offset { offset: known });
        }
        let taken = append(&part, known, manifest.size_bytes, body, &appending.lock.overtaken).await?;
        let state = UploadState {
            offset: taken,
            is_complete: taken == manifest.size_bytes,
            is_new: false,
            sha256: manifest.sha256,
        };
        if state.is_complete {
            self.finish_upload(recorder, &part, &manifest).await?;
        }
        Ok(state)
    }

    async fn finish_upload(
        &self,
        recorder: &RecorderId,
        part: &Path,
        manifest: &SegmentManifest,
    ) -> Result<(), UploadError> {
        let Some(init) = digest(part, manifest).await? else {
            metrics::counter!("minhquay_upload_digest_mismatches_total").increment(1);
            tracing::warn!(%recorder, segment = %manifest.key, "uploaded bytes have another digest than promised");
            remove(part).await?;
            return Err(UploadError::DigestMismatch);
        };
        let stored = StoredSegment {
            recorder,
            manifest,
            init_sha256: init,
            merkle_root: segment_root(manifest.init_size_bytes, init, &manifest.fragments),
            gop_index: index::encode(&gop_ranges(&manifest.fragments)),
        };
        if let Some((entry, sealed)) = self.db.sealed_segment(recorder, &manifest.key).await?
            && let Some(difference) = stored.seal().difference(&sealed)
        {
            self.db
                .put_segment_conflict(
                    recorder,
                    &manifest.key,
                    entry,
                    manifest.sha256,
                    difference,
                    self.now(),
                )
                .await?;
            proof::count_conflict(recorder, &format!("{}: {difference}", manifest.key));
            remove(part).await?;
            return Err(UploadError::NotAsSealed {
                key: manifest.key.to_string(),
                difference,
            });
        }
        let json = serde_json::to_vec(manifest).expect("manifests have text keys only");
        self.storage
            .put(&manifest_key(recorder, &manifest.key), json.into())
            .await?;
        self.storage
            .take_file(part, &media_key(recorder, &manifest.key))
            .await?;
        if !self.db.put_segment(&stored, self.now()).await? {
            proof::count_conflict(recorder, &manifest.key.to_string());
        }
        metrics::counter!("minhquay_segments_stored_total").increment(1);
        self.uploads.verified.forget(part);
        self.settle_fetches(recorder).await
    }
}

async fn length(part: &Path) -> Result<u64, UploadError> {
    match tokio::fs::metadata(part).await {
        Ok(metadata) => Ok(metadata.len()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(file_error(part, source)),
    }
}

async fn remove(part: &Path) -> Result<(), UploadError> {
    match tokio::fs::remove_file(part).await {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file_error(part, e)),
        _ => Ok(()),
    }
}

/// Appends a body and syncs it; returns the file's length.
async fn append<S, E>(
    part: &Path,
    known: u64,
    size_bytes: u64,
    mut body: S,
    overtaken: &Notify,
) -> Result<u64, UploadError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let failed = |source| file_error(part, source);
    if let Some(folder) = part.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(failed)?;
    }
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(part)
        .await
        .map_err(failed)?;
    let mut at = known;
    let mut broken = None;
    let mut overtaken = std::pin::pin!(overtaken.notified());
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(BODY_SILENCE, body.next()) => next,
            () = &mut overtaken => {
                broken = Some("a newer request took over".to_owned());
                break;
            }
        };
        let bytes = match next {
            Ok(Some(Ok(bytes))) => bytes,
            Ok(Some(Err(e))) => {
                broken = Some(e.to_string());
                break;
            }
            Ok(None) => break,
            Err(_) => {
                broken = Some("no bytes came for 30 s".to_owned());
                break;
            }
        };
        if at + bytes.len() as u64 > size_bytes {
            file.flush().await.map_err(failed)?;
            file.set_len(known).await.map_err(failed)?;
            return Err(UploadError::TooLong { size_bytes });
        }
        file.write_all(&bytes).await.map_err(failed)?;
        at += bytes.len() as u64;
        metrics::counter!("minhquay_upload_bytes_total").increment(bytes.len() as u64);
    }
    file.flush().await.map_err(failed)?;
    file.sync_data().await.map_err(failed)?;
    match broken {
        Some(reason) => Err(UploadError::BrokenOff { offset: at, reason }),
        None => Ok(at),
    }
}

/// Digest of the init segment of a file whose whole and whose fragments have the digests of its manifest.
async fn digest(part: &Path, manifest: &SegmentManifest) -> Result<Option<Digest>, UploadError> {
    use std::io::Read as _;
    let path = part.to_owned();
    let mut pieces = Pieces::new(manifest);
    let read = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(path)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(pieces.finish()),
                read => pieces.update(&buffer[..read]),
            }
        }
    });
    read.await
        .map_err(std::io::Error::other)
        .and_then(|result| result)
        .map_err(|source| file_error(part, source))
}

fn file_error(path: &Path, source: std::io::Error) -> UploadError {
    UploadError::File {
        path: path.to_owned(),
        source,
    }
}
