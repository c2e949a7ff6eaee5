//! How each counter did each day: reports of the recorders, and tries to retrieve footage.

use archive::alert::{Alert, AlertKind};
use archive::health::HealthReport;
use archive::ids::{CounterId, RecorderId, SegmentKey, StreamId};
use archive::seal::signed::Purpose;
use archive::seal::{PublicKey, Signed};
use archive::time::WallTime;
use jiff::civil::Date;
use sqlx::{Any, Transaction};

use super::alert::put_alert;
use super::chain::signed_row;
use super::fact::Teller;
use super::{Db, DbError, DbResult, get, get_id, signed, unsigned};

/// A recorder's report of a counter's day.
#[derive(Debug, Clone)]
pub struct HealthReportRow {
    /// Who reported.
    pub recorder: RecorderId,
    /// Its key, 64 hexadecimal digits.
    pub public_key: String,
    /// As it signed.
    pub signed: Signed,
    /// When it came.
    pub received: WallTime,
}

/// A try to retrieve footage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrieval {
    /// The segment that was chosen.
    pub key: SegmentKey,
    /// Whose it is.
    pub recorder: RecorderId,
    /// The centre's business date.
    pub date: Date,
    /// When.
    pub checked: WallTime,
    /// Whether it is what was recorded and its picture can be seen.
    pub is_whole: bool,
    /// What was found.
    pub detail: String,
}

/// Stores a report; `Err` says why it is not believed.
pub(super) async fn put_report(
    tx: &mut Transaction<'static, Any>,
    teller: &Teller<'_>,
    report: &Signed,
) -> DbResult<Result<(), String>> {
    let row = sqlx::query("SELECT public_key FROM recorder WHERE recorder_id = $1")
        .bind(teller.recorder.as_str())
        .fetch_one(&mut **tx)
        .await?;
    let key = get::<&str>(&row, "public_key")?
        .parse::<PublicKey>()
        .map_err(|e| DbError::damaged("recorder.public_key", e))?;
    let told: HealthReport = match report.open(Purpose::Health, &key) {
        Ok(told) => told,
        Err(e) => return Ok(Err(e.to_string())),
    };
    if told.recorder.as_ref().is_some_and(|r| r != teller.recorder) {
        return Ok(Err("it names another recorder".to_owned()));
    }
    let known = sqlx::query("SELECT counter_id FROM counter WHERE counter_id = $1 AND site_id = $2")
        .bind(told.counter.as_str())
        .bind(teller.site.as_str())
        .fetch_optional(&mut **tx)
        .await?;
    if known.is_none() {
        return Ok(Err(format!("counter {} is not of its site", told.counter)));
    }
    sqlx::query(
        "INSERT INTO health_report (counter_id, date, recorder_id, text, signature, to_us, is_final, received_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (counter_id, date, recorder_id) DO UPDATE SET text = excluded.text,
             signature = excluded.signature, to_us = excluded.to_us, is_final = excluded.is_final,
             received_us = excluded.received_us
         WHERE excluded.to_us >= health_report.to_us AND excluded.is_final >= health_report.is_final",
    )
    .bind(told.counter.as_str())
    .bind(told.date.to_string())
    .bind(teller.recorder.as_str())
    .bind(report.text.as_str())
    .bind(report.signature.as_str())
    .bind(told.to.0)
    .bind(i64::from(told.is_final))
    .bind(teller.now.0)
    .execute(&mut **tx)
    .await?;
    Ok(Ok(()))
}

