//! The proof pattern or real pictures in real time: drawn and sounded here, encoded once, published to a feed.
//!
//! Frame k is taken at `start + k / fps` on the system clock, where `start` lies at a full second of wall time;
//! sound sample i at `start + i / rate`. Picture and sound so come from one clock, and each flash and each beep
//! start at the same instant, exactly.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use archive::time::{Clock, WallTime};
use gst::prelude::*;

use super::fault::Faults;
use super::feed::{Feed, Track};
use super::room::Room;
use super::spec::{AudioCodec, MountSpec, Source, VideoCodec};
use super::{CameraError, Running};
use crate::proof::{Mark, picture, sound};

const SECOND_US: i64 = 1_000_000;
/// How long the flash stays; also a frame that starts a little late within a second shows it.
const FLASH_US: i64 = 80_000;
const START_DEADLINE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Starts drawing and encoding; frames are numbered from `first_number`.
pub fn start(
    spec: &MountSpec,
    first_number: u32,
    faults: &Arc<Faults>,
) -> Result<(Arc<Feed>, Running), CameraError> {
    let room = match &spec.source {
        Source::Room(path) => Some(Room::load(path, spec, rate_hz(spec.audio))?),
        Source::Proof | Source::File(_) => None,
    };
    let pipeline = gst::parse::launch(&description(spec))
        .map_err(CameraError::Pipeline)?
        .downcast::<gst::Pipeline>()
        .expect("a description of several elements makes a pipeline");
    let timeline = Timeline::new(spec);
    let feed: Arc<OnceLock<Arc<Feed>>> = Arc::default();
    let outputs = [Track::Video, Track::Audio].map(|track| output(&pipeline, track, &feed, timeline.start));
    let is_stopped = Arc::new(AtomicBool::new(false));
    let generator = Generator {
        spec: spec.clone(),
        room,
        faults: faults.clone(),
        timeline,
        video: app_src(&pipeline, "video"),
        audio: app_src(&pipeline, "audio"),
        first_number,
        feed: feed.clone(),
        is_stopped: is_stopped.clone(),
    };
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| CameraError::Start("encoder"))?;
    let thread = std::thread::spawn(move || {
        generator.run();
        // Going to NULL cannot fail.
        let _ = pipeline.set_state(gst::State::Null);
    });
    let running = Running {
        is_stopped,
        thread: Some(thread),
    };
    let mut caps = Vec::new();
    for formats in outputs.into_iter().flatten() {
        caps.push(
            formats
                .recv_timeout(START_DEADLINE.into())
                .map_err(|_| CameraError::Start("first encoded sample"))?,
        );
    }
    let mut caps = caps.into_iter();
    let video_caps = caps.next().ok_or(CameraError::Start("video output"))?;
    let started = Arc::new(Feed::new(video_caps, caps.next()));
    Ok((feed.get_or_init(|| started).clone(), running))
}

fn description(spec: &MountSpec) -> String {
    let (kbps, gop, b_frames) = (spec.bitrate_kbps, spec.gop, spec.b_frames);
    let video = match spec.codec {
        // Sliced threads corrupt pictures, so one thread.
        VideoCodec::H264 => format!(
            "x264enc threads=1 sliced-threads=false speed-preset=superfast bitrate={kbps} key-int-max={gop} \
             bframes={b_frames} b-adapt=false rc-lookahead=0 sync-lookahead=0 mb-tree=false \
             option-string=scenecut=0 ! h264parse config-interval=-1 \
             ! video/x-h264,stream-format=byte-stream,alignment=au"
        ),
        VideoCodec::H265 => format!(
            "x265enc speed-preset=ultrafast bitrate={kbps} key-int-max={gop} \
             option-string=scenecut=0:bframes={b_frames}:b-adapt=0:rc-lookahead=0:pools=1:frame-threads=1:log-level=none \
             ! h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream,alignment=au"
        ),
    };
    let (width, height, fps) = (spec.width, spec.height, spec.fps);
    let mut text = format!(
        "appsrc name=video is-live=true format=time max-bytes=0 \
         caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 \
         ! {video} ! appsink name=video-out sync=false async=false"
    );
    if let Some(audio) = audio_description(spec.audio) {
        let rate_hz = rate_hz(spec.audio);
        text.push_str(&format!(
            " appsrc name=audio is-live=true format=time max-bytes=0 \
             caps=audio/x-raw,format=S16LE,layout=interleaved,channels=1,rate={rate_hz} \
             ! audioconvert ! {audio} ! appsink name=audio-out sync=false async=false"
        ));
    }
    text
}

