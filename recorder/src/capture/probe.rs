//! What a camera offers and what would be recorded of it; which devices this machine has.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use gst::prelude::*;

use super::CaptureError;
use super::tracks::{chain_of, media_of};

/// What a camera announces.
#[derive(Debug, Clone, Default)]
pub struct ProbeReport {
    /// One line per track: what it is and what becomes of it.
    pub tracks: Vec<String>,
    /// Whether a picture would be recorded.
    pub has_picture: bool,
}

/// Asks a camera for its tracks.
///
/// # Errors
/// What the camera or the network answered.
pub async fn probe(url: &str, credentials: Option<(&str, &str)>) -> Result<ProbeReport, CaptureError> {
    let source = gst::ElementFactory::make("rtspsrc")
        .property("location", url)
        .property("tcp-timeout", 5_000_000u64)
        .build()?;
    source.set_property_from_str("protocols", "tcp");
    if let Some((username, password)) = credentials {
        source.set_property("user-id", username);
        source.set_property("user-pw", password);
    }
    let report = Arc::new(Mutex::new(ProbeReport::default()));
    let seen = report.clone();
    source.connect("select-stream", false, move |args| {
        if let Some(caps) = args.get(2).and_then(|v| v.get::<gst::Caps>().ok()) {
            note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), &caps);
        }
        Some(true.to_value())
    });
    source.connect_pad_added(|source, pad| {
        // The data itself is not looked at.
        if let (Some(bin), Ok(sink)) = (
            source.parent().and_then(|p| p.downcast::<gst::Bin>().ok()),
            gst::ElementFactory::make("fakesink")
                .property("sync", false)
                .build(),
        ) && bin.add(&sink).is_ok()
            && let Some(into) = sink.static_pad("sink")
        {
            let _ = sink.sync_state_with_parent();
            let _ = pad.link(&into);
        }
    });
    let pipeline = gst::Pipeline::new();
    pipeline.add(&source)?;
    let (done, mut is_done) = tokio::sync::mpsc::channel(1);
    source.connect_no_more_pads(move |_| {
        let _ = done.try_send(());
    });
    let playing = pipeline.clone();
    let outcome = async {
        let bus = playing
            .bus()
            .ok_or_else(|| CaptureError::Build("no bus".into()))?;
        let mut errors = bus.stream_filtered(&[gst::MessageType::Error]);
        playing
            .set_state(gst::State::Playing)
            .map_err(|e| CaptureError::Build(e.to_string()))?;
        tokio::select! {
            _ = is_done.recv() => Ok(()),
            Some(message) = errors.next() => Err(CaptureError::Build(match message.view() {
                gst::MessageView::Error(error) => error.error().to_string(),
                _ => "the camera does not answer".to_owned(),
            })),
            () = tokio::time::sleep(Duration::from_secs(15)) => {
                Err(CaptureError::Build("the camera did not answer for 15 s".into()))
            }
        }
    }
    .await;
    let _ = tokio::task::spawn_blocking(move || pipeline.set_state(gst::State::Null)).await;
    outcome?;
    let report = report.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(report)
}

fn note(report: &mut ProbeReport, caps: &gst::CapsRef) {
    let (media, encoding) = media_of(caps);
    let rate = caps
        .structure(0)
        .and_then(|s| s.get::<i32>("clock-rate").ok())
        .unwrap_or_default();
    let fate = match chain_of(&media, &encoding) {
        Some((_, chain)) if chain.contains(&"opusenc") => "recorded as Opus",
        Some(_) => "recorded as it is",
        None => "not recorded",
    };
    report.has_picture |= media == "video" && fate != "not recorded";
    report
        .tracks
        .push(format!("{media}: {encoding}, clock {rate} Hz: {fate}"));
}

/// Cameras and microphones of this machine, a line each, as the settings name them.
pub fn devices() -> Result<Vec<String>, CaptureError> {
    let monitor = gst::DeviceMonitor::new();
    monitor.add_filter(Some("Video/Source"), None);
    monitor.add_filter(Some("Audio/Source"), None);
    monitor
        .start()
        .map_err(|e| CaptureError::Build(format!("devices can't be listed: {e}")))?;
    let mut lines: Vec<String> = monitor.devices().iter().filter_map(describe).collect();
    monitor.stop();
    lines.sort();
    lines.dedup();
    Ok(lines)
}

fn describe(device: &gst::Device) -> Option<String> {
    let element = device.create_element(None).ok()?;
    let factory = element.factory()?.name();
    let property = |name: &str| {
        element.find_property(name).and_then(|_| {
            element
                .property_value(name)
                .get::<Option<String>>()
                .ok()
                .flatten()
        })
    };
    let path = property("device")?;
    let key = match factory.as_str() {
        "v4l2src" => format!("video = {path:?}"),
        "alsasrc" => format!("audio = {:?}", format!("alsa:{path}")),
        "pulsesrc" => format!("audio = {:?}", format!("pulse:{path}")),
        _ => return None,
    };
    Some(format!("{key}  # {}", device.display_name()))
}
