//! Judges the looks as they come, raises and clears alerts, and keeps the day's count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use archive::alert::AlertKind;
use archive::ids::{CounterId, RecorderId, StreamId};
use archive::time::{Clock, ClockState, WallTime};
use ed25519_dalek::SigningKey;
use jiff::tz::TimeZone;
use site_config::health::HealthSettings;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::day::Sense;
use super::picture::{Change, PictureWatch};
use super::report::Days;
use super::service::{Told, is_serving};
use super::sound::SoundWatch;
use super::{Look, Looked, Scene, Turn};
use crate::alerts::{Alerts, Steadiness, Turn as Steady};
use crate::capture::Examiner;
use crate::index::Index;

const TICK: Duration = Duration::from_secs(5);
/// A scene is written down so often.
const SCENES_EVERY_US: i64 = 600_000_000;
/// A clock must be wrong, and right, for so long.
const CLOCK_OFF_FOR: Duration = Duration::from_secs(15);
/// Without a time service a clock is no fault until it has been so for long: services need time to start.
const UNSTEERED_FOR: Duration = Duration::from_secs(6 * 3600);
/// What was heard of the centre's clock is old after this.
const CLOCK_AGE_US: i64 = 60_000_000;

/// How the clock differs from the centre's, as the session last heard.
#[derive(Debug)]
pub struct ClockSeen {
    offset_us: AtomicI64,
    at_us: AtomicI64,
}

impl Default for ClockSeen {
    fn default() -> Self {
        Self {
            offset_us: AtomicI64::new(0),
            at_us: AtomicI64::new(i64::MIN),
        }
    }
}

impl ClockSeen {
    /// The recorder's wall clock minus the centre's, seen at a moment of the monotonic clock.
    pub fn note(&self, offset_us: i64, now_us: i64) {
        self.offset_us.store(offset_us, Relaxed);
        self.at_us.store(now_us, Relaxed);
    }

    fn recent(&self, now_us: i64) -> Option<i64> {
        let age_us = now_us.saturating_sub(self.at_us.load(Relaxed));
        (age_us < CLOCK_AGE_US).then(|| self.offset_us.load(Relaxed))
    }
}

/// Everything that the watch over health needs.
pub struct Watching {
    /// How it is set up.
    pub settings: HealthSettings,
    /// The streams of each counter.
    pub counters: BTreeMap<CounterId, Vec<StreamId>>,
    /// Who looks at each stream.
    pub examiners: BTreeMap<StreamId, Arc<Examiner>>,
    /// Where alerts go.
    pub alerts: Alerts,
    /// The index.
    pub index: Index,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How the clock differs from the centre's.
    pub clock_seen: Arc<ClockSeen>,
    /// Folder of the recordings.
    pub recordings: PathBuf,
    /// Folder of the known scenes.
    pub scenes: PathBuf,
    /// The recorder's name, once enrolled.
    pub recorder: Option<RecorderId>,
    /// Signs the reports.
    pub key: SigningKey,
    /// Ends it.
    pub shutdown: CancellationToken,
}

struct Watched {
    picture: PictureWatch,
    sound: SoundWatch,
    looked_us: [Option<i64>; 2],
}

struct Keeper {
    w: Watching,
    zone: TimeZone,
    watched: BTreeMap<StreamId, Watched>,
    serving: BTreeSet<CounterId>,
    days: Days,
    clock_off: Steadiness,
    unsteered: Steadiness,
    ticked_us: i64,
    scenes_us: i64,
}

/// Watches until shutdown; recording does not know of it.
pub async fn keep(watching: Watching, mut looked: mpsc::Receiver<Looked>) {
    let shutdown = watching.shutdown.clone();
    let mut keeper = Keeper::new(watching).await;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = tick.tick() => keeper.tick().await,
            look = looked.recv() => match look {
                Some(look) => keeper.take(look).await,
                None => break,
            },
        }
    }
    keeper.save_scenes().await;
    keeper.days.report(&keeper.w, false).await;
}

impl Keeper {
    async fn new(w: Watching) -> Self {
        let zone = w.settings.time_zone();
        let open = w.index.open_alerts().await.unwrap_or_else(|error| {
            tracing::error!(%error, "alerts that were open are not known");
            Vec::new()
        });
        let mut watched = BTreeMap::new();
        for stream in w.examiners.keys() {
            let kinds: Vec<AlertKind> = open
                .iter()
                .filter(|alert| alert.stream.as_ref() == Some(stream))
                .map(|alert| alert.kind)
                .collect();
            let scene = tokio::fs::read(scene_file(&w, stream)).await.ok();
            let scene = scene.and_then(|bytes| Scene::from_bytes(&bytes));
            let one = Watched {
                picture: PictureWatch::new(&kinds, scene),
                sound: SoundWatch::new(&kinds),
                looked_us: [None; 2],
            };
            watched.insert(stream.clone(), one);
        }
        let now_us = w.clock.monotonic_us();
        Self {
            days: Days::open(&w, &zone).await,
            zone,
            watched,
            serving: BTreeSet::new(),
            clock_off: Steadiness::new(CLOCK_OFF_FOR, CLOCK_OFF_FOR),
            unsteered: Steadiness::new(UNSTEERED_FOR, Duration::from_secs(60)),
            ticked_us: now_us,
            scenes_us: now_us,
            w,
        }
    }

