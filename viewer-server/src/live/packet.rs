//! What goes from a publication to its viewers: RTP payloads in order, and sender reports.

use bytes::Bytes;

/// Picture or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Video,
    Audio,
}

impl Kind {
    /// Ticks a second of the RTP clock (RFC 6184 §8.2.1, RFC 7587 §4.1).
    pub(super) fn clock_rate(self) -> u32 {
        match self {
            Self::Video => 90_000,
            Self::Audio => 48_000,
        }
    }
}

/// One RTP packet of a publication, in the publication's own numbering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaPacket {
    pub(super) kind: Kind,
    /// Number of the publication within its stream.
    pub(super) publication: u64,
    /// RTP sequence number without wrap-around.
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) is_marked: bool,
    /// The first packet of a keyframe.
    pub(super) starts_gop: bool,
    pub(super) payload: Bytes,
}

/// A sender report: the wall time of an RTP timestamp, so that sound and picture play in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) kind: Kind,
    pub(super) publication: u64,
    /// NTP time, 32.32 fixed point (RFC 3550 §4).
    pub(super) ntp: u64,
    pub(super) timestamp: u32,
}

/// What a viewer's queue holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LiveItem {
    Packet(MediaPacket),
    /// The first packet of a keyframe after packets were left out on purpose.
    Resume(MediaPacket),
    Report(Report),
}

impl LiveItem {
    /// Which track it belongs to.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Packet(packet) | Self::Resume(packet) => packet.kind,
            Self::Report(report) => report.kind,
        }
    }
}

/// Finds the first packet of each keyframe.
#[derive(Debug, Default)]
pub(super) struct KeyframeDetector {
    last: Option<u32>,
}

impl KeyframeDetector {
    /// Whether this payload is the first of a keyframe.
    pub(super) fn starts_gop(&mut self, timestamp: u32, payload: &[u8]) -> bool {
        if self.last == Some(timestamp) || !has_keyframe_nal(payload) {
            return false;
        }
        self.last = Some(timestamp);
        true
    }
}

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Whether an H.264 RTP payload holds a sequence parameter set or the start of an IDR slice (RFC 6184 §5).
fn has_keyframe_nal(payload: &[u8]) -> bool {
    let is_key = |nal: u8| matches!(nal & 0x1f, IDR | SPS);
    match payload.first().map(|b| b & 0x1f) {
        Some(STAP_A) => {
            let mut rest = &payload[1..];
            while let [high, low, nal @ ..] = rest {
                let size = usize::from(u16::from_be_bytes([*high, *low]));
                if nal.first().is_some_and(|b| is_key(*b)) {
                    return true;
                }
                let Some(next) = nal.get(size..) else { return false };
                rest = next;
            }
            false
        }
        Some(FU_A) => payload
            .get(1)
            .is_some_and(|header| header & 0x80 != 0 && is_key(*header)),
        Some(_) => is_key(payload[0]),
        None => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::live) fn packet(sequence: u64, timestamp: u32, starts_gop: bool) -> MediaPacket {
        MediaPacket {
            kind: Kind::Video,
            publication: 1,
            sequence,
            timestamp,
            is_marked: true,
            starts_gop,
            payload: Bytes::from_static(&[0x41; 100]),
        }
    }

    #[test]
    fn finds_keyframes_alone_aggregated_and_fragmented() {
        for payload in [
            &[0x65, 1, 2][..],
            &[0x78, 0, 2, 0x67, 1, 0, 1, 0x68],
            &[0x78, 0, 1, 0x06, 0, 2, 0x67, 1],
            &[0x7c, 0x85, 9],
        ] {
            assert!(KeyframeDetector::default().starts_gop(7, payload), "{payload:?}");
        }
        for payload in [
            &[][..],
            &[0x41, 1],
            &[0x7c, 0x05, 9],
            &[0x7c],
            &[0x78, 0, 9, 0x41],
            &[0x78, 0],
        ] {
            assert!(!KeyframeDetector::default().starts_gop(7, payload), "{payload:?}");
        }
    }

    #[test]
    fn a_keyframe_of_several_packets_starts_once() {
        let mut detector = KeyframeDetector::default();
        assert!(detector.starts_gop(7, &[0x78, 0, 1, 0x67]));
        assert!(!detector.starts_gop(7, &[0x7c, 0x85]));
        assert!(detector.starts_gop(8, &[0x65]));
    }
}
