//! The muxer and what is watched at its doors: age of samples, keyframes, changes of tracks.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use archive::gap::GapCause;
use archive::time::Clock;
use gst::prelude::*;
use tokio::sync::mpsc;

use super::delay::Delay;
use super::{CaptureError, Examiner, Health, LiveTap};

/// A fragment is cut at least this often, so that a crash loses no more.
const CHUNK: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// Samples of so long may wait for the muxer, so that who brings many at once need not wait for each to be taken.
const ROOM: gst::ClockTime = gst::ClockTime::from_mseconds(400);

/// Keyframes that follow each other faster don't each get a fragment.
const SHORTEST_GOP: gst::ClockTime = gst::ClockTime::from_mseconds(400);

/// Longer than any GOP: fragments end where the probe asks for it, at keyframes.
const LONGEST_FRAGMENT: gst::ClockTime = gst::ClockTime::from_seconds(24 * 3600);

const NONE_NS: u64 = u64::MAX;

/// Picture or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrackKind {
    Video,
    Audio,
}

/// What threads of GStreamer and the session's task share.
pub(super) struct Flow {
    pub clock: Arc<dyn Clock>,
    pub health: Arc<Health>,
    pub tap: Arc<LiveTap>,
    pub examiner: Arc<Examiner>,
    /// Monotonic time of the first picture, 0 if none came.
    pub first_video_us: AtomicI64,
    /// Monotonic time of the last sound at the muxer, 0 if none came.
    pub audio_us: AtomicI64,
    /// Monotonic time of the last sound from the camera, also when nobody takes it any more.
    pub audio_source_us: AtomicI64,
    /// Monotonic time of the last of the picture that came in, before anything was done to it; 0 if nothing came.
    pub received_us: AtomicI64,
    /// Monotonic time of the last fragment that came out, 0 if none did.
    pub fragment_us: AtomicI64,
    /// The camera answered and told its tracks.
    pub is_established: AtomicBool,
    /// How late pictures arrive.
    pub delay: Delay,
    first_keyframe_ns: AtomicU64,
    last_split_ns: AtomicU64,
    ends: mpsc::Sender<(GapCause, String)>,
}

impl Flow {
    pub fn new(
        clock: Arc<dyn Clock>,
        health: Arc<Health>,
        tap: Arc<LiveTap>,
        examiner: Arc<Examiner>,
        ends: mpsc::Sender<(GapCause, String)>,
    ) -> Self {
        Self {
            clock,
            health,
            tap,
            examiner,
            ends,
            first_video_us: AtomicI64::new(0),
            audio_us: AtomicI64::new(0),
            audio_source_us: AtomicI64::new(0),
            received_us: AtomicI64::new(0),
            fragment_us: AtomicI64::new(0),
            is_established: AtomicBool::new(false),
            delay: Delay::default(),
            first_keyframe_ns: AtomicU64::new(NONE_NS),
            last_split_ns: AtomicU64::new(NONE_NS),
        }
    }

    /// Notes what comes in at a pad, ahead of everything that could hang.
    pub fn watch_arrival(self: &Arc<Self>, pad: &gst::Pad) {
        let flow = Arc::downgrade(self);
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            move |_, _| {
                if let Some(flow) = flow.upgrade() {
                    flow.received_us.store(flow.clock.monotonic_us(), Relaxed);
                }
                gst::PadProbeReturn::Ok
            },
        );
    }

    /// Ends the session; the first cause counts.
    pub fn end(&self, cause: GapCause, detail: impl Into<String>) {
        // A full channel already holds an earlier cause.
        let _ = self.ends.try_send((cause, detail.into()));
    }
}

/// The muxer with one door per track.
pub(super) struct Mux {
    pub element: gst::Element,
    pub flow: Arc<Flow>,
    audio_pad: Mutex<Option<gst::Pad>>,
    video_pad: Mutex<Option<gst::Pad>>,
}

