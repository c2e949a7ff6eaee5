//! What is known of one stored file: its place in its run, its tracks, fragments and digest.

use serde::{Deserialize, Serialize};

use crate::ids::{RunId, SegmentKey};
use crate::time::{DurationUs, MediaTime};

/// A SHA-256 digest, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest is 64 hexadecimal digits")]
pub struct InvalidDigest;

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;
    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| InvalidDigest)?;
        Ok(Self(digest))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        hex::encode(digest.0)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// What a track of a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackKind {
    /// The picture.
    Video,
    /// The sound.
    Audio,
}

/// One track as the init segment describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// `track_ID` in the file.
    pub track_id: u32,
    /// Picture or sound.
    pub kind: TrackKind,
    /// RFC 6381 name for `codecs=`, e.g. `avc1.640028`, `hvc1.1.6.L120.90`, `mp4a.40.2`, `opus`.
    pub codec: String,
    /// Ticks per second of the track's times.
    pub timescale: u32,
    /// Width in pixels, 0 for sound.
    pub width: u32,
    /// Height in pixels, 0 for sound.
    pub height: u32,
    /// Samples per second, 0 for picture.
    pub sample_rate: u32,
    /// Sound channels, 0 for picture.
    pub channels: u16,
}

/// One `moof`+`mdat` of a segment, with a `prft` before it counted in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// First byte in the file.
    pub offset_bytes: u64,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Presentation time of the first picture (of the first sound, if the stream has no picture).
    pub start: MediaTime,
    /// Length of the picture in it (of the sound, if the stream has no picture).
    pub duration_us: DurationUs,
    /// Whether it starts with a keyframe, so that playback can start here.
    pub is_keyframe: bool,
    /// Digest of exactly these bytes.
    pub sha256: Digest,
}

/// Everything about one sealed segment but its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentManifest {
    /// Which file.
    pub key: SegmentKey,
    /// The run that it is part of.
    pub run: RunId,
    /// Length of the file in bytes.
    pub size_bytes: u64,
    /// Length of the init segment (`ftyp`+`moov`) at the file's start, in bytes.
    pub init_size_bytes: u64,
    /// Digest of the whole file.
    pub sha256: Digest,
    /// The tracks of the init segment.
    pub tracks: Vec<Track>,
    /// The fragments in file order; the first starts with a keyframe.
    pub fragments: Vec<Fragment>,
}

impl SegmentManifest {
    /// Position of the first fragment.
    pub fn start(&self) -> MediaTime {
        self.fragments.first().map_or(MediaTime(0), |f| f.start)
    }

    /// Position after the last fragment.
    pub fn end(&self) -> MediaTime {
        self.fragments
            .last()
            .map_or(MediaTime(0), |f| f.start + f.duration_us)
    }
}

/// A range of bytes and time that starts with a keyframe and reaches to the next: what a playlist lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GopRange {
    /// First byte in the file.
    pub offset_bytes: u64,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Presentation time of its keyframe.
    pub start: MediaTime,
    /// Length in microseconds.
    pub duration_us: DurationUs,
}

/// Joins the fragments of a segment to ranges that each start with a keyframe.
pub fn gop_ranges(fragments: &[Fragment]) -> Vec<GopRange> {
    let mut ranges: Vec<GopRange> = Vec::new();
    for fragment in fragments {
        match ranges.last_mut() {
            Some(range) if !fragment.is_keyframe => {
                range.size_bytes = fragment.offset_bytes + fragment.size_bytes - range.offset_bytes;
                range.duration_us = fragment.start + fragment.duration_us - range.start;
            }
            _ => ranges.push(GopRange {
                offset_bytes: fragment.offset_bytes,
                size_bytes: fragment.size_bytes,
                start: fragment.start,
                duration_us: fragment.duration_us,
            }),
        }
    }
    ranges
}
