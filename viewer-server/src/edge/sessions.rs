//! Which recorders are connected, and how their streams do.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archive::gap::GapCause;
use archive::ids::{RecorderId, SiteId, StreamId};
use archive::time::WallTime;
use archive::uplink::{StreamHealth, ToRecorder};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::access;

/// Messages that wait for a recorder; beyond them it is taken for stuck.
const OUTBOX: usize = 64;

/// Connected recorders; one session each, the newest wins.
#[derive(Debug, Default)]
pub struct RecorderSessions {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next_number: u64,
    sessions: HashMap<RecorderId, Session>,
    /// By digest of the session token.
    tokens: HashMap<String, RecorderId>,
}

#[derive(Debug)]
struct Session {
    number: u64,
    token_hash: String,
    site: SiteId,
    outbox: mpsc::Sender<ToRecorder>,
    ended: CancellationToken,
    orders: Arc<Notify>,
    since: WallTime,
    heard: WallTime,
    streams: BTreeMap<StreamId, (StreamHealth, WallTime)>,
}

/// A session that was opened.
pub(super) struct Opened {
    pub number: u64,
    pub token: String,
    pub inbox: mpsc::Receiver<ToRecorder>,
    /// Cancelled when a newer session replaces this one.
    pub ended: CancellationToken,
    /// Notified when there may be orders for the recorder.
    pub orders: Arc<Notify>,
}

/// How a connected recorder does.
#[derive(Debug, Clone)]
pub struct RecorderStatus {
    /// Since when it is connected.
    pub since: WallTime,
    /// When it was last heard of.
    pub heard: WallTime,
}

/// How a stream of a connected recorder does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// As last told.
    pub health: StreamHealth,
    /// When it was told.
    pub heard: WallTime,
    /// Since when its fault, or its absence, lasts.
    pub since: WallTime,
}

impl RecorderSessions {
    pub(super) fn open(&self, recorder: &RecorderId, site: &SiteId, now: WallTime) -> Opened {
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let token = access::new_secret();
        let token_hash = access::secret_hash(&token);
        let ended = CancellationToken::new();
        let orders = Arc::new(Notify::new());
        orders.notify_one();
        let mut inner = self.lock();
        inner.next_number += 1;
        let number = inner.next_number;
        let session = Session {
            number,
            token_hash: token_hash.clone(),
            site: site.clone(),
            outbox,
            ended: ended.clone(),
            orders: Arc::clone(&orders),
            since: now,
            heard: now,
            streams: BTreeMap::new(),
        };
        if let Some(older) = inner.sessions.insert(recorder.clone(), session) {
            older.ended.cancel();
            inner.tokens.remove(&older.token_hash);
        }
        inner.tokens.insert(token_hash, recorder.clone());
        Opened {
            number,
            token,
            inbox,
            ended,
            orders,
        }
    }

    pub(super) fn close(&self, recorder: &RecorderId, number: u64) {
        let mut inner = self.lock();
        if inner.sessions.get(recorder).is_some_and(|s| s.number == number)
            && let Some(session) = inner.sessions.remove(recorder)
        {
            inner.tokens.remove(&session.token_hash);
        }
    }

    /// Takes over what a heartbeat says; streams that are not the recorder's must be left out.
    pub(super) fn heard(
        &self,
        recorder: &RecorderId,
        number: u64,
        streams: BTreeMap<StreamId, StreamHealth>,
        now: WallTime,
    ) {
        let mut inner = self.lock();
        let Some(session) = inner.sessions.get_mut(recorder).filter(|s| s.number == number) else {
            return;
        };
        session.heard = now;
        session.streams = streams
            .into_iter()
            .map(|(stream, health)| {
                let since = match session.streams.get(&stream) {
                    Some((known, since)) if known.fault == health.fault => *since,
                    _ => now,
                };
                (stream, (health, since))
            })
            .collect();
    }

    /// The recorder and site that a session token stands for.
    pub fn by_token(&self, token: &str) -> Option<(RecorderId, SiteId)> {
        let inner = self.lock();
        let recorder = inner.tokens.get(&access::secret_hash(token))?;
        let session = inner.sessions.get(recorder)?;
        Some((recorder.clone(), session.site.clone()))
    }

    /// Sends a message; returns whether the recorder is connected and takes messages.
    pub fn send(&self, recorder: &RecorderId, message: ToRecorder) -> bool {
        let inner = self.lock();
        let Some(session) = inner.sessions.get(recorder) else {
            return false;
        };
        let is_taken = session.outbox.try_send(message).is_ok();
        if !is_taken {
            // It does not read any more: let it come back.
            session.ended.cancel();
        }
        is_taken
    }

    /// Has a recorder's session look for orders, after the transaction that gave them is committed. Without a
    /// session nothing is lost: the next one looks as it opens.
    pub fn poke_orders(&self, recorder: &RecorderId) {
        if let Some(session) = self.lock().sessions.get(recorder) {
            session.orders.notify_one();
        }
    }

    /// How a recorder does; `None` if it is not connected.
    pub fn status(&self, recorder: &RecorderId) -> Option<RecorderStatus> {
        self.lock().sessions.get(recorder).map(|s| RecorderStatus {
            since: s.since,
            heard: s.heard,
        })
    }

    /// How a stream does; `None` if its recorder is not connected or has not told yet.
    pub fn stream_status(&self, recorder: &RecorderId, stream: &StreamId) -> Option<StreamStatus> {
        let inner = self.lock();
        let session = inner.sessions.get(recorder)?;
        let (health, since) = session.streams.get(stream)?;
        Some(StreamStatus {
            health: health.clone(),
            heard: session.heard,
            since: *since,
        })
    }

    /// How many recorders are connected.
    pub fn count(&self) -> usize {
        self.lock().sessions.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fault of a stream's health in words of the interface.
impl StreamStatus {
    /// Why nothing is recorded, if so.
    pub fn fault(&self) -> Option<GapCause> {
        self.health.fault
    }
}