impl Mux {
    pub fn new(flow: Arc<Flow>) -> Result<Self, CaptureError> {
        let element = gst::ElementFactory::make("isofmp4mux")
            .property("fragment-duration", LONGEST_FRAGMENT)
            .property("chunk-duration", CHUNK)
            .property("offset-to-zero", true)
            .property("send-force-keyunit", false)
            .property("latency", ROOM)
            .build()?;
        Ok(Self {
            element,
            flow,
            audio_pad: Mutex::new(None),
            video_pad: Mutex::new(None),
        })
    }

    fn slot(&self, kind: TrackKind) -> &Mutex<Option<gst::Pad>> {
        match kind {
            TrackKind::Video => &self.video_pad,
            TrackKind::Audio => &self.audio_pad,
        }
    }

    /// The door of a track that was reserved.
    pub fn pad(&self, kind: TrackKind) -> Option<gst::Pad> {
        self.slot(kind)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Opens a door. All must be open before the first sample comes, because then the tracks are fixed.
    pub fn reserve(&self, kind: TrackKind) -> Result<gst::Pad, CaptureError> {
        let pad = self
            .element
            .request_pad_simple("sink_%u")
            .ok_or_else(|| CaptureError::Build("isofmp4mux gives no pad".into()))?;
        // `trak-timescale` stays unset: for a pad requested while the muxer runs it reaches the init segment but
        // not the fragments.
        never_time_out(&pad);
        match kind {
            TrackKind::Video => self.watch_video(&pad),
            TrackKind::Audio => self.watch_audio(&pad),
        }
        *self.slot(kind).lock().unwrap_or_else(PoisonError::into_inner) = Some(pad.clone());
        Ok(pad)
    }

    /// Goes on without sound; what waits for it is written. Blocks until the muxer took it.
    pub fn give_up_audio(&self) {
        if let Some(pad) = self.pad(TrackKind::Audio) {
            pad.send_event(gst::event::Eos::new());
        }
    }

    /// Writes what is still inside. Blocks until the muxer took it.
    pub fn finish(&self) {
        for kind in [TrackKind::Audio, TrackKind::Video] {
            if let Some(pad) = self.pad(kind) {
                pad.send_event(gst::event::Eos::new());
            }
        }
    }

    fn watch_video(&self, pad: &gst::Pad) {
        let flow = self.flow.clone();
        flow.tap.attach(pad);
        let mux = self.element.downgrade();
        let caps_before = Mutex::new(None);
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM,
            move |pad, info| match &info.data {
                Some(gst::PadProbeData::Event(event)) => {
                    note_caps(&flow, event, &caps_before);
                    gst::PadProbeReturn::Ok
                }
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    let now = flow.clock.monotonic_us();
                    flow.health.last_sample_us.store(now, Relaxed);
                    let _ = flow.first_video_us.compare_exchange(0, now, Relaxed, Relaxed);
                    let Some(running) = running_time(pad, buffer) else {
                        return gst::PadProbeReturn::Handled;
                    };
                    let is_keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                    if is_keyframe {
                        split(&flow, &mux, running);
                    } else if flow.first_keyframe_ns.load(Relaxed) == NONE_NS {
                        return gst::PadProbeReturn::Handled;
                    }
                    if let Some(caps) = pad.current_caps() {
                        flow.tap.offer_picture(&caps, buffer, running);
                        flow.examiner.offer_picture(&caps, buffer, now);
                    }
                    gst::PadProbeReturn::Ok
                }
                _ => gst::PadProbeReturn::Ok,
            },
        );
    }

    fn watch_audio(&self, pad: &gst::Pad) {
        let flow = self.flow.clone();
        let caps_before = Mutex::new(None);
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM,
            move |pad, info| match &info.data {
                Some(gst::PadProbeData::Event(event)) => {
                    note_caps(&flow, event, &caps_before);
                    gst::PadProbeReturn::Ok
                }
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    let now = flow.clock.monotonic_us();
                    flow.audio_us.store(now, Relaxed);
                    let first_keyframe_ns = flow.first_keyframe_ns.load(Relaxed);
                    match running_time(pad, buffer) {
                        // Sound before the first picture would start the file without a picture.
                        Some(running) if running.nseconds() >= first_keyframe_ns => {
                            if let Some(caps) = pad.current_caps() {
                                flow.tap.offer_sound(&caps, buffer, running);
                                flow.examiner.offer_sound(&caps, buffer, now);
                            }
                            gst::PadProbeReturn::Ok
                        }
                        _ => gst::PadProbeReturn::Handled,
                    }
                }
                _ => gst::PadProbeReturn::Ok,
            },
        );
    }
}

