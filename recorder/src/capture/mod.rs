//! From a camera to fragments. The only place that knows GStreamer.
//!
//! Each stream has a task that runs one pipeline after another: a *session*. A session gives an init
//! segment and fragments as bytes until it ends with a cause. Nothing here waits for a disk,
//! a database or a viewer.

mod beat;
mod decode;
mod delay;
mod element;
mod examine;
mod file;
mod graph;
mod live_audio;
mod mux;
mod probe;
mod rtp_time;
mod rtsp;
mod rtspsrc;
mod sampler;
mod session;
mod sink;
mod supervise;
mod tap;
mod tracks;

use std::sync::Arc;

use archive::gap::GapCause;
use archive::ids::{RunId, StreamId};
use archive::time::{Anchor, Clock};
use bytes::Bytes;
use site_config::recorder::Source;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use examine::{Examined, Examiner, examiners};
pub use file::{FileReport, examine_file};
pub use probe::{ProbeReport, devices, probe};
pub use supervise::supervise;
pub use tap::{EncodedSample, LiveTap, SampleCodec, SampleKind};

/// What a capture needs beside its source.
#[derive(Clone)]
pub struct CaptureContext {
    /// Which stream.
    pub stream: StreamId,
    /// Where its pictures come from.
    pub source: Source,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where everything captured goes.
    pub output: mpsc::Sender<Captured>,
    /// What the writer asks of the capture.
    pub requests: watch::Receiver<Option<EndRequest>>,
    /// Live samples.
    pub tap: Arc<LiveTap>,
    /// Looks at what passes.
    pub examiner: Arc<Examiner>,
    /// How it does.
    pub health: Arc<Health>,
    /// Ends it in order.
    pub shutdown: CancellationToken,
}

/// The writer cannot go on with the current run; the capture ends it and starts another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndRequest {
    /// The run that must end.
    pub run: RunId,
    /// Why.
    pub cause: GapCause,
    /// What happened.
    pub detail: String,
}

/// What a stream's capture gives, in order.
#[derive(Debug)]
pub struct Captured {
    /// Of which stream.
    pub stream: StreamId,
    /// What.
    pub event: CaptureEvent,
}

/// One thing that a stream's capture gives.
#[derive(Debug)]
pub enum CaptureEvent {
    /// A run begins with this init segment.
    RunStarted {
        /// A fresh id.
        run: RunId,
        /// `ftyp` and `moov`.
        init: Bytes,
        /// Ties the run's media time to the wall clock.
        anchor: Anchor,
    },
    /// The next `moof` and `mdat` of the run.
    Fragment {
        /// Of which run.
        run: RunId,
        /// The bytes.
        bytes: Bytes,
    },
    /// Another look at the clock.
    Anchored {
        /// Of which run.
        run: RunId,
        /// What was seen.
        anchor: Anchor,
    },
    /// Nothing is captured any more, for now.
    Ended {
        /// The run, if one had begun.
        run: Option<RunId>,
        /// Why.
        cause: GapCause,
        /// What was seen.
        detail: String,
    },
}

/// How a stream does, for heartbeats, metrics and logs.
#[derive(Debug, Default)]
pub struct Health {
    /// Monotonic time of the last picture, 0 if none came.
    pub last_sample_us: std::sync::atomic::AtomicI64,
    /// Why nothing is captured now.
    pub fault: std::sync::Mutex<Option<GapCause>>,
    /// Sessions begun.
    pub sessions: std::sync::atomic::AtomicU64,
}

impl Health {
    /// Milliseconds since the last picture.
    pub fn last_sample_age_ms(&self, now_us: i64) -> Option<u64> {
        let last = self.last_sample_us.load(std::sync::atomic::Ordering::Relaxed);
        (last != 0).then(|| u64::try_from((now_us - last) / 1000).unwrap_or(0))
    }

    /// Why nothing is captured now.
    pub fn fault(&self) -> Option<GapCause> {
        *self
            .fault
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn set_fault(&self, fault: Option<GapCause>) {
        *self
            .fault
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = fault;
    }
}

/// Why a source can't be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {0}")]
    Start(String),
    /// An element is not installed.
    #[error("GStreamer element {element} is missing: install {package}")]
    MissingElement {
        /// The element.
        element: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// Elements don't fit together.
    #[error("the pipeline can't be built: {0}")]
    Build(String),
    /// The password of a camera can't be read.
    #[error("password file {}: {source}", file.display())]
    Password {
        /// Which file.
        file: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<gst::glib::BoolError> for CaptureError {
    fn from(e: gst::glib::BoolError) -> Self {
        Self::Build(e.to_string())
    }
}

/// Elements that every recorder needs, and the Debian packages that have them.
const ELEMENTS: [(&str, &str); 8] = [
    ("rtspsrc", "gstreamer1.0-plugins-good"),
    ("rtph264depay", "gstreamer1.0-plugins-good"),
    ("h264parse", "gstreamer1.0-plugins-bad"),
    ("h264timestamper", "gstreamer1.0-plugins-bad"),
    ("aacparse", "gstreamer1.0-plugins-good"),
    ("opusparse", "gstreamer1.0-plugins-bad"),
    ("opusenc", "gstreamer1.0-plugins-base"),
    ("appsink", "gstreamer1.0-plugins-base"),
];

/// Starts GStreamer; call once before anything else here.
///
/// # Errors
/// If it does not start or elements are missing.
pub fn init() -> Result<(), CaptureError> {
    gst::init().map_err(|e| CaptureError::Start(e.to_string()))?;
    gstfmp4::plugin_register_static().map_err(|e| CaptureError::Start(e.to_string()))?;
    for (element, package) in ELEMENTS {
        if gst::ElementFactory::find(element).is_none() {
            return Err(CaptureError::MissingElement { element, package });
        }
    }
    Ok(())
}
