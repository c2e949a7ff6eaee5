//! The task that makes room, stops the recording if there is none, and says in time when there will be none.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archive::alert::AlertKind;
use archive::gap::GapCause;
use archive::ids::StreamId;
use archive::time::{Clock, WallTime};
use site_config::retention::RetentionSettings;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::outlook::{RECENT_US, outlook};
use super::trust::ClockTrust;
use super::{Candidate, Class, Lines, Reason, Rules};
use crate::alerts::{Alerts, Steadiness, Turn};
use crate::capture::Health;
use crate::disk::Space;
use crate::index::{Change, Index, IndexError, Stock};
use crate::record::{Ledger, Volume, WriteError, segment_path};

/// A small disk fills within a minute.
const EVERY: Duration = Duration::from_secs(2);
/// Between two looks for what has expired.
const EXPIRY_EVERY_US: i64 = 30_000_000;
/// Most deletions of one look, so that a wrong reading of the disk can't empty it at once.
const MOST_AT_ONCE: usize = 100;
/// Deletions of one transaction: others wait for it.
const IN_ONE_COMMIT: usize = 20;
/// Candidates of each class and state.
const CANDIDATES: u32 = 200;
/// The forecast reads the whole index, so it takes at most this share of the time.
const FORECAST_SHARE: i64 = 100;
/// Less than this is no matter of patience.
const URGENT_S: u64 = 3600;

/// Everything that the task needs.
pub struct Keeper {
    /// The rules.
    pub settings: RetentionSettings,
    /// Folder of the index, which may lie on another disk.
    pub data_dir: PathBuf,
    /// The disk of the recordings.
    pub volume: Volume,
    /// The index.
    pub index: Index,
    /// Who deletes.
    pub ledger: Ledger,
    /// Where it says what is wrong.
    pub alerts: Alerts,
    /// How the streams do.
    pub health: BTreeMap<StreamId, Arc<Health>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Whether there is room to record.
    pub has_room: watch::Sender<bool>,
    /// Seconds until only footage that must stay would be left, if ever.
    pub disk_left_s: watch::Sender<Option<u64>>,
}

struct State {
    trust: ClockTrust,
    last_expiry_us: Option<i64>,
    next_forecast_us: i64,
    low: Steadiness,
    failed: Steadiness,
    forecast: Steadiness,
    is_short_in_forecast: bool,
}

