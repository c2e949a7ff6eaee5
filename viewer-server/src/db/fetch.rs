//! What people fetch from recorders.

use archive::ids::{RecorderId, StreamId};
use archive::time::WallTime;
use archive::timeline::Window;
use archive::uplink::Order;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::order::put_order;
use super::{Db, DbResult, get, get_id, signed, unsigned};

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchOutcome {
    /// All that the recorder had is here.
    Done,
    /// The recorder has nothing of it.
    Failed,
    /// The person no longer wanted it.
    Cancelled,
}

impl FetchOutcome {
    /// The name in JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A fetch as stored.
#[derive(Debug, Clone)]
pub struct FetchRow {
    /// Its id, also the request's at the edge.
    pub fetch_id: Uuid,
    /// Which stream.
    pub stream: StreamId,
    /// Who holds the footage.
    pub recorder: RecorderId,
    /// Which stretch.
    pub window: Window,
    /// Who asked.
    pub username: String,
    /// When.
    pub made: WallTime,
    /// Whether the recorder has been told.
    pub is_told: bool,
    /// When and how it ended.
    pub ended: Option<(WallTime, String)>,
    /// Why it failed.
    pub reason: Option<String>,
}

const COLUMNS: &str = "f.fetch_id, f.stream_id, f.recorder_id, f.from_us, f.to_us, f.username, f.made_us, f.ended_us, \
    f.outcome, f.reason, CASE WHEN r.orders_stored >= f.order_number THEN 1 ELSE 0 END AS is_told";

impl Db {
    /// Asks a recorder for footage; the same person's same request that goes on is that one.
    pub async fn put_fetch(
        &self,
        stream: &StreamId,
        recorder: &RecorderId,
        window: Window,
        username: &str,
        now: WallTime,
    ) -> DbResult<Uuid> {
        let mut tx = self.write().await?;
        let known = sqlx::query(
            "SELECT fetch_id FROM footage_fetch WHERE recorder_id = $1 AND stream_id = $2 AND from_us = $3 AND to_us = $4
                 AND username = $5 AND ended_us IS NULL",
        )
        .bind(recorder.as_str())
        .bind(stream.as_str())
        .bind(window.start.0)
        .bind(window.end.0)
        .bind(username)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(row) = known {
            return get_id(&row, "fetch_id");
        }
        let fetch_id = Uuid::now_v7();
        let order = Order::Fetch {
            request: fetch_id,
            stream: stream.clone(),
            from: window.start,
            to: window.end,
        };
        let number = put_order(&mut tx, recorder, &order).await?;
        sqlx::query(
            "INSERT INTO footage_fetch (fetch_id, stream_id, recorder_id, from_us, to_us, username, made_us, order_number)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(fetch_id.to_string())
        .bind(stream.as_str())
        .bind(recorder.as_str())
        .bind(window.start.0)
        .bind(window.end.0)
        .bind(username)
        .bind(now.0)
        .bind(signed(number))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(fetch_id)
    }

    /// One fetch.
    pub async fn fetch(&self, fetch_id: Uuid) -> DbResult<Option<FetchRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM footage_fetch f JOIN recorder r ON r.recorder_id = f.recorder_id WHERE f.fetch_id = $1"
        )))
        .bind(fetch_id.to_string())
        .fetch_optional(&self.reader)
        .await?
        .map(|row| fetch_row(&row))
        .transpose()
    }

    /// The fetches of a recorder that go on, oldest first.
    pub async fn open_fetches(&self, recorder: &RecorderId) -> DbResult<Vec<FetchRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM footage_fetch f JOIN recorder r ON r.recorder_id = f.recorder_id
             WHERE f.recorder_id = $1 AND f.ended_us IS NULL ORDER BY f.made_us"
        )))
        .bind(recorder.as_str())
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(fetch_row)
        .collect()
    }

    /// The stretches of a stream's window that somebody waits for.
    pub async fn fetched_windows(&self, stream: &StreamId, window: Window) -> DbResult<Vec<Window>> {
        sqlx::query(
            "SELECT from_us, to_us FROM footage_fetch
             WHERE stream_id = $1 AND to_us > $2 AND from_us < $3 AND ended_us IS NULL",
        )
        .bind(stream.as_str())
        .bind(window.start.0)
        .bind(window.end.0)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            Ok(Window {
                start: WallTime(get(row, "from_us")?),
                end: WallTime(get(row, "to_us")?),
            })
        })
        .collect()
    }

    /// Ends a fetch that goes on; a recorder is told of one that is cancelled. Returns whether it went on.
    pub async fn end_fetch(
        &self,
        fetch: &FetchRow,
        outcome: FetchOutcome,
        reason: Option<&str>,
        now: WallTime,
    ) -> DbResult<bool> {
        let mut tx = self.write().await?;
        let ended = sqlx::query(
            "UPDATE footage_fetch SET ended_us = $2, outcome = $3, reason = $4 WHERE fetch_id = $1 AND ended_us IS NULL",
        )
        .bind(fetch.fetch_id.to_string())
        .bind(now.0)
        .bind(outcome.as_str())
        .bind(reason)
        .execute(&mut *tx)
        .await?;
        if ended.rows_affected() == 0 {
            return Ok(false);
        }
        if outcome == FetchOutcome::Cancelled {
            let request = fetch.fetch_id;
            put_order(&mut tx, &fetch.recorder, &Order::FetchCancelled { request }).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Bytes of a stream's window that have come since a moment, and whether anything of the window is here at all.
    pub async fn fetched_bytes(
        &self,
        stream: &StreamId,
        window: Window,
        since: WallTime,
    ) -> DbResult<(u64, bool)> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(sum(CASE WHEN stored_us >= $5 THEN size_bytes ELSE 0 END), 0) AS BIGINT) AS bytes,
                 count(*) AS segments
             FROM segment WHERE stream_id = $1 AND start_us >= $2 AND start_us < $3 AND end_us > $4",
        )
        .bind(stream.as_str())
        .bind((window.start - super::MAX_SEGMENT_US).0)
        .bind(window.end.0)
        .bind(window.start.0)
        .bind(since.0)
        .fetch_one(&self.reader)
        .await?;
        Ok((unsigned(get(&row, "bytes")?), get::<i64>(&row, "segments")? > 0))
    }
}

fn fetch_row(row: &AnyRow) -> DbResult<FetchRow> {
    let ended: Option<i64> = get(row, "ended_us")?;
    let outcome: Option<String> = get(row, "outcome")?;
    Ok(FetchRow {
        fetch_id: get_id(row, "fetch_id")?,
        stream: get_id(row, "stream_id")?,
        recorder: get_id(row, "recorder_id")?,
        window: Window {
            start: WallTime(get(row, "from_us")?),
            end: WallTime(get(row, "to_us")?),
        },
        username: get(row, "username")?,
        made: WallTime(get(row, "made_us")?),
        is_told: get::<i64>(row, "is_told")? == 1,
        ended: ended.map(WallTime).zip(outcome),
        reason: get(row, "reason")?,
    })
}
