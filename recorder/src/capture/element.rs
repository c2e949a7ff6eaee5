//! Elements that several pipelines are made of.

use gst::prelude::*;

use super::CaptureError;

/// An element as it comes; the error names one that is not installed.
pub(super) fn make(element: &str) -> Result<gst::Element, CaptureError> {
    Ok(gst::ElementFactory::make(element).build()?)
}

/// Lets only this format pass.
pub(super) fn filter(caps: &gst::Caps) -> Result<gst::Element, CaptureError> {
    let filter = make("capsfilter")?;
    filter.set_property("caps", caps);
    Ok(filter)
}

/// The muxer counts in the encoder's input rate but takes the pre-skip of Opus, which counts in 48 kHz, as it is:
/// at any other rate a player would move the sound.
pub(super) fn opus_input() -> gst::Caps {
    gst::Caps::builder("audio/x-raw").field("rate", 48_000i32).build()
}
