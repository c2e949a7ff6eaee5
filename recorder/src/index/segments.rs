//! Segments and their fragments.

use std::collections::BTreeSet;

use archive::ids::{RunId, SegmentKey, StreamId};
use archive::segment::{Digest, Fragment, SegmentManifest};
use archive::time::MediaTime;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteExecutor};

use super::{Index, IndexError, damaged, from_json};

/// A segment that was being written when the recorder went down.
#[derive(Debug, Clone)]
pub struct OpenSegment {
    /// Its row.
    pub segment_id: i64,
    /// Its name.
    pub key: SegmentKey,
    /// Its run.
    pub run: RunId,
    /// Bytes that are known to be synced.
    pub size_bytes: u64,
}

/// A segment's row, for `check` and retention.
#[derive(Debug, Clone)]
pub struct SegmentRow {
    /// Its row.
    pub segment_id: i64,
    /// Its name.
    pub key: SegmentKey,
    /// Its state by name.
    pub state: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Digest of the file, from sealing on.
    pub sha256: Option<Digest>,
}

/// What is left of a segment that is gone.
#[derive(Debug, Clone, Copy)]
pub struct Tombstone {
    /// Its row.
    pub segment_id: i64,
    /// Whether it was deleted by a rule and its file may still be there.
    pub awaits_removal: bool,
}

impl Index {
    /// Stores a segment that begins and gives its row. The number must be new.
    pub async fn open_segment(
        &self,
        key: &SegmentKey,
        run: &RunId,
        init_size_bytes: u64,
    ) -> Result<i64, IndexError> {
        // A statement that gives a row is not told whether its own commit failed: hence the transaction.
        let mut tx = self.writer.begin().await?;
        let segment_id = sqlx::query_scalar(
            "insert into segment (stream, sequence, run_id, state, init_size_bytes, size_bytes)
             values ($1, $2, $3, 'recording', $4, $4) returning segment_id",
        )
        .bind(key.stream.as_str())
        .bind(key.sequence as i64)
        .bind(run.as_str())
        .bind(init_size_bytes as i64)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(segment_id)
    }

    /// The highest number ever given to a segment of a stream, 0 if none.
    pub async fn last_sequence(&self, stream: &StreamId) -> Result<u64, IndexError> {
        let last: i64 =
            sqlx::query_scalar("select coalesce(max(sequence), 0) from segment where stream = $1")
                .bind(stream.as_str())
                .fetch_one(&self.reader)
                .await?;
        Ok(last as u64)
    }

    /// The numbers of a stream's segments that have a file.
    pub async fn sequences(&self, stream: &StreamId) -> Result<BTreeSet<u64>, IndexError> {
        let numbers: Vec<i64> =
            sqlx::query_scalar("select sequence from segment where stream = $1 and state <> 'tombstone'")
                .bind(stream.as_str())
                .fetch_all(&self.reader)
                .await?;
        Ok(numbers.into_iter().map(|number| number as u64).collect())
    }

    /// Whether a segment is gone, and if so whether its file is to be removed.
    pub async fn tombstone(&self, key: &SegmentKey) -> Result<Option<Tombstone>, IndexError> {
        let row = sqlx::query(
            "select s.segment_id, r.segment_id is not null from segment s left join removal r using (segment_id)
             where s.stream = $1 and s.sequence = $2 and s.state = 'tombstone'",
        )
        .bind(key.stream.as_str())
        .bind(key.sequence as i64)
        .fetch_optional(&self.reader)
        .await?;
        row.map(|row| {
            Ok(Tombstone {
                segment_id: row.try_get(0)?,
                awaits_removal: row.try_get(1)?,
            })
        })
        .transpose()
    }

