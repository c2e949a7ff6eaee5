//! Footage that somebody fetches from a recorder: how far it has come, and when that is over.

use archive::ids::{RecorderId, StreamId};
use archive::time::{DurationUs, WallTime};
use archive::timeline::Window;

use super::UploadError;
use crate::centre::Centre;
use crate::db::{FetchOutcome, FetchRow};

/// Why a fetch failed: the recorder has nothing of it, or has lost or deleted it.
pub const NOTHING_THERE: &str = "nothing_there";
/// Rates are measured over at least so long.
const MEASURED_OVER_US: DurationUs = 500_000;

/// How far a fetch has come.
#[derive(Debug, Clone)]
pub struct FetchProgress {
    /// As stored.
    pub fetch: FetchRow,
    /// Whether the recorder is connected.
    pub is_online: bool,
    /// Bytes that have come of what was fetched.
    pub bytes_done: u64,
    /// Bytes in all, as far as they are known.
    pub bytes_total: u64,
    /// What of it can be seen, in order of time.
    pub available: Vec<Window>,
    /// Seconds until all is here at the rate so far.
    pub left_s: Option<u64>,
}

impl FetchProgress {
    /// `waiting`, `on_its_way`, `done`, `failed` or `cancelled`.
    pub fn state(&self) -> &str {
        match &self.fetch.ended {
            Some((_, outcome)) => outcome,
            None if self.is_online => "on_its_way",
            None => "waiting",
        }
    }
}

impl Centre {
    /// How far a fetch has come; ends it if all is here.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn fetch_progress(&self, mut fetch: FetchRow) -> Result<FetchProgress, UploadError> {
        if fetch.ended.is_none() && self.settle(&fetch).await? {
            fetch = self.db.fetch(fetch.fetch_id).await?.unwrap_or(fetch);
        }
        let remote = self.db.edge_segments(&fetch.stream, fetch.window).await?;
        let arriving = self.arriving(&fetch.stream, fetch.window).await?;
        let (stored, _) = self
            .db
            .fetched_bytes(&fetch.stream, fetch.window, fetch.made)
            .await?;
        let waiting: u64 = remote.iter().map(|segment| segment.size_bytes).sum();
        let begun: u64 = arriving.iter().map(|a| a.verified_bytes).sum();
        let mut available: Vec<Window> = self
            .db
            .spans(&fetch.stream, fetch.window)
            .await?
            .iter()
            .map(|row| row.wall)
            .chain(arriving.iter().map(|a| a.row.span.wall))
            .map(|wall| wall.overlap(fetch.window))
            .filter(|wall| wall.duration_us() > 0)
            .collect();
        available.sort_by_key(|window| window.start);
        let bytes_done = stored + begun;
        let elapsed_us = self.now() - fetch.made;
        let left = (stored + waiting).saturating_sub(bytes_done);
        let left_s = (fetch.ended.is_none() && bytes_done > 0 && elapsed_us > MEASURED_OVER_US).then(|| {
            let elapsed_us = u64::try_from(elapsed_us).unwrap_or(0);
            (u128::from(left) * u128::from(elapsed_us) / u128::from(bytes_done) / 1_000_000) as u64
        });
        let is_online = self.recorders.status(&fetch.recorder).is_some();
        Ok(FetchProgress {
            is_online,
            bytes_done,
            bytes_total: stored + waiting,
            available: joined(available),
            left_s: left_s.filter(|_| is_online),
            fetch,
        })
    }

    /// Ends the fetches of a recorder of which all is here.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn settle_fetches(&self, recorder: &RecorderId) -> Result<(), UploadError> {
        for fetch in self.db.open_fetches(recorder).await? {
            self.settle(&fetch).await?;
        }
        Ok(())
    }

    /// Ends a fetch if nothing of it is at the edge any more; says whether it did.
    async fn settle(&self, fetch: &FetchRow) -> Result<bool, UploadError> {
        // A recorder that has not told everything may hold what nobody here knows of.
        if !self.knows_all_of(fetch).await? {
            return Ok(false);
        }
        let remote = self.db.edge_segments(&fetch.stream, fetch.window).await?;
        if !remote.is_empty() {
            return Ok(false);
        }
        let (_, is_anything_here) = self
            .db
            .fetched_bytes(&fetch.stream, fetch.window, WallTime(0))
            .await?;
        let (outcome, reason) = if is_anything_here {
            (FetchOutcome::Done, None)
        } else {
            (FetchOutcome::Failed, Some(NOTHING_THERE))
        };
        Ok(self.db.end_fetch(fetch, outcome, reason, self.now()).await?)
    }

    /// Where in a stream's window the first footage lies that somebody fetches and that has not come.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn awaited(&self, stream: &StreamId, window: Window) -> Result<Option<WallTime>, UploadError> {
        let fetched = self.db.fetched_windows(stream, window).await?;
        if fetched.is_empty() {
            return Ok(None);
        }
        let seen = self.arriving(stream, window).await?;
        let remote = self.db.edge_segments(stream, window).await?;
        let first = remote.iter().find(|segment| {
            fetched
                .iter()
                .any(|fetch| fetch.start < segment.wall.end && fetch.end > segment.wall.start)
        });
        Ok(first.map(|segment| {
            let begun = seen.iter().find(|a| a.row.key == segment.key);
            begun.map_or(segment.wall.start, |a| a.row.span.wall.end)
        }))
    }

    async fn knows_all_of(&self, fetch: &FetchRow) -> Result<bool, UploadError> {
        let status = self.recorders.stream_status(&fetch.recorder, &fetch.stream);
        if !fetch.is_told || status.is_none() {
            return Ok(false);
        }
        let recorder = self.db.recorder(&fetch.recorder).await?;
        Ok(recorder.is_some_and(|row| row.pending_facts == Some(0)))
    }
}

/// Windows in order, those that touch made one.
fn joined(windows: Vec<Window>) -> Vec<Window> {
    const SEAM_US: DurationUs = 100_000;
    let mut joined: Vec<Window> = Vec::new();
    for window in windows {
        match joined.last_mut() {
            Some(last) if window.start - last.end <= SEAM_US => last.end = last.end.max(window.end),
            _ => joined.push(window),
        }
    }
    joined
}
