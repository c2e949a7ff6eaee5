//! One film: fragments copied from the store as they are, each compared with its digest on the way.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use archive::fmp4::{Init, read_init};
use archive::seal::export::{ExportedSegment, proof_box};
use archive::seal::leaf::segment_root;
use archive::seal::{SealedSegment, pictures};
use archive::segment::{Digest, Fragment, SegmentManifest};
use archive::time::{MediaTime, WallTime};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use sha2::Digest as _;
use sha2::Sha256;
use tokio::io::AsyncWriteExt as _;

use super::{ExportError, Film};
use crate::centre::Centre;
use crate::db::{ExportRow, SegmentRow};
use crate::storage::{manifest_key, media_key};

/// Largest manifest: 20,000 fragments.
const MAX_MANIFEST_BYTES: u64 = 8 * 1024 * 1024;
/// A fragment is held in memory while it is compared; a recorder makes them far smaller.
const MAX_FRAGMENT_BYTES: u64 = 256 * 1024 * 1024;

/// A film that was written.
pub(super) struct Written {
    /// Length of the file.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Digest,
    /// Its first picture.
    pub from: WallTime,
    /// Its end.
    pub to: WallTime,
}

/// A file that knows its length and digest.
struct Output {
    file: tokio::io::BufWriter<tokio::fs::File>,
    path: PathBuf,
    size_bytes: u64,
    sha256: Sha256,
}

impl Output {
    async fn create(path: &Path) -> Result<Self, ExportError> {
        let file = tokio::fs::File::create(path)
            .await
            .map_err(|source| file_error(path, source))?;
        Ok(Self {
            file: tokio::io::BufWriter::with_capacity(1 << 20, file),
            path: path.to_owned(),
            size_bytes: 0,
            sha256: Sha256::new(),
        })
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.sha256.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .await
            .map_err(|source| file_error(&self.path, source))
    }

    async fn finish(mut self) -> Result<(u64, Digest), ExportError> {
        let failed = |source| file_error(&self.path, source);
        self.file.flush().await.map_err(failed)?;
        self.file.get_ref().sync_all().await.map_err(failed)?;
        Ok((self.size_bytes, Digest(self.sha256.finalize().into())))
    }
}

impl Centre {
    /// Writes a film with its proof; adds the footage that it has read to `progress`.
    pub(super) async fn write_film(
        &self,
        export: &ExportRow,
        film: &Film,
        path: &Path,
        progress: &AtomicU64,
    ) -> Result<Written, ExportError> {
        let mut output = Output::create(path).await?;
        let mut exported = Vec::new();
        let mut init = None;
        let (mut first_start, mut last_end) = (None, film.from);
        let last = film.segments.len() - 1;
        for (index, row) in film.segments.iter().enumerate() {
            let segment = self.checked_segment(row).await?;
            let init = match &mut init {
                Some(init) => init,
                none => none.insert(self.write_init(row, &mut output).await?),
            };
            let fragments = &segment.manifest.fragments;
            let first = if index == 0 {
                first_wanted(fragments, film.from)
            } else {
                0
            };
            let end = if index == last {
                end_wanted(fragments, film.to).max(first + 1)
            } else {
                fragments.len()
            };
            let wanted = &fragments[first..end];
            let mut digests = Vec::new();
            self.copy(row, wanted, init, &mut output, &mut digests).await?;
            progress.fetch_add(row.size_bytes, Ordering::Relaxed);
            first_start.get_or_insert(wanted[0].start);
            last_end = wanted.last().map_or(last_end, |f| f.start + f.duration_us);
            exported.push(ExportedSegment {
                entry: segment.entry,
                init_size_bytes: row.init_size_bytes,
                init_sha256: segment.init_sha256,
                fragments: segment.manifest.fragments,
                first: first as u64,
                count: (end - first) as u64,
                pictures: STANDARD.encode(digests),
            });
        }
        let proof = self.prove(export, film, exported).await?;
        let proof_box = proof_box(&proof).map_err(|_| ExportError::Damaged {
            segment: film.stream.to_string(),
            reason: "its proof is longer than a film can hold; export less at once".to_owned(),
        })?;
        output.write(&proof_box).await?;
        let (size_bytes, sha256) = output.finish().await?;
        let wall = |media: MediaTime| film.clock.wall(media).unwrap_or(export.window.start);
        Ok(Written {
            size_bytes,
            sha256,
            from: wall(first_start.unwrap_or(film.from)),
            to: wall(last_end),
        })
    }

