//! How long after its own time a picture arrives: ties a camera's clock to the machine's.
//!
//! A camera numbers its pictures by its own clock, evenly; their arrival jitters and comes in bursts. The smallest
//! delay of many pictures is free of jitter, so the anchors take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use gst::prelude::*;

use super::mux::running_time;

const NONE_NS: i64 = i64::MAX;

/// Smallest delays of a session's pictures, in nanoseconds of running time.
#[derive(Debug)]
pub(super) struct Delay {
    /// Since the last anchor.
    since_anchor_ns: Arc<AtomicI64>,
    /// Since the last look for jumps.
    recent_ns: Arc<AtomicI64>,
}

impl Default for Delay {
    fn default() -> Self {
        let none = || Arc::new(AtomicI64::new(NONE_NS));
        Self {
            since_anchor_ns: none(),
            recent_ns: none(),
        }
    }
}

impl Delay {
    /// Measures each buffer that leaves a network source. Pictures of a local device have no delay: their times are
    /// the machine's own.
    pub fn watch(&self, pad: &gst::Pad, pipeline: &gst::Pipeline) {
        let pipeline = pipeline.downgrade();
        let smallest = [self.since_anchor_ns.clone(), self.recent_ns.clone()];
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            move |pad, info| {
                let own_time = match &info.data {
                    Some(gst::PadProbeData::Buffer(buffer)) => running_time(pad, buffer),
                    Some(gst::PadProbeData::BufferList(list)) => {
                        list.get(0).and_then(|buffer| running_time(pad, buffer))
                    }
                    _ => None,
                };
                let now = pipeline.upgrade().and_then(|p| p.current_running_time());
                if let (Some(own_time), Some(now)) = (own_time, now) {
                    let delay_ns = now.nseconds() as i64 - own_time.nseconds() as i64;
                    for slot in &smallest {
                        slot.fetch_min(delay_ns, Relaxed);
                    }
                }
                gst::PadProbeReturn::Ok
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