impl Db {
    /// The reports of a counter's day, by recorder.
    pub async fn health_reports(&self, counter: &CounterId, date: Date) -> DbResult<Vec<HealthReportRow>> {
        sqlx::query(
            "SELECT h.recorder_id, r.public_key, h.text, h.signature, h.received_us
             FROM health_report h JOIN recorder r ON r.recorder_id = h.recorder_id
             WHERE h.counter_id = $1 AND h.date = $2 ORDER BY h.recorder_id",
        )
        .bind(counter.as_str())
        .bind(date.to_string())
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            Ok(HealthReportRow {
                recorder: get_id(row, "recorder_id")?,
                public_key: get(row, "public_key")?,
                signed: signed_row(row)?,
                received: WallTime(get(row, "received_us")?),
            })
        })
        .collect()
    }

    /// The tries of a day to retrieve a stream's footage; the newest alone.
    pub async fn retrieval(&self, stream: &StreamId, date: Date) -> DbResult<Option<Retrieval>> {
        sqlx::query("SELECT * FROM retrieval WHERE stream_id = $1 AND date = $2")
            .bind(stream.as_str())
            .bind(date.to_string())
            .fetch_optional(&self.reader)
            .await?
            .map(|row| {
                Ok(Retrieval {
                    key: SegmentKey {
                        stream: stream.clone(),
                        sequence: unsigned(get(&row, "sequence")?),
                    },
                    recorder: get_id(&row, "recorder_id")?,
                    date,
                    checked: WallTime(get(&row, "checked_us")?),
                    is_whole: get::<i64>(&row, "is_whole")? == 1,
                    detail: get(&row, "detail")?,
                })
            })
            .transpose()
    }

    /// Number of segments of a stream, and the smallest and greatest sequence: what a choice is made from.
    pub async fn sequences(&self, stream: &StreamId) -> DbResult<Option<(u64, u64)>> {
        let row = sqlx::query(
            "SELECT min(sequence) AS least, max(sequence) AS greatest FROM segment WHERE stream_id = $1",
        )
        .bind(stream.as_str())
        .fetch_one(&self.reader)
        .await?;
        let (least, greatest): (Option<i64>, Option<i64>) = (get(&row, "least")?, get(&row, "greatest")?);
        Ok(least.zip(greatest).map(|(a, b)| (unsigned(a), unsigned(b))))
    }

    /// Keeps a try. A failure raises an alert, which ends with the next try that succeeds.
    pub async fn put_retrieval(&self, tried: &Retrieval) -> DbResult<()> {
        let mut tx = self.write().await?;
        let open = sqlx::query(
            "SELECT a.alert_id, a.start_us, a.detail FROM retrieval t JOIN alert a ON a.alert_id = t.alert_id
             WHERE t.stream_id = $1 AND a.end_us IS NULL",
        )
        .bind(tried.key.stream.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        let mut alert = match &open {
            Some(row) => Some(Alert {
                alert_id: get::<&str>(row, "alert_id")?
                    .parse()
                    .map_err(|e: uuid::Error| DbError::damaged("alert.alert_id", e))?,
                kind: AlertKind::RetrievalFailed,
                stream: Some(tried.key.stream.clone()),
                start: WallTime(get(row, "start_us")?),
                end: None,
                detail: get(row, "detail")?,
            }),
            None if tried.is_whole => None,
            None => Some(Alert {
                alert_id: uuid::Uuid::now_v7(),
                kind: AlertKind::RetrievalFailed,
                stream: Some(tried.key.stream.clone()),
                start: tried.checked,
                end: None,
                detail: format!("{} at the centre: {}", tried.key, tried.detail),
            }),
        };
        if let Some(alert) = &mut alert {
            alert.end = tried.is_whole.then_some(tried.checked);
            put_alert(&mut tx, &tried.recorder, alert).await?;
        }
        sqlx::query(
            "INSERT INTO retrieval (stream_id, date, checked_us, recorder_id, sequence, is_whole, detail, alert_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (stream_id, date) DO UPDATE SET checked_us = excluded.checked_us,
                 recorder_id = excluded.recorder_id, sequence = excluded.sequence, is_whole = excluded.is_whole,
                 detail = excluded.detail, alert_id = excluded.alert_id",
        )
        .bind(tried.key.stream.as_str())
        .bind(tried.date.to_string())
        .bind(tried.checked.0)
        .bind(tried.recorder.as_str())
        .bind(signed(tried.key.sequence))
        .bind(i64::from(tried.is_whole))
        .bind(tried.detail.chars().take(500).collect::<String>())
        .bind(alert.map(|a| a.alert_id.to_string()))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
