//! An RTSP camera over one TCP connection (RFC 2326 §10.12), which keeps the order of its packets itself.
//!
//! GStreamer's own client hands each packet from thread to thread and through a buffer that puts packets in order. Here
//! a task reads what has come and hands over whole access units; that costs a fraction (see ARCHITECTURE.md).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use archive::gap::GapCause;
use futures::StreamExt as _;
use gst::prelude::*;
use retina::client::{
    Credentials, Described, InitialTimestampPolicy, PacketItem, PlayOptions, Playing, Session,
    SessionIdPolicy, SessionOptions, SetupOptions,
};
use retina::rtp::ReceivedPacket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::delay::Measured;
use super::mux::{Flow, TrackKind};
use super::rtp_time::RtpTime;
use super::tracks::Tracks;
use super::{CaptureError, beat};

/// How the recorder calls itself to cameras.
pub(super) const USER_AGENT: &str = concat!("minhquay-recorder/", env!("CARGO_PKG_VERSION"));

/// Packets that wait for the pipeline may take so much memory: many seconds of any camera.
const MOST_WAITING_BYTES: u64 = 64 * 1024 * 1024;
/// Unwatched, pictures and sound of so long go into the pipeline together: each time wakes three threads.
const TOGETHER_NS: i64 = 150_000_000;
/// The first packets of all tracks are waited for so long.
const FIRST_PACKETS_NS: i64 = 500_000_000;

/// The task that reads a camera; dropped, it says goodbye to it.
pub(super) struct Client {
    task: AbortOnDropHandle<()>,
    stop: CancellationToken,
}

impl Client {
    /// Stops to read; what has come goes into the pipeline, and behind it the end of the stream.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        // A panic has been told already.
        let _ = (&mut self.task).await;
    }
}

/// Where a camera is and how to sign in there.
pub(super) struct Camera {
    pub url: String,
    pub credentials: Option<(String, String)>,
}

impl Camera {
    /// Reads the password.
    pub fn new(
        url: &str,
        username: Option<&str>,
        password_file: Option<&Path>,
    ) -> Result<Self, CaptureError> {
        let credentials = match (username, password_file) {
            (Some(username), Some(file)) => {
                let password = std::fs::read_to_string(file).map_err(|source| CaptureError::Password {
                    file: file.to_owned(),
                    source,
                })?;
                Some((
                    username.to_owned(),
                    password.trim_end_matches(['\r', '\n']).to_owned(),
                ))
            }
            _ => None,
        };
        Ok(Self {
            url: url.to_owned(),
            credentials,
        })
    }

    pub fn is_tls(&self) -> bool {
        self.url.starts_with("rtsps:")
    }
}

/// Starts to read a camera into a pipeline. How it ends is told to the flow.
pub(super) fn start(
    pipeline: &gst::Pipeline,
    camera: Camera,
    tracks: Tracks,
    flow: &Arc<Flow>,
) -> Result<Client, CaptureError> {
    let (pipeline, flow) = (pipeline.downgrade(), flow.clone());
    let stop = CancellationToken::new();
    let is_stopped = stop.clone();
    let task = beat::spawn(async move {
        let mut doors = Vec::new();
        let (cause, detail) = tokio::select! {
            end = read(&pipeline, &camera, tracks, &flow, &mut doors) => end,
            () = is_stopped.cancelled() => gone(),
        };
        // Before the end of the stream reaches the muxer: the cause says more.
        flow.end(cause, detail);
        doors.iter_mut().for_each(Door::close);
    })?;
    Ok(Client { task, stop })
}

type End = (GapCause, String);