    /// Segments in state `recording`.
    pub async fn recording_segments(&self) -> Result<Vec<OpenSegment>, IndexError> {
        sqlx::query(
            "select segment_id, stream, sequence, run_id, size_bytes from segment
             where state = 'recording' order by segment_id",
        )
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            let run: String = row.try_get("run_id")?;
            Ok(OpenSegment {
                segment_id: row.try_get("segment_id")?,
                key: read_key(row)?,
                run: run
                    .parse()
                    .map_err(|e: archive::ids::InvalidId| damaged("segment.run_id")(e.to_string()))?,
                size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
            })
        })
        .collect()
    }

    /// The newest sealed number of a stream, 0 if none.
    pub async fn newest_sealed(&self, stream: &StreamId) -> Result<u64, IndexError> {
        let newest: Option<i64> = sqlx::query_scalar(
            "select sequence from segment where stream = $1 and state <> 'recording'
             order by sequence desc limit 1",
        )
        .bind(stream.as_str())
        .fetch_optional(&self.reader)
        .await?;
        Ok(newest.unwrap_or(0) as u64)
    }

    /// Moves a segment on; only along its states, so a late answer can't revive a tombstone.
    pub async fn set_state(&self, segment_id: i64, from: &[&str], to: &str) -> Result<bool, IndexError> {
        let changed = sqlx::query(
            "update segment set state = $2
             where segment_id = $1 and state in (select value from json_each($3))",
        )
        .bind(segment_id)
        .bind(to)
        .bind(super::to_json(&from))
        .execute(&self.writer)
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// The manifest of a sealed segment.
    pub async fn manifest(&self, segment_id: i64) -> Result<SegmentManifest, IndexError> {
        let row = sqlx::query(
            "select s.stream, s.sequence, s.run_id, s.size_bytes, s.init_size_bytes, s.sha256, r.tracks
             from segment s join run r on r.run_id = s.run_id where s.segment_id = $1",
        )
        .bind(segment_id)
        .fetch_one(&self.reader)
        .await?;
        let run: String = row.try_get("run_id")?;
        let tracks: &str = row.try_get("tracks")?;
        Ok(SegmentManifest {
            key: read_key(&row)?,
            run: run
                .parse()
                .map_err(|e: archive::ids::InvalidId| damaged("segment.run_id")(e.to_string()))?,
            size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
            init_size_bytes: row.try_get::<i64, _>("init_size_bytes")? as u64,
            sha256: read_digest(row.try_get("sha256")?)?,
            tracks: from_json("run.tracks", tracks)?,
            fragments: self.fragments(segment_id).await?,
        })
    }

    /// The fragments of a segment in file order.
    pub async fn fragments(&self, segment_id: i64) -> Result<Vec<Fragment>, IndexError> {
        read_fragments(&self.reader, segment_id).await
    }

    /// All segments that have a file, after a row, at most `most`.
    pub async fn segments_after(&self, segment_id: i64, most: u32) -> Result<Vec<SegmentRow>, IndexError> {
        sqlx::query(
            "select segment_id, stream, sequence, state, size_bytes, sha256 from segment
             where segment_id > $1 and state <> 'tombstone' order by segment_id limit $2",
        )
        .bind(segment_id)
        .bind(most)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(read_segment)
        .collect()
    }

    /// Forgets that the files of tombstones were to be removed: they are gone for good.
    pub async fn files_removed(&self, segment_ids: &[i64]) -> Result<(), IndexError> {
        sqlx::query("delete from removal where segment_id in (select value from json_each($1))")
            .bind(super::to_json(&segment_ids))
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

pub(super) async fn read_fragments(
    from: impl SqliteExecutor<'_>,
    segment_id: i64,
) -> Result<Vec<Fragment>, IndexError> {
    sqlx::query(
        "select offset_bytes, size_bytes, start_media_us, duration_us, is_keyframe, sha256
         from fragment where segment_id = $1 order by offset_bytes",
    )
    .bind(segment_id)
    .fetch_all(from)
    .await?
    .iter()
    .map(|row| {
        Ok(Fragment {
            offset_bytes: row.try_get::<i64, _>(0)? as u64,
            size_bytes: row.try_get::<i64, _>(1)? as u64,
            start: MediaTime(row.try_get(2)?),
            duration_us: row.try_get(3)?,
            is_keyframe: row.try_get(4)?,
            sha256: read_digest(row.try_get(5)?)?,
        })
    })
    .collect()
}

pub(super) fn read_segment(row: &SqliteRow) -> Result<SegmentRow, IndexError> {
    let sha256: Option<&[u8]> = row.try_get("sha256")?;
    Ok(SegmentRow {
        segment_id: row.try_get("segment_id")?,
        key: read_key(row)?,
        state: row.try_get("state")?,
        size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
        sha256: sha256.map(read_digest).transpose()?,
    })
}

pub(super) fn read_key(row: &SqliteRow) -> Result<SegmentKey, IndexError> {
    let stream: String = row.try_get("stream")?;
    Ok(SegmentKey {
        stream: stream
            .parse()
            .map_err(|e: archive::ids::InvalidId| damaged("segment.stream")(e.to_string()))?,
        sequence: row.try_get::<i64, _>("sequence")? as u64,
    })
}

pub(super) fn read_digest(bytes: &[u8]) -> Result<Digest, IndexError> {
    bytes
        .try_into()
        .map(Digest)
        .map_err(|_| damaged("sha256")(format!("{} bytes", bytes.len())))
}