pub(super) fn running_time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    segment
        .segment()
        .downcast_ref::<gst::ClockTime>()?
        .to_running_time(buffer.pts()?)
}

/// A keyframe starts a fragment.
fn split(flow: &Flow, mux: &gst::glib::WeakRef<gst::Element>, running: gst::ClockTime) {
    let is_first = flow
        .first_keyframe_ns
        .compare_exchange(NONE_NS, running.nseconds(), Relaxed, Relaxed)
        .is_ok();
    let since_ns = running
        .nseconds()
        .saturating_sub(flow.last_split_ns.load(Relaxed));
    if is_first || since_ns >= SHORTEST_GOP.nseconds() {
        flow.last_split_ns.store(running.nseconds(), Relaxed);
        if let (false, Some(mux)) = (is_first, mux.upgrade()) {
            mux.emit_by_name::<()>("split-at-running-time", &[&Some(running)]);
        }
    }
}

/// The init segment holds the codec's parameters, so a change of them ends the session.
fn note_caps(flow: &Flow, event: &gst::Event, before: &Mutex<Option<gst::Caps>>) {
    let gst::EventView::Caps(event) = event.view() else {
        return;
    };
    let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(old) = before.as_ref()
        && essence(old) != essence(event.caps())
    {
        flow.end(
            GapCause::TracksChanged,
            format!(
                "the camera changed from {} to {}",
                describe(old),
                describe(event.caps())
            ),
        );
    }
    *before = Some(event.caps_owned());
}

/// What of the caps stands in the init segment.
type Essence = (String, Option<Vec<u8>>, [Option<i32>; 4], Option<gst::Fraction>);

fn essence(caps: &gst::CapsRef) -> Option<Essence> {
    let s = caps.structure(0)?;
    let codec_data = s
        .get::<gst::Buffer>("codec_data")
        .ok()
        .and_then(|b| b.map_readable().ok().map(|m| m.to_vec()));
    let numbers = ["width", "height", "rate", "channels"].map(|field| s.get::<i32>(field).ok());
    // The muxer takes the track's timescale from the rate of pictures.
    let rate = s.get::<gst::Fraction>("framerate").ok();
    Some((s.name().to_string(), codec_data, numbers, rate))
}

fn describe(caps: &gst::CapsRef) -> String {
    match essence(caps) {
        Some((name, _, [Some(width), Some(height), ..], _)) => format!("{name} {width}x{height}"),
        Some((name, _, [_, _, Some(rate), Some(channels)], _)) => format!("{name} {rate} Hz {channels} ch"),
        Some((name, ..)) => name,
        None => "nothing".to_owned(),
    }
}

/// Tells the muxer that nothing is live: it then waits for every track, and the session's watch alone decides
/// when a track is given up. Otherwise a late sound would be left out at the muxer's own discretion.
fn never_time_out(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::QUERY_UPSTREAM, |_, info| {
        if let Some(query) = info.query_mut()
            && let gst::QueryViewMut::Latency(latency) = query.view_mut()
        {
            latency.set(false, gst::ClockTime::ZERO, gst::ClockTime::NONE);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}
