//! GStreamer's RTSP client: for datagrams, which must be put in order, and for TLS.

use std::sync::Arc;

use gst::prelude::*;
use site_config::recorder::Transport;

use super::CaptureError;
use super::delay::Measured;
use super::element::make;
use super::mux::Flow;
use super::rtsp::{Camera, USER_AGENT};
use super::tracks::{Tracks, media_of};

/// Adds the client of a camera to a pipeline.
pub(super) fn add(
    pipeline: &gst::Pipeline,
    camera: &Camera,
    transport: Transport,
    tracks: Tracks,
    flow: &Arc<Flow>,
) -> Result<(), CaptureError> {
    let source = client(camera, transport)?;
    pipeline.add(&source)?;
    watch_arrival(&source, flow);
    connect(pipeline, &source, tracks);
    Ok(())
}

fn client(camera: &Camera, transport: Transport) -> Result<gst::Element, CaptureError> {
    let source = make("rtspsrc")?;
    source.set_property("location", &camera.url);
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
    source.set_property("user-agent", USER_AGENT);
    if let Some((username, password)) = &camera.credentials {
        source.set_property("user-id", username);
        source.set_property("user-pw", password);
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

fn connect(pipeline: &gst::Pipeline, source: &gst::Element, tracks: Tracks) {
    let tracks = Arc::new(tracks);
    let own = tracks.clone();
    // Called for every announced track before any data flows: the moment to open the muxer's doors.
    source.connect("select-stream", false, move |args| {
        let caps = args.get(2).and_then(|v| v.get::<gst::Caps>().ok());
        let is_selected = caps.is_some_and(|caps| own.select(&caps).is_some());
        Some(is_selected.to_value())
    });
    let own = tracks.clone();
    let weak = pipeline.downgrade();
    source.connect_pad_added(move |_, pad| {
        if let Some(pipeline) = weak.upgrade() {
            let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
            own.attach(&pipeline, pad, &caps, Measured::Here);
        }
    });
    source.connect_no_more_pads(move |_| tracks.conclude());
}
