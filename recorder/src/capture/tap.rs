//! Encoded samples for live viewers; while nobody is subscribed it only holds on to the newest GOP.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use gst::prelude::*;
use tokio::sync::broadcast;

use super::live_audio::AacToOpus;

/// Samples that a slow viewer may lag behind before it loses some: about five seconds.
const MOST_WAITING: usize = 512;

/// Most bytes of a GOP that are held; of a longer one nothing is.
const MOST_HELD_BYTES: usize = 16 * 1024 * 1024;

/// Picture or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// An access unit.
    Video,
    /// A packet.
    Audio,
}

/// How a sample is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleCodec {
    /// H.264, annex B, parameter sets before each keyframe.
    H264,
    /// H.265, annex B, parameter sets before each keyframe.
    H265,
    /// Opus at 48 kHz.
    Opus,
}

/// One sample as a live viewer gets it.
#[derive(Debug, Clone)]
pub struct EncodedSample {
    /// Picture or sound.
    pub kind: SampleKind,
    /// How it is coded.
    pub codec: SampleCodec,
    /// Presentation time in microseconds on the scale of its session; both kinds share it.
    pub pts_us: i64,
    /// Whether decoding can start here.
    pub is_keyframe: bool,
    /// The sample.
    pub data: Bytes,
}

/// Where live viewers of one stream subscribe. It outlives the sessions of the capture.
pub struct LiveTap {
    samples: broadcast::Sender<EncodedSample>,
    /// Locked while a picture is published too, so that nobody gets one twice or not at all.
    gop: Mutex<Gop>,
    keyframe_pad: Mutex<Option<gst::glib::WeakRef<gst::Pad>>>,
    audio: Mutex<Option<AacToOpus>>,
}

/// The pictures since the newest keyframe, as references to the capture's own buffers.
#[derive(Default)]
struct Gop {
    pictures: Vec<(gst::Caps, gst::Buffer, gst::ClockTime)>,
    size_bytes: usize,
}

impl Gop {
    fn push(&mut self, caps: &gst::Caps, buffer: &gst::Buffer, running: gst::ClockTime) {
        if !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
            *self = Self::default();
        } else if self.pictures.is_empty() {
            return;
        }
        self.size_bytes += buffer.size();
        self.pictures.push((caps.clone(), buffer.clone(), running));
        if self.size_bytes > MOST_HELD_BYTES {
            *self = Self::default();
        }
    }
}

impl std::fmt::Debug for LiveTap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveTap")
            .field("subscribers", &self.samples.receiver_count())
            .finish_non_exhaustive()
    }
}

impl Default for LiveTap {
    fn default() -> Self {
        Self {
            samples: broadcast::Sender::new(MOST_WAITING),
            gop: Mutex::default(),
            keyframe_pad: Mutex::new(None),
            audio: Mutex::new(None),
        }
    }
}

impl LiveTap {
    /// The newest GOP so far, and all samples from now on. A receiver that lags loses the oldest.
    pub fn subscribe(&self) -> (Vec<EncodedSample>, broadcast::Receiver<EncodedSample>) {
        let gop = self.gop.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.samples.subscribe();
        let pictures = gop.pictures.clone();
        drop(gop);
        let so_far = pictures
            .iter()
            .filter_map(|(caps, buffer, running)| picture(caps, buffer, *running))
            .collect();
        (so_far, receiver)
    }

    /// Asks the source for a keyframe; cameras may ignore it.
    pub fn request_keyframe(&self) {
        let pad = self
            .keyframe_pad
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .and_then(gst::glib::WeakRef::upgrade);
        if let Some(pad) = pad {
            let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                .all_headers(true)
                .build();
            pad.push_event(event);
        }
    }

    /// The pad through which a new session can be asked for keyframes.
    pub(super) fn attach(&self, pad: &gst::Pad) {
        *self.keyframe_pad.lock().unwrap_or_else(PoisonError::into_inner) = Some(pad.downgrade());
    }

