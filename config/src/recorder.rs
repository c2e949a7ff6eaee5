//! Settings of `minhquay-recorder`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use archive::ids::{CounterId, Quality, SiteId, StreamId};
use serde::Deserialize;

use crate::health::HealthSettings;
use crate::retention::RetentionSettings;
use crate::upload::{UploadPolicy, UploadSettings, ViewpointUpload};
use crate::{Problem, Settings};

/// Everything that a recorder is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecorderSettings {
    /// The site served.
    pub site: SiteId,
    /// Folder of the index and the recorder's key; on a local disk.
    pub data_dir: PathBuf,
    /// Folder of the recordings; `data_dir/recordings` if absent.
    pub recordings_dir: Option<PathBuf>,
    /// Address of the recorder's own HTTP: events, health, metrics.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// File with the token that `POST /api/v1/events` on the recorder asks for; absent: the call is off.
    pub events_token_file: Option<PathBuf>,
    /// The centre; absent: the recorder works alone.
    pub server: Option<ServerLink>,
    /// How segments are cut.
    #[serde(default)]
    pub segment: SegmentSettings,
    /// How footage goes up.
    #[serde(default)]
    pub upload: UploadSettings,
    /// How long footage stays, and what happens when the disk gets full.
    #[serde(default)]
    pub retention: RetentionSettings,
    /// How picture and sound are watched.
    #[serde(default)]
    pub health: HealthSettings,
    /// The counters and their streams.
    #[serde(default, rename = "counter")]
    pub counters: Vec<CounterSettings>,
    /// Where counter events come from, beside HTTP.
    #[serde(default)]
    pub input: InputSettings,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8070))
}

/// How to reach the centre.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerLink {
    /// `https://host` (or `http://` on a trusted line).
    pub url: String,
    /// Address that live is published from; absent: any.
    pub live_bind: Option<std::net::IpAddr>,
}

/// How segments are cut.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentSettings {
    /// Length of a segment in seconds, 4 to 600; it ends at the next keyframe.
    pub duration_s: u32,
    /// Most milliseconds between two syncs of a growing segment, 100 to 2000.
    pub sync_ms: u32,
}

impl Default for SegmentSettings {
    fn default() -> Self {
        Self {
            duration_s: 60,
            sync_ms: 1000,
        }
    }
}

/// A counter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterSettings {
    /// The id that queue systems name as `subject`.
    pub id: CounterId,
    /// The name for people, e.g. `Quầy 01`.
    pub name: String,
    /// Its viewpoints.
    #[serde(default, rename = "stream")]
    pub streams: Vec<ViewpointSettings>,
}

/// A viewpoint of a counter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewpointSettings {
    /// E.g. `front` or `desk`.
    pub viewpoint: String,
    /// The full picture.
    pub main: Source,
    /// The small picture, if the camera has one.
    pub sub: Option<Source>,
    /// What of both goes up.
    #[serde(default)]
    pub upload: ViewpointUpload,
}

/// Where picture and sound come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// A network camera.
    Rtsp {
        /// `rtsp://host[:port]/path`, without user and password.
        url: String,
        /// How media travels.
        #[serde(default)]
        transport: Transport,
        /// User name at the camera.
        username: Option<String>,
        /// File with the password at the camera.
        password_file: Option<PathBuf>,
        /// Whether the camera's sound is recorded.
        #[serde(default)]
        audio: RtspAudio,
    },
    /// A camera and a microphone on this machine, encoded here.
    Device {
        /// V4L2 device, e.g. `/dev/video0`.
        video: PathBuf,
        /// `alsa:DEVICE` or `pulse:DEVICE`; absent: no sound.
        audio: Option<String>,
        /// Width in pixels.
        #[serde(default = "default_width")]
        width: u32,
        /// Height in pixels.
        #[serde(default = "default_height")]
        height: u32,
        /// Pictures per second.
        #[serde(default = "default_fps")]
        fps: u32,
        /// Bit rate of the picture.
        #[serde(default = "default_bitrate_kbit")]
        bitrate_kbit: u32,
    },
    /// A made-up picture and tone, to try an installation.
    Test,
}

