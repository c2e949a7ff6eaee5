//! From fragments to files on the disk and rows in the index.
//!
//! One thread writes for all streams. Bytes are appended at once; syncs and rows follow in groups. A disk that fails
//! ends the run with a gap that says why, and the next run tries again: nothing here ends the program.

mod chain_log;
mod describe;
mod file;
mod ledger;
mod receipts;
mod salvage;
mod seal;
mod stream;
mod sweep;
#[cfg(test)]
mod tests;
mod volume;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archive::gap::GapCause;
use archive::ids::StreamId;
use archive::time::{Clock, Moment};
use tokio::sync::{mpsc, watch};

use crate::Progress;
use crate::capture::{CaptureEvent, Captured, EndRequest, Health};
use crate::index::{Change, Index, IndexError};

pub(crate) use chain_log::{log_path, read_log};
pub use describe::describe;
pub use file::segment_path;
pub use ledger::{Ledger, Request, ledger};
pub use receipts::keep_receipt;
pub use salvage::salvage;
pub use seal::{Chains, Committed};
use stream::StreamWriter;
pub use sweep::sweep;
pub use volume::Volume;

/// Most changes of a stream that wait for a chain or an index that does not take them.
const MOST_PENDING: usize = 20_000;

/// Between two notes that the recorder is alive.
const ALIVE_US: i64 = 5_000_000;

/// Why something could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk did not take it.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The index did not take it.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What came is no fragment of its run.
    #[error("the muxer gave what is no fragment: {0}")]
    Fragment(String),
    /// Nobody writes any more.
    #[error("the recorder is stopping")]
    Stopped,
}

