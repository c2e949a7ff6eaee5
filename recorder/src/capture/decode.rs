//! One decoder, driven by hand: buffers in, picture or samples out, no threads of its own.

use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gst_video::prelude::*;

use super::CaptureError;
use crate::health::Frame;

/// Decoded buffers with their format.
type Output = Arc<Mutex<Vec<(gst::Caps, gst::Buffer)>>>;

/// A decoder of one track.
pub(super) struct Decoder {
    element: gst::Element,
    input: gst::Pad,
    output: Output,
    /// Held so that the decoder has somewhere to push to.
    _outlet: gst::Pad,
}

impl Decoder {
    pub fn new(caps: &gst::Caps) -> Result<Self, CaptureError> {
        let name = caps
            .structure(0)
            .map(|s| s.name().to_string())
            .unwrap_or_default();
        let element = match name.as_str() {
            "video/x-h264" => "avdec_h264",
            "video/x-h265" => "avdec_h265",
            "audio/mpeg" => "avdec_aac",
            "audio/x-opus" => "opusdec",
            other => return Err(CaptureError::Build(format!("{other} is not decoded here"))),
        };
        let element = gst::ElementFactory::make(element).build()?;
        if name.starts_with("video/") {
            // One picture at a time needs no second thread.
            element.set_property("max-threads", 1i32);
        }
        let output: Output = Arc::default();
        let (seen, format) = (output.clone(), Mutex::new(None::<gst::Caps>));
        let outlet = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(move |pad, _, buffer| {
                let caps = pad.current_caps().ok_or(gst::FlowError::NotNegotiated)?;
                *format.lock().unwrap_or_else(PoisonError::into_inner) = Some(caps.clone());
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((caps, buffer));
                Ok(gst::FlowSuccess::Ok)
            })
            .build();
        let input = gst::Pad::builder(gst::PadDirection::Src).build();
        let pad = |name| {
            element
                .static_pad(name)
                .ok_or_else(|| CaptureError::Build(format!("a decoder without {name}")))
        };
        let failed = |e: gst::PadLinkError| CaptureError::Build(e.to_string());
        input.link(&pad("sink")?).map_err(failed)?;
        pad("src")?.link(&outlet).map_err(failed)?;
        outlet.set_active(true)?;
        input.set_active(true)?;
        element
            .set_state(gst::State::Playing)
            .map_err(|e| CaptureError::Build(e.to_string()))?;
        input.push_event(gst::event::StreamStart::new("examine"));
        if !input.push_event(gst::event::Caps::new(caps)) {
            return Err(CaptureError::Build(format!("no decoder takes {caps}")));
        }
        Ok(Self {
            element,
            input,
            output,
            _outlet: outlet,
        })
    }

    /// Decodes buffers that start with a keyframe and need nothing before them; the decoder gives all it has.
    fn decode(&mut self, buffers: Vec<gst::Buffer>) -> Result<Vec<(gst::Caps, gst::Buffer)>, CaptureError> {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.input.push_event(gst::event::Segment::new(&segment));
        for (number, buffer) in buffers.into_iter().enumerate() {
            let mut buffer = buffer.copy();
            if let Some(buffer) = buffer.get_mut() {
                // Times of their own, so that no decoder takes a buffer for a late one.
                let at = gst::ClockTime::from_mseconds(20 * number as u64);
                buffer.set_pts(at);
                buffer.set_dts(at);
            }
            self.input
                .push(buffer)
                .map_err(|e| CaptureError::Build(format!("the decoder says {e}")))?;
        }
        self.input.push_event(gst::event::Eos::new());
        self.input.push_event(gst::event::FlushStart::new());
        self.input.push_event(gst::event::FlushStop::new(true));
        Ok(std::mem::take(
            &mut *self.output.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    /// Decodes a keyframe and makes it small.
    pub fn picture(&mut self, keyframe: Vec<gst::Buffer>) -> Result<Option<Frame>, CaptureError> {
        let decoded = self.decode(keyframe)?;
        let Some((caps, buffer)) = decoded.first() else {
            return Ok(None);
        };
        let unreadable = |_| CaptureError::Build(format!("pictures as {caps} can't be read"));
        let info = gst_video::VideoInfo::from_caps(caps).map_err(unreadable)?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(unreadable)?;
        let (width, height) = (info.width() as usize, info.height() as usize);
        let stride = usize::try_from(frame.plane_stride()[0]).unwrap_or(0);
        let luma = frame
            .plane_data(0)
            .map_err(|_| CaptureError::Build("a picture without luma".to_owned()))?;
        Ok(match info.format_info().depth().first() {
            Some(8) => Frame::new(luma, width, height, stride),
            Some(bits @ 9..=16) => {
                let luma: Vec<u8> = luma
                    .chunks_exact(2)
                    .map(|pair| (u16::from_le_bytes([pair[0], pair[1]]) >> (bits - 8)) as u8)
                    .collect();
                Frame::new(&luma, width, height, stride / 2)
            }
            _ => None,
        })
    }

    /// Decodes packets of sound; gives the samples of the loudest channel and their rate.
    pub fn sound(&mut self, packets: Vec<gst::Buffer>) -> Result<Option<(Vec<f32>, u32)>, CaptureError> {
        /// The first packets lack what came before them.
        const UNSETTLED: usize = 3;
        let decoded = self.decode(packets)?;
        let mut channels: Vec<Vec<f32>> = Vec::new();
        let mut rate_hz = 0;
        for (caps, buffer) in decoded.iter().skip(UNSETTLED) {
            let Some(format) = caps.structure(0) else { continue };
            let count = format.get::<i32>("channels").unwrap_or(1).max(1) as usize;
            rate_hz = format.get::<i32>("rate").unwrap_or(0).unsigned_abs();
            let is_planar = format
                .get::<&str>("layout")
                .is_ok_and(|layout| layout == "non-interleaved");
            let map = buffer
                .map_readable()
                .map_err(|_| CaptureError::Build("decoded sound can't be read".to_owned()))?;
            let samples: Vec<f32> = match format.get::<&str>("format").unwrap_or_default() {
                "F32LE" => map
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect(),
                "S16LE" => map
                    .chunks_exact(2)
                    .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0)
                    .collect(),
                other => return Err(CaptureError::Build(format!("sound as {other} is not read"))),
            };
            channels.resize(count, Vec::new());
            let frames = samples.len() / count;
            for (channel, taken) in channels.iter_mut().enumerate() {
                if is_planar {
                    taken.extend_from_slice(&samples[channel * frames..(channel + 1) * frames]);
                } else {
                    taken.extend(samples.iter().skip(channel).step_by(count));
                }
            }
        }
        let energy = |samples: &[f32]| samples.iter().map(|s| s * s).sum::<f32>();
        let loudest = channels
            .into_iter()
            .max_by(|a, b| energy(a).total_cmp(&energy(b)));
        Ok(loudest.map(|samples| (samples, rate_hz)))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // A decoder without threads stops at once.
        let _ = self.element.set_state(gst::State::Null);
    }
}
