//! The tracks that a camera announces: which are recorded, and their way from RTP packets to the muxer.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archive::gap::GapCause;
use gst::prelude::*;
use site_config::recorder::RtspAudio;

use super::CaptureError;
use super::delay::Measured;
use super::element::{filter, make, opus_input};
use super::mux::{Mux, TrackKind};

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

/// What becomes of the tracks that one camera announces.
pub(super) struct Tracks {
    mux: Arc<Mux>,
    audio: RtspAudio,
    refused: Mutex<Vec<String>>,
}

impl Tracks {
    pub fn new(mux: Arc<Mux>, audio: RtspAudio) -> Self {
        Self {
            mux,
            audio,
            refused: Mutex::default(),
        }
    }

    /// Opens the muxer's door for a track that is to be recorded. Asked for every announced track before any data
    /// flows.
    pub fn select(&self, caps: &gst::CapsRef) -> Option<TrackKind> {
        let (media, encoding) = media_of(caps);
        self.mux.flow.is_established.store(true, Relaxed);
        let kind = match chain_of(&media, &encoding) {
            Some((kind, _)) if self.mux.pad(kind).is_none() => kind,
            _ => {
                tracing::info!(media, encoding, "track is announced but not recorded");
                self.refused().push(format!("{media} {encoding}"));
                return None;
            }
        };
        if kind == TrackKind::Audio && self.audio == RtspAudio::Off {
            return None;
        }
        match self.mux.reserve(kind) {
            Ok(_) => Some(kind),
            Err(error) => {
                self.mux.flow.end(GapCause::CameraFaulty, error.to_string());
                None
            }
        }
    }

    /// All tracks were asked for: without a picture there is nothing to record.
    pub fn conclude(&self) {
        self.mux.flow.is_established.store(true, Relaxed);
        if self.mux.pad(TrackKind::Video).is_none() {
            let refused = self.refused().join(", ");
            self.mux.flow.end(
                GapCause::CameraFaulty,
                format!("the camera announces no H.264 or H.265 picture, but: {refused}"),
            );
        }
    }

    /// Leads a track's packets from a pad to the muxer.
    pub fn attach(&self, pipeline: &gst::Pipeline, pad: &gst::Pad, caps: &gst::CapsRef, measured: Measured) {
        if let Err(error) = attach(pipeline, pad, caps, measured, &self.mux) {
            self.mux.flow.end(GapCause::CameraFaulty, error.to_string());
        }
    }

    fn refused(&self) -> MutexGuard<'_, Vec<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attach(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    caps: &gst::CapsRef,
    measured: Measured,
    mux: &Arc<Mux>,
) -> Result<(), CaptureError> {
    let (media, encoding) = media_of(caps);
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
                flow.audio_source_us.store(flow.clock.monotonic_us(), Relaxed);
                gst::PadProbeReturn::Ok
            },
        );
    }
    mux.flow.delay.watch(pad, pipeline, kind, measured);
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
