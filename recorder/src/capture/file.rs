//! Looks at a recorded file as at a camera, as fast as it can be read; media time is the clock.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;

use super::CaptureError;
use super::examine::Decoders;
use super::sampler::Sampler;
use crate::health::{Change, Look, PictureWatch, SoundWatch};

/// What was found in a file.
#[derive(Debug, Default)]
pub struct FileReport {
    /// Pictures that were looked at.
    pub pictures: u64,
    /// Windows of sound that were listened to.
    pub sounds: u64,
    /// Faults that began or ended, with the media time in microseconds at which this was known.
    pub changes: Vec<(i64, Change)>,
}

struct Examination {
    sampler: Sampler,
    decoders: Decoders,
    picture: PictureWatch,
    sound: SoundWatch,
    is_serving: bool,
    report: FileReport,
}

impl Examination {
    fn take(&mut self, caps: &gst::Caps, buffer: &gst::Buffer, at_us: i64) {
        let is_picture = caps.structure(0).is_some_and(|s| s.name().starts_with("video/"));
        let is_in_doubt = self.picture.is_in_doubt() || self.sound.is_in_doubt();
        let look = if is_picture {
            let is_keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            if !is_keyframe || !self.sampler.is_picture_due(caps, at_us, is_in_doubt) {
                return;
            }
            self.decoders.look("file", caps, vec![buffer.clone()], false)
        } else {
            let window = self.sampler.add_sound(caps, buffer, at_us, is_in_doubt);
            window.and_then(|(caps, packets)| self.decoders.look("file", &caps, packets, true))
        };
        let changes = match look {
            Some(Look::Picture(frame)) => {
                self.report.pictures += 1;
                self.picture.look(frame, at_us, self.is_serving).1
            }
            Some(Look::Sound(measure)) => {
                self.report.sounds += 1;
                self.sound.look(&measure, at_us)
            }
            _ => return,
        };
        self.report
            .changes
            .extend(changes.into_iter().map(|change| (at_us, change)));
    }
}

/// Looks at a file of H.264 or H.265, with AAC or Opus if there is sound.
///
/// # Errors
/// If it can't be read.
pub fn examine_file(file: &Path, is_serving: bool) -> Result<FileReport, CaptureError> {
    let examination = Arc::new(Mutex::new(Examination {
        sampler: Sampler::default(),
        decoders: Decoders::default(),
        picture: PictureWatch::new(&[], None),
        sound: SoundWatch::new(&[]),
        is_serving,
        report: FileReport::default(),
    }));
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("filesrc")
        .property("location", file)
        .build()?;
    let parse = gst::ElementFactory::make("parsebin").build()?;
    pipeline.add_many([&source, &parse])?;
    source.link(&parse)?;
    let (weak, own) = (pipeline.downgrade(), examination.clone());
    parse.connect_pad_added(move |_, pad| {
        if let Some(pipeline) = weak.upgrade()
            && let Err(error) = attach(&pipeline, pad, &own)
        {
            tracing::warn!(pad = %pad.name(), %error, "a track can't be looked at");
        }
    });
    let failed = |e: gst::StateChangeError| CaptureError::Build(format!("{}: {e}", file.display()));
    pipeline.set_state(gst::State::Playing).map_err(failed)?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline
        .bus()
        .and_then(|bus| bus.timed_pop_filtered(gst::ClockTime::NONE, &kinds));
    pipeline.set_state(gst::State::Null).map_err(failed)?;
    if let Some(gst::MessageView::Error(error)) = end.as_ref().map(|m| m.view()) {
        return Err(CaptureError::Build(format!(
            "{}: {}",
            file.display(),
            error.error()
        )));
    }
    let mut examination = examination.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut examination.report))
}

fn attach(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    to: &Arc<Mutex<Examination>>,
) -> Result<(), CaptureError> {
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()?;
    let to = to.clone();
    let into = sink
        .static_pad("sink")
        .ok_or_else(|| CaptureError::Build("fakesink has no pad".to_owned()))?;
    into.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let (Some(buffer), Some(caps)) = (info.buffer(), pad.current_caps())
            && let Some(at) = super::mux::running_time(pad, buffer)
        {
            let at_us = i64::try_from(at.useconds()).unwrap_or(i64::MAX);
            let buffer = buffer.copy();
            to.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(&caps, &buffer, at_us);
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.add(&sink)?;
    sink.sync_state_with_parent()?;
    pad.link(&into)
        .map(|_| ())
        .map_err(|e| CaptureError::Build(e.to_string()))
}
