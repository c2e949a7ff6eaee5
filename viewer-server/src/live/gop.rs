//! The newest GOP of a publication, so that a viewer starts at once.

use super::packet::{Kind, LiveItem, MediaPacket, Report};

/// Most bytes kept; a longer GOP is forgotten and viewers start at the next keyframe.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The video packets since the newest keyframe and the newest sender reports.
#[derive(Debug, Default)]
pub(super) struct GopCache {
    packets: Vec<MediaPacket>,
    size_bytes: usize,
    reports: Vec<Report>,
}

impl GopCache {
    /// Takes a packet; sound is not kept, for it would have to be played faster than it was spoken.
    pub(super) fn push(&mut self, packet: &MediaPacket) {
        if packet.kind == Kind::Audio {
            return;
        }
        if packet.starts_gop {
            self.packets.clear();
            self.size_bytes = 0;
        } else if self.packets.is_empty() {
            return;
        }
        self.size_bytes += packet.payload.len();
        self.packets.push(packet.clone());
        if self.size_bytes > MAX_BYTES {
            self.packets.clear();
        }
    }

    /// Takes a sender report.
    pub(super) fn report(&mut self, report: Report) {
        self.reports.retain(|held| held.kind != report.kind);
        self.reports.push(report);
    }

    /// Everything that a new viewer gets first.
    pub(super) fn start(&self) -> Vec<LiveItem> {
        let packets = self.packets.iter().cloned().map(LiveItem::Packet);
        let reports = self.reports.iter().copied().map(LiveItem::Report);
        packets.chain(reports).collect()
    }

    /// Whether a viewer can start now.
    pub(super) fn has_keyframe(&self) -> bool {
        !self.packets.is_empty()
    }

    /// Forgets everything, when another publication begins.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::packet;
    use super::*;

    #[test]
    fn keeps_exactly_the_newest_gop() {
        let mut cache = GopCache::default();
        cache.push(&packet(1, 1, false));
        assert!(!cache.has_keyframe());
        for (sequence, starts) in [(2, true), (3, false), (4, true), (5, false), (6, false)] {
            cache.push(&packet(sequence, sequence as u32, starts));
        }
        let kept: Vec<_> = cache
            .start()
            .into_iter()
            .filter_map(|item| match item {
                LiveItem::Packet(p) => Some(p.sequence),
                _ => None,
            })
            .collect();
        assert_eq!(kept, [4, 5, 6]);
    }

    #[test]
    fn forgets_a_gop_that_grows_too_large() {
        let mut cache = GopCache::default();
        let large = MediaPacket {
            payload: vec![0; MAX_BYTES / 2].into(),
            ..packet(2, 2, false)
        };
        cache.push(&packet(1, 1, true));
        cache.push(&large);
        assert!(cache.has_keyframe());
        cache.push(&large);
        assert!(!cache.has_keyframe());
        cache.push(&large);
        assert!(!cache.has_keyframe());
    }
}
