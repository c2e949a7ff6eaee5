//! The end of the pipeline: buffer lists of the muxer become init segment and fragments.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use archive::gap::GapCause;
use archive::ids::{RunId, StreamId};
use archive::time::{Anchor, Clock, MediaTime, Moment};
use bytes::Bytes;
use gst::prelude::*;
use tokio::sync::{Notify, mpsc};

use super::mux::Flow;
use super::{CaptureEvent, Captured};
use crate::clock::clock_state;

/// The first anchor is taken so long after the first picture, over and above what [`super::delay`] waits.
const MEASURE_US: i64 = 300_000;

/// isofmp4mux puts its output this far from zero.
const SEGMENT_OFFSET: gst::ClockTime = gst::ClockTime::from_seconds(3600 * 1000);

/// The run of a session, once it has begun.
#[derive(Debug, Clone)]
pub(super) struct CurrentRun {
    pub run: RunId,
    /// Running time of the pipeline at media time 0.
    origin: gst::ClockTime,
    /// The delay that the last anchor took, in nanoseconds.
    pub delay_ns: i64,
}

/// A run that has begun but is not told of yet, because its first anchor is still being measured.
struct Opening {
    init: Bytes,
    fragments: Vec<Bytes>,
}

/// Takes what the muxer gives and hands it on.
pub(super) struct Sink {
    pub element: gst_app::AppSink,
    /// Notified when the muxer has given all that it had.
    pub drained: Arc<Notify>,
    current: Arc<Mutex<Option<CurrentRun>>>,
}

struct Receiver {
    stream: StreamId,
    output: mpsc::Sender<Captured>,
    flow: Arc<Flow>,
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    current: Arc<Mutex<Option<CurrentRun>>>,
    /// Lock order: this before `current`.
    opening: Mutex<Option<Opening>>,
}

impl Sink {
    pub fn new(
        stream: StreamId,
        output: mpsc::Sender<Captured>,
        flow: Arc<Flow>,
        pipeline: &gst::Pipeline,
    ) -> Self {
        // Not async: the pipeline plays, and counts time, before a camera has answered.
        let element = gst_app::AppSink::builder()
            .sync(false)
            .async_(false)
            .buffer_list(true)
            .build();
        let current = Arc::new(Mutex::new(None));
        let drained = Arc::new(Notify::new());
        let receiver = Receiver {
            stream,
            output,
            flow,
            pipeline: pipeline.downgrade(),
            current: current.clone(),
            opening: Mutex::new(None),
        };
        let receiver = Arc::new(receiver);
        let at_end = (drained.clone(), receiver.clone());
        element.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    receiver.take(&sample)
                })
                .eos(move |_| {
                    let (drained, receiver) = &at_end;
                    // An error ended the session already.
                    let _ = receiver.announce();
                    drained.notify_one();
                })
                .build(),
        );
        Self {
            element,
            drained,
            current,
        }
    }

    /// Remembers the delay that an anchor took.
    pub fn note_delay(&self, delay_ns: i64) {
        if let Some(current) = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            current.delay_ns = delay_ns;
        }
    }

    /// The run, if it has begun.
    pub fn current(&self) -> Option<CurrentRun> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl CurrentRun {
    /// Looks at both clocks at once: pictures arrive `delay_ns` after their own time.
    pub fn anchor(&self, pipeline: &gst::Pipeline, clock: &dyn Clock, delay_ns: i64) -> Option<Anchor> {
        let (running, now) = at_once(pipeline, clock)?;
        let media_ns =
            i128::from(running.nseconds()) - i128::from(delay_ns) - i128::from(self.origin.nseconds());
        Some(Anchor {
            media: MediaTime(i64::try_from(media_ns / 1000).unwrap_or(i64::MAX)),
            wall: now.wall,
            clock_state: clock_state(now.wall),
            boot: now.boot,
        })
    }
}

/// The pipeline's time and the machine's, of the try with the least interruption in between.
fn at_once(pipeline: &gst::Pipeline, clock: &dyn Clock) -> Option<(gst::ClockTime, Moment)> {
    let mut best: Option<(gst::ClockTime, gst::ClockTime, Moment)> = None;
    for _ in 0..3 {
        let before = pipeline.current_running_time()?;
        let now = Moment::now(clock);
        let after = pipeline.current_running_time()?;
        let width = after.saturating_sub(before);
        if best.is_none_or(|(least, ..)| width < least) {
            best = Some((width, before + width / 2, now));
        }
        if width < gst::ClockTime::from_useconds(300) {
            break;
        }
    }
    best.map(|(_, running, now)| (running, now))
}

