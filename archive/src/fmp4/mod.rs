//! Reads fragmented MP4 (ISO/IEC 14496-12, CMAF) as the recorder writes it: init segments,
//! fragments, producer reference times, and the compact index of a segment.
//!
//! The bytes may come from a torn disk or a stranger, so every length is checked before it is
//! used, nothing is allocated by a length that the bytes claim, nesting is walked by code of fixed
//! depth, and no input makes a function here panic. All functions work on byte slices.

mod boxes;
mod codec;
pub mod fragment;
pub mod index;
pub mod init;
pub mod movie;
pub mod prft;
mod row;
pub mod samples;

use std::fmt;

pub use fragment::{ScannedFragment, SegmentScan, TrackRun, next_fragment, scan_segment};
pub use init::{Init, InitTrack, SampleDefaults, read_init};
pub use movie::{Movie, read_movie};
pub use prft::{ProducerReference, read_prft, write_prft};
pub use row::{RowMaker, fragment_rows, media_time};
pub use samples::{SampleRef, fragment_samples};

/// Largest init segment that is read, in bytes.
pub const MAX_INIT_BYTES: u64 = 1024 * 1024;

/// Largest single box of a fragment that is read, in bytes.
pub const MAX_BOX_BYTES: u64 = 256 * 1024 * 1024;

/// Most tracks that an init segment may have.
pub const MAX_TRACKS: usize = 16;

/// The four-character code that names a box.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl FourCc {
    /// Stands for a box whose header could not be read.
    pub const UNKNOWN: Self = Self(*b"????");
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FourCc({self})")
    }
}

/// Why bytes are not the fragmented MP4 that was looked for.
///
/// Offsets count from the start of the file if the caller said where its bytes lie in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fmp4Error {
    /// The bytes end inside a box that is fine as far as it goes: cut off, or still being written.
    #[error("{box_type} at byte {offset_bytes} is cut off: the file would have to reach byte {needed_bytes}")]
    Incomplete {
        /// The box that is cut off.
        box_type: FourCc,
        /// Where it starts.
        offset_bytes: u64,
        /// Offset that the bytes must at least reach before it is worth trying again.
        needed_bytes: u64,
    },
    /// The bytes are no valid MP4; more of them would not help.
    #[error("{box_type} at byte {offset_bytes} is invalid: {reason}")]
    Invalid {
        /// The box at fault.
        box_type: FourCc,
        /// Where it starts, or where in it the fault lies.
        offset_bytes: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A box that must be there is not.
    #[error("{box_type} at byte {offset_bytes} has no {missing}")]
    Missing {
        /// The box that should contain it.
        box_type: FourCc,
        /// Where that starts.
        offset_bytes: u64,
        /// The box that is missing.
        missing: FourCc,
    },
}

impl Fmp4Error {
    /// Whether more bytes could make it whole.
    pub fn is_incomplete(&self) -> bool {
        matches!(self, Self::Incomplete { .. })
    }
}

#[cfg(test)]
mod tests;
