//! An encoded file, read once into memory and repeated at its own pace, never encoded again.
//!
//! Times go on over the end: repetition n starts n times the length of the pictures after the first. A file whose
//! sound is not just as long as its pictures has a hole of less than one sound sample (21 ms for AAC) there; the
//! material made by [`crate::material`] has none.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;

use super::feed::{Feed, Track};
use super::{CameraError, Running};

struct Sample {
    track: Track,
    /// When it is sent: decoding order.
    due: gst::ClockTime,
    pts: gst::ClockTime,
    buffer: gst::Buffer,
}

struct Loaded {
    samples: Vec<Sample>,
    length: gst::ClockTime,
    video_caps: gst::Caps,
    audio_caps: Option<gst::Caps>,
}

/// Loads a file and starts to repeat it; `has_sound` false leaves its sound out.
pub fn start(path: &Path, has_sound: bool) -> Result<(Arc<Feed>, Running), CameraError> {
    let loaded = load(path, has_sound)?;
    let feed = Arc::new(Feed::new(loaded.video_caps.clone(), loaded.audio_caps.clone()));
    let is_stopped = Arc::new(AtomicBool::new(false));
    let (own_feed, own_stop) = (feed.clone(), is_stopped.clone());
    let thread = std::thread::spawn(move || repeat(&loaded, &own_feed, &own_stop));
    Ok((
        feed,
        Running {
            is_stopped,
            thread: Some(thread),
        },
    ))
}

fn repeat(loaded: &Loaded, feed: &Feed, is_stopped: &AtomicBool) {
    let clock = gst::SystemClock::obtain();
    let mut start = clock.time();
    let mut number = 0;
    loop {
        for sample in &loaded.samples {
            let _ = clock.new_single_shot_id(start + sample.due).wait();
            if is_stopped.load(Ordering::Relaxed) {
                return;
            }
            feed.publish(sample.track, &sample.buffer, start + sample.pts);
            if sample.track == Track::Video {
                number += 1;
                feed.set_last_frame(number);
            }
        }
        start += loaded.length;
    }
}

fn load(path: &Path, has_sound: bool) -> Result<Loaded, CameraError> {
    let unreadable = |reason: String| CameraError::File {
        path: path.to_owned(),
        reason,
    };
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("filesrc")
        .property("location", path)
        .build()
        .map_err(|e| unreadable(e.to_string()))?;
    let parse = gst::ElementFactory::make("parsebin")
        .build()
        .map_err(|e| unreadable(e.to_string()))?;
    pipeline
        .add_many([&source, &parse])
        .map_err(|e| unreadable(e.to_string()))?;
    source.link(&parse).map_err(|e| unreadable(e.to_string()))?;
    let (sender, receiver) = std::sync::mpsc::sync_channel(64);
    let own_pipeline = pipeline.downgrade();
    parse.connect_pad_added(move |_, pad| {
        if let Some(pipeline) = own_pipeline.upgrade()
            && let Err(error) = collect(&pipeline, pad, &sender)
        {
            tracing::error!(pad = %pad.name(), %error, "cannot read a track");
        }
    });
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|e| unreadable(e.to_string()))?;
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let (mut taken, mut verdict) = (Vec::new(), None);
    while verdict.is_none() {
        taken.extend(receiver.try_iter());
        verdict = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(2), &kinds);
    }
    taken.extend(receiver.try_iter());
    // Going to NULL cannot fail.
    let _ = pipeline.set_state(gst::State::Null);
    if let Some(gst::MessageView::Error(error)) = verdict.as_ref().map(|m| m.view()) {
        return Err(unreadable(error.error().to_string()));
    }
    arrange(taken, has_sound).ok_or_else(|| unreadable("holds no H.264 or H.265 picture".to_owned()))
}

