//! The edge: captures, records, indexes and uploads the streams of one site.

pub mod alerts;
mod backoff;
pub mod capture;
pub mod check;
mod clock;
pub mod disk;
mod files;
pub mod health;
pub mod http;
pub mod index;
pub mod inputs;
pub mod live;
pub mod memory;
pub mod record;
pub mod repair;
pub mod retention;
mod service;
pub mod store;
pub mod uplink;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archive::ids::{CounterId, Quality, StreamId};
use archive::time::Clock;
use archive::uplink::StreamDescription;
use site_config::recorder::{RecorderSettings, Source, StreamSettings};
use site_config::upload::UploadSettings;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use clock::MachineClock;

use alerts::Alerts;
use capture::{CaptureContext, Examined, Examiner, Health, LiveTap};
use index::{IndexError, Rolls, UploadRule};
use inputs::EventJournal;
use record::{Recorded, Writer, WriterSettings};
pub use service::Progress;
use store::Store;

/// Fragments that wait for the disk, for each stream: half a minute.
const WAITING_FRAGMENTS: usize = 64;

/// Why a recorder can't start. Once it has started, nothing but shutdown ends it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A folder or file can't be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another recorder uses the same folder.
    #[error("{}: another recorder is running on this data_dir", .0.display())]
    InUse(PathBuf),
    /// The index can't be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What a crash left can't be put in order.
    #[error("salvage: {0}")]
    Salvage(#[from] record::WriteError),
    /// GStreamer can't be used.
    #[error(transparent)]
    Capture(#[from] capture::CaptureError),
    /// The recorder's identity can't be read.
    #[error(transparent)]
    Enrol(#[from] uplink::EnrolError),
    /// The recorder's own HTTP can't listen.
    #[error("listen = \"{address}\": {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The writer's thread does not start.
    #[error("the writer's thread does not start: {0}")]
    Thread(std::io::Error),
    /// The writer is gone, so nothing is recorded; the next start salvages what it left.
    #[error("the writer failed: start the recorder again, which salvages what was being written")]
    WriterFailed,
}

/// Runs a recorder until `shutdown`; growing segments are then sealed and a gap is opened.
///
/// # Errors
/// If it can't start.
pub async fn run(
    settings: RecorderSettings,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let recordings = settings.recordings_dir();
    let _lock = lock(&settings)?;
    let metrics = http::metrics();
    capture::init()?;
    let identity = uplink::Identity::load(&settings.data_dir)?;
    let events_token = inputs::http::EventsToken::load(settings.events_token_file.as_deref())
        .map_err(|(path, source)| RunError::File { path, source })?;
    let listener = tokio::net::TcpListener::bind(settings.listen)
        .await
        .map_err(|source| RunError::Listen {
            address: settings.listen,
            source,
        })?;

    let streams = settings.streams();
    let rules = upload_rules(&settings.upload, &streams);
    let ids: Vec<StreamId> = streams.iter().map(|s| s.stream.clone()).collect();
    let Store {
        index,
        volume,
        chains,
    } = Store::open(&settings.data_dir, &recordings, &rules, &ids, clock.clone()).await?;
    let index = index.with_rolls(Rolls {
        pre_us: i64::from(settings.retention.pre_roll_s) * 1_000_000,
        post_us: i64::from(settings.retention.post_roll_s) * 1_000_000,
    });

    let clock_seen = Arc::<health::ClockSeen>::default();
    let (examiners, looked) = capture::examiners(examined(&settings))?;
    let mut examiners: BTreeMap<StreamId, Arc<Examiner>> = examiners
        .into_iter()
        .map(|examiner| (examiner.stream().clone(), examiner))
        .collect();
    let watching = health::Watching {
        counters: by_counter(&ids),
        examiners: examiners.clone(),
        alerts: Alerts::new(index.clone(), clock.clone()),
        index: index.clone(),
        clock: clock.clone(),
        clock_seen: clock_seen.clone(),
        recordings: recordings.clone(),
        scenes: settings.data_dir.join("scenes"),
        recorder: identity.as_ref().map(|identity| identity.recorder.clone()),
        key: uplink::ensure_key(&settings.data_dir)?,
        settings: settings.health.clone(),
        shutdown: shutdown.clone(),
    };

    let (captured, to_write) = mpsc::channel((WAITING_FRAGMENTS * streams.len()).max(WAITING_FRAGMENTS));
    let mut recorded = Vec::new();
    let mut captures = JoinSet::new();
    let mut contexts = Vec::new();
    let mut health = BTreeMap::new();
    let mut taps: BTreeMap<StreamId, Arc<LiveTap>> = BTreeMap::new();
    let mut descriptions = Vec::new();
    for stream in streams {
        let (requests, requested) = watch::channel(None);
        let context = CaptureContext {
            stream: stream.stream.clone(),
            source: stream.source.clone(),
            clock: clock.clone(),
            output: captured.clone(),
            requests: requested,
            tap: Arc::default(),
            examiner: examiners
                .remove(&stream.stream)
                .unwrap_or_else(|| Examiner::idle(stream.stream.clone())),
            health: Arc::new(Health::default()),
            shutdown: shutdown.clone(),
        };
        recorded.push(Recorded {
            stream: stream.stream.clone(),
            requests,
            health: context.health.clone(),
            settings: record::describe(&stream.source, &settings.segment),
        });
        health.insert(stream.stream.clone(), context.health.clone());
        taps.insert(stream.stream.clone(), context.tap.clone());
        descriptions.push(StreamDescription {
            stream: stream.stream,
            counter_name: stream.counter_name,
            has_audio: has_audio(&stream.source),
        });
        contexts.push(context);
    }
    drop(captured);
    let writer_settings = WriterSettings {
        segment_us: i64::from(settings.segment.duration_s) * 1_000_000,
        sync: Duration::from_millis(u64::from(settings.segment.sync_ms)),
    };
    let (ledger, requests) = record::ledger();
    let (has_room, room) = watch::channel(true);
    let (tell_disk_left, disk_left_s) = watch::channel(None);
    let progress = Arc::new(Progress::default());
    progress.note(&*clock);
    let writer = Writer::new(writer_settings, index.clone(), chains, clock.clone(), recorded)
        .await?
        .while_there_is_room(room)
        .watched(progress.clone());
    // A thread of its own: it waits for the disk, which would hold up tasks.
    let runtime = tokio::runtime::Handle::current();
    let (written, is_written) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || {
            runtime.block_on(writer.run(to_write, requests));
            // Nobody waits only if the program is being torn down. A panic drops the sender instead.
            let _ = written.send(());
        })
        .map_err(RunError::Thread)?;
    for context in contexts {
        captures.spawn(capture::supervise(context));
    }

    let mut tasks = JoinSet::new();
    if settings.health.enabled {
        tasks.spawn(health::keep(watching, looked));
    }
    let (live_commands, live_requests) = mpsc::channel(64);
    let (live_ended, live_endings) = mpsc::channel(64);
    match (&settings.server, identity) {
        (Some(server), Some(identity)) => {
            tasks.spawn(uplink::run(
                uplink::Uplink {
                    url: server.url.clone(),
                    identity,
                    site: settings.site.clone(),
                    streams: descriptions,
                    recordings: recordings.clone(),
                    index: index.clone(),
                    hours: uplink::Hours::new(&settings.upload),
                    volume: volume.clone(),
                    ledger: ledger.clone(),
                    health: health.clone(),
                    disk_left_s,
                    clock: clock.clone(),
                    clock_seen: clock_seen.clone(),
                    live: live_commands,
                    shutdown: shutdown.clone(),
                },
                live_endings,
            ));
        }
        (Some(server), None) => tracing::warn!(
            server = server.url,
            "this recorder is not enrolled, so it works alone: minhquay-recorder enrol --server URL --code CODE"
        ),
        (None, _) => tracing::info!("no server is set up: this recorder works alone"),
    }
    let publisher = live::Live {
        taps,
        bind: settings.server.as_ref().and_then(|server| server.live_bind),
        clock: clock.clone(),
        ended: live_ended,
    };
    tasks.spawn(live::run(publisher, live_requests, shutdown.clone()));
    let sources = inputs::Inputs {
        index: index.clone(),
        journal: EventJournal::new(volume.clone()),
        clock: clock.clone(),
        shutdown: shutdown.clone(),
    };
    sources.start(&settings, &mut tasks);
    let keeper = retention::Keeper {
        settings: settings.retention,
        data_dir: settings.data_dir.clone(),
        volume,
        index: index.clone(),
        ledger,
        alerts: alerts::Alerts::new(index.clone(), clock.clone()),
        health: health.clone(),
        clock: clock.clone(),
        has_room,
        disk_left_s: tell_disk_left,
    };
    tasks.spawn(keeper.run(shutdown.clone()));
    tasks.spawn(clock::watch(index.clone(), clock.clone(), shutdown.clone()));
    tasks.spawn(service::tell(
        progress,
        health.clone(),
        clock.clone(),
        shutdown.clone(),
    ));
    let state = http::State {
        metrics,
        health,
        recordings,
        index: index.clone(),
        clock,
        events: events_token.map(|token| (token, sources)),
    };
    tasks.spawn(http::serve(listener, state, shutdown.clone()));
    tracing::info!(listen = %settings.listen, "recording");

    // Once the captures are gone, and with them all senders, the writer drains, seals and ends; else it has failed.
    is_written.await.map_err(|_| RunError::WriterFailed)?;
    while captures.join_next().await.is_some() {}
    shutdown.cancelled().await;
    let rest = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(5), rest).await.is_err() {
        tracing::warn!("some tasks did not end in time");
        tasks.shutdown().await;
    }
    index.close().await;
    Ok(())
}

