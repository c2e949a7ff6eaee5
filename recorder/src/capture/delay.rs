//! How long after its own time a picture arrives: ties a camera's clock to the machine's.
//!
//! A camera numbers its pictures by its own clock, evenly; their arrival jitters and comes in bursts. The smallest
//! delay of many pictures is free of jitter, so the anchors take it.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;

use super::mux::{TrackKind, running_time};

const NONE_NS: i64 = i64::MAX;

/// Cameras send what they had waiting in a burst; after so long the smallest delay is a true one.
const MEASURE_NS: i64 = 1_200_000_000;

/// Further apart than this, what the camera says and what is measured can't both be true.
const CREDIBLE_NS: i64 = 250_000_000;

/// Where the delay of a track's packets is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measured {
    /// Where they enter the pipeline.
    Here,
    /// Before, by [`Delay::observe`].
    AtArrival,
}

/// What a track does with its buffers.
enum Hold {
    /// Keeps them until the delays are known.
    Holding(Vec<gst::Buffer>),
    /// Moves their times by so much and lets them go.
    Shifting(i64),
}

/// One track since its first packet; running times in nanoseconds.
#[derive(Debug, Clone)]
struct Arrival {
    first_ns: Arc<AtomicI64>,
    smallest_ns: Arc<AtomicI64>,
    /// The track's own time at the moment that the camera named as the start of all tracks.
    base_ns: Arc<AtomicI64>,
}

/// How far sound must be moved to be in step with the picture.
fn shift_ns(audio: &Arrival, video: &Arrival) -> i64 {
    let by_delay_ns = match (audio.smallest(), video.smallest()) {
        (Some(audio_ns), Some(video_ns)) => audio_ns - video_ns,
        _ => return 0,
    };
    // What the camera says is exact, if it is true at all.
    match (audio.base(), video.base()) {
        (Some(audio_ns), Some(video_ns)) if (video_ns - audio_ns - by_delay_ns).abs() < CREDIBLE_NS => {
            video_ns - audio_ns
        }
        _ => by_delay_ns,
    }
}

/// `RTP-Info` (RFC 2326 §12.33) names an RTP time of each track for the same moment; this is that moment on the
/// scale of the track, by its first packet.
fn base_ns(pad: &gst::Pad, info: &gst::PadProbeInfo<'_>, own_time: gst::ClockTime) -> Option<i64> {
    let caps = pad.current_caps()?;
    let caps = caps.structure(0)?;
    let clock_base = caps.get::<u32>("clock-base").ok()?;
    let clock_rate = caps.get::<i32>("clock-rate").ok().filter(|rate| *rate > 0)?;
    let rtp_time = match &info.data {
        Some(gst::PadProbeData::Buffer(buffer)) => rtp_time(buffer),
        Some(gst::PadProbeData::BufferList(list)) => list.get(0).and_then(rtp_time),
        _ => None,
    }?;
    // RTP times wrap around; the first packet is near the start.
    let since_ticks = i64::from(rtp_time.wrapping_sub(clock_base) as i32);
    Some(own_time.nseconds() as i64 - since_ticks * 1_000_000_000 / i64::from(clock_rate))
}

/// The timestamp of an RTP header (RFC 3550 §5.1).
fn rtp_time(buffer: &gst::BufferRef) -> Option<u32> {
    let map = buffer.map_readable().ok()?;
    Some(u32::from_be_bytes(map.get(4..8)?.try_into().ok()?))
}

impl Arrival {
    fn new() -> Self {
        Self {
            first_ns: Arc::new(AtomicI64::new(NONE_NS)),
            smallest_ns: Arc::new(AtomicI64::new(NONE_NS)),
            base_ns: Arc::new(AtomicI64::new(NONE_NS)),
        }
    }

    /// Time since the first packet, negative if none came.
    fn age_ns(&self, now_ns: i64) -> i64 {
        match self.first_ns.load(Relaxed) {
            NONE_NS => -1,
            first_ns => now_ns - first_ns,
        }
    }

    fn smallest(&self) -> Option<i64> {
        Some(self.smallest_ns.load(Relaxed)).filter(|ns| *ns != NONE_NS)
    }

    fn base(&self) -> Option<i64> {
        Some(self.base_ns.load(Relaxed)).filter(|ns| *ns != NONE_NS)
    }
}

/// Hands buffers to the next element in place of the one that a probe took.
fn push_all(pad: &gst::Pad, buffers: Vec<gst::Buffer>, shift_ns: i64) -> gst::PadProbeReturn {
    let Some(next) = pad.peer() else {
        return gst::PadProbeReturn::Handled;
    };
    for mut buffer in buffers {
        let moved = |time: Option<gst::ClockTime>| {
            time.and_then(|t| (t.nseconds() as i64).checked_add(shift_ns))
                .and_then(|ns| u64::try_from(ns).ok())
                .map(gst::ClockTime::from_nseconds)
        };
        if shift_ns != 0 {
            let (pts, dts) = (moved(buffer.pts()), moved(buffer.dts()));
            // Sound from before the first picture.
            if buffer.pts().is_some() && pts.is_none() {
                continue;
            }
            let buffer = buffer.make_mut();
            buffer.set_pts(pts);
            buffer.set_dts(dts);
        }
        // An error is posted on the bus by the element that has it.
        if next.chain(buffer).is_err() {
            break;
        }
    }
    gst::PadProbeReturn::Handled
}

