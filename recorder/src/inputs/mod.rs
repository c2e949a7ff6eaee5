//! Counter events come in: over HTTP, from scanners, from a broker. Each is on the disk before it is acknowledged.

mod hid;
pub mod http;
mod journal;
mod mqtt;
mod scan;
mod serial;

use std::sync::Arc;
use std::time::Duration;

use archive::ids::CounterId;
use archive::time::{Clock, Moment};
use serde_json::Value;
use site_config::recorder::RecorderSettings;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::index::{Index, IndexError, Stored};

pub use journal::{EventJournal, Journaled};

/// Longest text that is taken from a scanner.
const MOST_SCAN_BYTES: usize = 2000;

/// Between two looks for old files of the journal.
const TRIM_EVERY: Duration = Duration::from_secs(3600);

/// Where all inputs put their events.
#[derive(Clone)]
pub struct Inputs {
    /// The index.
    pub index: Index,
    /// Where they outlive the index.
    pub journal: EventJournal,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ends the inputs.
    pub shutdown: CancellationToken,
}

impl Inputs {
    /// Starts every scanner and broker of the settings; a device that is away is waited for.
    pub fn start(&self, settings: &RecorderSettings, tasks: &mut JoinSet<()>) {
        for scanner in &settings.input.serial {
            tasks.spawn(serial::run(self.clone(), scanner.clone()));
        }
        for scanner in &settings.input.hid {
            tasks.spawn(hid::run(self.clone(), scanner.clone()));
        }
        if let Some(broker) = &settings.input.mqtt {
            tasks.spawn(mqtt::run(self.clone(), broker.clone(), settings.site.clone()));
        }
        tasks.spawn(self.clone().trim_journal(settings.input.journal_days));
    }

    /// Drops old files of the journal now and then, but none with an event that the centre may not have.
    async fn trim_journal(self, days: u32) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(TRIM_EVERY) => {}
                () = self.shutdown.cancelled() => return,
            }
            let now = self.clock.wall();
            let mut keep_from = now - i64::from(days) * 86_400_000_000;
            match self.index.oldest_untold_event().await {
                Ok(untold) => keep_from = keep_from.min(untold.unwrap_or(keep_from)),
                Err(error) => {
                    tracing::error!(%error, "the journal of events could not be trimmed");
                    continue;
                }
            }
            let journal = self.journal.clone();
            let date = keep_from.date_in(&jiff::tz::TimeZone::UTC);
            let dropped = tokio::task::spawn_blocking(move || journal.drop_before(date)).await;
            if let Ok(Err(error)) = dropped {
                tracing::warn!(%error, "an old journal of events could not be removed");
            }
        }
    }

    /// Stores events; when this returns they are synced to the disk.
    ///
    /// # Errors
    /// If the index does not take them.
    pub async fn store(&self, input: &'static str, events: &[Value]) -> Result<Stored, IndexError> {
        let stored = self
            .index
            .store_events(events, Moment::now(&*self.clock), &self.journal)
            .await?;
        let counts = [
            ("accepted", stored.accepted),
            ("duplicate", stored.duplicates),
            ("rejected", stored.rejected.len()),
        ];
        for (outcome, count) in counts {
            metrics::counter!("recorder_events_total", "input" => input, "outcome" => outcome)
                .increment(count as u64);
        }
        for (_, reason) in &stored.rejected {
            tracing::warn!(input, reason, "an event was rejected");
        }
        Ok(stored)
    }

    /// Stores what a scanner read; tries until the index takes it, as nobody would scan again.
    async fn store_scan(&self, input: &'static str, counter: &CounterId, code: &str) {
        let source = format!("{input}/{counter}");
        let event = scan::scan_event(&source, counter, code, &self.clock.wall().to_string());
        let mut backoff = crate::backoff::Backoff::default();
        while let Err(error) = self.store(input, std::slice::from_ref(&event)).await {
            tracing::error!(%counter, %error, "a scan could not be stored yet");
            tokio::select! {
                () = tokio::time::sleep(backoff.after_failure(rand::random())) => {}
                () = self.shutdown.cancelled() => return,
            }
        }
        tracing::info!(%counter, input, "a code was scanned");
    }
}
