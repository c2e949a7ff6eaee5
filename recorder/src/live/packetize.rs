//! Encoded samples to RTP packets and sender reports. Pure.

use std::cmp::Ordering;

use bytes::Bytes;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::packetizer::Payloader;

use crate::capture::{EncodedSample, SampleKind};

/// Payload bytes of one packet: with RTP, SRTP, UDP and IPv6 headers it fits every usual line.
const MTU_BYTES: usize = 1160;

/// A picture further ahead of the clock than this begins another session of the capture; longer
/// than any GOP that is sent in one go at the start.
const MOST_AHEAD_US: i64 = 10_000_000;

/// The same for a picture behind the clock.
const MOST_BEHIND_US: i64 = 2_000_000;

/// Seconds between 1900, where NTP time starts, and 1970.
const NTP_OFFSET_S: u64 = 2_208_988_800;

/// Microseconds between two sender reports of a track.
const REPORT_EVERY_US: i64 = 1_000_000;

/// Both tracks of a publication on one time scale.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    last: Option<Last>,
    /// Added to a sample's `pts_us`; changes when the capture starts over.
    offset_us: i64,
    /// Wall time minus time of the timeline.
    wall_offset_us: i64,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    time_us: i64,
    at_us: i64,
}

impl Timeline {
    /// The sample's time in microseconds, steady over restarts of the capture.
    pub(super) fn time_us(&mut self, pts_us: i64, now_us: i64, wall_us: i64) -> i64 {
        let time_us = match self.last {
            None => {
                self.wall_offset_us = wall_us - pts_us;
                pts_us
            }
            Some(last) => {
                let expected_us = last.time_us + (now_us - last.at_us);
                let ahead_us = pts_us + self.offset_us - expected_us;
                if !(-MOST_BEHIND_US..=MOST_AHEAD_US).contains(&ahead_us) {
                    self.offset_us = expected_us - pts_us;
                }
                pts_us + self.offset_us
            }
        };
        if self.last.is_none_or(|last| time_us > last.time_us) {
            self.last = Some(Last {
                time_us,
                at_us: now_us,
            });
        }
        time_us
    }

    /// NTP time, 32.32 fixed point (RFC 3550 §4), of a moment of the timeline.
    fn ntp(&self, time_us: i64) -> u64 {
        let wall_us = u64::try_from(time_us + self.wall_offset_us).unwrap_or(0);
        let fraction = ((wall_us % 1_000_000) << 32) / 1_000_000;
        ((wall_us / 1_000_000 + NTP_OFFSET_S) << 32) | fraction
    }
}

/// The packets of one track.
#[derive(Debug)]
pub(super) struct Packetizer {
    kind: SampleKind,
    ssrc: u32,
    payload_type: u8,
    sequence: u16,
    h264: H264Payloader,
    /// Where the next Opus packet starts if none is missing.
    next_opus: Option<u32>,
    reported_us: Option<i64>,
    packet_count: u32,
    octet_count: u32,
}

impl Packetizer {
    pub(super) fn new(kind: SampleKind, ssrc: u32, payload_type: u8) -> Self {
        Self {
            kind,
            ssrc,
            payload_type,
            sequence: 0,
            h264: H264Payloader::default(),
            next_opus: None,
            reported_us: None,
            packet_count: 0,
            octet_count: 0,
        }
    }

    /// The sample's packets; `time_us` from the [`Timeline`].
    pub(super) fn packets(&mut self, sample: &EncodedSample, time_us: i64) -> Vec<rtp::Packet> {
        let timestamp = self.timestamp(sample, time_us);
        let payloads = match self.kind {
            SampleKind::Audio => vec![sample.data.clone()],
            // Fails for no input: see its source.
            SampleKind::Video => self.h264.payload(MTU_BYTES, &sample.data).unwrap_or_default(),
        };
        let last = payloads.len().saturating_sub(1);
        let packet = |(i, payload): (usize, Bytes)| {
            self.sequence = self.sequence.wrapping_add(1);
            self.packet_count = self.packet_count.wrapping_add(1);
            self.octet_count = self.octet_count.wrapping_add(payload.len() as u32);
            rtp::Packet {
                header: rtp::header::Header {
                    version: 2,
                    marker: self.kind == SampleKind::Video && i == last,
                    payload_type: self.payload_type,
                    sequence_number: self.sequence,
                    timestamp,
                    ssrc: self.ssrc,
                    ..Default::default()
                },
                payload,
            }
        };
        payloads.into_iter().enumerate().map(packet).collect()
    }

    /// A sender report, if one is due.
    pub(super) fn report(&mut self, timeline: &Timeline, time_us: i64) -> Option<SenderReport> {
        let is_due = self
            .reported_us
            .is_none_or(|last| (time_us - last).abs() >= REPORT_EVERY_US);
        is_due.then(|| {
            self.reported_us = Some(time_us);
            SenderReport {
                ssrc: self.ssrc,
                ntp_time: timeline.ntp(time_us),
                rtp_time: ticks(self.kind, time_us),
                packet_count: self.packet_count,
                octet_count: self.octet_count,
                ..Default::default()
            }
        })
    }

