//! Alerts: at most one is open per kind and stream; every change is a fact for the server.

use archive::alert::{Alert, AlertKind};
use archive::ids::StreamId;
use archive::time::WallTime;
use archive::uplink::Fact;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Index, IndexError, damaged, facts, from_json, name_of};

impl Index {
    /// Opens an alert, unless one of its kind is open for the stream; gives whether it is new.
    pub async fn open_alert(&self, alert: &Alert) -> Result<bool, IndexError> {
        let mut tx = self.writer.begin().await?;
        let inserted = sqlx::query(
            "insert into alert (alert_id, kind, stream, start_wall_us, end_wall_us, detail)
             values ($1, $2, $3, $4, null, $5)
             on conflict (kind, stream) where end_wall_us is null do nothing",
        )
        .bind(alert.alert_id.hyphenated().to_string())
        .bind(name_of(&alert.kind))
        .bind(alert.stream.as_ref().map_or("", StreamId::as_str))
        .bind(alert.start.0)
        .bind(&alert.detail)
        .execute(&mut *tx)
        .await?;
        let is_new = inserted.rows_affected() > 0;
        if is_new {
            report(&mut tx, alert).await?;
        }
        tx.commit().await?;
        self.note_change();
        Ok(is_new)
    }

    /// Ends the open alert of a kind and stream, if there is one.
    pub async fn end_alert(
        &self,
        kind: AlertKind,
        stream: Option<&StreamId>,
        at: WallTime,
    ) -> Result<Option<Alert>, IndexError> {
        let mut tx = self.writer.begin().await?;
        let ended = sqlx::query(
            "update alert set end_wall_us = max(start_wall_us, $3)
             where kind = $1 and stream = $2 and end_wall_us is null returning *",
        )
        .bind(name_of(&kind))
        .bind(stream.map_or("", StreamId::as_str))
        .bind(at.0)
        .fetch_optional(&mut *tx)
        .await?
        .map(|row| read(&row))
        .transpose()?;
        if let Some(alert) = &ended {
            report(&mut tx, alert).await?;
        }
        tx.commit().await?;
        if ended.is_some() {
            self.note_change();
        }
        Ok(ended)
    }

    /// The alerts that last, oldest first.
    pub async fn open_alerts(&self) -> Result<Vec<Alert>, IndexError> {
        sqlx::query("select * from alert where end_wall_us is null order by start_wall_us, alert_id")
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(read)
            .collect()
    }
}

async fn report(tx: &mut SqliteConnection, alert: &Alert) -> Result<(), IndexError> {
    let alert = alert.clone();
    facts::append(tx, &Fact::AlertSeen { alert }).await
}

fn read(row: &SqliteRow) -> Result<Alert, IndexError> {
    let alert_id: &str = row.try_get("alert_id")?;
    let kind: &str = row.try_get("kind")?;
    let stream: &str = row.try_get("stream")?;
    let stream = (!stream.is_empty())
        .then(|| stream.parse())
        .transpose()
        .map_err(|e: archive::ids::InvalidId| damaged("alert.stream")(e.to_string()))?;
    Ok(Alert {
        alert_id: alert_id
            .parse()
            .map_err(|e: uuid::Error| damaged("alert.alert_id")(e.to_string()))?,
        kind: from_json::<AlertKind>("alert.kind", &format!("\"{kind}\""))?,
        stream,
        start: WallTime(row.try_get("start_wall_us")?),
        end: row.try_get::<Option<i64>, _>("end_wall_us")?.map(WallTime),
        detail: row.try_get("detail")?,
    })
}