async fn read(
    pipeline: &gst::glib::WeakRef<gst::Pipeline>,
    camera: &Camera,
    tracks: Tracks,
    flow: &Flow,
    doors: &mut Vec<Door>,
) -> End {
    let mut session = match open(pipeline, camera, tracks).await {
        Ok((session, opened)) => {
            *doors = opened;
            session
        }
        Err(end) => return end,
    };
    let mut opening = Opening::default();
    while let Some(item) = session.next().await {
        let packet = match item {
            Ok(PacketItem::Rtp(packet)) => packet,
            // What else there is, is of no use: reports of senders, which say again what the packets say.
            Ok(_) => continue,
            Err(error) => return end_of(&error),
        };
        // Before the pipeline plays there is no time to count from.
        let Some(now_ns) = running_ns(pipeline) else {
            continue;
        };
        let Some(door) = doors.iter().position(|door| door.stream == packet.stream_id()) else {
            continue;
        };
        if doors[door].kind == TrackKind::Video {
            flow.received_us.store(flow.clock.monotonic_us(), Relaxed);
        }
        let ready = match opening.add(doors, door, packet, now_ns) {
            Ok(ready) => ready,
            Err(packet) => vec![(door, packet)],
        };
        for (door, packet) in ready {
            doors[door].take(&packet, now_ns, flow);
        }
        let is_watched = flow.tap.has_subscribers();
        for door in doors.iter_mut() {
            if let Err(end) = door.hand_over(now_ns, is_watched) {
                return end;
            }
        }
    }
    (GapCause::CameraOffline, "the camera ended the stream".to_owned())
}

/// Asks the camera for its tracks, builds their way to the muxer and lets it play.
async fn open(
    pipeline: &gst::glib::WeakRef<gst::Pipeline>,
    camera: &Camera,
    tracks: Tracks,
) -> Result<(Session<Playing>, Vec<Door>), End> {
    let url = url::Url::parse(&camera.url).map_err(|e| (GapCause::CameraFaulty, e.to_string()))?;
    let credentials = camera.credentials.clone();
    let options = SessionOptions::default()
        .creds(credentials.map(|(username, password)| Credentials { username, password }))
        .user_agent(USER_AGENT.to_owned())
        .session_id(SessionIdPolicy::UseFirst);
    let mut session = Session::describe(url, options).await.map_err(|e| end_of(&e))?;
    let announced = announced(&session)?;
    let pipeline = pipeline.clone();
    // Beside the beat: to build elements takes a while, and may hang.
    let doors = tokio::task::spawn_blocking(move || build(&pipeline, &announced, &tracks))
        .await
        .map_err(|e| (GapCause::CameraFaulty, e.to_string()))?
        .map_err(|e| (GapCause::CameraFaulty, e.to_string()))?;
    for door in &doors {
        session
            .setup(door.stream, SetupOptions::default())
            .await
            .map_err(|e| end_of(&e))?;
    }
    let options = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Permissive);
    let session = session.play(options).await.map_err(|e| end_of(&e))?;
    Ok((session, doors))
}

/// A door for each track that is recorded, and its way to the muxer.
fn build(
    pipeline: &gst::glib::WeakRef<gst::Pipeline>,
    announced: &[(usize, gst::Caps)],
    tracks: &Tracks,
) -> Result<Vec<Door>, CaptureError> {
    let mut doors = Vec::new();
    for (stream, caps) in announced {
        if let Some(kind) = tracks.select(caps) {
            doors.push(Door::new(*stream, kind, caps)?);
        }
    }
    tracks.conclude();
    if let Some(pipeline) = pipeline.upgrade() {
        for door in &doors {
            door.join(&pipeline, tracks)?;
        }
    }
    Ok(doors)
}

fn gone() -> End {
    (GapCause::RecorderStopped, "the pipeline is gone".to_owned())
}

/// The tracks as GStreamer describes them (RFC 4566), with their numbers in the session.
fn announced(session: &Session<Described>) -> Result<Vec<(usize, gst::Caps)>, End> {
    let unreadable =
        |e: gst::glib::BoolError| (GapCause::CameraFaulty, format!("what the camera announces: {e}"));
    let message = gst_sdp::SDPMessage::parse_buffer(session.sdp()).map_err(unreadable)?;
    let mut found = Vec::new();
    for (number, stream) in session.streams().iter().enumerate() {
        let payload_type = stream.rtp_payload_type();
        let media = message.medias().find(|media| {
            media.media() == Some(stream.media())
                && media.format(0).and_then(|format| format.parse().ok()) == Some(payload_type)
        });
        let Some(media) = media else { continue };
        let Some(mut caps) = media.caps_from_media(i32::from(payload_type)) else {
            continue;
        };
        let caps_ref = caps.make_mut();
        if let Some(structure) = caps_ref.structure_mut(0) {
            structure.set_name("application/x-rtp");
        }
        media.attributes_to_caps(caps_ref).map_err(unreadable)?;
        found.push((number, caps));
    }
    Ok(found)
}

