//! Segments that are still coming up: what of them is whole and verified can be seen already.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use archive::fmp4::index;
use archive::ids::{RecorderId, SegmentKey, StreamId};
use archive::segment::{Digest, Fragment, SegmentManifest, gop_ranges};
use archive::timeline::{Recorded, Window};

use super::UploadError;
use crate::centre::Centre;
use crate::db::{SegmentRow, SpanRow};

/// Parts that are remembered; more are looked at anew.
const MOST_KNOWN: usize = 1000;

/// How far each part has been verified.
#[derive(Debug, Default)]
pub(super) struct Verified {
    known: Mutex<HashMap<PathBuf, Prefix>>,
}

/// The part of a file whose fragments have the digests that the manifest promises.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    /// Of which file.
    sha256: Digest,
    init_sha256: Digest,
    /// How many fragments.
    fragments: usize,
}

impl Verified {
    fn get(&self, part: &Path, manifest: &SegmentManifest) -> Option<Prefix> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(part)
            .copied()
            .filter(|prefix| prefix.sha256 == manifest.sha256)
    }

    fn put(&self, part: &Path, prefix: Prefix) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(part.to_owned(), prefix);
    }

    pub(super) fn forget(&self, part: &Path) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(part);
    }
}

/// A segment that is coming up and can be seen in part.
#[derive(Debug, Clone)]
pub struct Arriving {
    /// Its file in the upload folder.
    pub part: PathBuf,
    /// Bytes from the start that are verified and end with a group of pictures.
    pub verified_bytes: u64,
    /// As if it were stored, with the verified groups of pictures only.
    pub row: SegmentRow,
}

impl Centre {
    /// What of a stream's window is coming up and can be seen, by start.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn arriving(&self, stream: &StreamId, window: Window) -> Result<Vec<Arriving>, UploadError> {
        let mut found = Vec::new();
        for (recorder, manifest) in self.db.arriving(stream, window).await? {
            found.extend(self.seen_of(&recorder, &manifest).await?);
        }
        Ok(found)
    }

    /// A segment that is coming up, if some of it can be seen.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn arriving_segment(
        &self,
        recorder: &RecorderId,
        key: &SegmentKey,
    ) -> Result<Option<Arriving>, UploadError> {
        match self.db.upload(recorder, key).await? {
            Some(upload) => self.seen_of(recorder, &upload.manifest).await,
            None => Ok(None),
        }
    }

    async fn seen_of(
        &self,
        recorder: &RecorderId,
        manifest: &SegmentManifest,
    ) -> Result<Option<Arriving>, UploadError> {
        let part = self.uploads.part(recorder, &manifest.key);
        let Some(prefix) = self.verify(&part, manifest).await? else {
            return Ok(None);
        };
        let whole = whole_groups(&manifest.fragments, prefix.fragments);
        let (Some(first), Some(last)) = (whole.first(), whole.last()) else {
            return Ok(None);
        };
        let (start, end) = (first.start, last.start + last.duration_us);
        let clock = self.db.run_clock(&manifest.run, start, end).await?;
        let Some((wall_start, wall_end)) = clock.wall(start).zip(clock.wall(end)) else {
            return Ok(None);
        };
        let span = SpanRow {
            recorded: Recorded {
                run: manifest.run.clone(),
                sequence: manifest.key.sequence,
                start,
                end,
            },
            wall: Window {
                start: wall_start,
                end: wall_end,
            },
        };
        Ok(Some(Arriving {
            part,
            verified_bytes: last.offset_bytes + last.size_bytes,
            row: SegmentRow {
                key: manifest.key.clone(),
                recorder: recorder.clone(),
                span,
                size_bytes: manifest.size_bytes,
                init_size_bytes: manifest.init_size_bytes,
                init_sha256: prefix.init_sha256.to_string(),
                sha256: manifest.sha256.to_string(),
                gop_index: index::encode(&gop_ranges(whole)),
            },
        }))
    }

    /// Verifies what has come of a part since the last look.
    async fn verify(&self, part: &Path, manifest: &SegmentManifest) -> Result<Option<Prefix>, UploadError> {
        let known = self.uploads.verified.get(part, manifest);
        if known.is_some_and(|prefix| prefix.fragments == manifest.fragments.len()) {
            return Ok(known);
        }
        let path = part.to_owned();
        let promised = manifest.clone();
        let read = tokio::task::spawn_blocking(move || verified_prefix(&path, &promised, known));
        let prefix = read
            .await
            .map_err(std::io::Error::other)
            .and_then(|result| result)
            .map_err(|source| UploadError::File {
                path: part.to_owned(),
                source,
            })?;
        if let Some(prefix) = prefix {
            self.uploads.verified.put(part, prefix);
        }
        Ok(prefix)
    }
}