/// Connects a track to a sink that sends each sample with its format.
fn collect(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    sender: &std::sync::mpsc::SyncSender<(Track, gst::Sample)>,
) -> Result<(), gst::glib::BoolError> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let name = caps
        .structure(0)
        .map(|s| s.name().to_string())
        .unwrap_or_default();
    let (track, convert) = match name.as_str() {
        "video/x-h264" => (
            Track::Video,
            "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au",
        ),
        "video/x-h265" => (
            Track::Video,
            "h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream,alignment=au",
        ),
        "audio/mpeg" => (Track::Audio, "aacparse ! audio/mpeg,stream-format=raw"),
        "audio/x-opus" | "audio/x-mulaw" | "audio/x-alaw" => (Track::Audio, "identity"),
        _ => return Ok(()),
    };
    // No preroll: in a short file all pictures may come before the first sound, which would then never come.
    let bin = gst::parse::bin_from_description(
        &format!("{convert} ! fakesink name=out sync=false async=false"),
        true,
    )
    .map_err(|_| gst::glib::bool_error!("no element for {name}"))?;
    let sink = bin
        .by_name("out")
        .and_then(|e| e.static_pad("sink"))
        .expect("the description names its sink");
    let sender = sender.clone();
    // Taken before the sink, which would leave out what lies before the start, an encoder's priming.
    sink.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        if let (Some(buffer), Some(caps), Some(segment)) = (info.buffer(), pad.current_caps(), segment) {
            let sample = gst::Sample::builder()
                .buffer(buffer)
                .caps(&caps)
                .segment(segment.segment())
                .build();
            // Nobody receives any more when loading has failed.
            let _ = sender.send((track, sample));
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.add(&bin)?;
    bin.sync_state_with_parent()?;
    let sink_pad = bin
        .static_pad("sink")
        .ok_or_else(|| gst::glib::bool_error!("no sink pad"))?;
    pad.link(&sink_pad).map_err(|e| gst::glib::bool_error!("{e}"))?;
    Ok(())
}

fn arrange(taken: Vec<(Track, gst::Sample)>, has_sound: bool) -> Option<Loaded> {
    let caps_of = |track: Track| {
        taken
            .iter()
            .find(|(t, _)| *t == track)
            .and_then(|(_, s)| s.caps_owned())
    };
    let video_caps = caps_of(Track::Video)?;
    let audio_caps = caps_of(Track::Audio).filter(|_| has_sound);
    let mut timed: Vec<(Track, i64, i64, gst::Buffer)> = Vec::new();
    for (track, sample) in &taken {
        if *track == Track::Audio && audio_caps.is_none() {
            continue;
        }
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let buffer = sample.buffer_owned()?;
        // Sound before the start of the presentation (an encoder's priming) has a negative time.
        let pts = signed_ns(segment.to_running_time_full(buffer.pts()?));
        let due = buffer
            .dts()
            .map_or(pts, |dts| signed_ns(segment.to_running_time_full(dts)));
        timed.push((*track, due, pts, buffer));
    }
    let first_ns = timed.iter().filter(|t| t.0 == Track::Video).map(|t| t.2).min()?;
    let frames = timed.iter().filter(|t| t.0 == Track::Video).count() as i64;
    let last_ns = timed.iter().filter(|t| t.0 == Track::Video).map(|t| t.2).max()?;
    // The last frame lasts as long as the average one.
    let length_ns = (last_ns - first_ns) * frames / (frames - 1).max(1);
    wrap_priming(&mut timed, first_ns, length_ns);
    let mut samples: Vec<Sample> = timed
        .into_iter()
        .filter(|(track, _, pts, _)| *track == Track::Video || (first_ns..first_ns + length_ns).contains(pts))
        .map(|(track, due, pts, buffer)| Sample {
            track,
            due: gst::ClockTime::from_nseconds((due - first_ns).max(0).unsigned_abs()),
            pts: gst::ClockTime::from_nseconds((pts - first_ns).max(0).unsigned_abs()),
            buffer,
        })
        .collect();
    samples.sort_by_key(|s| s.due);
    let length = gst::ClockTime::from_nseconds(length_ns.max(1).unsigned_abs());
    Some(Loaded {
        samples,
        length,
        video_caps,
        audio_caps,
    })
}

/// Moves a sound encoder's priming, which lies before the start, to the end if a sample is missing there: qtdemux
/// leaves out the last sample of a track that has priming.
fn wrap_priming(timed: &mut [(Track, i64, i64, gst::Buffer)], first_ns: i64, length_ns: i64) {
    let is_sound = |t: &&mut (Track, i64, i64, gst::Buffer)| t.0 == Track::Audio;
    let last_ns = timed
        .iter_mut()
        .filter(is_sound)
        .map(|t| t.2)
        .max()
        .unwrap_or_default();
    let Some(priming) = timed.iter_mut().filter(is_sound).find(|t| t.2 < first_ns) else {
        return;
    };
    let (duration_ns, wrapped_ns) = (first_ns - priming.2, priming.2 + length_ns);
    if wrapped_ns > last_ns + duration_ns / 2 {
        (priming.1, priming.2) = (wrapped_ns, wrapped_ns);
    }
}

fn signed_ns(time: Option<gst::Signed<gst::ClockTime>>) -> i64 {
    match time {
        Some(gst::Signed::Positive(t)) => t.nseconds() as i64,
        Some(gst::Signed::Negative(t)) => -(t.nseconds() as i64),
        None => 0,
    }
}