impl Keeper {
    /// Looks now and then until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let alive = self.index.last_alive().await.unwrap_or_default();
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let mut state = State {
            trust: ClockTrust::new(alive, self.clock.wall(), self.clock.monotonic_us()),
            last_expiry_us: None,
            next_forecast_us: 0,
            low: Steadiness::new(Duration::ZERO, minutes(1)),
            failed: Steadiness::new(Duration::ZERO, minutes(1)),
            forecast: Steadiness::new(minutes(10), minutes(10)),
            is_short_in_forecast: false,
        };
        // What was sealed before places were kept can't be judged without.
        if let Err(error) = self.index.place_segments().await {
            tracing::error!(%error, "footage without a place on the wall clock stays");
        }
        loop {
            if let Err(error) = self.look(&mut state).await {
                tracing::error!(%error, "no room could be made");
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn look(&self, state: &mut State) -> Result<(), WriteError> {
        let now_us = self.clock.monotonic_us();
        let wall = self.clock.wall();
        let believed = state
            .trust
            .believed(wall, now_us, crate::clock::clock_state(wall));
        let space = self.space();
        self.note_failure(state, space.as_ref().err(), now_us).await;
        let Ok(space) = space else { return Ok(()) };
        let lines = Lines::new(&self.settings, space);
        let rules = Rules::new(&self.settings);

        let is_expiry_due = state
            .last_expiry_us
            .is_none_or(|last| now_us - last >= EXPIRY_EVERY_US);
        let need_bytes = lines.need_bytes(space);
        let mut freed_bytes = 0;
        if need_bytes > 0 || is_expiry_due {
            state.last_expiry_us = Some(now_us);
            let candidates = self.candidates(&rules, need_bytes, believed).await?;
            let chosen = rules.choose(need_bytes, believed, &candidates);
            freed_bytes = self.delete(&chosen).await?;
        }
        let free_bytes = space.free_bytes + freed_bytes;
        let after = Space { free_bytes, ..space };
        self.decide_room(&lines, after);
        let is_stuck = lines.need_bytes(after) > 0 && freed_bytes == 0;
        self.note_low(state, after, is_stuck, now_us).await;
        if now_us >= state.next_forecast_us {
            self.forecast(state, &rules, &lines, after, wall).await?;
            let took_us = self.clock.monotonic_us() - now_us;
            state.next_forecast_us = now_us + (took_us * FORECAST_SHARE).clamp(2_000_000, 300_000_000);
        }
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        self.volume.ensure()?;
        crate::disk::space(&self.volume.root)
    }

    async fn candidates(
        &self,
        rules: &Rules,
        need_bytes: u64,
        believed: Option<WallTime>,
    ) -> Result<Vec<Candidate>, IndexError> {
        let mut candidates = Vec::new();
        for class in [Class::Continuous, Class::Interaction] {
            if let Some(before) = believed.and_then(|now| rules.expires_before(class, now)) {
                candidates.extend(self.index.expired_segments(class, before, CANDIDATES).await?);
            }
            if need_bytes > 0 {
                candidates.extend(self.index.oldest_segments(class, CANDIDATES).await?);
            }
        }
        candidates.sort_by_key(|candidate| candidate.segment_id);
        candidates.dedup_by_key(|candidate| candidate.segment_id);
        Ok(candidates)
    }

    /// Deletes what was chosen, unless a hold came meanwhile; gives the bytes that are free now.
    async fn delete(&self, chosen: &[(Candidate, Reason)]) -> Result<u64, WriteError> {
        let mut freed_bytes = 0;
        for group in chosen[..chosen.len().min(MOST_AT_ONCE)].chunks(IN_ONE_COMMIT) {
            let deletions = group.iter().map(|(candidate, reason)| Change::Deleted {
                segment_id: candidate.segment_id,
                class: candidate.class,
                reason: reason.text().to_owned(),
            });
            let committed = self.ledger.commit(deletions.collect()).await?;
            let mut removed = Vec::new();
            for (candidate, reason) in group {
                if committed.refused.contains(&candidate.segment_id) {
                    continue;
                }
                metrics::counter!("recorder_evicted_total",
                    "class" => candidate.class.as_str(), "reason" => reason.as_str())
                .increment(1);
                // The tombstone is there: what a crash leaves of the file goes at the next start.
                match self.remove(candidate) {
                    Ok(()) => {
                        freed_bytes += candidate.size_bytes;
                        removed.push(candidate);
                    }
                    Err(error) => {
                        tracing::warn!(segment = %candidate.key, %error, "a deleted segment's file could not be removed");
                    }
                }
            }
            self.forget_removed(&removed).await?;
        }
        Ok(freed_bytes)
    }

    /// Only when the folders are synced are the files gone for good.
    async fn forget_removed(&self, removed: &[&Candidate]) -> Result<(), WriteError> {
        let folders: BTreeSet<PathBuf> = removed
            .iter()
            .filter_map(|c| Some(segment_path(&self.volume.root, &c.key).parent()?.to_owned()))
            .collect();
        for folder in folders {
            if let Err(error) = crate::files::sync_folder(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "can't be synced");
                return Ok(());
            }
        }
        let segments: Vec<i64> = removed.iter().map(|c| c.segment_id).collect();
        Ok(self.index.files_removed(&segments).await?)
    }

    fn remove(&self, candidate: &Candidate) -> io::Result<()> {
        // Never on a disk that took this one's place.
        self.volume.ensure()?;
        match std::fs::remove_file(segment_path(&self.volume.root, &candidate.key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    fn decide_room(&self, lines: &Lines, space: Space) {
        self.has_room.send_if_modified(|has_room| {
            let had_room = std::mem::replace(has_room, lines.has_room(space, !*has_room));
            if had_room && !*has_room {
                tracing::error!(
                    free_bytes = space.free_bytes,
                    "the disk is full: recording stops until there is room"
                );
            } else if !had_room && *has_room {
                tracing::info!(
                    free_bytes = space.free_bytes,
                    "there is room again: recording goes on"
                );
            }
            had_room != *has_room
        });
    }

    async fn note_low(&self, state: &mut State, space: Space, is_stuck: bool, now_us: i64) {
        let has_room = *self.has_room.borrow();
        let index_disk = crate::disk::space(&self.data_dir).unwrap_or_default();
        let is_index_short = index_disk.free_bytes < (index_disk.total_bytes / 50).min(256 << 20);
        let turn = state.low.see(is_stuck || !has_room || is_index_short, now_us);
        let detail = || {
            let free_mb = space.free_bytes / 1_000_000;
            match (has_room, is_stuck) {
                (false, _) => format!("{free_mb} MB are free, nothing can go: nothing is recorded"),
                (true, true) => format!("{free_mb} MB are free, and nothing can go"),
                (true, false) => format!("{} MB are free for the index", index_disk.free_bytes / 1_000_000),
            }
        };
        self.tell(AlertKind::DiskLow, &mut state.low, turn, detail).await;
    }

    async fn note_failure(&self, state: &mut State, error: Option<&io::Error>, now_us: i64) {
        let has_failed = |health: &Arc<Health>| health.fault() == Some(GapCause::DiskFailed);
        let failing = self.health.values().filter(|health| has_failed(health)).count();
        let turn = state.failed.see(error.is_some() || failing > 0, now_us);
        let detail = || match error {
            Some(error) => format!("the disk can't be read: {error}"),
            None => format!("{failing} streams can't be written to the disk"),
        };
        self.tell(AlertKind::DiskFailed, &mut state.failed, turn, detail)
            .await;
    }

    async fn tell(
        &self,
        kind: AlertKind,
        steadiness: &mut Steadiness,
        turn: Option<Turn>,
        detail: impl FnOnce() -> String,
    ) {
        let told = match turn {
            Some(Turn::Wrong) => self.alerts.raise(kind, None, &detail()).await,
            Some(Turn::Right) => self.alerts.clear(kind, None).await,
            None => Ok(()),
        };
        if let Err(error) = told {
            tracing::error!(?kind, %error, "an alert could not be stored");
            steadiness.forget();
        }
    }

    async fn forecast(
        &self,
        state: &mut State,
        rules: &Rules,
        lines: &Lines,
        space: Space,
        wall: WallTime,
    ) -> Result<(), IndexError> {
        let stock = self.index.stock(wall - RECENT_US).await?;
        let left_s = outlook(rules, lines, space, &stock, wall).seconds_left();
        self.disk_left_s.send_replace(left_s);
        measure(&stock, left_s);
        let warned_s = u64::from(self.settings.forecast_days) * 86_400;
        // A quarter more ends it, so that it does not flap.
        let limit_s = if state.is_short_in_forecast {
            warned_s + warned_s / 4
        } else {
            warned_s
        };
        state.is_short_in_forecast = left_s.is_some_and(|s| s < limit_s);
        let now_us = self.clock.monotonic_us();
        let turn = if left_s.is_some_and(|s| s < URGENT_S) {
            state.forecast.settle(true)
        } else {
            state.forecast.see(state.is_short_in_forecast, now_us)
        };
        let detail = || {
            let hours = left_s.unwrap_or_default() as f64 / 3600.0;
            format!("at the rate of the last hours only footage that must stay is left in {hours:.1} hours")
        };
        self.tell(AlertKind::DiskForecast, &mut state.forecast, turn, detail)
            .await;
        Ok(())
    }
}

fn measure(stock: &[Stock], left_s: Option<u64>) {
    metrics::gauge!("recorder_disk_left_seconds").set(left_s.map_or(f64::INFINITY, |s| s as f64));
    for class in [Class::Continuous, Class::Interaction, Class::Held] {
        for is_delivered in [true, false] {
            let parts = stock
                .iter()
                .filter(|s| s.class == class && s.is_delivered == is_delivered);
            let at_centre = if is_delivered { "yes" } else { "no" };
            metrics::gauge!("recorder_bytes_by_class", "class" => class.as_str(), "at_centre" => at_centre)
                .set(parts.map(|s| s.size_bytes).sum::<u64>() as f64);
        }
    }
}