fn default_width() -> u32 {
    1280
}
fn default_height() -> u32 {
    720
}
fn default_fps() -> u32 {
    25
}
fn default_bitrate_kbit() -> u32 {
    2000
}

/// How RTP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Interleaved in the RTSP connection.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// Whether the sound of a network camera is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RtspAudio {
    /// If the camera announces it.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// Where counter events come from, beside HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputSettings {
    /// Days that events stay in the journal on the disk of the recordings; longer while the centre lacks one.
    pub journal_days: u32,
    /// Barcode scanners on a serial line.
    pub serial: Vec<SerialInput>,
    /// Barcode scanners that act as a keyboard, grabbed exclusively.
    pub hid: Vec<HidInput>,
    /// A broker that carries counter events.
    pub mqtt: Option<MqttInput>,
}

impl Default for InputSettings {
    fn default() -> Self {
        Self {
            journal_days: 30,
            serial: Vec::new(),
            hid: Vec::new(),
            mqtt: None,
        }
    }
}

/// A serial barcode scanner.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialInput {
    /// E.g. `/dev/ttyUSB0`.
    pub device: PathBuf,
    /// Bits per second.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// The counter where it lies.
    pub counter: CounterId,
}

fn default_baud() -> u32 {
    9600
}

/// A keyboard-like barcode scanner.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HidInput {
    /// E.g. `/dev/input/by-id/usb-…-event-kbd`.
    pub device: PathBuf,
    /// The counter where it lies.
    pub counter: CounterId,
}

/// A broker that carries counter events.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttInput {
    /// `mqtt://host:port` or `mqtts://host:port`.
    pub url: String,
    /// Topic filter, e.g. `queue/+/events`.
    pub topic: String,
    /// User name at the broker.
    pub username: Option<String>,
    /// File with the password at the broker.
    pub password_file: Option<PathBuf>,
}

/// One stream as the settings give it.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// Its id.
    pub stream: StreamId,
    /// The counter's name for people.
    pub counter_name: String,
    /// Where it comes from.
    pub source: Source,
    /// What of it goes up.
    pub upload: UploadPolicy,
}

impl RecorderSettings {
    /// Folder of the recordings.
    pub fn recordings_dir(&self) -> PathBuf {
        self.recordings_dir
            .clone()
            .unwrap_or_else(|| self.data_dir.join("recordings"))
    }

    /// All streams of all counters.
    pub fn streams(&self) -> Vec<StreamSettings> {
        let mut streams = Vec::new();
        for counter in &self.counters {
            for viewpoint in &counter.streams {
                let sources = [
                    (Quality::Main, Some(&viewpoint.main), viewpoint.upload.main),
                    (Quality::Sub, viewpoint.sub.as_ref(), viewpoint.upload.sub),
                ];
                for (quality, source, upload) in sources {
                    let stream = StreamId::new(&counter.id, &viewpoint.viewpoint, quality);
                    if let (Ok(stream), Some(source)) = (stream, source) {
                        streams.push(StreamSettings {
                            stream,
                            counter_name: counter.name.clone(),
                            source: source.clone(),
                            upload,
                        });
                    }
                }
            }
        }
        streams
    }
}

