//! From the catalogue to pictures: plans, HLS playlists, byte ranges and stills.
//!
//! The only room that knows libav, and that only to make stills.

mod away;
mod coverage;
mod hls;
mod jpeg;
mod plan;
mod retrieval;
mod stills;

use std::fmt;
use std::str::FromStr;

use archive::ids::{RecorderId, SegmentKey};

pub use away::part;
pub use coverage::{Seen, recorded, runs};
pub use hls::{Ending, playlist};
pub use jpeg::{JpegError, keyframe_to_jpeg};
pub use plan::{Piece, plan, reason};
pub use stills::{StillError, Stills};

/// Names a stored file in addresses: `recorder.counter.viewpoint.quality.sequence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentId {
    /// Who recorded it.
    pub recorder: RecorderId,
    /// Stream and number.
    pub key: SegmentKey,
}

/// A text that names no stored file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a segment is named recorder.counter.viewpoint.quality.sequence")]
pub struct InvalidSegmentId;

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.recorder, self.key.stream, self.key.sequence)
    }
}

impl FromStr for SegmentId {
    type Err = InvalidSegmentId;
    fn from_str(text: &str) -> Result<Self, InvalidSegmentId> {
        let (recorder, rest) = text.split_once('.').ok_or(InvalidSegmentId)?;
        let (stream, sequence) = rest.rsplit_once('.').ok_or(InvalidSegmentId)?;
        Ok(Self {
            recorder: recorder.parse().map_err(|_| InvalidSegmentId)?,
            key: SegmentKey {
                stream: stream.parse().map_err(|_| InvalidSegmentId)?,
                sequence: sequence.parse().map_err(|_| InvalidSegmentId)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_ids_survive_an_address() {
        let id: SegmentId = "rec-1.ba-dinh-q01.front.main.17".parse().unwrap();
        assert_eq!(id.key.stream.as_str(), "ba-dinh-q01.front.main");
        assert_eq!(id.to_string(), "rec-1.ba-dinh-q01.front.main.17");
        for text in [
            "",
            "a",
            "rec-1.q.front.main",
            "rec-1.q.front.main.x",
            "../a.q.front.main.1",
        ] {
            assert!(text.parse::<SegmentId>().is_err(), "{text}");
        }
    }
}
