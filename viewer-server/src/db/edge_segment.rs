//! Segments that their recorder has told of and the centre does not have.

use archive::ids::{RecorderId, RunId, SegmentKey, StreamId};
use archive::seal::{ChainBody, ChainEntry};
use archive::segment::SegmentManifest;
use archive::time::{MediaTime, WallTime};
use archive::timeline::Window;
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};

use super::clock::{MAX_SEGMENT_US, clock_between};
use super::{Db, DbError, DbResult, get, get_id, signed, unsigned};

/// A segment at the edge.
#[derive(Debug, Clone)]
pub struct EdgeSegmentRow {
    /// Stream and number.
    pub key: SegmentKey,
    /// Who holds it.
    pub recorder: RecorderId,
    /// When it shows.
    pub wall: Window,
    /// Length of the file.
    pub size_bytes: u64,
}

/// What is known of a segment before it comes.
struct Told<'a> {
    key: SegmentKey,
    run: &'a RunId,
    media: (MediaTime, MediaTime),
    /// By the recorder's own reckoning, for want of anchors.
    wall: Option<(WallTime, WallTime)>,
    size_bytes: u64,
    sha256: String,
}

/// Follows a chain: a sealed segment is at the edge until it comes, is deleted or is lost.
pub(super) async fn follow(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    entry: &ChainEntry,
) -> DbResult<()> {
    let key = |sequence| SegmentKey {
        stream: entry.stream.clone(),
        sequence,
    };
    match &entry.body {
        ChainBody::Segment(sealed) => {
            let told = Told {
                key: key(sealed.sequence),
                run: &sealed.run,
                media: (sealed.start, sealed.end.max(sealed.start)),
                wall: Some((sealed.start_wall, sealed.end_wall)),
                size_bytes: sealed.size_bytes,
                sha256: sealed.sha256.to_string(),
            };
            put(tx, recorder, &told).await
        }
        ChainBody::Deleted { sequence, .. } | ChainBody::Lost { sequence, .. } => {
            remove(tx, recorder, &key(*sequence)).await
        }
        _ => Ok(()),
    }
}

/// Notes a segment that begins to come up, for recorders whose chain has not told of it.
pub(super) async fn promised(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    manifest: &SegmentManifest,
) -> DbResult<()> {
    let told = Told {
        key: manifest.key.clone(),
        run: &manifest.run,
        media: (manifest.start(), manifest.end()),
        wall: None,
        size_bytes: manifest.size_bytes,
        sha256: manifest.sha256.to_string(),
    };
    put(tx, recorder, &told).await
}

async fn put(tx: &mut Transaction<'static, Any>, recorder: &RecorderId, told: &Told<'_>) -> DbResult<()> {
    let (start, end) = told.media;
    let clock = clock_between(tx, told.run, start, end).await?;
    let by_anchors = clock.wall(start).zip(clock.wall(end));
    let Some((wall_start, wall_end)) = by_anchors.or(told.wall) else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO edge_segment (stream_id, sequence, recorder_id, run_id, start_us, end_us, start_media_us,
             end_media_us, size_bytes, sha256)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
         WHERE NOT EXISTS (SELECT 1 FROM segment WHERE stream_id = $1 AND sequence = $2 AND recorder_id = $3)
         ON CONFLICT (stream_id, sequence, recorder_id) DO NOTHING",
    )
    .bind(told.key.stream.as_str())
    .bind(signed(told.key.sequence.max(1)))
    .bind(recorder.as_str())
    .bind(told.run.as_str())
    .bind(wall_start.0)
    .bind(wall_end.0)
    .bind(start.0)
    .bind(end.0)
    .bind(signed(told.size_bytes.max(1)))
    .bind(told.sha256.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The segment has come, or never will.
pub(super) async fn remove(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    key: &SegmentKey,
) -> DbResult<()> {
    sqlx::query("DELETE FROM edge_segment WHERE stream_id = $1 AND sequence = $2 AND recorder_id = $3")
        .bind(key.stream.as_str())
        .bind(signed(key.sequence))
        .bind(recorder.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Db {
    /// What of a stream is only at the edge and reaches into a window, by start.
    pub async fn edge_segments(&self, stream: &StreamId, window: Window) -> DbResult<Vec<EdgeSegmentRow>> {
        sqlx::query(
            "SELECT stream_id, sequence, recorder_id, start_us, end_us, size_bytes FROM edge_segment
             WHERE stream_id = $1 AND start_us >= $2 AND start_us < $3 AND end_us > $4 ORDER BY start_us, sequence",
        )
        .bind(stream.as_str())
        .bind((window.start - MAX_SEGMENT_US).0)
        .bind(window.end.0)
        .bind(window.start.0)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(edge_segment_row)
        .collect()
    }

    /// Of what is at the edge in a window, that which is coming up, as promised.
    pub async fn arriving(
        &self,
        stream: &StreamId,
        window: Window,
    ) -> DbResult<Vec<(RecorderId, SegmentManifest)>> {
        sqlx::query(
            "SELECT u.recorder_id, u.manifest FROM edge_segment e
             JOIN upload u ON u.recorder_id = e.recorder_id AND u.stream_id = e.stream_id AND u.sequence = e.sequence
             WHERE e.stream_id = $1 AND e.start_us >= $2 AND e.start_us < $3 AND e.end_us > $4
             ORDER BY e.start_us, e.sequence LIMIT 64",
        )
        .bind(stream.as_str())
        .bind((window.start - MAX_SEGMENT_US).0)
        .bind(window.end.0)
        .bind(window.start.0)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            let manifest = serde_json::from_str(get(row, "manifest")?)
                .map_err(|e| DbError::damaged("upload.manifest", e))?;
            Ok((get_id(row, "recorder_id")?, manifest))
        })
        .collect()
    }
}

fn edge_segment_row(row: &AnyRow) -> DbResult<EdgeSegmentRow> {
    Ok(EdgeSegmentRow {
        key: SegmentKey {
            stream: get_id(row, "stream_id")?,
            sequence: unsigned(get(row, "sequence")?),
        },
        recorder: get_id(row, "recorder_id")?,
        wall: Window {
            start: WallTime(get(row, "start_us")?),
            end: WallTime(get(row, "end_us")?),
        },
        size_bytes: unsigned(get(row, "size_bytes")?),
    })
}
