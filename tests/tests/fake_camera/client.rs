//! A client as tests need it: plays one mount over RTSP and keeps what it sees.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;
use system_tests::programs::until;
use system_tests::proof::sound::{Stretch, beep_starts};
use system_tests::proof::{Mark, picture};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);
const NTP_TO_UNIX_SECONDS: i64 = 2_208_988_800;

/// What came on the wire, one RTP packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    pub sequence: u16,
    pub rtp_time: u32,
    pub ssrc: u32,
    pub pts_us: i64,
    /// Unix time in microseconds that the camera's sender reports give to the packet, once there was one.
    pub reported_wall_us: Option<i64>,
}

/// One decoded frame.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub pts_us: i64,
    pub mark: Option<Mark>,
    pub has_flash: bool,
}

/// All that a client has seen so far.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    pub sdp: String,
    pub video_packets: Vec<Packet>,
    pub audio_packets: Vec<Packet>,
    pub frames: Vec<Frame>,
    pub sound: Vec<Stretch>,
    /// Set when the connection ended or was refused.
    pub end: Option<String>,
}

impl Seen {
    pub fn numbers(&self) -> Vec<u32> {
        self.frames
            .iter()
            .filter_map(|f| f.mark)
            .map(|m| m.number)
            .collect()
    }

    /// When each flash and each beep was taken by the camera's sender reports, in microseconds of Unix time.
    ///
    /// Presentation times would not do: a client has no common time base of picture and sound before the first
    /// report, and then slides towards it.
    pub fn reported_flashes_us(&self) -> Vec<i64> {
        let first = |w: &[Frame]| (!w[0].has_flash && w[1].has_flash).then_some(w[1].pts_us);
        let starts = self.frames.windows(2).filter_map(first);
        starts
            .filter_map(|pts_us| reported_wall_us(&self.video_packets, pts_us))
            .collect()
    }

    pub fn reported_beeps_us(&self) -> Vec<i64> {
        let starts = self.sound.iter().flat_map(beep_starts);
        starts
            .filter_map(|pts_us| reported_wall_us(&self.audio_packets, pts_us))
            .collect()
    }
}

fn reported_wall_us(packets: &[Packet], pts_us: i64) -> Option<i64> {
    let nearest = packets.iter().min_by_key(|p| (p.pts_us - pts_us).abs())?;
    Some(nearest.reported_wall_us? + pts_us - nearest.pts_us)
}

/// A client that plays until it is dropped.
pub struct Client {
    pipeline: gst::Pipeline,
    seen: Arc<Mutex<Seen>>,
}

