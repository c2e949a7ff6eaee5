//! Pipelines from each kind of source to the muxer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use archive::gap::GapCause;
use gst::prelude::*;
use site_config::recorder::{RtspAudio, Source, Transport};

use super::mux::{Flow, Mux, TrackKind};
use super::sink::Sink;
use super::{CaptureContext, CaptureError};

/// A built pipeline, not yet playing.
pub(super) struct Graph {
    pub pipeline: gst::Pipeline,
    pub mux: Arc<Mux>,
    pub sink: Sink,
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
    match &context.source {
        Source::Rtsp {
            url,
            transport,
            username,
            password_file,
            audio,
        } => {
            let source = rtsp_source(url, *transport, username.as_deref(), password_file.as_deref())?;
            pipeline.add(&source)?;
            watch_arrival(&source, flow);
            connect_rtsp(&pipeline, &source, &mux, *audio);
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
    Ok(Graph { pipeline, mux, sink })
}

fn make(element: &str) -> Result<gst::Element, CaptureError> {
    Ok(gst::ElementFactory::make(element).build()?)
}

fn rtsp_source(
    url: &str,
    transport: Transport,
    username: Option<&str>,
    password_file: Option<&Path>,
) -> Result<gst::Element, CaptureError> {
    let source = make("rtspsrc")?;
    source.set_property("location", url);
    source.set_property_from_str(
        "protocols",
        match transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        },
    );
    // Datagrams need time to be put in order; a TCP connection keeps the order itself.
    let latency_ms = match transport {
        Transport::Tcp => 50u32,
        Transport::Udp => 300,
    };
    source.set_property("latency", latency_ms);
    // Times as the camera numbers them, unsmoothed; anchors tie them to the wall clock (see `delay`).
    source.set_property_from_str("buffer-mode", "none");
    // A sender report would move a track in the midst of its run; `delay` has aligned the tracks before.
    source.set_property("max-ts-offset", 1i64);
    source.set_property("tcp-timeout", 5_000_000u64);
    source.set_property("timeout", 5_000_000u64);
    source.set_property("udp-buffer-size", 4 * 1024 * 1024i32);
    source.set_property(
        "user-agent",
        concat!("minhquay-recorder/", env!("CARGO_PKG_VERSION")),
    );
    if let (Some(username), Some(file)) = (username, password_file) {
        let password = std::fs::read_to_string(file).map_err(|source| CaptureError::Password {
            file: file.to_owned(),
            source,
        })?;
        source.set_property("user-id", username);
        source.set_property("user-pw", password.trim_end_matches(['\r', '\n']));
    }
    Ok(source)
}

/// Notes the packets of the picture as they come in, before the jitter buffer and all behind it.
fn watch_arrival(source: &gst::Element, flow: &Arc<Flow>) {
    let flow = Arc::downgrade(flow);
    source.connect("new-manager", false, move |args| {
        let manager = args.get(1)?.get::<gst::Element>().ok()?;
        let flow = flow.clone();
        manager.connect_pad_added(move |_, pad| {
            if pad.name().starts_with("recv_rtp_sink_")
                && let Some(flow) = flow.upgrade()
            {
                watch_picture_packets(pad, &flow);
            }
        });
        None
    });
}

fn watch_picture_packets(pad: &gst::Pad, flow: &Arc<Flow>) {
    let flow = Arc::downgrade(flow);
    let is_picture = std::sync::OnceLock::new();
    pad.add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        move |pad, _| {
            let Some(caps) = pad.current_caps() else {
                return gst::PadProbeReturn::Ok;
            };
            if *is_picture.get_or_init(|| media_of(&caps).0 == "video")
                && let Some(flow) = flow.upgrade()
            {
                flow.received_us
                    .store(flow.clock.monotonic_us(), std::sync::atomic::Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        },
    );
}

fn watch_source(camera: &gst::Element, flow: &Arc<Flow>) {
    if let Some(pad) = camera.static_pad("src") {
        flow.watch_arrival(&pad);
    }
}

/// What an RTP stream carries, by its caps.
pub(super) fn media_of(caps: &gst::CapsRef) -> (String, String) {
    let field = |name| {
        caps.structure(0)
            .and_then(|s| s.get::<String>(name).ok())
            .unwrap_or_default()
    };
    (field("media"), field("encoding-name").to_uppercase())
}

/// Elements from the RTP packets of a codec to the muxer; none if it can't be recorded.
pub(super) fn chain_of(media: &str, encoding: &str) -> Option<(TrackKind, &'static [&'static str])> {
    let to_opus = |decode: &'static [&'static str]| Some((TrackKind::Audio, decode));
    match (media, encoding) {
        ("video", "H264") => Some((
            TrackKind::Video,
            &["rtph264depay", "h264parse", "h264timestamper"],
        )),
        ("video", "H265") => Some((
            TrackKind::Video,
            &["rtph265depay", "h265parse", "h265timestamper"],
        )),
        ("audio", "MPEG4-GENERIC") => Some((TrackKind::Audio, &["rtpmp4gdepay", "aacparse"])),
        ("audio", "MP4A-LATM") => Some((TrackKind::Audio, &["rtpmp4adepay", "aacparse"])),
        ("audio", "OPUS" | "X-GST-OPUS-DRAFT-SPITTKA-00") => {
            Some((TrackKind::Audio, &["rtpopusdepay", "opusparse"]))
        }
        ("audio", "PCMU") => to_opus(&[
            "rtppcmudepay",
            "mulawdec",
            "audioconvert",
            "audioresample",
            "opusenc",
        ]),
        ("audio", "PCMA") => to_opus(&[
            "rtppcmadepay",
            "alawdec",
            "audioconvert",
            "audioresample",
            "opusenc",
        ]),
        ("audio", "L16") => to_opus(&["rtpL16depay", "audioconvert", "audioresample", "opusenc"]),
        ("audio", "G726" | "G726-16" | "G726-24" | "G726-32" | "G726-40") => to_opus(&[
            "rtpg726depay",
            "avdec_g726",
            "audioconvert",
            "audioresample",
            "opusenc",
        ]),
        _ => None,
    }
}

