//! Exports: asked for, built by one server at a time, kept for a while.

use archive::ids::{CounterId, StreamId};
use archive::segment::Digest;
use archive::time::WallTime;
use archive::timeline::Window;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::{Db, DbError, DbResult, get, get_id, signed, unsigned};
use crate::access::Role;

/// How far an export has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportState {
    /// No server builds it yet.
    Waiting,
    /// A server builds it.
    Running,
    /// Its file can be had.
    Done,
    /// It can't be built.
    Failed,
    /// Who asked for it does not want it any more.
    Cancelled,
}

impl ExportState {
    const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An export as it is kept.
#[derive(Debug, Clone)]
pub struct ExportRow {
    /// A UUIDv7.
    pub export_id: Uuid,
    /// Who asked for it.
    pub username: String,
    /// By which role.
    pub role: Role,
    /// Of which counter.
    pub counter: CounterId,
    /// Of which streams of it.
    pub streams: Vec<StreamId>,
    /// From when until when.
    pub window: Window,
    /// How far it has come.
    pub state: ExportState,
    /// When it was asked for.
    pub created: WallTime,
    /// When it goes.
    pub expires: WallTime,
    /// Footage read.
    pub done_bytes: u64,
    /// Footage to be read, at most.
    pub total_bytes: u64,
    /// Stable name and text of what went wrong.
    pub failure: Option<(String, String)>,
    /// The file, once done.
    pub file: Option<ExportFile>,
    /// JSON of what is in it, once done.
    pub content: Option<String>,
}

/// The file of an export that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// What people save it as.
    pub name: String,
    /// Its length.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

const EXPORT_COLUMNS: &str = "export_id, username, role, counter_id, streams, from_us, to_us, state, created_us, \
    expires_us, done_bytes, total_bytes, failure_code, failure_detail, file_name, file_bytes, file_sha256, content";

impl Db {
    /// Adds an export that waits.
    pub async fn put_export(&self, export: &ExportRow) -> DbResult<()> {
        let streams =
            serde_json::to_string(&export.streams).map_err(|e| DbError::damaged("export.streams", e))?;
        sqlx::query(
            "INSERT INTO export (export_id, username, role, counter_id, streams, from_us, to_us, state, created_us,
                 expires_us, total_bytes)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting', $8, $9, $10)",
        )
        .bind(export.export_id.to_string())
        .bind(export.username.as_str())
        .bind(export.role.as_str())
        .bind(export.counter.as_str())
        .bind(streams)
        .bind(export.window.start.0)
        .bind(export.window.end.0)
        .bind(export.created.0)
        .bind(export.expires.0)
        .bind(signed(export.total_bytes))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// One export.
    pub async fn export(&self, export_id: Uuid) -> DbResult<Option<ExportRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {EXPORT_COLUMNS} FROM export WHERE export_id = $1"
        )))
        .bind(export_id.to_string())
        .fetch_optional(&self.reader)
        .await?
        .map(|row| export_row(&row))
        .transpose()
    }

    /// The exports that a person asked for, the newest first.
    pub async fn exports_of(&self, username: &str, limit: i64) -> DbResult<Vec<ExportRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {EXPORT_COLUMNS} FROM export WHERE username = $1 ORDER BY created_us DESC, export_id DESC LIMIT $2"
        )))
        .bind(username)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(export_row)
        .collect()
    }

    /// How many exports of a person are not built yet, and how many bytes all exports take or will take.
    pub async fn export_load(&self, username: &str) -> DbResult<(u64, u64)> {
        let mine = sqlx::query(
            "SELECT count(*) AS exports FROM export WHERE username = $1 AND state IN ('waiting', 'running')",
        )
        .bind(username)
        .fetch_one(&self.reader)
        .await?;
        let all = sqlx::query(
            "SELECT CAST(coalesce(sum(coalesce(file_bytes, total_bytes)), 0) AS BIGINT) AS bytes FROM export
             WHERE state IN ('waiting', 'running', 'done')",
        )
        .fetch_one(&self.reader)
        .await?;
        Ok((unsigned(get(&mine, "exports")?), unsigned(get(&all, "bytes")?)))
    }

    /// Takes the oldest export that no living server builds.
    pub async fn claim_export(
        &self,
        lease: &str,
        now: WallTime,
        until: WallTime,
    ) -> DbResult<Option<ExportRow>> {
        let mut tx = self.write().await?;
        let found = sqlx::query(
            "SELECT export_id FROM export
             WHERE state = 'waiting' OR (state = 'running' AND lease_until_us < $1)
             ORDER BY created_us LIMIT 1",
        )
        .bind(now.0)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(found) = found else { return Ok(None) };
        let export_id: String = get(&found, "export_id")?;
        // Said again, because another server may have been quicker.
        let claimed = sqlx::query(sqlx::AssertSqlSafe(format!(
            "UPDATE export SET state = 'running', lease = $2, lease_until_us = $3, done_bytes = 0
             WHERE export_id = $1 AND (state = 'waiting' OR (state = 'running' AND lease_until_us < $4))
             RETURNING {EXPORT_COLUMNS}"
        )))
        .bind(export_id)
        .bind(lease)
        .bind(until.0)
        .bind(now.0)
        .fetch_optional(&mut *tx)
        .await?
        .map(|row| export_row(&row))
        .transpose()?;
        tx.commit().await?;
        Ok(claimed)
    }

    /// Says how far a build has come and that it goes on; false if it is not wanted from this server any more.
    pub async fn export_progress(
        &self,
        export_id: Uuid,
        lease: &str,
        done_bytes: u64,
        until: WallTime,
    ) -> DbResult<bool> {
        let updated = sqlx::query(
            "UPDATE export SET done_bytes = $3, lease_until_us = $4
             WHERE export_id = $1 AND lease = $2 AND state = 'running'",
        )
        .bind(export_id.to_string())
        .bind(lease)
        .bind(signed(done_bytes))
        .bind(until.0)
        .execute(&self.writer)
        .await?;
        Ok(updated.rows_affected() > 0)
    }

    /// Notes that an export is built; false if it is not wanted from this server any more.
    pub async fn finish_export(
        &self,
        export_id: Uuid,
        lease: &str,
        file: &ExportFile,
        content: &str,
        expires: WallTime,
    ) -> DbResult<bool> {
        let updated = sqlx::query(
            "UPDATE export SET state = 'done', lease = NULL, lease_until_us = NULL, done_bytes = total_bytes,
                 file_name = $3, file_bytes = $4, file_sha256 = $5, content = $6, expires_us = $7
             WHERE export_id = $1 AND lease = $2 AND state = 'running'",
        )
        .bind(export_id.to_string())
        .bind(lease)
        .bind(file.name.as_str())
        .bind(signed(file.size_bytes))
        .bind(file.sha256.to_string())
        .bind(content)
        .bind(expires.0)
        .execute(&self.writer)
        .await?;
        Ok(updated.rows_affected() > 0)
    }

    /// Notes that an export can't be built.
    pub async fn fail_export(&self, export_id: Uuid, lease: &str, code: &str, detail: &str) -> DbResult<()> {
        sqlx::query(
            "UPDATE export SET state = 'failed', lease = NULL, lease_until_us = NULL, failure_code = $3,
                 failure_detail = $4
             WHERE export_id = $1 AND lease = $2 AND state = 'running'",
        )
        .bind(export_id.to_string())
        .bind(lease)
        .bind(code)
        .bind(detail.chars().take(500).collect::<String>())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Gives back what a server builds, so that another, or the same after its start, takes it at once.
    pub async fn release_exports(&self, lease: &str) -> DbResult<()> {
        sqlx::query(
            "UPDATE export SET state = 'waiting', lease = NULL, lease_until_us = NULL
             WHERE lease = $1 AND state = 'running'",
        )
        .bind(lease)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Cancels an export that is not built yet; false if there is none such.
    pub async fn cancel_export(&self, export_id: Uuid) -> DbResult<bool> {
        let updated = sqlx::query(
            "UPDATE export SET state = 'cancelled', lease = NULL, lease_until_us = NULL
             WHERE export_id = $1 AND state IN ('waiting', 'running')",
        )
        .bind(export_id.to_string())
        .execute(&self.writer)
        .await?;
        Ok(updated.rows_affected() > 0)
    }

    /// Forgets an export that is not being built.
    pub async fn delete_export(&self, export_id: Uuid) -> DbResult<()> {
        sqlx::query("DELETE FROM export WHERE export_id = $1 AND state IN ('done', 'failed', 'cancelled')")
            .bind(export_id.to_string())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Exports whose time is over.
    pub async fn expired_exports(&self, now: WallTime) -> DbResult<Vec<Uuid>> {
        sqlx::query(
            "SELECT export_id FROM export WHERE expires_us < $1 AND state IN ('done', 'failed', 'cancelled')",
        )
        .bind(now.0)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| get_id(row, "export_id"))
        .collect()
    }
}

fn export_row(row: &AnyRow) -> DbResult<ExportRow> {
    let state: &str = get(row, "state")?;
    let state = ExportState::ALL
        .into_iter()
        .find(|s| s.as_str() == state)
        .ok_or_else(|| DbError::damaged("export.state", state))?;
    let failure = get::<Option<String>>(row, "failure_code")?
        .map(|code| {
            let detail: Option<String> = get(row, "failure_detail")?;
            Ok::<_, DbError>((code, detail.unwrap_or_default()))
        })
        .transpose()?;
    let file = get::<Option<String>>(row, "file_name")?
        .map(|name| {
            Ok::<_, DbError>(ExportFile {
                name,
                size_bytes: unsigned(get(row, "file_bytes")?),
                sha256: super::chain::get_digest(row, "file_sha256")?,
            })
        })
        .transpose()?;
    Ok(ExportRow {
        export_id: get_id(row, "export_id")?,
        username: get(row, "username")?,
        role: get_id(row, "role")?,
        counter: get_id(row, "counter_id")?,
        streams: serde_json::from_str(get(row, "streams")?)
            .map_err(|e| DbError::damaged("export.streams", e))?,
        window: Window {
            start: WallTime(get(row, "from_us")?),
            end: WallTime(get(row, "to_us")?),
        },
        state,
        created: WallTime(get(row, "created_us")?),
        expires: WallTime(get(row, "expires_us")?),
        done_bytes: unsigned(get(row, "done_bytes")?),
        total_bytes: unsigned(get(row, "total_bytes")?),
        failure,
        file,
        content: get(row, "content")?,
    })
}
