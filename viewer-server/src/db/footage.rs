//! Segments: stored, found, listed.

use archive::ids::{RecorderId, SegmentKey, StreamId};
use archive::segment::{Digest, SegmentManifest};
use archive::time::WallTime;
use archive::timeline::Window;
use sqlx::any::AnyRow;

use super::chain::{SegmentSeal, flag_if_not_as_sealed};
use super::clock::{MAX_SEGMENT_US, clock_between};
use super::window::{SpanRow, span_row};
use super::{Db, DbError, DbResult, edge_segment, get, get_id, signed, unsigned};

/// A segment as the catalogue knows it.
#[derive(Debug, Clone)]
pub struct SegmentRow {
    /// Stream and number.
    pub key: SegmentKey,
    /// Who recorded it.
    pub recorder: RecorderId,
    /// Run, media time and wall time.
    pub span: SpanRow,
    /// Length of the file.
    pub size_bytes: u64,
    /// Length of the init segment at its start.
    pub init_size_bytes: u64,
    /// Digest of the init segment.
    pub init_sha256: String,
    /// Digest of the file.
    pub sha256: String,
    /// Coded by `archive::fmp4::index`.
    pub gop_index: Vec<u8>,
}

/// A segment whose file is in the store, for the catalogue.
#[derive(Debug)]
pub struct StoredSegment<'a> {
    /// Who recorded it.
    pub recorder: &'a RecorderId,
    /// As promised and verified.
    pub manifest: &'a SegmentManifest,
    /// Digest of the init segment.
    pub init_sha256: Digest,
    /// Merkle root over init segment and fragments.
    pub merkle_root: Digest,
    /// Coded by `archive::fmp4::index`.
    pub gop_index: Vec<u8>,
}

impl StoredSegment<'_> {
    /// To be compared with the recorder's chain.
    pub fn seal(&self) -> SegmentSeal {
        SegmentSeal {
            size_bytes: self.manifest.size_bytes,
            init_size_bytes: self.manifest.init_size_bytes,
            sha256: self.manifest.sha256,
            tree: Some((self.merkle_root, self.leaves())),
        }
    }

    fn leaves(&self) -> u64 {
        self.manifest.fragments.len() as u64 + 1
    }
}

const SEGMENT_COLUMNS: &str = "stream_id, sequence, recorder_id, run_id, start_us, end_us, start_media_us, \
    end_media_us, size_bytes, init_size_bytes, init_sha256, sha256, gop_index";

/// Stream, earliest start, end of the window, its start.
pub(super) fn segments_in_window() -> String {
    format!(
        "SELECT {SEGMENT_COLUMNS} FROM segment
         WHERE stream_id = $1 AND start_us >= $2 AND start_us < $3 AND end_us > $4 ORDER BY start_us, sequence"
    )
}