/// Smallest delays of a session's pictures, in nanoseconds of running time.
#[derive(Debug)]
pub(super) struct Delay {
    /// Since the last anchor.
    since_anchor_ns: Arc<AtomicI64>,
    /// Since the last look for jumps.
    recent_ns: Arc<AtomicI64>,
    video: Arrival,
    audio: Arrival,
    /// All that a picture's delay goes into.
    video_slots: [Arc<AtomicI64>; 3],
}

impl Default for Delay {
    fn default() -> Self {
        let none = || Arc::new(AtomicI64::new(NONE_NS));
        let (since_anchor_ns, recent_ns, video) = (none(), none(), Arrival::new());
        Self {
            video_slots: [
                since_anchor_ns.clone(),
                recent_ns.clone(),
                video.smallest_ns.clone(),
            ],
            since_anchor_ns,
            recent_ns,
            video,
            audio: Arrival::new(),
        }
    }
}

impl Delay {
    /// A packet came so long after its own time.
    pub fn observe(&self, kind: TrackKind, delay_ns: i64) {
        for slot in self.slots(kind) {
            slot.fetch_min(delay_ns, Relaxed);
        }
    }

    fn slots(&self, kind: TrackKind) -> &[Arc<AtomicI64>] {
        match kind {
            TrackKind::Video => &self.video_slots,
            TrackKind::Audio => std::slice::from_ref(&self.audio.smallest_ns),
        }
    }

    /// Measures each buffer that leaves a network source, unless that is `Measured::AtArrival`, and holds the first ones
    /// back until the delays of all tracks are known: each track's times begin at its own first packet, so sound is
    /// then moved to the picture. Pictures of a local device have no delay: their times are the machine's own.
    pub fn watch(&self, pad: &gst::Pad, pipeline: &gst::Pipeline, kind: TrackKind, measured: Measured) {
        let pipeline = pipeline.downgrade();
        let smallest = match measured {
            Measured::Here => self.slots(kind).to_vec(),
            Measured::AtArrival => Vec::new(),
        };
        let (video, audio) = (self.video.clone(), self.audio.clone());
        let hold = Mutex::new(Hold::Holding(Vec::new()));
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            move |pad, info| {
                let Some(now) = pipeline.upgrade().and_then(|p| p.current_running_time()) else {
                    return gst::PadProbeReturn::Ok;
                };
                let now_ns = now.nseconds() as i64;
                let own_time = match &info.data {
                    Some(gst::PadProbeData::Buffer(buffer)) => running_time(pad, buffer),
                    Some(gst::PadProbeData::BufferList(list)) => {
                        list.get(0).and_then(|buffer| running_time(pad, buffer))
                    }
                    _ => None,
                };
                if let Some(own_time) = own_time {
                    for slot in &smallest {
                        slot.fetch_min(now_ns - own_time.nseconds() as i64, Relaxed);
                    }
                }
                let own = match kind {
                    TrackKind::Video => &video,
                    TrackKind::Audio => &audio,
                };
                if own
                    .first_ns
                    .compare_exchange(NONE_NS, now_ns, Relaxed, Relaxed)
                    .is_ok()
                    && let Some(base_ns) = own_time.and_then(|own_time| base_ns(pad, info, own_time))
                {
                    own.base_ns.store(base_ns, Relaxed);
                }
                let mut hold = hold.lock().unwrap_or_else(PoisonError::into_inner);
                if let Hold::Holding(held) = &mut *hold {
                    match info.data.take() {
                        Some(gst::PadProbeData::Buffer(buffer)) => held.push(buffer),
                        Some(gst::PadProbeData::BufferList(list)) => {
                            held.extend(list.iter_owned());
                        }
                        _ => {}
                    }
                    let is_measured =
                        video.age_ns(now_ns) >= MEASURE_NS || own.age_ns(now_ns) >= 3 * MEASURE_NS;
                    if own.age_ns(now_ns) < MEASURE_NS || !is_measured {
                        return gst::PadProbeReturn::Handled;
                    }
                    let shift_ns = match kind {
                        TrackKind::Audio => shift_ns(&audio, &video),
                        TrackKind::Video => 0,
                    };
                    tracing::debug!(?kind, shift_ns, ?audio, ?video, "track is aligned");
                    let held = std::mem::take(held);
                    *hold = Hold::Shifting(shift_ns);
                    return push_all(pad, held, shift_ns);
                }
                let Hold::Shifting(shift_ns) = *hold else {
                    return gst::PadProbeReturn::Ok;
                };
                if shift_ns == 0 {
                    return gst::PadProbeReturn::Ok;
                }
                match info.data.take() {
                    Some(gst::PadProbeData::Buffer(buffer)) => push_all(pad, vec![buffer], shift_ns),
                    Some(gst::PadProbeData::BufferList(list)) => {
                        push_all(pad, list.iter_owned().collect(), shift_ns)
                    }
                    _ => gst::PadProbeReturn::Ok,
                }
            },
        );
    }

    /// The smallest delay since the last call.
    pub fn take_for_anchor_ns(&self) -> Option<i64> {
        Self::take(&self.since_anchor_ns)
    }

    /// The smallest delay since the last call, to find jumps of the camera's clock.
    pub fn take_recent_ns(&self) -> Option<i64> {
        Self::take(&self.recent_ns)
    }

    fn take(slot: &AtomicI64) -> Option<i64> {
        Some(slot.swap(NONE_NS, Relaxed)).filter(|ns| *ns != NONE_NS)
    }
}
