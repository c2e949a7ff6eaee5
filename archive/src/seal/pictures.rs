//! Short digests of single pictures, so that the one that differs can be named.

use crate::fmp4::{Fmp4Error, Init, fragment_samples};
use crate::segment::Digest;

/// Bytes of a picture's digest.
pub const PICTURE_DIGEST_BYTES: usize = 8;

/// The first eight bytes of the SHA-256 of each sample of the leading track of a fragment, one behind the other.
///
/// # Errors
/// If the bytes are not one fragment of this init segment.
pub fn digests(fragment: &[u8], init: &Init) -> Result<Vec<u8>, Fmp4Error> {
    let leading = init.leading_track().track.track_id;
    let samples = fragment_samples(fragment, 0, init)?;
    let mut digests = Vec::with_capacity(samples.len() * PICTURE_DIGEST_BYTES);
    for sample in samples.iter().filter(|sample| sample.track_id == leading) {
        let bytes = sample.bytes(fragment, 0).unwrap_or_default();
        digests.extend_from_slice(&Digest::of(bytes).0[..PICTURE_DIGEST_BYTES]);
    }
    Ok(digests)
}
