//! Pipelines from each kind of source to the muxer.

use std::sync::Arc;

use gst::prelude::*;
use site_config::recorder::{Source, Transport};

use super::element::{filter, make, opus_input};
use super::mux::{Flow, Mux, TrackKind};
use super::sink::Sink;
use super::tracks::Tracks;
use super::{CaptureContext, CaptureError, rtsp, rtspsrc};

/// A built pipeline, not yet playing.
pub(super) struct Graph {
    pub pipeline: gst::Pipeline,
    pub mux: Arc<Mux>,
    pub sink: Sink,
    /// Reads the camera, if no element does; ends with the graph.
    pub client: Option<rtsp::Client>,
}

/// Builds the pipeline of a session.
pub(super) fn build(context: &CaptureContext, flow: &Arc<Flow>) -> Result<Graph, CaptureError> {
    let pipeline = gst::Pipeline::new();
    // The monotonic clock, so that the wall clock can be set without touching media times.
    pipeline.use_clock(Some(&gst::SystemClock::obtain()));
    let mux = Arc::new(Mux::new(flow.clone())?);
    let sink = Sink::new(
        context.stream.clone(),
        context.output.clone(),
        flow.clone(),
        &pipeline,
    );
    pipeline.add_many([&mux.element, sink.element.upcast_ref()])?;
    mux.element.link(&sink.element)?;
    let mut client = None;
    match &context.source {
        Source::Rtsp {
            url,
            transport,
            username,
            password_file,
            audio,
        } => {
            let camera = rtsp::Camera::new(url, username.as_deref(), password_file.as_deref())?;
            let tracks = Tracks::new(mux.clone(), *audio);
            if *transport == Transport::Tcp && !camera.is_tls() {
                client = Some(rtsp::start(&pipeline, camera, tracks, flow)?);
            } else {
                rtspsrc::add(&pipeline, &camera, *transport, tracks, flow)?;
            }
        }
        Source::Device {
            video,
            audio,
            width,
            height,
            fps,
            bitrate_kbit,
        } => {
            let camera = make("v4l2src")?;
            camera.set_property("device", video.to_string_lossy().as_ref());
            let picture = Picture {
                width: *width,
                height: *height,
                fps: *fps,
                bitrate_kbit: *bitrate_kbit,
            };
            watch_source(&camera, flow);
            encode_picture(&pipeline, &mux, camera, &picture)?;
            if let Some(audio) = audio {
                encode_sound(&pipeline, &mux, microphone(audio)?)?;
            }
        }
        Source::Test => {
            let camera = make("videotestsrc")?;
            camera.set_property("is-live", true);
            camera.set_property_from_str("pattern", "ball");
            let picture = Picture {
                width: 640,
                height: 360,
                fps: 25,
                bitrate_kbit: 500,
            };
            watch_source(&camera, flow);
            encode_picture(&pipeline, &mux, camera, &picture)?;
            let tone = make("audiotestsrc")?;
            tone.set_property("is-live", true);
            tone.set_property_from_str("wave", "ticks");
            encode_sound(&pipeline, &mux, tone)?;
        }
    }
    Ok(Graph {
        pipeline,
        mux,
        sink,
        client,
    })
}

fn watch_source(camera: &gst::Element, flow: &Arc<Flow>) {
    if let Some(pad) = camera.static_pad("src") {
        flow.watch_arrival(&pad);
    }
}

struct Picture {
    width: u32,
    height: u32,
    fps: u32,
    bitrate_kbit: u32,
}

fn encode_picture(
    pipeline: &gst::Pipeline,
    mux: &Arc<Mux>,
    source: gst::Element,
    picture: &Picture,
) -> Result<(), CaptureError> {
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let raw = gst::Caps::builder("video/x-raw")
        // x264 takes 4:2:2 and 4:4:4 too, but few browsers play them.
        .field("format", "I420")
        .field("width", number(picture.width))
        .field("height", number(picture.height))
        .field("framerate", gst::Fraction::new(number(picture.fps), 1))
        .build();
    let encoder = make("x264enc")?;
    encoder.set_property("bitrate", picture.bitrate_kbit);
    encoder.set_property("key-int-max", picture.fps * 2);
    encoder.set_property("bframes", 0u32);
    encoder.set_property_from_str("speed-preset", "veryfast");
    // Without lookahead a picture leaves as it comes; sliced threads corrupt pictures.
    encoder.set_property("rc-lookahead", 0i32);
    encoder.set_property("sliced-threads", false);
    encoder.set_property("threads", 1u32);
    let chain = [
        source,
        make("videoconvert")?,
        make("videoscale")?,
        make("videorate")?,
        filter(&raw)?,
        patient_queue()?,
        encoder,
        make("h264parse")?,
        make("h264timestamper")?,
    ];
    connect_encoded(pipeline, mux, TrackKind::Video, &chain)
}

fn encode_sound(pipeline: &gst::Pipeline, mux: &Arc<Mux>, source: gst::Element) -> Result<(), CaptureError> {
    let encoder = make("opusenc")?;
    encoder.set_property("bitrate", 48_000i32);
    let chain = [
        source,
        make("audioconvert")?,
        make("audioresample")?,
        filter(&opus_input())?,
        patient_queue()?,
        encoder,
    ];
    connect_encoded(pipeline, mux, TrackKind::Audio, &chain)
}

fn connect_encoded(
    pipeline: &gst::Pipeline,
    mux: &Arc<Mux>,
    kind: TrackKind,
    chain: &[gst::Element],
) -> Result<(), CaptureError> {
    pipeline.add_many(chain)?;
    gst::Element::link_many(chain)?;
    let door = mux.reserve(kind)?;
    let out = chain
        .last()
        .and_then(|last| last.static_pad("src"))
        .ok_or_else(|| CaptureError::Build("no src".into()))?;
    if kind == TrackKind::Audio {
        let flow = mux.flow.clone();
        out.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            flow.audio_source_us
                .store(flow.clock.monotonic_us(), std::sync::atomic::Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
    }
    out.link(&door)
        .map(|_| ())
        .map_err(|e| CaptureError::Build(e.to_string()))?;
    mux.flow
        .is_established
        .store(true, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}

/// Lets one track wait for the other without stopping its device; drops the oldest rather than memory.
fn patient_queue() -> Result<gst::Element, CaptureError> {
    let queue = make("queue")?;
    queue.set_property_from_str("leaky", "downstream");
    queue.set_property("max-size-buffers", 0u32);
    queue.set_property("max-size-bytes", 256 * 1024 * 1024u32);
    queue.set_property("max-size-time", 4_000_000_000u64);
    Ok(queue)
}

fn microphone(device: &str) -> Result<gst::Element, CaptureError> {
    let (element, name) = match device.split_once(':') {
        Some(("alsa", name)) => ("alsasrc", name),
        Some(("pulse", name)) => ("pulsesrc", name),
        _ => {
            return Err(CaptureError::Build(format!(
                "{device} is neither alsa: nor pulse:"
            )));
        }
    };
    let source = make(element)?;
    source.set_property("device", name);
    // The pipeline's clock is the monotonic one; the microphone's own clock is followed by resampling.
    source.set_property("provide-clock", false);
    Ok(source)
}