fn audio_description(codec: AudioCodec) -> Option<&'static str> {
    match codec {
        AudioCodec::None => None,
        AudioCodec::Aac => Some("avenc_aac bitrate=64000 ! aacparse ! audio/mpeg,stream-format=raw"),
        AudioCodec::Opus => Some("opusenc bitrate=48000 audio-type=generic"),
        AudioCodec::Pcmu => Some("mulawenc"),
        AudioCodec::Pcma => Some("alawenc"),
    }
}

fn rate_hz(codec: AudioCodec) -> u32 {
    match codec {
        AudioCodec::Pcmu | AudioCodec::Pcma => 8_000,
        AudioCodec::None | AudioCodec::Aac | AudioCodec::Opus => 48_000,
    }
}

fn app_src(pipeline: &gst::Pipeline, name: &str) -> Option<gst_app::AppSrc> {
    pipeline.by_name(name)?.downcast().ok()
}

/// Publishes what an encoder gives; the receiver gets the format of the first sample.
fn output(
    pipeline: &gst::Pipeline,
    track: Track,
    feed: &Arc<OnceLock<Arc<Feed>>>,
    start: gst::ClockTime,
) -> Option<std::sync::mpsc::Receiver<gst::Caps>> {
    let name = if track == Track::Video {
        "video-out"
    } else {
        "audio-out"
    };
    let sink = pipeline.by_name(name)?.downcast::<gst_app::AppSink>().ok()?;
    let (formats, receiver) = std::sync::mpsc::sync_channel(1);
    let feed = feed.clone();
    let on_sample = move |sink: &gst_app::AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let (Some(buffer), Some(caps), Some(segment)) = (
            sample.buffer_owned(),
            sample.caps(),
            sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>()),
        ) else {
            return Err(gst::FlowError::Error);
        };
        // Only the first is waited for.
        let _ = formats.try_send(caps.to_owned());
        // x264enc moves its times by 1000 h, and says so in the segment.
        if let (Some(feed), Some(running)) = (feed.get(), segment.to_running_time(buffer.pts())) {
            let captured = match track {
                Track::Video => start + running,
                Track::Audio => {
                    let delay = caps.structure(0).map_or(gst::ClockTime::ZERO, codec_delay);
                    (start + running).saturating_sub(delay)
                }
            };
            feed.publish(track, &buffer, captured);
        }
        Ok(gst::FlowSuccess::Ok)
    };
    sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(on_sample).build());
    Some(receiver)
}

/// By how much a decoder's output lags behind what the encoder's times say. RTP does not carry this number, so the
/// camera sends its sound that much earlier, as one would expect of a camera whose sound is in step. Opus takes
/// care of this itself.
fn codec_delay(format: &gst::StructureRef) -> gst::ClockTime {
    let delay_samples = if format.name() == "audio/mpeg" { 1_024 } else { 0 };
    gst::ClockTime::from_nseconds(delay_samples * 1_000_000_000 / 48_000)
}

/// Ties frames and sound samples to the system clock and to wall time.
#[derive(Debug, Clone, Copy)]
struct Timeline {
    /// A full second of wall time, on the system clock.
    start: gst::ClockTime,
    start_wall: WallTime,
    fps: u64,
    rate_hz: u64,
    first_frame: u64,
}

