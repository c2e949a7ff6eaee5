//! What is wrong at the recorders, as they tell.

use archive::alert::{Alert, AlertKind};
use archive::ids::RecorderId;
use archive::time::WallTime;
use sqlx::{Any, Transaction};

use super::{Db, DbError, DbResult, get, get_id};

/// An alert and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRow {
    /// Who told.
    pub recorder: RecorderId,
    /// What is wrong.
    pub alert: Alert,
}

/// Stores an alert; what is stored of the same id is replaced. A foreign alert is left alone.
pub(super) async fn put_alert(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    alert: &Alert,
) -> DbResult<()> {
    sqlx::query(
        "INSERT INTO alert (alert_id, recorder_id, stream_id, kind, start_us, end_us, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (alert_id) DO UPDATE SET start_us = excluded.start_us, end_us = excluded.end_us,
             detail = excluded.detail
         WHERE alert.recorder_id = excluded.recorder_id",
    )
    .bind(alert.alert_id.to_string())
    .bind(recorder.as_str())
    .bind(alert.stream.as_ref().map(|s| s.as_str().to_owned()))
    .bind(alert.kind.as_str())
    .bind(alert.start.0)
    .bind(alert.end.map(|e| e.0))
    .bind(alert.detail.chars().take(500).collect::<String>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Db {
    /// The alerts that last, of all recorders, oldest first.
    pub async fn open_alerts(&self) -> DbResult<Vec<AlertRow>> {
        sqlx::query(
            "SELECT alert_id, recorder_id, stream_id, kind, start_us, detail FROM alert
             WHERE end_us IS NULL ORDER BY start_us, alert_id",
        )
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            let kind: &str = get(row, "kind")?;
            let kind: AlertKind =
                serde_json::from_value(kind.into()).map_err(|e| DbError::damaged("alert.kind", e))?;
            let stream: Option<&str> = get(row, "stream_id")?;
            Ok(AlertRow {
                recorder: get_id(row, "recorder_id")?,
                alert: Alert {
                    alert_id: get_id(row, "alert_id")?,
                    kind,
                    stream: stream
                        .map(str::parse)
                        .transpose()
                        .map_err(|e| DbError::damaged("alert.stream_id", e))?,
                    start: WallTime(get(row, "start_us")?),
                    end: None,
                    detail: get(row, "detail")?,
                },
            })
        })
        .collect()
    }
}