    fn timestamp(&mut self, sample: &EncodedSample, time_us: i64) -> u32 {
        let exact = ticks(self.kind, time_us);
        if self.kind == SampleKind::Video {
            return exact;
        }
        // Rounded and jittering times would sound like tiny gaps: follow the packets' own length.
        let steady = self.next_opus.filter(|next| {
            let distance = exact.wrapping_sub(*next) as i32;
            distance.abs().cmp(&960) != Ordering::Greater
        });
        let timestamp = steady.unwrap_or(exact);
        self.next_opus = Some(timestamp.wrapping_add(opus_duration(&sample.data)));
        timestamp
    }
}

fn ticks(kind: SampleKind, time_us: i64) -> u32 {
    let ticks = match kind {
        SampleKind::Video => time_us * 9 / 100,
        SampleKind::Audio => time_us * 6 / 125,
    };
    // RTP timestamps wrap at 32 bits.
    ticks as u32
}

/// Length of an Opus packet in samples at 48 kHz (RFC 6716 §3.1); 20 ms if it is malformed.
fn opus_duration(packet: &[u8]) -> u32 {
    let Some(toc) = packet.first() else { return 960 };
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(1, |count| u32::from(count & 0x3f)),
    };
    frame * frames.max(1)
}

/// `profile-level-id` of the first sequence parameter set of an access unit in annex B.
pub(super) fn profile_level_id(access_unit: &[u8]) -> Option<String> {
    let at = access_unit
        .windows(4)
        .position(|w| w[..3] == [0, 0, 1] && w[3] & 0x1f == 7)?;
    access_unit.get(at + 4..at + 7).map(hex::encode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::SampleCodec;

    fn sample(kind: SampleKind, data: Vec<u8>) -> EncodedSample {
        EncodedSample {
            kind,
            codec: if kind == SampleKind::Video {
                SampleCodec::H264
            } else {
                SampleCodec::Opus
            },
            pts_us: 0,
            is_keyframe: true,
            data: data.into(),
        }
    }

    #[test]
    fn keyframe_starts_with_its_parameter_sets_and_ends_with_the_marker() {
        let mut unit = vec![
            0, 0, 0, 1, 0x67, 0x64, 0, 0x28, 0, 0, 0, 1, 0x68, 1, 0, 0, 0, 1, 0x65,
        ];
        unit.resize(3000, 7);
        assert_eq!(profile_level_id(&unit).as_deref(), Some("640028"));
        let mut packetizer = Packetizer::new(SampleKind::Video, 5, 96);
        let packets = packetizer.packets(&sample(SampleKind::Video, unit), 1_000_000);
        assert_eq!(packets[0].payload[0] & 0x1f, 24);
        assert_eq!(packets[1].payload[..2], [0x7c, 0x85]);
        let markers: Vec<_> = packets.iter().map(|p| p.header.marker).collect();
        assert_eq!(markers, [false, false, false, true]);
        let numbers: Vec<_> = packets.iter().map(|p| p.header.sequence_number).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert!(
            packets
                .iter()
                .all(|p| p.header.timestamp == 90_000 && p.payload.len() <= MTU_BYTES)
        );
    }

    #[test]
    fn sound_goes_on_steadily_over_jitter_and_jumps_over_gaps() {
        let mut packetizer = Packetizer::new(SampleKind::Audio, 5, 111);
        let packet = sample(SampleKind::Audio, vec![0x08; 60]);
        let mut at = |us| packetizer.packets(&packet, us)[0].header.timestamp;
        assert_eq!(at(0), 0);
        assert_eq!(at(20_300), 960);
        assert_eq!(at(39_900), 1920);
        assert_eq!(at(200_000), 9600);
    }

    #[test]
    fn picture_and_sound_are_reported_on_one_clock() {
        let mut timeline = Timeline::default();
        let time_us = timeline.time_us(5_000_000, 0, 1_700_000_000_500_000);
        let mut video = Packetizer::new(SampleKind::Video, 5, 96);
        let mut audio = Packetizer::new(SampleKind::Audio, 6, 111);
        let picture = video.report(&timeline, time_us).unwrap();
        let sound = audio.report(&timeline, time_us + 500_000).unwrap();
        assert_eq!(picture.ntp_time >> 32, 1_700_000_000 + NTP_OFFSET_S);
        assert_eq!(sound.ntp_time - picture.ntp_time, 1 << 31);
        assert_eq!((picture.rtp_time, sound.rtp_time), (450_000, 264_000));
        assert!(video.report(&timeline, time_us + 999_999).is_none());
    }

    #[test]
    fn time_goes_on_when_the_capture_starts_over() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.time_us(60_000_000, 0, 0), 60_000_000);
        // The newest GOP is sent in one go.
        assert_eq!(timeline.time_us(63_900_000, 1_000, 0), 63_900_000);
        assert_eq!(timeline.time_us(63_940_000, 40_000, 0), 63_940_000);
        assert_eq!(timeline.time_us(0, 5_040_000, 0), 68_940_000);
        assert_eq!(timeline.time_us(40_000, 5_080_000, 0), 68_980_000);
    }

    #[test]
    fn knows_the_length_of_opus_packets() {
        for (toc, count, samples) in [
            (0x08, 0, 960),
            (0x78, 0, 960),
            (0xfc, 0, 960),
            (0xe1, 0, 240),
            (0xff, 3, 2880),
        ] {
            assert_eq!(opus_duration(&[toc, count]), samples, "{toc:#x}");
        }
        assert_eq!(opus_duration(&[]), 960);
    }
}
