//! Stills: the keyframe at or before a moment, a few at a time, the newest kept.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use archive::fmp4::index::{self, IndexError};
use archive::ids::StreamId;
use archive::time::WallTime;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{JpegError, SegmentId, keyframe_to_jpeg};
use crate::centre::Centre;
use crate::db::{DbError, SegmentRow};
use crate::storage::{StorageError, media_key};

const AT_ONCE: usize = 2;
const KEPT: usize = 512;
/// A still shows the moment asked for only if it is not older than this.
const MAX_AGE_US: i64 = 10_000_000;

/// Why there is no still.
#[derive(Debug, thiserror::Error)]
pub enum StillError {
    /// Nothing was recorded then.
    #[error("nothing was recorded at this moment")]
    NoRecording,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The footage store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The stored index is damaged.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The picture could not be decoded.
    #[error(transparent)]
    Jpeg(#[from] JpegError),
    /// A temporary file failed.
    #[error("a still's temporary file: {0}")]
    File(#[from] std::io::Error),
}

/// Makes stills and keeps some.
#[derive(Debug)]
pub struct Stills {
    slots: Semaphore,
    kept: Mutex<VecDeque<(String, Bytes)>>,
}

impl Default for Stills {
    fn default() -> Self {
        Self {
            slots: Semaphore::new(AT_ONCE),
            kept: Mutex::default(),
        }
    }
}

/// A still and the name of its content.
#[derive(Debug, Clone)]
pub struct Still {
    /// JPEG.
    pub jpeg: Bytes,
    /// Changes whenever the picture does.
    pub tag: String,
}

impl Stills {
    fn find(&self, tag: &str) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|(known, _)| known == tag)
            .map(|(_, jpeg)| jpeg.clone())
    }

    fn keep(&self, tag: String, jpeg: Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((tag, jpeg));
    }
}

impl Centre {
    /// The keyframe of a stream at or before a moment, as JPEG.
    ///
    /// # Errors
    /// [`StillError`].
    pub async fn still(&self, stream: &StreamId, at: WallTime, max_width: u32) -> Result<Still, StillError> {
        let segment = self
            .db
            .segment_before(stream, at)
            .await?
            .ok_or(StillError::NoRecording)?;
        if at - segment.span.wall.end > MAX_AGE_US {
            return Err(StillError::NoRecording);
        }
        let gops = index::decode(&segment.gop_index)?;
        let media = segment.span.recorded.start + (at - segment.span.wall.start);
        let gop = gops
            .iter()
            .rfind(|g| g.start <= media)
            .or(gops.first())
            .ok_or(StillError::NoRecording)?;
        let id = SegmentId {
            recorder: segment.recorder.clone(),
            key: segment.key.clone(),
        };
        let tag = format!("{id}-{}-{max_width}", gop.offset_bytes);
        if let Some(jpeg) = self.stills.find(&tag) {
            return Ok(Still { jpeg, tag });
        }
        let _slot = self
            .stills
            .slots
            .acquire()
            .await
            .expect("nobody closes the slots");
        let jpeg = self
            .make_still(
                &segment,
                gop.offset_bytes..gop.offset_bytes + gop.size_bytes,
                max_width,
            )
            .await?;
        self.stills.keep(tag.clone(), jpeg.clone());
        Ok(Still { jpeg, tag })
    }

    pub(super) async fn make_still(
        &self,
        segment: &SegmentRow,
        bytes: std::ops::Range<u64>,
        max_width: u32,
    ) -> Result<Bytes, StillError> {
        let key = media_key(&segment.recorder, &segment.key);
        let ranges = [0..segment.init_size_bytes, bytes];
        let parts = self.storage.read_ranges(&key, &ranges).await?;
        let made = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, StillError> {
            use std::io::Write as _;
            let mut file = tempfile::Builder::new().suffix(".mp4").tempfile()?;
            for part in &parts {
                file.write_all(part)?;
            }
            Ok(keyframe_to_jpeg(file.path(), max_width)?)
        });
        Ok(made.await.map_err(std::io::Error::other)??.into())
    }
}
