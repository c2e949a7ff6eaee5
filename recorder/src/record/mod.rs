//! From fragments to files on the disk and rows in the index.
//!
//! One thread writes for all streams. Bytes are appended at once; syncs and rows follow in groups. A disk that fails
//! ends the run with a gap that says why, and the next run tries again: nothing here ends the program.

mod file;
mod salvage;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archive::gap::GapCause;
use archive::ids::StreamId;
use archive::time::Clock;
use tokio::sync::{mpsc, watch};

use crate::capture::{CaptureEvent, Captured, EndRequest, Health};
use crate::index::{Change, Index, IndexError};

pub use file::segment_path;
pub use salvage::salvage;
use stream::StreamWriter;

/// Most changes that wait for an index that does not take them.
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
}

impl WriteError {
    /// The cause that the gap gets.
    pub fn cause(&self) -> GapCause {
        match self {
            Self::Disk { source, .. } if is_full(source) => GapCause::DiskFull,
            Self::Index(e) if e.to_string().contains("database or disk is full") => GapCause::DiskFull,
            Self::Disk { .. } | Self::Index(_) => GapCause::DiskFailed,
            Self::Fragment(_) => GapCause::CameraFaulty,
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
}

/// How and where to write.
#[derive(Debug, Clone)]
pub struct WriterSettings {
    /// Folder of the recordings.
    pub root: PathBuf,
    /// Length of a segment; it ends at the next keyframe.
    pub segment_us: i64,
    /// Longest time between an append and its sync.
    pub sync: Duration,
}

/// What the writer knows of everything it writes.
pub struct Writer {
    settings: WriterSettings,
    index: Index,
    clock: Arc<dyn Clock>,
    streams: BTreeMap<StreamId, StreamWriter>,
    /// Changes whose bytes are synced, in order, that the index does not have yet.
    pending: Vec<Change>,
    alive_us: i64,
}

impl Writer {
    /// A writer for these streams; salvage must have run before.
    ///
    /// # Errors
    /// If the index can't be read.
    pub async fn new(
        settings: WriterSettings,
        index: Index,
        clock: Arc<dyn Clock>,
        streams: Vec<Recorded>,
    ) -> Result<Self, IndexError> {
        let mut writers = BTreeMap::new();
        for recorded in streams {
            let stream = recorded.stream.clone();
            writers.insert(stream, StreamWriter::new(recorded, &index).await?);
        }
        Ok(Self {
            settings,
            index,
            clock,
            streams: writers,
            pending: Vec::new(),
            alive_us: 0,
        })
    }

    /// Writes until all senders are gone, then seals everything.
    pub async fn run(mut self, mut input: mpsc::Receiver<Captured>) {
        let mut batch = Vec::new();
        let mut dirty_since_us = None;
        loop {
            let now = self.clock.monotonic_us();
            let rest = dirty_since_us.map_or(Duration::from_secs(1), |since| {
                self.settings
                    .sync
                    .saturating_sub(Duration::from_micros(u64::try_from(now - since).unwrap_or(0)))
            });
            match tokio::time::timeout(rest, input.recv_many(&mut batch, 256)).await {
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
        for writer in self.streams.values_mut() {
            writer.close(&mut self.pending);
        }
        self.flush().await;
    }

    /// Takes one thing that a capture gave. A failure ends the run, not the writer.
    pub async fn take(&mut self, captured: Captured) {
        let Some(writer) = self.streams.get_mut(&captured.stream) else {
            return;
        };
        let stream = captured.stream;
        let outcome = match captured.event {
            CaptureEvent::RunStarted { run, init, anchor } => {
                writer
                    .begin(&self.index, &mut self.pending, run, init, anchor)
                    .await
            }
            CaptureEvent::Fragment { run, bytes } => {
                writer
                    .fragment(&self.settings, &self.index, &mut self.pending, &run, &bytes)
                    .await
            }
            CaptureEvent::Anchored { run, anchor } => {
                writer.anchored(&mut self.pending, &run, anchor);
                Ok(())
            }
            CaptureEvent::Ended { run, cause, detail } => {
                writer.ended(&mut self.pending, run, cause, &detail, self.clock.wall());
                Ok(())
            }
        };
        if let Err(error) = outcome {
            tracing::error!(%stream, %error, "recording failed; the run ends");
            metrics::counter!("recorder_write_failures_total", "stream" => stream.to_string()).increment(1);
            writer.fail(&mut self.pending, &error);
        }
    }

    /// Syncs all files, then commits all their rows at once.
    pub async fn flush(&mut self) {
        for writer in self.streams.values_mut() {
            if let Err(error) = writer.sync(&mut self.pending) {
                tracing::error!(stream = %writer.stream(), %error, "the disk failed; the run ends");
                writer.fail(&mut self.pending, &error);
            }
        }
        let now = self.clock.monotonic_us();
        if now - self.alive_us >= ALIVE_US {
            self.alive_us = now;
            if let Err(error) = self.index.note_alive(self.clock.wall()).await {
                tracing::error!(%error, "the index can't be written");
            }
        }
        match self.index.commit(&self.pending).await {
            Ok(()) => self.pending.clear(),
            Err(error) => {
                metrics::counter!("recorder_commit_failures_total").increment(1);
                tracing::error!(%error, waiting = self.pending.len(), "the index did not take what was recorded");
                if self.pending.len() > MOST_PENDING {
                    let error = WriteError::Index(error);
                    for writer in self.streams.values_mut() {
                        writer.fail(&mut self.pending, &error);
                    }
                }
            }
        }
    }
}