fn upload_rules(upload: &UploadSettings, streams: &[StreamSettings]) -> Vec<UploadRule> {
    let rule = |stream: &StreamSettings| UploadRule {
        stream: stream.stream.clone(),
        policy: stream.upload,
        pre_us: i64::from(upload.pre_roll_s) * 1_000_000,
        post_us: i64::from(upload.post_roll_s) * 1_000_000,
    };
    streams.iter().map(rule).collect()
}

fn has_audio(source: &Source) -> bool {
    match source {
        Source::Rtsp { audio, .. } => *audio == site_config::recorder::RtspAudio::Auto,
        Source::Device { audio, .. } => audio.is_some(),
        Source::Test => true,
    }
}

/// What each stream is looked at for: the picture of a viewpoint's sub stream if it has one, since the lens is the
/// same; the sound where it is recorded whole.
fn examined(settings: &RecorderSettings) -> Vec<(StreamId, Examined)> {
    if !settings.health.enabled {
        return Vec::new();
    }
    let streams = settings.streams();
    let has_sub = |main: &StreamId| {
        streams.iter().any(|other| {
            other.stream.quality() == Quality::Sub
                && other.stream.counter() == main.counter()
                && other.stream.viewpoint() == main.viewpoint()
        })
    };
    let examined = |stream: &StreamSettings| Examined {
        picture: stream.stream.quality() == Quality::Sub || !has_sub(&stream.stream),
        sound: stream.stream.quality() == Quality::Main && has_audio(&stream.source),
    };
    streams
        .iter()
        .map(|stream| (stream.stream.clone(), examined(stream)))
        .collect()
}

fn by_counter(streams: &[StreamId]) -> BTreeMap<CounterId, Vec<StreamId>> {
    let mut counters: BTreeMap<CounterId, Vec<StreamId>> = BTreeMap::new();
    for stream in streams {
        counters.entry(stream.counter()).or_default().push(stream.clone());
    }
    counters
}

/// Two recorders on one index would spoil it; the kernel frees the lock also after a kill.
fn lock(settings: &RecorderSettings) -> Result<std::fs::File, RunError> {
    let path = settings.data_dir.join("lock");
    let created = std::fs::create_dir_all(&settings.data_dir).and_then(|()| std::fs::File::create(&path));
    let file = created.map_err(|source| RunError::File {
        path: path.clone(),
        source,
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(RunError::InUse(settings.data_dir.clone())),
        Err(std::fs::TryLockError::Error(source)) => Err(RunError::File { path, source }),
    }
}