impl Timeline {
    fn new(spec: &MountSpec) -> Self {
        let wall = archive::time::SystemClock.wall();
        let now = gst::SystemClock::obtain().time();
        let into_second_us = wall.0.rem_euclid(SECOND_US);
        let into_second = gst::ClockTime::from_useconds(into_second_us.unsigned_abs());
        let fps = u64::from(spec.fps);
        Self {
            start: now.saturating_sub(into_second),
            start_wall: WallTime(wall.0 - into_second_us),
            fps,
            rate_hz: u64::from(rate_hz(spec.audio)),
            first_frame: into_second_us.unsigned_abs() * fps / 1_000_000 + 1,
        }
    }

    /// Nanoseconds from the start to a frame.
    fn offset_ns(&self, frame: u64) -> u64 {
        frame * 1_000_000_000 / self.fps
    }

    fn wall(&self, frame: u64) -> WallTime {
        WallTime(self.start_wall.0 + (frame * 1_000_000 / self.fps) as i64)
    }

    /// The first sound sample not before a frame.
    fn sound_index(&self, frame: u64) -> u64 {
        (frame * self.rate_hz).div_ceil(self.fps)
    }
}

struct Generator {
    spec: MountSpec,
    /// What is shown instead of the proof pattern.
    room: Option<Room>,
    faults: Arc<Faults>,
    timeline: Timeline,
    video: Option<gst_app::AppSrc>,
    audio: Option<gst_app::AppSrc>,
    first_number: u32,
    feed: Arc<OnceLock<Arc<Feed>>>,
    is_stopped: Arc<AtomicBool>,
}

impl Generator {
    fn run(&self) {
        let clock = gst::SystemClock::obtain();
        for frame in self.timeline.first_frame.. {
            let offset = gst::ClockTime::from_nseconds(self.timeline.offset_ns(frame));
            // Late is fine: the frame keeps the time at which it should have been taken.
            let _ = clock.new_single_shot_id(self.timeline.start + offset).wait();
            if self.is_stopped.load(Ordering::Relaxed) || !self.push(frame) {
                return;
            }
        }
    }

    /// Pushes a frame and the sound up to it; false when the encoder is gone.
    fn push(&self, frame: u64) -> bool {
        let timeline = &self.timeline;
        let number = self
            .first_number
            .wrapping_add((frame - timeline.first_frame) as u32);
        let wall = timeline.wall(frame);
        let has_flash = wall.0.rem_euclid(SECOND_US) < FLASH_US;
        let (width, height) = (self.spec.width as usize, self.spec.height as usize);
        let faults = self.faults.active();
        let picture = match &self.room {
            Some(room) => room.picture(frame, faults.picture),
            None => picture::draw(width, height, Mark { number, wall }, has_flash),
        };
        let times = |from_ns: u64, to_ns: u64, data: Vec<u8>| {
            let mut buffer = gst::Buffer::from_mut_slice(data);
            let writable = buffer.make_mut();
            writable.set_pts(gst::ClockTime::from_nseconds(from_ns));
            writable.set_duration(gst::ClockTime::from_nseconds(to_ns - from_ns));
            buffer
        };
        let picture = times(timeline.offset_ns(frame), timeline.offset_ns(frame + 1), picture);
        if self
            .video
            .as_ref()
            .is_some_and(|v| v.push_buffer(picture).is_err())
        {
            return false;
        }
        if let Some(feed) = self.feed.get() {
            feed.set_last_frame(u64::from(number));
        }
        let Some(audio) = &self.audio else { return true };
        let (from, to) = (timeline.sound_index(frame - 1), timeline.sound_index(frame));
        let rate_hz = rate_hz(self.spec.audio);
        let samples = (from..to)
            .map(|i| match &self.room {
                Some(room) => room.sample(i, faults.sound),
                None => sound::sample(i, rate_hz),
            })
            .flat_map(i16::to_le_bytes)
            .collect();
        let at_ns = |index: u64| index * 1_000_000_000 / timeline.rate_hz;
        audio.push_buffer(times(at_ns(from), at_ns(to), samples)).is_ok()
    }
}
