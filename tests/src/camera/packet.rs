//! Faults done to the packets of one client: probes on its pipeline after the payloaders.
//!
//! What concerns the RTP time base (jumps, another SSRC) is done before the RTP session, so that sender reports
//! agree with the packets as those of a real camera would. What concerns the way (loss, garbage, silence) is done
//! behind it.

use std::sync::Arc;

use gst::prelude::*;
use gst_rtsp_server::prelude::*;
use rand::Rng;

use super::fault::Faults;
use super::feed::Track;

const RTP_HEADER_BYTES: usize = 12;
const RTCP_SENDER_REPORT: u8 = 200;

/// Puts the probes into a client's pipeline, which must be prepared.
pub fn install(media: &gst_rtsp_server::RTSPMedia, faults: &Arc<Faults>) {
    let before = faults.active();
    for index in 0..media.n_streams() {
        let track = if index == 0 { Track::Video } else { Track::Audio };
        let Some(payloader) = media.stream(index).and_then(|s| s.srcpad()) else {
            continue;
        };
        let clock_rate = payloader
            .current_caps()
            .and_then(|caps| caps.structure(0)?.get::<i32>("clock-rate").ok())
            .unwrap_or(90_000);
        let own_faults = faults.clone();
        let new_ssrc: u32 = rand::rng().random();
        add_probe(&payloader, move |packet| {
            let now = own_faults.active();
            let jump_seconds = now.pts_jump_seconds - before.pts_jump_seconds;
            let ssrc_changes = now.ssrc_changes - before.ssrc_changes;
            if jump_seconds != 0 {
                add_to_u32(packet, 4, jump_seconds.wrapping_mul(clock_rate) as u32);
            }
            if ssrc_changes != 0 {
                write_u32(packet, 8, new_ssrc.wrapping_add(ssrc_changes));
            }
            true
        });
        let Some(rtpbin) = payloader.peer().and_then(|p| p.parent_element()) else {
            continue;
        };
        if let Some(pad) = rtpbin.static_pad(&format!("send_rtp_src_{index}")) {
            let own_faults = faults.clone();
            add_probe(&pad, move |packet| survives_the_way(packet, track, &own_faults));
        }
        if let Some(pad) = rtpbin.static_pad(&format!("send_rtcp_src_{index}")) {
            let own_faults = faults.clone();
            add_probe(&pad, move |packet| report_passes(packet, track, &own_faults));
        }
    }
}

fn survives_the_way(packet: &mut gst::Buffer, track: Track, faults: &Faults) -> bool {
    let now = faults.active();
    if is_silent(track, faults) || rand::rng().random_bool(now.loss_percent / 100.0) {
        return false;
    }
    if now.garbage_percent > 0.0 && rand::rng().random_bool(now.garbage_percent / 100.0) {
        overwrite_payload(packet);
    }
    true
}

fn report_passes(packet: &mut gst::Buffer, track: Track, faults: &Faults) -> bool {
    let off_seconds = faults.active().clock_off_seconds;
    let is_sender_report = packet
        .map_readable()
        .is_ok_and(|map| map.len() >= 28 && map[1] == RTCP_SENDER_REPORT);
    if off_seconds != 0 && is_sender_report {
        // RFC 3550 §6.4.1: the seconds of the NTP time follow the 8 bytes of header and SSRC.
        add_to_u32(packet, 8, off_seconds as u32);
    }
    !is_silent(track, faults)
}

fn is_silent(track: Track, faults: &Faults) -> bool {
    let now = faults.active();
    now.hang || (now.audio_absent && track == Track::Audio)
}

/// Calls `keep` with every packet that passes; a packet for which it says no is dropped.
fn add_probe(pad: &gst::Pad, keep: impl Fn(&mut gst::Buffer) -> bool + Send + Sync + 'static) {
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(mask, move |_, info| match info.data.take() {
        Some(gst::PadProbeData::Buffer(mut packet)) => {
            let is_kept = keep(&mut packet);
            info.data = Some(gst::PadProbeData::Buffer(packet));
            if is_kept {
                gst::PadProbeReturn::Ok
            } else {
                gst::PadProbeReturn::Drop
            }
        }
        Some(gst::PadProbeData::BufferList(list)) => {
            let mut kept = gst::BufferList::new();
            let packets = kept.make_mut();
            for packet in list.iter_owned() {
                let mut packet = packet;
                if keep(&mut packet) {
                    packets.add(packet);
                }
            }
            let is_empty = kept.is_empty();
            info.data = Some(gst::PadProbeData::BufferList(kept));
            if is_empty {
                gst::PadProbeReturn::Drop
            } else {
                gst::PadProbeReturn::Ok
            }
        }
        other => {
            info.data = other;
            gst::PadProbeReturn::Ok
        }
    });
}

fn write_u32(packet: &mut gst::Buffer, at: usize, value: u32) {
    if let Ok(mut map) = packet.make_mut().map_writable()
        && let Some(bytes) = map.get_mut(at..at + 4)
    {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}

fn add_to_u32(packet: &mut gst::Buffer, at: usize, amount: u32) {
    let old = packet
        .map_readable()
        .ok()
        .and_then(|map| Some(u32::from_be_bytes(map.get(at..at + 4)?.try_into().ok()?)));
    if let Some(old) = old {
        write_u32(packet, at, old.wrapping_add(amount));
    }
}

fn overwrite_payload(packet: &mut gst::Buffer) {
    let mut rng = rand::rng();
    if let Ok(mut map) = packet.make_mut().map_writable()
        && let Some(payload) = map.get_mut(RTP_HEADER_BYTES..)
        && !payload.is_empty()
    {
        for _ in 0..payload.len() / 50 + 1 {
            let at = rng.random_range(0..payload.len());
            payload[at] = rng.random();
        }
    }
}