impl Client {
    pub fn play(url: &str) -> Self {
        gst::init().unwrap();
        let pipeline = gst::Pipeline::new();
        let source = gst::ElementFactory::make("rtspsrc")
            .property("location", url)
            .property_from_str("protocols", "tcp")
            .property("latency", 200u32)
            .property("add-reference-timestamp-meta", true)
            .build()
            .unwrap();
        pipeline.add(&source).unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let own = seen.clone();
        source.connect("on-sdp", false, move |values| {
            let sdp = values[1].get::<gst_rtsp_server::gst_sdp::SDPMessage>().unwrap();
            own.lock().unwrap().sdp = sdp.as_text().unwrap();
            None
        });
        let (own, weak) = (seen.clone(), pipeline.downgrade());
        source.connect_pad_added(move |_, pad| {
            if let Some(pipeline) = weak.upgrade() {
                show(&pipeline, pad, &own);
            }
        });
        let own = seen.clone();
        pipeline.bus().unwrap().set_sync_handler(move |_, message| {
            let end = match message.view() {
                gst::MessageView::Eos(_) => Some("end of stream".to_owned()),
                // Damaged pictures are expected; only the connection's own errors end it.
                gst::MessageView::Error(e) => {
                    Some(format!("{} {}", e.error(), e.debug().unwrap_or_default()))
                }
                _ => None,
            };
            if let Some(end) = end {
                own.lock().unwrap().end.get_or_insert(end);
            }
            gst::BusSyncReply::Drop
        });
        // A refused connection may show here or on the bus.
        let _ = pipeline.set_state(gst::State::Playing);
        Self { pipeline, seen }
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    pub fn frame_count(&self) -> usize {
        self.seen.lock().unwrap().frames.len()
    }

    /// Waits until what was seen fulfils `condition`, and gives it.
    pub fn wait(&self, expected: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        let fulfilled = || {
            let seen = self.seen.lock().unwrap();
            condition(&seen).then(|| seen.clone())
        };
        until(DEADLINE, fulfilled).unwrap_or_else(|| {
            let seen = self.seen();
            let (frames, packets) = (seen.frames.len(), seen.video_packets.len());
            panic!(
                "no {expected}: {frames} frames, {packets} packets, end {:?}",
                seen.end
            )
        })
    }

    pub fn wait_frames(&self, count: usize) -> Seen {
        let wanted = self.frame_count() + count;
        self.wait(&format!("{wanted} frames"), |seen| seen.frames.len() >= wanted)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

fn show(pipeline: &gst::Pipeline, pad: &gst::Pad, seen: &Arc<Mutex<Seen>>) {
    let media: String = pad
        .current_caps()
        .unwrap()
        .structure(0)
        .unwrap()
        .get("media")
        .unwrap();
    let is_video = media == "video";
    let own = seen.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let packet = read_packet(info.buffer().unwrap());
        let mut seen = own.lock().unwrap();
        if is_video {
            seen.video_packets.push(packet)
        } else {
            seen.audio_packets.push(packet)
        }
        gst::PadProbeReturn::Ok
    });
    let decode = if is_video {
        // What a damaged picture breaks behind this door must not end the connection.
        "queue name=in ! errorignore ignore-notnegotiated=true ! decodebin ! videoconvert ! video/x-raw,format=GRAY8 ! appsink name=out sync=false"
    } else {
        // No resampling: a resampler counts its own time on and hides how the client slides towards the reports.
        "queue name=in ! decodebin ! audioconvert ! audio/x-raw,format=F32LE,channels=1 \
         ! appsink name=out sync=false"
    };
    let bin = gst::parse::bin_from_description(decode, false).unwrap();
    // Named, because what decodebin will link to is open as well until data flows.
    let entry = bin.by_name("in").unwrap().static_pad("sink").unwrap();
    bin.add_pad(&gst::GhostPad::with_target(&entry).unwrap()).unwrap();
    let sink = bin
        .by_name("out")
        .unwrap()
        .downcast::<gst_app::AppSink>()
        .unwrap();
    let own = seen.clone();
    let on_sample = move |sink: &gst_app::AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if is_video {
            add_frame(&sample, &own)
        } else {
            add_sound(&sample, &own)
        }
        Ok(gst::FlowSuccess::Ok)
    };
    sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(on_sample).build());
    pipeline.add(&bin).unwrap();
    bin.sync_state_with_parent().unwrap();
    pad.link(&bin.static_pad("sink").unwrap()).unwrap();
}

fn read_packet(buffer: &gst::BufferRef) -> Packet {
    let map = buffer.map_readable().unwrap();
    let reported_wall_us = buffer
        .iter_meta::<gst::ReferenceTimestampMeta>()
        .find(|m| {
            m.reference()
                .structure(0)
                .is_some_and(|s| s.name() == "timestamp/x-ntp")
        })
        .map(|m| m.timestamp().useconds() as i64 - NTP_TO_UNIX_SECONDS * 1_000_000);
    Packet {
        sequence: u16::from_be_bytes(map[2..4].try_into().unwrap()),
        rtp_time: u32::from_be_bytes(map[4..8].try_into().unwrap()),
        ssrc: u32::from_be_bytes(map[8..12].try_into().unwrap()),
        pts_us: buffer.pts().map_or(-1, |t| t.useconds() as i64),
        reported_wall_us,
    }
}

fn add_frame(sample: &gst::Sample, seen: &Mutex<Seen>) {
    let format = sample.caps().unwrap().structure(0).unwrap();
    let (width, height) = (
        format.get::<i32>("width").unwrap() as usize,
        format.get::<i32>("height").unwrap() as usize,
    );
    let buffer = sample.buffer().unwrap();
    let map = buffer.map_readable().unwrap();
    // The widths used here are multiples of 4, so GRAY8 rows are tightly packed.
    let (mark, has_flash) = picture::read(&map, width, height);
    let pts_us = buffer.pts().unwrap().useconds() as i64;
    seen.lock().unwrap().frames.push(Frame {
        pts_us,
        mark,
        has_flash,
    });
}

fn add_sound(sample: &gst::Sample, seen: &Mutex<Seen>) {
    let rate_hz: i32 = sample.caps().unwrap().structure(0).unwrap().get("rate").unwrap();
    let buffer = sample.buffer().unwrap();
    let map = buffer.map_readable().unwrap();
    let samples: Vec<f32> = map
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let start_us = buffer.pts().unwrap().useconds() as i64;
    let mut seen = seen.lock().unwrap();
    match seen.sound.last_mut() {
        Some(last) if (last.end_us() - start_us).abs() < 1_000 => last.samples.extend(samples),
        _ => seen.sound.push(Stretch {
            start_us,
            rate_hz: rate_hz as u32,
            samples,
        }),
    }
}
