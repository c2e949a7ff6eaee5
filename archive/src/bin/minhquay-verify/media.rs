//! Media files on the disk and what differs in them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use archive::fmp4::{Init, fragment_rows, scan_segment};
use archive::seal::{SealedSegment, leaf};
use archive::segment::{Digest, Fragment};

use crate::Unreadable;

/// Reads the beginning of a file; gives how many bytes there were.
pub fn read_at_most(path: &Path, buffer: &mut [u8]) -> Result<usize, Unreadable> {
    let failed = |e: std::io::Error| Unreadable::new(path, e);
    let mut file = File::open(path).map_err(failed)?;
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..]).map_err(failed)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// A whole segment's file, as far as it can be read.
pub struct ReadSegment {
    /// The tracks.
    pub init: Init,
    /// Digest of the init segment.
    pub init_sha256: Digest,
    /// Its fragments.
    pub fragments: Vec<Fragment>,
    /// Pictures in each fragment.
    pub pictures: Vec<u64>,
}

impl ReadSegment {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// What is wrong with its init segment.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        let scan = scan_segment(bytes).map_err(|e| e.to_string())?;
        let init_bytes = bytes.get(..scan.init.size_bytes as usize).unwrap_or(bytes);
        let leading = scan.init.leading_track().track.track_id;
        let pictures = scan
            .fragments
            .iter()
            .map(|fragment| fragment.track(leading).map_or(0, |run| run.sample_count))
            .collect();
        Ok(Self {
            init_sha256: Digest::of(init_bytes),
            fragments: fragment_rows(bytes, &scan, 0),
            pictures,
            init: scan.init,
        })
    }

    fn leaves(&self) -> Vec<Digest> {
        leaf::leaves(self.init.size_bytes, self.init_sha256, &self.fragments)
    }
}

/// Compares a segment's bytes with what was sealed.
///
/// # Errors
/// In words, the first thing that differs.
pub fn check_segment(bytes: &[u8], sealed: &SealedSegment) -> Result<(), String> {
    let is_same_file = Digest::of(bytes) == sealed.sha256 && bytes.len() as u64 == sealed.size_bytes;
    let read = ReadSegment::new(bytes).map_err(|e| format!("the init segment can't be read: {e}"))?;
    match read.check(sealed) {
        Ok(()) if is_same_file => Ok(()),
        Ok(()) => Err("bytes were added, or the file's digest is another".to_owned()),
        Err(reason) => Err(reason),
    }
}

impl ReadSegment {
    fn check(&self, sealed: &SealedSegment) -> Result<(), String> {
        if self.init.size_bytes != sealed.init_size_bytes {
            return Err("the init segment has another length".to_owned());
        }
        let Err(leaf) = sealed.check_leaves(&self.leaves()) else {
            return Ok(());
        };
        let Some(fragment) = leaf.checked_sub(1) else {
            return Err("the init segment differs".to_owned());
        };
        let before: u64 = self.pictures.iter().take(fragment).sum();
        let start_us = match self.fragments.get(fragment) {
            Some(row) => row.start - sealed.start,
            None => self
                .fragments
                .last()
                .map_or(0, |row| row.start + row.duration_us - sealed.start),
        };
        let within = match self.pictures.get(fragment) {
            Some(count) if *count > 1 => format!(" or one of the {} that follow it", count - 1),
            _ => String::new(),
        };
        Err(format!(
            "the first picture that differs is picture {}{within}, {:.3} s into the segment (fragment {} of {})",
            before + 1,
            start_us as f64 / 1e6,
            fragment + 1,
            sealed.leaf_count().saturating_sub(1),
        ))
    }
}