impl WriteError {
    /// The cause that the gap gets.
    pub fn cause(&self) -> GapCause {
        match self {
            Self::Disk { source, .. } if is_full(source) => GapCause::DiskFull,
            Self::Index(e) if e.to_string().contains("database or disk is full") => GapCause::DiskFull,
            Self::Disk { .. } | Self::Index(_) => GapCause::DiskFailed,
            Self::Fragment(_) => GapCause::CameraFaulty,
            Self::Stopped => GapCause::RecorderStopped,
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// One stream as the writer needs it.
pub struct Recorded {
    /// Which stream.
    pub stream: StreamId,
    /// Where the writer asks the capture to end a run.
    pub requests: watch::Sender<Option<EndRequest>>,
    /// How it does.
    pub health: Arc<Health>,
    /// The settings that bear on the recording, without secrets, for the chain.
    pub settings: BTreeMap<String, String>,
}

/// How and where to write.
#[derive(Debug, Clone)]
pub struct WriterSettings {
    /// Length of a segment; it ends at the next keyframe.
    pub segment_us: i64,
    /// Longest time between an append and its sync.
    pub sync: Duration,
}

/// What the writer knows of everything it writes.
pub struct Writer {
    settings: WriterSettings,
    index: Index,
    chains: Chains,
    clock: Arc<dyn Clock>,
    streams: BTreeMap<StreamId, StreamWriter>,
    /// Changes whose bytes are synced, in order, that the index does not have yet.
    pending: BTreeMap<StreamId, Vec<Change>>,
    alive_us: i64,
    /// Whether there is room to record.
    has_room: watch::Receiver<bool>,
    progress: Arc<Progress>,
}

impl Writer {
    /// A writer for these streams; salvage must have run before.
    ///
    /// # Errors
    /// If the index can't be read.
    pub async fn new(
        settings: WriterSettings,
        index: Index,
        chains: Chains,
        clock: Arc<dyn Clock>,
        streams: Vec<Recorded>,
    ) -> Result<Self, IndexError> {
        let mut writers = BTreeMap::new();
        let mut pending = BTreeMap::new();
        for recorded in streams {
            let stream = recorded.stream.clone();
            let settings = Change::Settings {
                stream: stream.clone(),
                software: env!("CARGO_PKG_VERSION").to_owned(),
                settings: recorded.settings.clone(),
            };
            pending.insert(stream.clone(), vec![settings]);
            writers.insert(stream, StreamWriter::new(recorded, &index).await?);
        }
        Ok(Self {
            settings,
            index,
            chains,
            clock,
            streams: writers,
            pending,
            alive_us: 0,
            has_room: watch::channel(true).1,
            progress: Arc::default(),
        })
    }

    /// The same writer, which records only while there is room.
    pub fn while_there_is_room(self, has_room: watch::Receiver<bool>) -> Self {
        Self { has_room, ..self }
    }

    /// Notes there whenever it goes round, for a watchdog.
    pub fn watched(mut self, progress: Arc<Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Writes until all senders are gone, then seals everything.
    pub async fn run(mut self, mut input: mpsc::Receiver<Captured>, mut requests: mpsc::Receiver<Request>) {
        let mut batch = Vec::new();
        let mut dirty_since_us = None;
        let mut has_askers = true;
        loop {
            self.progress.note(&*self.clock);
            let now = self.clock.monotonic_us();
            let rest = dirty_since_us.map_or(Duration::from_secs(1), |since| {
                self.settings
                    .sync
                    .saturating_sub(Duration::from_micros(u64::try_from(now - since).unwrap_or(0)))
            });
            let received = tokio::select! {
                received = tokio::time::timeout(rest, input.recv_many(&mut batch, 256)) => received,
                request = requests.recv(), if has_askers => {
                    match request {
                        Some(request) => self.serve(request).await,
                        None => has_askers = false,
                    }
                    continue;
                }
            };
            match received {
                Ok(0) => break,
                Ok(_) => {
                    let mut is_urgent = false;
                    for captured in batch.drain(..) {
                        is_urgent |= !matches!(captured.event, CaptureEvent::Fragment { .. });
                        self.take(captured).await;
                    }
                    dirty_since_us.get_or_insert(now);
                    if is_urgent {
                        self.flush().await;
                        dirty_since_us = None;
                    }
                }
                Err(_) => {
                    self.flush().await;
                    dirty_since_us = None;
                }
            }
            if dirty_since_us.is_some_and(|since| {
                self.clock.monotonic_us() - since >= self.settings.sync.as_micros() as i64
            }) {
                self.flush().await;
                dirty_since_us = None;
            }
        }
        for (stream, writer) in &mut self.streams {
            writer.close(self.pending.entry(stream.clone()).or_default());
        }
        self.flush().await;
    }

    async fn serve(&mut self, request: Request) {
        let outcome = self.chains.commit(&self.index, &request.changes).await;
        // Nobody waits only if the asker is gone; what was asked for is done all the same.
        let _ = request.answer.send(outcome);
    }

    /// Takes one thing that a capture gave. A failure ends the run, not the writer.
    pub async fn take(&mut self, captured: Captured) {
        let Some(writer) = self.streams.get_mut(&captured.stream) else {
            return;
        };
        let stream = captured.stream;
        let pending = self.pending.entry(stream.clone()).or_default();
        if let CaptureEvent::RunStarted { run, .. } | CaptureEvent::Fragment { run, .. } = &captured.event
            && writer.is_without_room(pending, run, *self.has_room.borrow(), Moment::now(&*self.clock))
        {
            return;
        }
        let outcome = match captured.event {
            CaptureEvent::RunStarted { run, init, anchor } => {
                match writer.begin(pending, run, init, anchor) {
                    // Rows of its segments point at the run, so it goes first.
                    Ok(()) => {
                        let committed = self.chains.commit(&self.index, pending).await;
                        match committed {
                            Ok(_) => pending.clear(),
                            Err(_) => drop(pending.pop()),
                        }
                        committed.map(|_| ())
                    }
                    Err(error) => Err(error),
                }
            }
            CaptureEvent::Fragment { run, bytes } => {
                let volume = self.chains.volume();
                writer
                    .fragment(&self.settings, volume, &self.index, pending, &run, &bytes)
                    .await
            }
            CaptureEvent::Anchored { run, anchor } => {
                writer.anchored(pending, &run, anchor);
                Ok(())
            }
            CaptureEvent::Ended { run, cause, detail } => {
                let now = Moment::now(&*self.clock);
                writer.ended(pending, run, cause, &detail, now);
                Ok(())
            }
        };
        if let Err(error) = outcome {
            tracing::error!(%stream, %error, "recording failed; the run ends");
            metrics::counter!("recorder_write_failures_total", "stream" => stream.to_string()).increment(1);
            writer.fail(pending, &error);
        }
    }

    /// Syncs all files, then commits all their rows at once.
    pub async fn flush(&mut self) {
        for (stream, writer) in &mut self.streams {
            let pending = self.pending.entry(stream.clone()).or_default();
            if let Err(error) = writer.sync(pending) {
                tracing::error!(%stream, %error, "the disk failed; the run ends");
                writer.fail(pending, &error);
            }
        }
        let now = self.clock.monotonic_us();
        if now - self.alive_us >= ALIVE_US {
            self.alive_us = now;
            if let Err(error) = self.index.note_alive(self.clock.wall()).await {
                tracing::error!(%error, "the index can't be written");
            }
        }
        let all: Vec<Change> = self.pending.values().flatten().cloned().collect();
        match self.chains.commit(&self.index, &all).await {
            Ok(_) => self.pending.values_mut().for_each(Vec::clear),
            Err(error) => {
                tracing::error!(%error, waiting = all.len(), "what was recorded could not be committed together");
                self.commit_each().await;
            }
        }
    }

    /// Commits stream by stream, so that one that fails does not hold up the others.
    async fn commit_each(&mut self) {
        for (stream, pending) in &mut self.pending {
            let Err(error) = self.chains.commit(&self.index, pending).await else {
                pending.clear();
                continue;
            };
            metrics::counter!("recorder_commit_failures_total", "stream" => stream.to_string()).increment(1);
            tracing::error!(%stream, %error, waiting = pending.len(), "what was recorded could not be committed");
            let is_gap = |change: &Change| matches!(change, Change::Gap(_));
            let gaps: Vec<Change> = pending.iter().filter(|change| is_gap(change)).cloned().collect();
            if !gaps.is_empty() && Chains::commit_untold(&self.index, &gaps).await.is_ok() {
                pending.retain(|change| !is_gap(change));
            }
            if pending.len() > MOST_PENDING
                && let Some(writer) = self.streams.get_mut(stream)
            {
                writer.fail(pending, &error);
            }
        }
    }
}
