//! Who saw footage: append-only.

use archive::ids::StreamId;
use archive::time::WallTime;

use super::{Db, DbResult};
use crate::access::Role;

/// One read of footage.
#[derive(Debug, Clone)]
pub struct FootageRead<'a> {
    /// Who.
    pub username: &'a str,
    /// By which role.
    pub role: Role,
    /// `playlist`, `still`, `live`, `export` or `download`.
    pub action: &'static str,
    /// Of which stream.
    pub stream: &'a StreamId,
    /// Which span; `None` for live.
    pub span: Option<(WallTime, WallTime)>,
}

impl Db {
    /// Writes down a read of footage before it is answered.
    pub async fn log_footage_read(&self, read: &FootageRead<'_>, now: WallTime) -> DbResult<()> {
        sqlx::query(
            "INSERT INTO access_log (access_id, at_us, username, role, action, stream_id, from_us, to_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(uuid::Uuid::now_v7().to_string())
        .bind(now.0)
        .bind(read.username)
        .bind(read.role.as_str())
        .bind(read.action)
        .bind(read.stream.as_str())
        .bind(read.span.map(|s| s.0.0))
        .bind(read.span.map(|s| s.1.0))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// How often somebody saw footage of a stream, by action.
    pub async fn footage_reads(&self, stream: &StreamId, action: &str) -> DbResult<i64> {
        let row =
            sqlx::query("SELECT count(*) AS reads FROM access_log WHERE stream_id = $1 AND action = $2")
                .bind(stream.as_str())
                .bind(action)
                .fetch_one(&self.reader)
                .await?;
        super::get(&row, "reads")
    }
}
