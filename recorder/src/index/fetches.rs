//! Footage that somebody waits for.

use archive::ids::StreamId;
use archive::time::{DurationUs, WallTime};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{Index, IndexError};

/// The segment that was growing when footage was asked for is sealed by then.
const SEALED_AFTER_US: DurationUs = 15 * 60_000_000;

impl Index {
    /// Ends the fetches of which everything has gone up; gives how many go on.
    pub async fn end_fetches(&self, now: WallTime) -> Result<u64, IndexError> {
        let waiting: i64 = sqlx::query_scalar("select count(*) from fetch")
            .fetch_one(&self.reader)
            .await?;
        if waiting == 0 {
            return Ok(0);
        }
        let ended = sqlx::query(
            "delete from fetch where to_wall_us < $1 and not exists (
                 select 1 from segment s where s.stream = fetch.stream and s.state in ('sealed', 'uploading')
                     and s.start_wall_us > fetch.from_wall_us - $2 and s.start_wall_us < fetch.to_wall_us
                     and s.end_wall_us > fetch.from_wall_us)",
        )
        .bind((now - SEALED_AFTER_US).0)
        .bind(super::uploads::LONGEST_SEGMENT_US)
        .execute(&self.writer)
        .await?;
        Ok((waiting as u64).saturating_sub(ended.rows_affected()))
    }
}

pub(super) async fn put(
    tx: &mut SqliteConnection,
    request: Uuid,
    stream: &StreamId,
    from: WallTime,
    to: WallTime,
) -> Result<(), IndexError> {
    sqlx::query(
        "insert into fetch (request, stream, from_wall_us, to_wall_us) values ($1, $2, $3, $4)
         on conflict (request) do nothing",
    )
    .bind(request.hyphenated().to_string())
    .bind(stream.as_str())
    .bind(from.0)
    .bind(to.0.max(from.0 + 1))
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn remove(tx: &mut SqliteConnection, request: Uuid) -> Result<(), IndexError> {
    sqlx::query("delete from fetch where request = $1")
        .bind(request.hyphenated().to_string())
        .execute(tx)
        .await?;
    Ok(())
}
