//! AAC to Opus for live viewers, in a pipeline of its own: its faults can't touch the recording.

use bytes::Bytes;
use gst::prelude::*;
use tokio::sync::broadcast;

use super::{CaptureError, EncodedSample, SampleCodec, SampleKind};

/// A running transcoder; dropping it ends it.
pub(super) struct AacToOpus {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
}

impl AacToOpus {
    pub fn start(
        caps: &gst::CapsRef,
        samples: broadcast::Sender<EncodedSample>,
    ) -> Result<Self, CaptureError> {
        let source = gst_app::AppSrc::builder()
            .caps(&caps.to_owned())
            .format(gst::Format::Time)
            .is_live(true)
            .max_buffers(64)
            .leaky_type(gst_app::AppLeakyType::Downstream)
            .build();
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .max_buffers(64)
            .drop(true)
            .build();
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    if let Some(packet) = sample.buffer().and_then(packet) {
                        let _ = samples.send(packet);
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        let pipeline = gst::Pipeline::new();
        let chain = [
            source.clone().upcast(),
            gst::ElementFactory::make("avdec_aac").build()?,
            gst::ElementFactory::make("audioconvert").build()?,
            gst::ElementFactory::make("audioresample").build()?,
            gst::ElementFactory::make("opusenc")
                .property("bitrate", 48_000)
                .build()?,
            sink.upcast(),
        ];
        pipeline.add_many(&chain)?;
        gst::Element::link_many(&chain)?;
        pipeline
            .set_state(gst::State::Playing)
            .map_err(|e| CaptureError::Build(e.to_string()))?;
        Ok(Self { pipeline, source })
    }

    pub fn push(&self, buffer: &gst::BufferRef, running: gst::ClockTime) {
        let mut copy = buffer.copy();
        if let Some(copy) = copy.get_mut() {
            copy.set_pts(running);
            copy.set_dts(gst::ClockTime::NONE);
        }
        // Fails only while the pipeline stops; the sound of a viewer that left is no loss.
        let _ = self.source.push_buffer(copy);
    }
}

fn packet(buffer: &gst::BufferRef) -> Option<EncodedSample> {
    let data = Bytes::copy_from_slice(&buffer.map_readable().ok()?);
    Some(EncodedSample {
        kind: SampleKind::Audio,
        codec: SampleCodec::Opus,
        pts_us: buffer.pts()?.useconds() as i64,
        is_keyframe: true,
        data,
    })
}

impl Drop for AacToOpus {
    fn drop(&mut self) {
        let pipeline = self.pipeline.clone();
        // Stopping waits for its threads, one of which may hold what the caller holds.
        pipeline.call_async(|pipeline| {
            let _ = pipeline.set_state(gst::State::Null);
        });
    }
}