    /// Reads a segment's manifest and compares it with the seal.
    async fn checked_segment(&self, row: &SegmentRow) -> Result<Checked, ExportError> {
        let damaged = |reason: &str| ExportError::Damaged {
            segment: row.key.to_string(),
            reason: reason.to_owned(),
        };
        let entry = self.sealed_entry(row).await?;
        let sealed: Option<(u64, SealedSegment)> = self.db.sealed_segment(&row.recorder, &row.key).await?;
        let (_, sealed) = sealed.ok_or_else(|| damaged("its seal is gone"))?;
        let json = self
            .storage
            .read_whole(&manifest_key(&row.recorder, &row.key), MAX_MANIFEST_BYTES)
            .await?;
        let json = json.ok_or_else(|| damaged("its manifest is missing or too long"))?;
        let manifest: SegmentManifest =
            serde_json::from_slice(&json).map_err(|_| damaged("its manifest can't be read"))?;
        let init_sha256 =
            Digest::try_from(row.init_sha256.clone()).map_err(|_| damaged("its row can't be read"))?;
        let root = segment_root(row.init_size_bytes, init_sha256, &manifest.fragments);
        if root != sealed.root || manifest.run != sealed.run {
            return Err(damaged("its fragments are not those that its recorder sealed"));
        }
        Ok(Checked {
            entry,
            manifest,
            init_sha256,
        })
    }

    async fn write_init(&self, row: &SegmentRow, output: &mut Output) -> Result<Option<Init>, ExportError> {
        let key = media_key(&row.recorder, &row.key);
        let mut ranges = self
            .storage
            .read_ranges(&key, std::slice::from_ref(&(0..row.init_size_bytes)))
            .await?;
        let bytes = ranges.pop().unwrap_or_default();
        if Digest::of(&bytes).to_string() != row.init_sha256 {
            return Err(ExportError::Damaged {
                segment: row.key.to_string(),
                reason: "its init segment has another SHA-256".to_owned(),
            });
        }
        output.write(&bytes).await?;
        // Only for the digests of single pictures; what can't be read has none.
        Ok(read_init(&bytes).ok())
    }

    /// Copies fragments that follow each other in the file.
    async fn copy(
        &self,
        row: &SegmentRow,
        wanted: &[Fragment],
        init: &Option<Init>,
        output: &mut Output,
        digests: &mut Vec<u8>,
    ) -> Result<(), ExportError> {
        let damaged = |reason: &str| ExportError::Damaged {
            segment: row.key.to_string(),
            reason: reason.to_owned(),
        };
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
            return Ok(());
        };
        let key = media_key(&row.recorder, &row.key);
        let range = first.offset_bytes..last.offset_bytes + last.size_bytes;
        let mut at = range.start;
        let mut stream = self.storage.read(&key, range).await?;
        let mut come = bytes::BytesMut::new();
        for fragment in wanted {
            if fragment.size_bytes > MAX_FRAGMENT_BYTES {
                return Err(damaged("a fragment is too large"));
            }
            let skipped = usize::try_from(fragment.offset_bytes - at).map_err(|_| damaged("a hole"))?;
            let size =
                usize::try_from(fragment.size_bytes).map_err(|_| damaged("a fragment is too large"))?;
            while come.len() < skipped + size {
                let piece = stream
                    .next()
                    .await
                    .ok_or_else(|| damaged("its file is too short"))?;
                come.extend_from_slice(&piece.map_err(|e| self.storage.failed(&key, e))?);
            }
            let _ = come.split_to(skipped);
            let bytes = come.split_to(size);
            at = fragment.offset_bytes + fragment.size_bytes;
            if Digest::of(&bytes) != fragment.sha256 {
                return Err(damaged(&format!(
                    "the fragment at byte {} has another SHA-256",
                    fragment.offset_bytes
                )));
            }
            if let Some(init) = init {
                digests.extend(pictures::digests(&bytes, init).unwrap_or_default());
            }
            output.write(&bytes).await?;
        }
        Ok(())
    }
}

struct Checked {
    entry: u64,
    manifest: SegmentManifest,
    init_sha256: Digest,
}

/// The keyframe at or before a position.
fn first_wanted(fragments: &[Fragment], from: MediaTime) -> usize {
    fragments
        .iter()
        .rposition(|f| f.is_keyframe && f.start <= from)
        .unwrap_or(0)
}

/// Behind the last fragment that starts before a position, or has no picture and stands just behind one that does.
fn end_wanted(fragments: &[Fragment], to: MediaTime) -> usize {
    fragments
        .iter()
        .rposition(|f| f.start < to || (f.start == to && f.duration_us == 0))
        .map_or(0, |at| at + 1)
}

pub(super) fn file_error(path: &Path, source: std::io::Error) -> ExportError {
    ExportError::File {
        path: path.to_owned(),
        source,
    }
}
