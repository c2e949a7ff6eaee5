//! Turns a publication's numbering into one viewer's, without a seam where publications change.

use rtc::rtp;

use super::packet::{Kind, LiveItem, MediaPacket, Report};

/// One track as one viewer sees it.
#[derive(Debug)]
pub(super) struct Rewriter {
    kind: Kind,
    ssrc: u32,
    payload_type: u8,
    last: Option<Last>,
    /// Added to the publication's timestamps.
    offset: u32,
    packet_count: u32,
    octet_count: u32,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    publication: u64,
    sequence_in: u64,
    sequence_out: u16,
    timestamp_out: u32,
    at_us: i64,
}

impl Rewriter {
    /// `ssrc` and `payload_type` are those negotiated with the viewer.
    pub(super) fn new(kind: Kind, ssrc: u32, payload_type: u8) -> Self {
        Self {
            kind,
            ssrc,
            payload_type,
            last: None,
            offset: 0,
            packet_count: 0,
            octet_count: 0,
        }
    }

    /// The packet as the viewer gets it.
    ///
    /// Packets that were lost before they came here leave their hole, so that the viewer does not
    /// take the two ends of a torn picture for a whole one; packets left out on purpose leave none.
    pub(super) fn packet(&mut self, item: &LiveItem, now_us: i64) -> Option<rtp::Packet> {
        let (packet, is_resumed) = match item {
            LiveItem::Packet(packet) => (packet, false),
            LiveItem::Resume(packet) => (packet, true),
            LiveItem::Report(_) => return None,
        };
        let sequence_out = match self.last {
            None => 1,
            Some(last) if last.publication != packet.publication => {
                let elapsed_us = u64::try_from(now_us - last.at_us).unwrap_or(0).max(10_000);
                let ticks = elapsed_us * u64::from(self.kind.clock_rate()) / 1_000_000;
                let timestamp_out = last.timestamp_out.wrapping_add(ticks as u32);
                self.offset = timestamp_out.wrapping_sub(packet.timestamp);
                last.sequence_out.wrapping_add(1)
            }
            Some(last) if is_resumed => last.sequence_out.wrapping_add(1),
            Some(last) => {
                let step = packet.sequence.saturating_sub(last.sequence_in);
                last.sequence_out.wrapping_add(step as u16)
            }
        };
        let timestamp_out = packet.timestamp.wrapping_add(self.offset);
        self.last = Some(Last {
            publication: packet.publication,
            sequence_in: packet.sequence,
            sequence_out,
            timestamp_out,
            at_us: now_us,
        });
        self.packet_count = self.packet_count.wrapping_add(1);
        self.octet_count = self.octet_count.wrapping_add(packet.payload.len() as u32);
        Some(self.rtp(packet, sequence_out, timestamp_out))
    }

    fn rtp(&self, packet: &MediaPacket, sequence_number: u16, timestamp: u32) -> rtp::Packet {
        rtp::Packet {
            header: rtp::header::Header {
                version: 2,
                marker: packet.is_marked,
                payload_type: self.payload_type,
                sequence_number,
                timestamp,
                ssrc: self.ssrc,
                ..Default::default()
            },
            payload: packet.payload.clone(),
        }
    }

    /// The sender report as the viewer gets it; none before the publication's first packet.
    pub(super) fn report(&self, report: &Report) -> Option<rtc::rtcp::sender_report::SenderReport> {
        let is_current = self
            .last
            .is_some_and(|last| last.publication == report.publication);
        is_current.then(|| rtc::rtcp::sender_report::SenderReport {
            ssrc: self.ssrc,
            ntp_time: report.ntp,
            rtp_time: report.timestamp.wrapping_add(self.offset),
            packet_count: self.packet_count,
            octet_count: self.octet_count,
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::packet;
    use super::*;

    fn step(rewriter: &mut Rewriter, item: LiveItem, now_us: i64) -> (u16, u32) {
        let header = rewriter.packet(&item, now_us).unwrap().header;
        assert_eq!((header.ssrc, header.payload_type), (9, 102));
        (header.sequence_number, header.timestamp)
    }

    #[test]
    fn keeps_holes_of_losses_and_closes_holes_of_choice() {
        let mut rewriter = Rewriter::new(Kind::Video, 9, 102);
        assert_eq!(
            step(&mut rewriter, LiveItem::Packet(packet(500, 1000, true)), 0),
            (1, 1000)
        );
        assert_eq!(
            step(&mut rewriter, LiveItem::Packet(packet(503, 4000, false)), 0),
            (4, 4000)
        );
        assert_eq!(
            step(&mut rewriter, LiveItem::Resume(packet(900, 9000, true)), 0),
            (5, 9000)
        );
    }

    #[test]
    fn another_publication_goes_on_behind_the_last() {
        let mut rewriter = Rewriter::new(Kind::Video, 9, 102);
        step(&mut rewriter, LiveItem::Packet(packet(500, 1000, true)), 0);
        let other = MediaPacket {
            publication: 2,
            ..packet(7, 77_000, true)
        };
        assert_eq!(
            step(&mut rewriter, LiveItem::Resume(other.clone()), 2_000_000),
            (2, 181_000)
        );
        let report = Report {
            kind: Kind::Video,
            publication: 2,
            ntp: 5,
            timestamp: 77_090,
        };
        assert_eq!(rewriter.report(&report).unwrap().rtp_time, 181_090);
        assert!(
            rewriter
                .report(&Report {
                    publication: 1,
                    ..report
                })
                .is_none()
        );
    }
}