fn running_ns(pipeline: &gst::glib::WeakRef<gst::Pipeline>) -> Option<i64> {
    let running = pipeline.upgrade()?.current_running_time()?;
    i64::try_from(running.nseconds()).ok()
}

/// What the library says, in one line, and what it means for the recording.
fn end_of(error: &retina::Error) -> End {
    let text = error.to_string();
    // The lines behind tell of sockets and times.
    let line = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let is_of_line = ["Unable to connect", "Error reading", "Error writing", "Timeout"]
        .iter()
        .any(|start| line.starts_with(start));
    match error.status_code() {
        Some(401 | 403) => (
            GapCause::CameraOffline,
            "the camera refuses this user name and password".to_owned(),
        ),
        Some(404) => (
            GapCause::CameraOffline,
            "the camera knows no such path".to_owned(),
        ),
        Some(300..) => (GapCause::CameraOffline, format!("the camera answers: {line}")),
        _ if is_of_line => (GapCause::CameraOffline, line),
        _ if line.starts_with("wrong ssrc") => (
            GapCause::TracksChanged,
            "the camera began a track anew".to_owned(),
        ),
        _ => (GapCause::CameraFaulty, line),
    }
}

/// Where the packets of one track enter the pipeline.
struct Door {
    stream: usize,
    kind: TrackKind,
    source: gst_app::AppSrc,
    caps: gst::Caps,
    /// The pipeline knows the caps. Not before the first packet: the muxer leaves out a track without caps, but waits for
    /// one that has some and never gives anything.
    is_told: bool,
    time: RtpTime,
    /// Packets that wait to be handed over, and how many of them make whole access units.
    packets: Vec<gst::Buffer>,
    whole: usize,
    /// RTP timestamp of the last of them.
    last_time: u32,
    handed_over_ns: i64,
}

impl Door {
    fn new(stream: usize, kind: TrackKind, caps: &gst::Caps) -> Result<Self, CaptureError> {
        let rate = caps
            .structure(0)
            .and_then(|s| s.get::<i32>("clock-rate").ok())
            .and_then(|rate| u32::try_from(rate).ok())
            .and_then(std::num::NonZeroU32::new)
            .ok_or_else(|| CaptureError::Build(format!("no clock rate in {caps}")))?;
        let source = gst_app::AppSrc::builder()
            .format(gst::Format::Time)
            .is_live(true)
            .build();
        Ok(Self {
            stream,
            kind,
            source,
            caps: caps.clone(),
            is_told: false,
            time: RtpTime::new(rate),
            packets: Vec::new(),
            whole: 0,
            last_time: 0,
            handed_over_ns: 0,
        })
    }

    /// Leads from here to the muxer.
    fn join(&self, pipeline: &gst::Pipeline, tracks: &Tracks) -> Result<(), CaptureError> {
        pipeline.add(&self.source)?;
        let pad = self
            .source
            .static_pad("src")
            .ok_or_else(|| CaptureError::Build("no src".to_owned()))?;
        tracks.attach(pipeline, &pad, &self.caps, Measured::AtArrival);
        self.source.sync_state_with_parent()?;
        Ok(())
    }

    /// Tells what RTP time the camera named as the start of all tracks.
    fn set_base(&mut self, rtp_time: u32) {
        self.caps.make_mut().set("clock-base", rtp_time);
    }

    fn take(&mut self, packet: &ReceivedPacket, now_ns: i64, flow: &Flow) {
        let rtp_time = packet.header().timestamp();
        if rtp_time != self.last_time {
            self.whole = self.packets.len();
        }
        self.last_time = rtp_time;
        let running_ns = self.time.running_ns(rtp_time, now_ns);
        flow.delay.observe(self.kind, now_ns - running_ns);
        let mut buffer = gst::Buffer::from_slice(packet.raw().to_vec());
        if let Some(buffer) = buffer.get_mut() {
            let running_ns = u64::try_from(running_ns).unwrap_or(0);
            buffer.set_pts(gst::ClockTime::from_nseconds(running_ns));
        }
        self.packets.push(buffer);
        // The marker ends an access unit of a picture; of sound each packet is whole.
        if packet.mark() || self.kind == TrackKind::Audio {
            self.whole = self.packets.len();
        }
    }

    /// Brings all that is whole into the pipeline, and the end of the track behind it.
    fn close(&mut self) {
        // Fails only if the flow behind has ended.
        let _ = self.hand_over(i64::MAX, true);
        let _ = self.source.end_of_stream();
    }

