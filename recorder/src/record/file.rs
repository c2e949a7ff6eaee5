//! One growing file on the disk: bytes first, then a sync, then rows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use archive::fmp4::{Init, RowMaker, next_fragment, write_prft};
use archive::ids::SegmentKey;
use archive::segment::{Digest, Fragment};
use archive::time::{MediaTime, RunClock};
use sha2::{Digest as _, Sha256};

use super::{Volume, WriteError};

/// Where the file of a segment lies, relative to the folder of the recordings.
pub fn segment_path(root: &Path, key: &SegmentKey) -> PathBuf {
    root.join(key.stream.as_str())
        .join((key.sequence / 1000).to_string())
        .join(format!("{}.mp4", key.sequence))
}

/// A segment that is being written.
pub(super) struct SegmentFile {
    pub segment_id: i64,
    pub key: SegmentKey,
    pub start: MediaTime,
    pub init_sha256: Digest,
    file: File,
    path: PathBuf,
    rows: RowMaker,
    hasher: Sha256,
    size_bytes: u64,
    /// Written but not synced; no row may tell of them yet.
    unsynced: Vec<Fragment>,
    synced_bytes: u64,
    synced_hasher: Sha256,
    has_fragments: bool,
}

impl SegmentFile {
    /// Makes the file with its init segment, synced; a file that a crash left without a row is replaced.
    pub fn create(
        volume: &Volume,
        key: SegmentKey,
        start: MediaTime,
        init: &Init,
        init_bytes: &[u8],
    ) -> Result<Self, WriteError> {
        let root = &volume.root;
        let path = segment_path(root, &key);
        let failed = |source| WriteError::Disk {
            path: path.clone(),
            source,
        };
        volume.ensure().map_err(failed)?;
        let folder = path.parent().unwrap_or(root);
        crate::files::make_folders(root, folder).map_err(failed)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(failed)?;
        file.write_all_at(init_bytes, 0).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        crate::files::sync_folder(folder).map_err(failed)?;
        let hasher = Sha256::new_with_prefix(init_bytes);
        Ok(Self {
            segment_id: 0,
            key,
            start,
            rows: RowMaker::new(init, 0),
            init_sha256: Digest::of(init_bytes),
            synced_hasher: hasher.clone(),
            hasher,
            size_bytes: init_bytes.len() as u64,
            synced_bytes: init_bytes.len() as u64,
            unsynced: Vec::new(),
            has_fragments: false,
            file,
            path,
        })
    }

    /// Appends one `moof`+`mdat` behind a `prft`; gives the end of its picture.
    pub fn append(&mut self, init: &Init, clock: &RunClock, bytes: &[u8]) -> Result<MediaTime, WriteError> {
        let foreign = |e: archive::fmp4::Fmp4Error| WriteError::Fragment(e.to_string());
        let plain = next_fragment(bytes, 0, init)
            .map_err(foreign)?
            .ok_or_else(|| WriteError::Fragment("no fragment".to_owned()))?;
        let mut whole = Vec::with_capacity(bytes.len() + 32);
        if let Some(reference) = reference(init, clock, &plain) {
            whole.extend_from_slice(&reference);
        }
        whole.extend_from_slice(bytes);
        let scanned = next_fragment(&whole, self.size_bytes, init)
            .map_err(foreign)?
            .ok_or_else(|| WriteError::Fragment("no fragment".to_owned()))?;
        self.file
            .write_all_at(&whole, self.size_bytes)
            .map_err(|source| WriteError::Disk {
                path: self.path.clone(),
                source,
            })?;
        self.hasher.update(&whole);
        self.size_bytes += whole.len() as u64;
        let row = self.rows.row(&scanned, &whole);
        let end = row.start + row.duration_us;
        self.unsynced.push(row);
        Ok(end)
    }

    /// Makes what was appended durable and gives its rows.
    pub fn sync(&mut self) -> Result<Vec<Fragment>, WriteError> {
        if self.unsynced.is_empty() {
            return Ok(Vec::new());
        }
        self.file.sync_data().map_err(|source| WriteError::Disk {
            path: self.path.clone(),
            source,
        })?;
        self.synced_bytes = self.size_bytes;
        self.synced_hasher = self.hasher.clone();
        self.has_fragments = true;
        Ok(std::mem::take(&mut self.unsynced))
    }

    /// Whether something waits for a sync.
    pub fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Whether any fragment is durable.
    pub fn has_fragments(&self) -> bool {
        self.has_fragments
    }

    /// Digest of the file as far as it is durable; what lies behind is cut off.
    pub fn seal(&mut self) -> Result<Digest, WriteError> {
        let failed = |source| WriteError::Disk {
            path: self.path.clone(),
            source,
        };
        if self.size_bytes != self.synced_bytes
            || self.file.metadata().map_err(failed)?.len() != self.synced_bytes
        {
            self.file.set_len(self.synced_bytes).map_err(failed)?;
            self.file.sync_all().map_err(failed)?;
        }
        Ok(Digest(self.synced_hasher.clone().finalize().into()))
    }

    /// Removes the file, which has nothing that could be played.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

fn reference(init: &Init, clock: &RunClock, fragment: &archive::fmp4::ScannedFragment) -> Option<[u8; 32]> {
    let leading = &init.leading_track().track;
    let run = fragment
        .track(leading.track_id)
        .filter(|run| run.sample_count > 0)?;
    let wall = clock.wall(archive::fmp4::media_time(run.min_pts, leading.timescale, 0))?;
    let ticks = u64::try_from(run.min_pts).ok()?;
    Some(write_prft(leading.track_id, wall, ticks))
}