    /// A session is over.
    pub(super) fn detach(&self) {
        // A thread of the session may hang while it holds this; the next keyframe begins anew in any case.
        if let Ok(mut gop) = self.gop.try_lock() {
            *gop = Gop::default();
        }
        *self.keyframe_pad.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.stop_audio();
    }

    fn stop_audio(&self) {
        // Held while a transcoder starts, which may hang; it is then stopped by a later look.
        let stopped = self.audio.try_lock().ok().and_then(|mut audio| audio.take());
        drop(stopped);
    }

    pub(super) fn has_subscribers(&self) -> bool {
        self.samples.receiver_count() > 0
    }

    /// Gives a picture that passes to the viewers. `caps` are those of the pad.
    pub(super) fn offer_picture(&self, caps: &gst::Caps, buffer: &gst::Buffer, running: gst::ClockTime) {
        let mut gop = self.gop.lock().unwrap_or_else(PoisonError::into_inner);
        gop.push(caps, buffer, running);
        if self.has_subscribers()
            && let Some(sample) = picture(caps, buffer, running)
        {
            self.publish(sample);
        }
    }

    /// Gives sound that passes to the viewers. `caps` are those of the pad.
    pub(super) fn offer_sound(&self, caps: &gst::CapsRef, buffer: &gst::BufferRef, running: gst::ClockTime) {
        let Some(structure) = caps.structure(0).filter(|_| self.has_subscribers()) else {
            return;
        };
        match structure.name().as_str() {
            "audio/x-opus" => {
                if let Ok(map) = buffer.map_readable() {
                    self.publish(EncodedSample {
                        kind: SampleKind::Audio,
                        codec: SampleCodec::Opus,
                        pts_us: running.useconds() as i64,
                        is_keyframe: true,
                        data: Bytes::copy_from_slice(&map),
                    });
                }
            }
            "audio/mpeg" => self.offer_aac(caps, buffer, running),
            _ => {}
        }
    }

    fn offer_aac(&self, caps: &gst::CapsRef, buffer: &gst::BufferRef, running: gst::ClockTime) {
        let mut audio = self.audio.lock().unwrap_or_else(PoisonError::into_inner);
        if audio.is_none() {
            match AacToOpus::start(caps, self.samples.clone()) {
                Ok(started) => *audio = Some(started),
                Err(error) => {
                    tracing::warn!(%error, "live sound can't be made from AAC");
                    return;
                }
            }
        }
        if let Some(transcoder) = audio.as_ref() {
            transcoder.push(buffer, running);
        }
    }

    /// Ends the transcoder that nobody listens to any more.
    pub(super) fn rest(&self) {
        let is_running = self.audio.try_lock().is_ok_and(|audio| audio.is_some());
        if is_running && !self.has_subscribers() {
            self.stop_audio();
        }
    }

    pub(super) fn publish(&self, sample: EncodedSample) {
        // Fails only if nobody is subscribed any more.
        let _ = self.samples.send(sample);
    }
}

fn picture(caps: &gst::CapsRef, buffer: &gst::BufferRef, running: gst::ClockTime) -> Option<EncodedSample> {
    let structure = caps.structure(0)?;
    type ParameterSets = fn(&[u8]) -> Vec<u8>;
    let (codec, parameter_sets): (_, ParameterSets) = match structure.name().as_str() {
        "video/x-h264" => (SampleCodec::H264, avcc_parameter_sets),
        "video/x-h265" => (SampleCodec::H265, hvcc_parameter_sets),
        _ => return None,
    };
    let map = buffer.map_readable().ok()?;
    let is_keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    let codec_data = structure
        .get::<gst::Buffer>("codec_data")
        .ok()
        .filter(|_| is_keyframe);
    let headers = codec_data
        .and_then(|data| Some(parameter_sets(&data.map_readable().ok()?)))
        .unwrap_or_default();
    Some(EncodedSample {
        kind: SampleKind::Video,
        codec,
        pts_us: running.useconds() as i64,
        is_keyframe,
        data: to_annex_b(headers, &map),
    })
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Replaces the four-byte lengths of an `avc1` or `hvc1` sample by start codes, behind `headers`.
fn to_annex_b(headers: Vec<u8>, sample: &[u8]) -> Bytes {
    let mut out = headers;
    out.reserve(sample.len());
    let mut rest = sample;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((unit, behind)) = behind.split_at_checked(length) else {
            break;
        };
        out.extend_from_slice(&START_CODE);
        out.extend_from_slice(unit);
        rest = behind;
    }
    out.into()
}