/// The fragments of a verified prefix that make up whole groups of pictures.
fn whole_groups(fragments: &[Fragment], verified: usize) -> &[Fragment] {
    let mut end = verified.min(fragments.len());
    // The last group is whole only if the next begins right behind it, or the file ends.
    while end > 0 && fragments.get(end).is_some_and(|next| !next.is_keyframe) {
        end -= 1;
    }
    &fragments[..end]
}

fn verified_prefix(
    part: &Path,
    manifest: &SegmentManifest,
    known: Option<Prefix>,
) -> std::io::Result<Option<Prefix>> {
    use std::os::unix::fs::FileExt as _;
    let file = match std::fs::File::open(part) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let length = file.metadata()?.len();
    let digest = |from: u64, size: u64| -> std::io::Result<Digest> {
        let mut bytes = vec![0; usize::try_from(size).map_err(std::io::Error::other)?];
        file.read_exact_at(&mut bytes, from)?;
        Ok(Digest::of(&bytes))
    };
    let mut prefix = match known {
        Some(prefix) => prefix,
        None if length < manifest.init_size_bytes => return Ok(None),
        None => Prefix {
            sha256: manifest.sha256,
            init_sha256: digest(0, manifest.init_size_bytes)?,
            fragments: 0,
        },
    };
    while let Some(next) = manifest.fragments.get(prefix.fragments) {
        let is_here = next.offset_bytes + next.size_bytes <= length;
        if !is_here || digest(next.offset_bytes, next.size_bytes)? != next.sha256 {
            break;
        }
        prefix.fragments += 1;
    }
    Ok(Some(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::time::MediaTime;

    fn manifest(bytes: &[u8], keyframes: &[bool]) -> SegmentManifest {
        let fragment = |(i, is_keyframe): (usize, &bool)| Fragment {
            offset_bytes: (10 + i * 20) as u64,
            size_bytes: 20,
            start: MediaTime(i as i64),
            duration_us: 1,
            is_keyframe: *is_keyframe,
            sha256: Digest::of(&bytes[10 + i * 20..30 + i * 20]),
        };
        SegmentManifest {
            key: SegmentKey {
                stream: "q1.front.main".parse().unwrap(),
                sequence: 1,
            },
            run: archive::ids::RunId::from_uuid(uuid::Uuid::nil()),
            size_bytes: bytes.len() as u64,
            init_size_bytes: 10,
            sha256: Digest::of(bytes),
            tracks: Vec::new(),
            fragments: keyframes.iter().enumerate().map(fragment).collect(),
        }
    }

    #[test]
    fn only_what_is_verified_and_whole_is_shown() {
        let bytes: Vec<u8> = (0..110).collect();
        let manifest = manifest(&bytes, &[true, false, true, false, false]);
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("1.part");
        let shown = |length: usize, known| {
            std::fs::write(&part, &bytes[..length]).unwrap();
            let prefix = verified_prefix(&part, &manifest, known).unwrap();
            let fragments = prefix.map_or(0, |p| whole_groups(&manifest.fragments, p.fragments).len());
            (prefix, fragments)
        };
        assert!(verified_prefix(&part, &manifest, None).unwrap().is_none());
        for (length, expected) in [(5, 0), (10, 0), (49, 0), (50, 2), (109, 2), (110, 5)] {
            assert_eq!(shown(length, None).1, expected, "{length} bytes");
        }
        let (known, _) = shown(50, None);
        assert_eq!(shown(110, known).1, 5, "only what is new is read");
        let mut spoilt = bytes.clone();
        spoilt[60] ^= 1;
        std::fs::write(&part, &spoilt).unwrap();
        let prefix = verified_prefix(&part, &manifest, None).unwrap().unwrap();
        assert_eq!(prefix.fragments, 2, "nothing behind a fragment of another digest");
    }
}