fn connect_rtsp(pipeline: &gst::Pipeline, source: &gst::Element, mux: &Arc<Mux>, audio: RtspAudio) {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let doors = mux.clone();
    let refused_tracks = refused.clone();
    // Called for every announced track before any data flows: the moment to open the muxer's doors.
    source.connect("select-stream", false, move |args| {
        let caps = args.get(2).and_then(|v| v.get::<gst::Caps>().ok());
        let selected = caps.is_some_and(|caps| select(&caps, &doors, audio, &refused_tracks));
        Some(selected.to_value())
    });
    let doors = mux.clone();
    let weak = pipeline.downgrade();
    source.connect_pad_added(move |_, pad| {
        if let Some(pipeline) = weak.upgrade()
            && let Err(error) = attach(&pipeline, pad, &doors)
        {
            doors.flow.end(GapCause::CameraFaulty, error.to_string());
        }
    });
    let doors = mux.clone();
    source.connect_no_more_pads(move |_| {
        doors
            .flow
            .is_established
            .store(true, std::sync::atomic::Ordering::Relaxed);
        if doors.pad(TrackKind::Video).is_none() {
            let refused = refused.lock().unwrap_or_else(PoisonError::into_inner).join(", ");
            doors.flow.end(
                GapCause::CameraFaulty,
                format!("the camera announces no H.264 or H.265 picture, but: {refused}"),
            );
        }
    });
}

fn select(caps: &gst::CapsRef, mux: &Mux, audio: RtspAudio, refused: &Mutex<Vec<String>>) -> bool {
    let (media, encoding) = media_of(caps);
    mux.flow
        .is_established
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let kind = match chain_of(&media, &encoding) {
        Some((kind, _)) if mux.pad(kind).is_none() => kind,
        _ => {
            tracing::info!(media, encoding, "track is announced but not recorded");
            refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!("{media} {encoding}"));
            return false;
        }
    };
    if kind == TrackKind::Audio && audio == RtspAudio::Off {
        return false;
    }
    match mux.reserve(kind) {
        Ok(_) => true,
        Err(error) => {
            mux.flow.end(GapCause::CameraFaulty, error.to_string());
            false
        }
    }
}

fn attach(pipeline: &gst::Pipeline, pad: &gst::Pad, mux: &Arc<Mux>) -> Result<(), CaptureError> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let (media, encoding) = media_of(&caps);
    let Some((kind, chain)) = chain_of(&media, &encoding) else {
        return Ok(());
    };
    let Some(door) = mux.pad(kind) else { return Ok(()) };
    if door.is_linked() {
        // A new SSRC gives a new pad; the muxer can't join two streams of a camera.
        mux.flow.end(
            GapCause::TracksChanged,
            format!("the camera began its {media} anew"),
        );
        return Ok(());
    }
    if kind == TrackKind::Audio {
        let flow = mux.flow.clone();
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            move |_, _| {
                flow.audio_source_us
                    .store(flow.clock.monotonic_us(), std::sync::atomic::Ordering::Relaxed);
                gst::PadProbeReturn::Ok
            },
        );
    }
    mux.flow.delay.watch(pad, pipeline, kind);
    let mut elements = Vec::new();
    for name in chain {
        if *name == "opusenc" {
            elements.push(filter(&opus_input())?);
        }
        elements.push(make(name)?);
    }
    pipeline.add_many(&elements)?;
    gst::Element::link_many(&elements)?;
    let (first, last) = match elements.as_slice() {
        [first, .., last] => (first, last),
        _ => return Err(CaptureError::Build(format!("no elements for {encoding}"))),
    };
    let link = |from: &gst::Pad, to: &gst::Pad| {
        from.link(to).map(|_| ()).map_err(|e| {
            CaptureError::Build(format!(
                "{media} {encoding}: {} to {}: {e}",
                from.name(),
                to.name()
            ))
        })
    };
    let out = last
        .static_pad("src")
        .ok_or_else(|| CaptureError::Build("no src".into()))?;
    link(&out, &door)?;
    for element in elements.iter().rev() {
        element.sync_state_with_parent()?;
    }
    let into = first
        .static_pad("sink")
        .ok_or_else(|| CaptureError::Build("no sink".into()))?;
    link(pad, &into)
}

/// The muxer counts in the encoder's input rate but takes the pre-skip of Opus, which counts in 48 kHz, as it is:
/// at any other rate a player would move the sound.
fn opus_input() -> gst::Caps {
    gst::Caps::builder("audio/x-raw").field("rate", 48_000i32).build()
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

fn filter(caps: &gst::Caps) -> Result<gst::Element, CaptureError> {
    let filter = make("capsfilter")?;
    filter.set_property("caps", caps);
    Ok(filter)
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