/// The parameter sets of an `avcC` (ISO/IEC 14496-15 §5.3.3.1) in annex B.
fn avcc_parameter_sets(avcc: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let Some((count, mut rest)) = avcc.get(5..).and_then(<[u8]>::split_first) else {
        return out;
    };
    rest = take_units(&mut out, rest, usize::from(count & 0x1f));
    if let Some((count, rest)) = rest.split_first() {
        take_units(&mut out, rest, usize::from(*count));
    }
    out
}

/// The parameter sets of an `hvcC` (ISO/IEC 14496-15 §8.3.3.1) in annex B.
fn hvcc_parameter_sets(hvcc: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let Some((arrays, mut rest)) = hvcc.get(22..).and_then(<[u8]>::split_first) else {
        return out;
    };
    for _ in 0..*arrays {
        let Some(([_, high, low], behind)) = rest.split_first_chunk::<3>() else {
            break;
        };
        rest = take_units(&mut out, behind, usize::from(u16::from_be_bytes([*high, *low])));
    }
    out
}

fn take_units<'a>(out: &mut Vec<u8>, bytes: &'a [u8], count: usize) -> &'a [u8] {
    let mut rest = bytes;
    for _ in 0..count {
        let Some((length, behind)) = rest.split_first_chunk::<2>() else {
            break;
        };
        let Some((unit, behind)) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
            break;
        };
        out.extend_from_slice(&START_CODE);
        out.extend_from_slice(unit);
        rest = behind;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_gets_the_newest_gop_first_and_nothing_twice() {
        gst::init().unwrap();
        let tap = LiveTap::default();
        let caps = gst::Caps::builder("video/x-h264").build();
        let offer = |number: u8, is_keyframe: bool| {
            let mut buffer = gst::Buffer::from_slice([0, 0, 0, 1, number]);
            if !is_keyframe {
                let buffer = buffer.get_mut().unwrap();
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            tap.offer_picture(&caps, &buffer, gst::ClockTime::from_mseconds(number.into()));
        };
        for (number, is_keyframe) in [(1, false), (2, true), (3, false), (4, true), (5, false)] {
            offer(number, is_keyframe);
        }
        let (so_far, mut receiver) = tap.subscribe();
        let numbers: Vec<_> = so_far.iter().map(|s| s.data[4]).collect();
        assert_eq!(numbers, [4, 5]);
        offer(6, false);
        assert_eq!(receiver.try_recv().unwrap().data[4], 6);
        tap.detach();
        assert!(tap.subscribe().0.is_empty());
    }

    #[test]
    fn keyframe_gets_parameter_sets_and_start_codes() {
        let avcc = [1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 2, 0x67, 0xaa, 1, 0, 1, 0x68];
        let sample = [0, 0, 0, 2, 0x65, 0x01, 0, 0, 0, 1, 0x06];
        let data = to_annex_b(avcc_parameter_sets(&avcc), &sample);
        assert_eq!(
            &data[..],
            [
                0, 0, 0, 1, 0x67, 0xaa, 0, 0, 0, 1, 0x68, 0, 0, 0, 1, 0x65, 1, 0, 0, 0, 1, 6
            ]
        );
    }

    #[test]
    fn torn_sample_and_torn_parameter_sets_give_what_is_whole() {
        assert_eq!(&to_annex_b(vec![], &[0, 0, 0, 9, 1])[..], [0u8; 0]);
        for cut in 0..14 {
            let avcc = [1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 2, 0x67, 0xaa, 1, 0, 1, 0x68];
            assert!(avcc_parameter_sets(&avcc[..cut]).len() <= 11);
            assert!(hvcc_parameter_sets(&avcc[..cut]).is_empty());
        }
    }
}