impl Receiver {
    fn take(&self, sample: &gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        let single;
        let list = match sample.buffer_list() {
            Some(list) => list,
            None => {
                let mut list = gst::BufferList::new();
                if let (Some(list), Some(buffer)) = (list.get_mut(), sample.buffer_owned()) {
                    list.add(buffer);
                }
                single = list;
                &single
            }
        };
        self.flow
            .fragment_us
            .store(self.flow.clock.monotonic_us(), Relaxed);
        let (init, bytes) = split_init(list);
        if let Some((init, pts)) = init {
            self.begin(init, pts)?;
        }
        if bytes.is_empty() {
            return Ok(gst::FlowSuccess::Ok);
        }
        {
            let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(opening) = opening.as_mut() {
                opening.fragments.push(bytes);
                let since_us = self.flow.clock.monotonic_us() - self.flow.first_video_us.load(Relaxed);
                if since_us < MEASURE_US {
                    return Ok(gst::FlowSuccess::Ok);
                }
            } else {
                drop(opening);
                return match self.run() {
                    Some(run) => self.send(CaptureEvent::Fragment { run, bytes }),
                    None => Ok(gst::FlowSuccess::Ok),
                };
            }
        }
        self.announce()
    }

    fn run(&self) -> Option<RunId> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|c| c.run.clone())
    }

    fn begin(&self, init: Bytes, pts: Option<gst::ClockTime>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_some() {
            self.flow
                .end(GapCause::TracksChanged, "the muxer began a new file");
            return Err(gst::FlowError::Eos);
        }
        *current = Some(CurrentRun {
            run: RunId::from_uuid(uuid::Uuid::now_v7()),
            origin: pts.unwrap_or_default().saturating_sub(SEGMENT_OFFSET),
            delay_ns: 0,
        });
        *opening = Some(Opening {
            init,
            fragments: Vec::new(),
        });
        Ok(gst::FlowSuccess::Ok)
    }

    /// Tells of the run and its first fragments, if that has not been done.
    fn announce(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(opening) = opening else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let pipeline = self.pipeline.upgrade().ok_or(gst::FlowError::Flushing)?;
        let (run, anchor) = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            let current = current.as_mut().ok_or(gst::FlowError::Error)?;
            current.delay_ns = self.flow.delay.take_for_anchor_ns().unwrap_or(0);
            let anchor = current
                .anchor(&pipeline, &*self.flow.clock, current.delay_ns)
                .ok_or(gst::FlowError::Flushing)?;
            (current.run.clone(), anchor)
        };
        let init = opening.init;
        self.send(CaptureEvent::RunStarted {
            run: run.clone(),
            init,
            anchor,
        })?;
        for bytes in opening.fragments {
            let run = run.clone();
            self.send(CaptureEvent::Fragment { run, bytes })?;
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn send(&self, event: CaptureEvent) -> Result<gst::FlowSuccess, gst::FlowError> {
        let captured = Captured {
            stream: self.stream.clone(),
            event,
        };
        self.output.try_send(captured).map_err(|_| {
            self.flow.end(
                GapCause::DiskFailed,
                "the disk did not take the recording as fast as it came",
            );
            gst::FlowError::Eos
        })?;
        Ok(gst::FlowSuccess::Ok)
    }
}

type Init = (Bytes, Option<gst::ClockTime>);

/// The init segment, if the list begins with one, and the rest in one piece.
fn split_init(list: &gst::BufferListRef) -> (Option<Init>, Bytes) {
    let mut init = None;
    let mut bytes = Vec::with_capacity(list.calculate_size());
    for buffer in list.iter() {
        let Ok(map) = buffer.map_readable() else { continue };
        if buffer
            .flags()
            .contains(gst::BufferFlags::HEADER | gst::BufferFlags::DISCONT)
        {
            init = Some((Bytes::copy_from_slice(&map), buffer.pts()));
        } else {
            bytes.extend_from_slice(&map);
        }
    }
    (init, bytes.into())
}