impl Db {
    /// Adds a stored segment and ends its upload; wall times come from the run's anchors.
    ///
    /// Returns false if it is not as its recorder sealed it, which is then kept as evidence.
    pub async fn put_segment(&self, stored: &StoredSegment<'_>, now: WallTime) -> DbResult<bool> {
        let manifest = stored.manifest;
        let mut tx = self.write().await?;
        // As storing facts does first: so either this sees the seal, or the seal sees the segment.
        sqlx::query("UPDATE recorder SET facts_through = facts_through WHERE recorder_id = $1")
            .bind(stored.recorder.as_str())
            .execute(&mut *tx)
            .await?;
        let (start, end) = (manifest.start(), manifest.end());
        let clock = clock_between(&mut tx, &manifest.run, start, end).await?;
        let (Some(wall_start), Some(wall_end)) = (clock.wall(start), clock.wall(end)) else {
            return Err(DbError::damaged(
                "anchor",
                format!("run {} has none", manifest.run),
            ));
        };
        sqlx::query(
            "INSERT INTO segment (stream_id, sequence, recorder_id, run_id, start_us, end_us, start_media_us,
                 end_media_us, size_bytes, init_size_bytes, init_sha256, sha256, gop_index, stored_us,
                 merkle_root, leaves)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             ON CONFLICT (stream_id, sequence, recorder_id) DO NOTHING",
        )
        .bind(manifest.key.stream.as_str())
        .bind(signed(manifest.key.sequence))
        .bind(stored.recorder.as_str())
        .bind(manifest.run.as_str())
        .bind(wall_start.0)
        .bind(wall_end.0)
        .bind(start.0)
        .bind(end.0)
        .bind(signed(manifest.size_bytes))
        .bind(signed(manifest.init_size_bytes))
        .bind(stored.init_sha256.to_string())
        .bind(manifest.sha256.to_string())
        .bind(stored.gop_index.clone())
        .bind(now.0)
        .bind(stored.merkle_root.to_string())
        .bind(signed(stored.leaves()))
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE stream SET footage_until_us = $2
             WHERE stream_id = $1 AND (footage_until_us IS NULL OR footage_until_us < $2)",
        )
        .bind(manifest.key.stream.as_str())
        .bind(wall_end.0)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM upload WHERE recorder_id = $1 AND stream_id = $2 AND sequence = $3")
            .bind(stored.recorder.as_str())
            .bind(manifest.key.stream.as_str())
            .bind(signed(manifest.key.sequence))
            .execute(&mut *tx)
            .await?;
        edge_segment::remove(&mut tx, stored.recorder, &manifest.key).await?;
        let is_otherwise =
            flag_if_not_as_sealed(&mut tx, stored.recorder, &manifest.key, &stored.seal(), now).await?;
        tx.commit().await?;
        Ok(!is_otherwise)
    }

    /// One segment.
    pub async fn segment(&self, recorder: &RecorderId, key: &SegmentKey) -> DbResult<Option<SegmentRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {SEGMENT_COLUMNS} FROM segment WHERE stream_id = $1 AND sequence = $2 AND recorder_id = $3"
        )))
        .bind(key.stream.as_str())
        .bind(signed(key.sequence))
        .bind(recorder.as_str())
        .fetch_optional(&self.reader)
        .await?
        .map(|row| segment_row(&row))
        .transpose()
    }

    /// The segments of a stream that reach into a window, by start.
    pub async fn segments(&self, stream: &StreamId, window: Window) -> DbResult<Vec<SegmentRow>> {
        sqlx::query(sqlx::AssertSqlSafe(segments_in_window()))
            .bind(stream.as_str())
            .bind((window.start - MAX_SEGMENT_US).0)
            .bind(window.end.0)
            .bind(window.start.0)
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(segment_row)
            .collect()
    }

    /// The first segment of a stream from a sequence on.
    pub async fn segment_from(&self, stream: &StreamId, sequence: u64) -> DbResult<Option<SegmentRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {SEGMENT_COLUMNS} FROM segment WHERE stream_id = $1 AND sequence >= $2
             ORDER BY sequence LIMIT 1"
        )))
        .bind(stream.as_str())
        .bind(signed(sequence))
        .fetch_optional(&self.reader)
        .await?
        .map(|row| segment_row(&row))
        .transpose()
    }

    /// The last segment of a stream that starts at or before a moment.
    pub async fn segment_before(&self, stream: &StreamId, at: WallTime) -> DbResult<Option<SegmentRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {SEGMENT_COLUMNS} FROM segment WHERE stream_id = $1 AND start_us <= $2
             ORDER BY start_us DESC LIMIT 1"
        )))
        .bind(stream.as_str())
        .bind(at.0)
        .fetch_optional(&self.reader)
        .await?
        .map(|row| segment_row(&row))
        .transpose()
    }

    /// The end of the newest footage of a stream.
    pub async fn newest_footage(&self, stream: &StreamId) -> DbResult<Option<WallTime>> {
        sqlx::query("SELECT end_us FROM segment WHERE stream_id = $1 ORDER BY start_us DESC LIMIT 1")
            .bind(stream.as_str())
            .fetch_optional(&self.reader)
            .await?
            .map(|row| Ok(WallTime(get(&row, "end_us")?)))
            .transpose()
    }

    /// Keys and digests of all segments in pages, for checking the catalogue against the store.
    pub async fn segments_after(
        &self,
        after: Option<(&SegmentKey, &RecorderId)>,
        limit: i64,
    ) -> DbResult<Vec<SegmentRow>> {
        let (stream, sequence, recorder) = after
            .map_or((String::new(), 0, String::new()), |(key, recorder)| {
                (key.stream.to_string(), signed(key.sequence), recorder.to_string())
            });
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {SEGMENT_COLUMNS} FROM segment
             WHERE stream_id > $1 OR (stream_id = $1 AND (sequence > $2 OR (sequence = $2 AND recorder_id > $3)))
             ORDER BY stream_id, sequence, recorder_id LIMIT $4"
        )))
        .bind(stream)
        .bind(sequence)
        .bind(recorder)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(segment_row)
        .collect()
    }
}

fn segment_row(row: &AnyRow) -> DbResult<SegmentRow> {
    let sequence = unsigned(get(row, "sequence")?);
    Ok(SegmentRow {
        key: SegmentKey {
            stream: get_id(row, "stream_id")?,
            sequence,
        },
        recorder: get_id(row, "recorder_id")?,
        span: span_row(row, sequence)?,
        size_bytes: unsigned(get(row, "size_bytes")?),
        init_size_bytes: unsigned(get(row, "init_size_bytes")?),
        init_sha256: get(row, "init_sha256")?,
        sha256: get(row, "sha256")?,
        gop_index: get(row, "gop_index")?,
    })
}
