//! Whether a segment's manifest makes sense.

use archive::segment::SegmentManifest;

use crate::db::MAX_SEGMENT_US;

/// Largest segment that is accepted, in bytes.
pub const MAX_SEGMENT_BYTES: u64 = 4 * 1024 * 1024 * 1024;
const MAX_FRAGMENTS: usize = 20_000;
const MAX_TRACKS: usize = 8;

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the manifest of {key} is not valid: {reason}")]
pub struct InvalidManifest {
    /// Stream and number.
    pub key: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// Checks that sizes, order and times of a manifest hold together.
///
/// # Errors
/// [`InvalidManifest`].
pub fn check_manifest(manifest: &SegmentManifest) -> Result<(), InvalidManifest> {
    let fragments = &manifest.fragments;
    let reason = if manifest.key.sequence == 0 || manifest.key.sequence > i64::MAX as u64 {
        Some("sequence must be at least 1")
    } else if !(1..=MAX_SEGMENT_BYTES).contains(&manifest.size_bytes) {
        Some("size_bytes must be 1 to 4 GiB")
    } else if !(1..=manifest.size_bytes).contains(&manifest.init_size_bytes) {
        Some("init_size_bytes must be 1 to size_bytes")
    } else if fragments.is_empty() || fragments.len() > MAX_FRAGMENTS {
        Some("it must have 1 to 20000 fragments")
    } else if manifest.tracks.is_empty() || manifest.tracks.len() > MAX_TRACKS {
        Some("it must have 1 to 8 tracks")
    } else if !fragments[0].is_keyframe {
        Some("the first fragment must start with a keyframe")
    } else if !fragments_in_order(manifest) {
        Some("fragments must follow the init segment in order and lie within the file")
    } else if fragments
        .iter()
        .any(|f| f.duration_us < 0 || f.start.0 < -MAX_SEGMENT_US || f.start.0 > i64::MAX / 4)
        || fragments.windows(2).any(|pair| pair[1].start < pair[0].start)
    {
        Some("fragments must ascend in time")
    } else if !(0..=MAX_SEGMENT_US).contains(&(manifest.end() - manifest.start())) {
        Some("it must last at most 10 minutes")
    } else {
        None
    };
    reason.map_or(Ok(()), |reason| {
        Err(InvalidManifest {
            key: manifest.key.to_string(),
            reason,
        })
    })
}

fn fragments_in_order(manifest: &SegmentManifest) -> bool {
    let mut at = manifest.init_size_bytes;
    for fragment in &manifest.fragments {
        let Some(end) = fragment.offset_bytes.checked_add(fragment.size_bytes) else {
            return false;
        };
        if fragment.offset_bytes < at || fragment.size_bytes == 0 || end > manifest.size_bytes {
            return false;
        }
        at = end;
    }
    true
}