impl Settings for RecorderSettings {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(4..=600).contains(&self.segment.duration_s) {
            problems.push(Problem::new("segment.duration_s", "must be 4 to 600 seconds"));
        }
        if !(100..=2000).contains(&self.segment.sync_ms) {
            problems.push(Problem::new(
                "segment.sync_ms",
                "must be 100 to 2000 milliseconds",
            ));
        }
        self.retention.check(&mut problems);
        self.health.check(&mut problems);
        if let Some(server) = &self.server
            && !has_scheme(&server.url, &["http", "https"])
        {
            problems.push(Problem::new("server.url", "must start with https:// or http://"));
        }
        self.upload.check(&mut problems);
        let mut counters = BTreeSet::new();
        for (c, counter) in self.counters.iter().enumerate() {
            if !counters.insert(&counter.id) {
                problems.push(Problem::new(
                    format!("counter[{c}].id"),
                    format!("{} stands twice", counter.id),
                ));
            }
            let mut viewpoints = BTreeSet::new();
            for (s, viewpoint) in counter.streams.iter().enumerate() {
                let key = format!("counter[{c}].stream[{s}]");
                if !viewpoints.insert(&viewpoint.viewpoint) {
                    problems.push(Problem::new(
                        format!("{key}.viewpoint"),
                        format!("{:?} stands twice", viewpoint.viewpoint),
                    ));
                }
                if let Err(e) = StreamId::new(&counter.id, &viewpoint.viewpoint, Quality::Main) {
                    problems.push(Problem::new(format!("{key}.viewpoint"), e.to_string()));
                }
                viewpoint.main.check(&format!("{key}.main"), &mut problems);
                if let Some(sub) = &viewpoint.sub {
                    sub.check(&format!("{key}.sub"), &mut problems);
                }
            }
        }
        let inputs = self
            .input
            .serial
            .iter()
            .enumerate()
            .map(|(i, s)| (format!("input.serial[{i}].counter"), &s.counter))
            .chain(
                self.input
                    .hid
                    .iter()
                    .enumerate()
                    .map(|(i, h)| (format!("input.hid[{i}].counter"), &h.counter)),
            );
        for (key, counter) in inputs {
            if !counters.contains(counter) {
                let known: Vec<_> = counters.iter().map(|c| c.as_str()).collect();
                problems.push(Problem::new(
                    key,
                    format!(
                        "{counter} is none of this recorder's counters: {}",
                        known.join(", ")
                    ),
                ));
            }
        }
        if let Some(mqtt) = &self.input.mqtt
            && !has_scheme(&mqtt.url, &["mqtt", "mqtts"])
        {
            problems.push(Problem::new(
                "input.mqtt.url",
                "must start with mqtts:// or mqtt://",
            ));
        }
        problems
    }
}

impl Source {
    fn check(&self, key: &str, problems: &mut Vec<Problem>) {
        match self {
            Self::Rtsp {
                url,
                username,
                password_file,
                ..
            } => {
                if !has_scheme(url, &["rtsp", "rtsps"]) {
                    problems.push(Problem::new(
                        format!("{key}.url"),
                        "must start with rtsp:// or rtsps://",
                    ));
                }
                if url.split('/').nth(2).is_some_and(|host| host.contains('@')) {
                    problems.push(Problem::new(
                        format!("{key}.url"),
                        "must not hold user and password: use username and password_file",
                    ));
                }
                if username.is_some() != password_file.is_some() {
                    problems.push(Problem::new(
                        format!("{key}.username"),
                        "goes with password_file: both or none",
                    ));
                }
            }
            Self::Device {
                audio,
                width,
                height,
                fps,
                bitrate_kbit,
                ..
            } => {
                if audio
                    .as_ref()
                    .is_some_and(|a| !a.starts_with("alsa:") && !a.starts_with("pulse:"))
                {
                    problems.push(Problem::new(
                        format!("{key}.audio"),
                        "must be alsa:DEVICE or pulse:DEVICE",
                    ));
                }
                let ranges = [
                    ("width", *width, 160..=7680),
                    ("height", *height, 120..=4320),
                    ("fps", *fps, 1..=60),
                    ("bitrate_kbit", *bitrate_kbit, 64..=50_000),
                ];
                for (name, value, range) in ranges {
                    if !range.contains(&value) {
                        let message = format!("{value} is not {} to {}", range.start(), range.end());
                        problems.push(Problem::new(format!("{key}.{name}"), message));
                    }
                }
            }
            Self::Test => {}
        }
    }
}

fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://")
        .is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
}