    /// Brings whole access units into the pipeline: at once if somebody watches, else some together.
    fn hand_over(&mut self, now_ns: i64, is_watched: bool) -> Result<(), End> {
        if self.whole == 0 || (!is_watched && now_ns - self.handed_over_ns < TOGETHER_NS) {
            return Ok(());
        }
        if self.source.current_level_bytes() > MOST_WAITING_BYTES {
            let detail = "the camera sends faster than can be recorded".to_owned();
            return Err((GapCause::CameraFaulty, detail));
        }
        if !self.is_told {
            self.is_told = true;
            self.source.set_caps(Some(&self.caps));
        }
        self.handed_over_ns = now_ns;
        let list: gst::BufferList = self.packets.drain(..self.whole).collect();
        self.whole = 0;
        // What ended the flow behind tells so itself.
        self.source.push_buffer_list(list).map(|_| ()).map_err(|_| gone())
    }
}

/// The first packets, kept until every track has one: together they tell whether the camera named a common start.
#[derive(Default)]
struct Opening {
    waiting: Vec<(usize, ReceivedPacket)>,
    since_ns: Option<i64>,
    is_over: bool,
}

impl Opening {
    /// Keeps a packet; gives all in order once each track has one or has been waited for long enough. Gives the packet
    /// itself back when that is over.
    fn add(
        &mut self,
        doors: &mut [Door],
        door: usize,
        packet: ReceivedPacket,
        now_ns: i64,
    ) -> Result<Vec<(usize, ReceivedPacket)>, ReceivedPacket> {
        if self.is_over {
            return Err(packet);
        }
        self.waiting.push((door, packet));
        let since_ns = *self.since_ns.get_or_insert(now_ns);
        let first = |door: usize| self.waiting.iter().find(|(of, _)| *of == door).map(|(_, p)| p);
        let is_complete = (0..doors.len()).all(|door| first(door).is_some());
        if !is_complete && now_ns - since_ns < FIRST_PACKETS_NS {
            return Ok(Vec::new());
        }
        // Without a word of the camera each track is taken to start at its own first packet.
        let is_named = (0..doors.len())
            .filter_map(first)
            .any(|p| p.timestamp().start() != p.header().timestamp());
        if is_named {
            for (number, door) in doors.iter_mut().enumerate() {
                if let Some(packet) = first(number) {
                    door.set_base(packet.timestamp().start());
                }
            }
        }
        self.is_over = true;
        Ok(std::mem::take(&mut self.waiting))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// How a camera that gives this answer to everything is told of.
    async fn told_of(answer: Option<&'static str>) -> End {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtsp://{}/cam", listener.local_addr().unwrap());
        let camera = tokio::spawn(async move {
            let Some(answer) = answer else { return };
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let read = connection.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"DESCRIBE "));
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        if answer.is_none() {
            camera.await.unwrap();
        }
        let url = url::Url::parse(&url).unwrap();
        let described = Session::describe(url, SessionOptions::default()).await;
        end_of(&described.err().unwrap())
    }

    #[tokio::test]
    async fn what_a_camera_answers_is_told_in_words_and_with_a_cause() {
        use GapCause::{CameraFaulty, CameraOffline};
        let answers = [
            (None, CameraOffline, "Unable to connect"),
            (Some(""), CameraOffline, "Error reading"),
            (
                Some("RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n"),
                CameraOffline,
                "the camera knows no such path",
            ),
            (
                Some("RTSP/1.0 403 Forbidden\r\nCSeq: 1\r\n\r\n"),
                CameraOffline,
                "the camera refuses this user name and password",
            ),
            (
                Some("RTSP/1.0 503 Service Unavailable\r\nCSeq: 1\r\n\r\n"),
                CameraOffline,
                "the camera answers: 503",
            ),
            (
                Some(
                    "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=1",
                ),
                CameraFaulty,
                "",
            ),
            (Some("HTTP/1.1 200 OK\r\n\r\n"), CameraFaulty, ""),
        ];
        for (answer, cause, start) in answers {
            let (told, detail) = told_of(answer).await;
            assert_eq!(told, cause, "{answer:?}: {detail}");
            assert!(detail.starts_with(start), "{answer:?}: {detail}");
            assert!(!detail.contains('\n'), "{detail}");
        }
    }
}