    async fn take(&mut self, looked: Looked) {
        let Looked { stream, at_us, look } = looked;
        let Some(watched) = self.watched.get_mut(&stream) else {
            return;
        };
        metrics::counter!("recorder_health_looks_total", "stream" => stream.to_string()).increment(1);
        let counter = stream.counter();
        let sense = match look {
            Look::Picture(_) => Some(Sense::Picture),
            Look::Sound(_) | Look::NoSound => Some(Sense::Sound),
            Look::SoundComes => None,
        };
        if let Some(sense) = sense {
            let passed_us = watched.looked_us[sense as usize].map_or(0, |before| at_us - before);
            watched.looked_us[sense as usize] = Some(at_us);
            let faults: Vec<AlertKind> = match sense {
                Sense::Picture => watched.picture.open().collect(),
                Sense::Sound => watched.sound.open().collect(),
            };
            self.days
                .of(&counter)
                .looked(&stream, sense, passed_us, faults.into_iter());
        }
        let changes = match look {
            Look::Picture(frame) => {
                watched
                    .picture
                    .look(frame, at_us, self.serving.contains(&counter))
                    .1
            }
            Look::Sound(measure) => watched.sound.look(&measure, at_us),
            Look::SoundComes => watched.sound.look_whether_it_comes(true, at_us),
            Look::NoSound => watched.sound.look_whether_it_comes(false, at_us),
        };
        if let Some(examiner) = self.w.examiners.get(&stream) {
            examiner.set_in_doubt(watched.picture.is_in_doubt() || watched.sound.is_in_doubt());
        }
        for change in changes {
            self.tell(&stream, at_us, change).await;
        }
    }

    async fn tell(&mut self, stream: &StreamId, at_us: i64, change: Change) {
        let Change { kind, turn, detail } = change;
        let told = match turn {
            Turn::Began(since_us) => {
                self.days
                    .of(&stream.counter())
                    .began(stream, kind, at_us - since_us, &detail);
                let start = self.w.clock.wall() - (self.w.clock.monotonic_us() - since_us);
                self.w
                    .alerts
                    .raise_since(kind, Some(stream), start, &detail)
                    .await
            }
            Turn::Ended(_) => self.w.alerts.clear(kind, Some(stream)).await,
        };
        if let Err(error) = told {
            tracing::error!(%stream, ?kind, %error, "an alert could not be kept");
        }
    }

    async fn tick(&mut self) {
        let now_us = self.w.clock.monotonic_us();
        let passed_us = now_us - std::mem::replace(&mut self.ticked_us, now_us);
        let now = self.w.clock.wall();
        self.note_service(now).await;
        self.check_clock(now, now_us, passed_us).await;
        if let Ok(space) = crate::disk::space(&self.w.recordings) {
            self.days.all(|day| day.disk_is_free(space.free_bytes));
        }
        self.days.tick(&self.w, now, now_us).await;
        if now_us - self.scenes_us > SCENES_EVERY_US {
            self.scenes_us = now_us;
            self.save_scenes().await;
        }
    }

    async fn note_service(&mut self, now: WallTime) {
        /// No day of service is longer.
        const A_DAY_US: i64 = 24 * 3600 * 1_000_000;
        for counter in self.w.counters.keys() {
            let told = match self.w.index.service_told(counter, now - A_DAY_US).await {
                Ok(told) => told.map(|(at, is_open)| Told { at, is_open }),
                Err(error) => {
                    tracing::warn!(%counter, %error, "whether it serves is not known from events");
                    None
                }
            };
            if is_serving(&self.w.settings, &self.zone, told, now) {
                self.serving.insert(counter.clone());
            } else {
                self.serving.remove(counter);
            }
        }
    }

    async fn check_clock(&mut self, now: WallTime, now_us: i64, passed_us: i64) {
        let state = crate::clock::clock_state(now);
        let is_unsteered = state != ClockState::Synchronized;
        let offset_us = self.w.clock_seen.recent(now_us);
        self.days.all(|day| {
            if let Some(offset_us) = offset_us {
                day.clock_differs(offset_us);
            }
            if is_unsteered {
                day.clock.unsynchronized_s += u64::try_from(passed_us / 1_000_000).unwrap_or(0);
            }
        });
        let most_us = i64::from(self.w.settings.clock_off_ms) * 1000;
        let is_far = offset_us.is_some_and(|us| us.abs() > most_us);
        let far = self
            .clock_off
            .see(is_far || state == ClockState::Impossible, now_us);
        // A clock that nothing steers is no fault as long as it agrees with the centre's.
        let unsteered = self.unsteered.see(is_unsteered && offset_us.is_none(), now_us);
        let detail = match offset_us {
            Some(us) => format!(
                "the clock is {:+.1} s off the centre's; {state:?}",
                us as f64 / 1e6
            ),
            None => format!("{state:?}; the centre's clock is not known"),
        };
        let told = match (far, unsteered) {
            (Some(Steady::Wrong), _) | (_, Some(Steady::Wrong)) => {
                self.w.alerts.raise(AlertKind::ClockOff, None, &detail).await
            }
            (Some(Steady::Right), _) | (_, Some(Steady::Right)) if !is_far => {
                self.w.alerts.clear(AlertKind::ClockOff, None).await
            }
            _ => Ok(()),
        };
        if let Err(error) = told {
            tracing::error!(%error, "an alert about the clock could not be kept");
        }
    }

    async fn save_scenes(&self) {
        for (stream, watched) in self.watched.iter().filter(|(_, w)| w.picture.scene().is_known()) {
            let (file, bytes) = (scene_file(&self.w, stream), watched.picture.scene().to_bytes());
            let folder = self.w.scenes.clone();
            let written = tokio::task::spawn_blocking(move || {
                std::fs::create_dir_all(folder).and_then(|()| crate::files::write_synced(&file, &bytes))
            });
            if let Ok(Err(error)) = written.await {
                tracing::warn!(%stream, %error, "the known scene could not be kept");
            }
        }
    }
}

fn scene_file(w: &Watching, stream: &StreamId) -> PathBuf {
    w.scenes.join(format!("{stream}.scene"))
}
