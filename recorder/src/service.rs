//! What the service manager is told (`sd_notify(3)`): ready, alive, how it goes, stopping. Without one nothing happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use archive::ids::StreamId;
use archive::time::Clock;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::capture::Health;

/// How often the status text is told.
const STATUS: Duration = Duration::from_secs(10);

/// When the writer last went round. It does so at least every two seconds, whether anything comes or not, unless a disk
/// or a fault holds it.
#[derive(Debug, Default)]
pub struct Progress(AtomicI64);

impl Progress {
    /// The writer goes round.
    pub fn note(&self, clock: &dyn Clock) {
        self.0.store(clock.monotonic_us(), Relaxed);
    }

    /// Time since then.
    pub fn age(&self, clock: &dyn Clock) -> Duration {
        let age_us = clock.monotonic_us().saturating_sub(self.0.load(Relaxed));
        Duration::from_micros(u64::try_from(age_us).unwrap_or(0))
    }
}

/// Tells the service manager until shutdown. The watchdog is fed only while the writer makes progress: a recorder whose
/// writer hangs looks alive but records nothing, and a new start salvages.
pub async fn tell(
    progress: Arc<Progress>,
    health: BTreeMap<StreamId, Arc<Health>>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    notify(&[NotifyState::Ready]);
    let patience = sd_notify::watchdog_enabled();
    let every = patience.map_or(STATUS, |patience| (patience / 4).min(STATUS));
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.cancelled() => break,
        }
        let age = progress.age(&*clock);
        metrics::gauge!("recorder_writer_age_seconds").set(age.as_secs_f64());
        let is_stuck = patience.is_some_and(|patience| age > patience / 2);
        if is_stuck {
            tracing::error!(
                age_ms = age.as_millis(),
                "the writer hangs: the watchdog is not fed"
            );
            notify(&[NotifyState::Status("the writer hangs")]);
            continue;
        }
        let recording = health.values().filter(|health| health.fault().is_none()).count();
        let status = format!("recording {recording} of {} streams", health.len());
        notify(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
    }
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping: growing segments are sealed"),
    ]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager can't be told");
    }
}
