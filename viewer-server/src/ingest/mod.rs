//! Events in, interactions out: each business day that events touch is derived anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use archive::ids::SiteId;
use archive::interaction::{Interaction, derive, diff, forget_overdue};
use archive::time::{DurationUs, WallTime};
use archive::timeline::Window;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::centre::Centre;
use crate::db::{DbError, Derived, NewEvent, Why};

/// Most events of one call.
pub const MAX_BATCH: usize = 1000;

/// Interactions that are open for too long are looked for this often.
const FORGOTTEN_EVERY: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// What happens this close to midnight may belong to a neighbouring day.
const MARGIN_US: DurationUs = 6 * 3_600_000_000;

/// Wakes the task that derives.
#[derive(Debug, Default)]
pub struct Ingest {
    events_came: Notify,
}

impl Ingest {
    /// Says that events were stored.
    pub fn poke(&self) {
        self.events_came.notify_one();
    }
}

/// An event that was not taken.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Rejected {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// The field and what was expected.
    pub reason: String,
}

/// What became of a batch of events.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Accepted {
    /// Stored now.
    pub accepted: usize,
    /// Stored before.
    pub duplicates: usize,
    /// Not taken.
    pub rejected: Vec<Rejected>,
}

impl Centre {
    /// Stores events; what is counted is synced. Each event stands for itself: a bad one harms no other.
    ///
    /// # Errors
    /// [`DbError`], in which case nothing was stored.
    pub async fn accept_events(&self, events: &[serde_json::Value]) -> Result<Accepted, DbError> {
        let received = self.now();
        let places = self.places().await?;
        let mut answer = Accepted::default();
        let mut new = Vec::with_capacity(events.len());
        for (index, json) in events.iter().enumerate() {
            let read = NewEvent::read(json, received, &self.interaction)
                .map_err(|e| e.to_string())
                .and_then(|event| {
                    let counter = &event.event.counter;
                    let site = places.counter(counter).map(|c| c.site_id.clone());
                    let site = site.ok_or_else(|| format!("subject: counter {counter} is not known here"))?;
                    Ok((site, event))
                });
            match read {
                Ok(event) => new.push(event),
                Err(reason) => answer.rejected.push(Rejected { index, reason }),
            }
        }
        let are_new = self.db.put_events(&self.zone, &new).await?;
        answer.accepted = are_new.iter().filter(|is_new| **is_new).count();
        answer.duplicates = are_new.len() - answer.accepted;
        if answer.accepted > 0 {
            metrics::counter!("minhquay_events_total", "from" => "api").increment(answer.accepted as u64);
            self.ingest.poke();
        }
        Ok(answer)
    }

    /// Derives whatever waits for it, until the server stops.
    pub async fn keep_deriving(self: Arc<Self>) {
        let mut forgotten = tokio::time::interval(FORGOTTEN_EVERY);
        loop {
            let why = tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = self.ingest.events_came.notified() => Why::EventsCame,
                _ = forgotten.tick() => Why::TimePassed,
            };
            if let Err(error) = self.derive_due(why).await {
                tracing::error!(%error, "interactions could not be derived");
                tokio::time::sleep(RETRY_AFTER).await;
                self.ingest.poke();
            }
        }
    }

    /// Derives the business days that wait, and on a tick those with forgotten interactions.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn derive_due(&self, why: Why) -> Result<(), DbError> {
        let mut has_changed = false;
        for (site, date) in self.db.derivations_due().await? {
            has_changed |= self.derive_day(&site, date, Why::EventsCame).await?;
        }
        if why == Why::TimePassed {
            for (site, date) in self.db.forgotten(self.now()).await? {
                has_changed |= self.derive_day(&site, date, Why::TimePassed).await?;
            }
        }
        if has_changed {
            self.supervision.poke();
        }
        Ok(())
    }

    async fn derive_day(&self, site: &SiteId, date: Date, why: Why) -> Result<bool, DbError> {
        let Some(day) = day_window(date, &self.zone) else {
            return Ok(false);
        };
        let window = Window {
            start: day.start - MARGIN_US,
            end: day.end + MARGIN_US,
        };
        let now = self.now();
        let rederived = self
            .db
            .rederive(site, date, window, why, now, |events, known| {
                let mut all = derive(site, &self.zone, &self.interaction, events);
                forget_overdue(&mut all, &self.interaction, now);
                all.retain(|i| i.began().date_in(&self.zone) == date);
                compare(known, all)
            })
            .await?;
        for recorder in &rederived.told {
            self.recorders.poke_orders(recorder);
        }
        Ok(!rederived.revisions.is_empty())
    }
}

/// The day of a date in a zone; `None` for dates outside the calendar.
pub fn day_window(date: Date, zone: &TimeZone) -> Option<Window> {
    let midnight = |date: Date| {
        Some(WallTime(
            date.to_zoned(zone.clone()).ok()?.timestamp().as_microsecond(),
        ))
    };
    Some(Window {
        start: midnight(date)?,
        end: midnight(date.tomorrow().ok()?)?,
    })
}

/// What differs, each revision with the event that is new in it.
fn compare(known: &[Interaction], derived: Vec<Interaction>) -> Derived {
    let before: HashMap<_, _> = known.iter().map(|i| (&i.interaction_id, i)).collect();
    let mut revisions = diff(known, &derived, None);
    let by_id: HashMap<_, _> = derived.iter().map(|i| (&i.interaction_id, i)).collect();
    for revision in &mut revisions {
        let Some(after) = by_id.get(&revision.interaction_id) else {
            continue;
        };
        let known_events = before
            .get(&revision.interaction_id)
            .map_or(&[][..], |i| &i.events);
        let newest = after
            .events
            .iter()
            .rfind(|e| !known_events.iter().any(|k| k.key == e.key));
        revision.cause = newest.map(|e| e.key.clone());
    }
    let changed = derived
        .into_iter()
        .filter(|i| before.get(&i.interaction_id) != Some(&i))
        .collect();
    Derived { changed, revisions }
}
