//! The live state of each counter: who is served, what is wrong, how urgent it is.

mod queue;
mod state;
mod urgency;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archive::ids::{CounterId, SiteId};
use tokio::sync::{Notify, broadcast};

use crate::centre::Centre;
use crate::db::DbError;

use queue::KnownQueue;
pub use state::{Alert, CounterState, LiveState, OfficerView, StreamState, TicketView, ticket_view};

/// Changes that wait for a slow reader; beyond them it gets a snapshot anew.
const CHANGES: usize = 256;
/// Time passes for alerts even when nothing else happens.
const TICK: Duration = Duration::from_secs(5);
/// Pokes within this time are one.
const SETTLE: Duration = Duration::from_millis(150);
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The states as last computed, and who is told of changes.
#[derive(Debug)]
pub struct Supervision {
    poked: Notify,
    changes: broadcast::Sender<Arc<CounterState>>,
    known: Mutex<HashMap<CounterId, Arc<CounterState>>>,
    queues: Mutex<HashMap<SiteId, KnownQueue>>,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            poked: Notify::new(),
            changes: broadcast::channel(CHANGES).0,
            known: Mutex::default(),
            queues: Mutex::default(),
        }
    }
}

impl Supervision {
    /// Says that something may have changed.
    pub fn poke(&self) {
        self.poked.notify_one();
    }

    /// The changes from here on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<CounterState>> {
        self.changes.subscribe()
    }

    /// All states, by counter.
    pub fn snapshot(&self) -> Vec<Arc<CounterState>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut states: Vec<_> = known.values().cloned().collect();
        states.sort_by(|a, b| a.counter_id.cmp(&b.counter_id));
        states
    }

    fn known_queue(&self, site: &SiteId) -> Option<KnownQueue> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(site).cloned()
    }

    fn keep_queue(&self, site: &SiteId, queue: KnownQueue) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.insert(site.clone(), queue);
    }

    fn put(&self, counter: CounterId, state: CounterState) {
        let state = Arc::new(state);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let has_changed = known.get(&counter).is_none_or(|k| !k.is_same_but_for_age(&state));
        known.insert(counter, Arc::clone(&state));
        drop(known);
        if has_changed {
            // Nobody may be listening.
            let _ = self.changes.send(state);
        }
    }
}

impl Centre {
    /// Keeps the states up to date until the server stops.
    pub async fn keep_supervising(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = self.supervision.poked.notified() => tokio::time::sleep(SETTLE).await,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.supervise().await {
                tracing::error!(%error, "live states could not be computed");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }

    /// Computes all states anew.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn supervise(&self) -> Result<(), DbError> {
        let places = self.places().await?;
        let at_edge = self.db.open_alerts().await?;
        for counter in places.counters() {
            let state = self.counter_state(&places, counter, &at_edge).await?;
            self.supervision.put(counter.counter_id.clone(), state);
        }
        Ok(())
    }
}
