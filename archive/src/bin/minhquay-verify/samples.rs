//! The samples of any MP4, by their digests.

use std::collections::BTreeMap;

use archive::fmp4::read_movie;
use archive::segment::{Digest, TrackKind};

/// One sample by its digest.
pub struct Sample {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Presentation time after the first sample's, in seconds.
    pub time_s: f64,
}

/// Samples in decode order, for the first track of each kind.
pub type Samples = BTreeMap<TrackKind, Vec<Sample>>;

/// Reads a whole file.
///
/// # Errors
/// In words, why it is no MP4.
pub fn read_samples(bytes: &[u8]) -> Result<Samples, String> {
    let movie = read_movie(bytes).map_err(|e| e.to_string())?;
    let mut samples = Samples::new();
    for track in &movie.tracks {
        let kind = track.track.kind;
        if samples.contains_key(&kind) {
            continue;
        }
        let of_track = movie
            .samples
            .iter()
            .filter(|sample| sample.track_id == track.track.track_id);
        let start = of_track
            .clone()
            .map(|sample| sample.presentation_time)
            .min()
            .unwrap_or(0);
        let read = of_track
            .map(|sample| Sample {
                digest: Digest::of(sample.bytes(bytes, 0).unwrap_or_default()),
                time_s: (sample.presentation_time - start) as f64 / f64::from(track.track.timescale.max(1)),
            })
            .collect();
        samples.insert(kind, read);
    }
    Ok(samples)
}
