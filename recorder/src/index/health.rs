//! What was seen of each counter's day, its signed reports, and what events say of its service.

use archive::ids::{CounterId, SegmentKey, StreamId};
use archive::seal::Signed;
use archive::segment::Digest;
use archive::time::WallTime;
use archive::uplink::Fact;
use sqlx::Row;

use super::{Index, IndexError, damaged, facts, from_json, to_json};

/// A counter's day that has no final report yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDay {
    /// Which counter.
    pub counter: CounterId,
    /// The site's date.
    pub date: jiff::civil::Date,
    /// What was counted, as JSON.
    pub counted: String,
}

/// A segment whose file should be on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSegment {
    /// Which.
    pub key: SegmentKey,
    /// Of the whole file.
    pub sha256: Digest,
}

/// Reports are kept at the edge for so many days.
const KEPT_DAYS: i64 = 400;

impl Index {
    /// The days that were begun and not finished.
    pub async fn open_health_days(&self) -> Result<Vec<OpenDay>, IndexError> {
        sqlx::query("select counter, date, counted from health_day where is_final = 0 order by date")
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(|row| {
                let (counter, date): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
                Ok(OpenDay {
                    counter: counter
                        .parse()
                        .map_err(|e: archive::ids::InvalidId| damaged("health_day.counter")(e.to_string()))?,
                    date: date
                        .parse()
                        .map_err(|e: jiff::Error| damaged("health_day.date")(e.to_string()))?,
                    counted: row.try_get(2)?,
                })
            })
            .collect()
    }

    /// Keeps what was counted of a day so far, and its report, which is a fact for the centre.
    pub async fn put_health_day(
        &self,
        day: &OpenDay,
        report: Option<&Signed>,
        is_final: bool,
    ) -> Result<(), IndexError> {
        let mut tx = self.writer.begin().await?;
        sqlx::query(
            "insert into health_day (counter, date, counted, signed, is_final) values ($1, $2, $3, $4, $5)
             on conflict (counter, date) do update set counted = excluded.counted,
                 signed = coalesce(excluded.signed, signed), is_final = excluded.is_final",
        )
        .bind(day.counter.as_str())
        .bind(day.date.to_string())
        .bind(&day.counted)
        .bind(report.map(to_json))
        .bind(is_final)
        .execute(&mut *tx)
        .await?;
        if is_final {
            let oldest = day.date.saturating_sub(jiff::Span::new().days(KEPT_DAYS));
            sqlx::query("delete from health_day where date < $1")
                .bind(oldest.to_string())
                .execute(&mut *tx)
                .await?;
        }
        if let Some(report) = report {
            let report = report.clone();
            facts::append(&mut tx, &Fact::HealthReported { report }).await?;
        }
        tx.commit().await?;
        if report.is_some() {
            self.note_change();
        }
        Ok(())
    }

    /// The newest signed report of a counter's day.
    pub async fn health_report(
        &self,
        counter: &CounterId,
        date: jiff::civil::Date,
    ) -> Result<Option<Signed>, IndexError> {
        let json: Option<String> =
            sqlx::query_scalar("select signed from health_day where counter = $1 and date = $2")
                .bind(counter.as_str())
                .bind(date.to_string())
                .fetch_optional(&self.reader)
                .await?
                .flatten();
        json.map(|json| from_json("health_day.signed", &json)).transpose()
    }

    /// When the newest event about a counter's service came, and whether it said that it serves.
    pub async fn service_told(
        &self,
        counter: &CounterId,
        since: WallTime,
    ) -> Result<Option<(WallTime, bool)>, IndexError> {
        let row = sqlx::query(
            "select received_wall_us, json_extract(json, '$.type') from event
             where json_extract(json, '$.subject') = $1 and received_wall_us >= $2
                 and json_extract(json, '$.type') in ('counter.opened', 'counter.closed', 'counter.paused')
             order by received_wall_us desc limit 1",
        )
        .bind(counter.as_str())
        .bind(since.0)
        .fetch_optional(&self.reader)
        .await?;
        row.map(|row| {
            let kind: &str = row.try_get(1)?;
            Ok((WallTime(row.try_get(0)?), kind == "counter.opened"))
        })
        .transpose()
    }

    /// Any sealed segment of a stream, chosen at random.
    pub async fn any_stored_segment(&self, stream: &StreamId) -> Result<Option<StoredSegment>, IndexError> {
        let row = sqlx::query(
            "select sequence, sha256 from segment
             where stream = $1 and state not in ('recording', 'tombstone') order by random() limit 1",
        )
        .bind(stream.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.map(|row| {
            let sha256: &[u8] = row.try_get(1)?;
            Ok(StoredSegment {
                key: SegmentKey {
                    stream: stream.clone(),
                    sequence: row.try_get::<i64, _>(0)? as u64,
                },
                sha256: sha256
                    .try_into()
                    .map(Digest)
                    .map_err(|_| damaged("segment.sha256")("not 32 bytes".to_owned()))?,
            })
        })
        .transpose()
    }

    /// Microseconds of a stretch of time in which a stream was not recorded.
    pub async fn gap_us(&self, stream: &StreamId, from: WallTime, to: WallTime) -> Result<i64, IndexError> {
        let us: Option<i64> = sqlx::query_scalar(
            "select sum(min(coalesce(end_wall_us, $3), $3) - max(start_wall_us, $2)) from gap
             where stream = $1 and start_wall_us < $3 and coalesce(end_wall_us, $3) > $2",
        )
        .bind(stream.as_str())
        .bind(from.0)
        .bind(to.0)
        .fetch_one(&self.reader)
        .await?;
        Ok(us.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn index() -> (tempfile::TempDir, Index) {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
        (dir, index)
    }

    #[tokio::test]
    async fn the_newest_event_about_service_counts() {
        let (_dir, index) = index().await;
        let counter: CounterId = "q01".parse().unwrap();
        let event = |id: &str, kind: &str, subject: &str| {
            json!({"specversion": "1.0", "type": kind, "source": "/qms", "id": id,
                "time": "2026-11-23T08:00:00+07:00", "subject": subject, "data": {}})
        };
        let told = async || index.service_told(&counter, WallTime(5)).await.unwrap();
        assert_eq!(told().await, None);
        for (at, id, kind, subject) in [
            (4i64, "1", "counter.opened", "q01"),
            (10, "2", "counter.opened", "q01"),
            (20, "3", "counter.closed", "q01"),
            (30, "4", "counter.opened", "q02"),
            (40, "5", "officer.signed_out", "q01"),
        ] {
            sqlx::query("insert into event (source, id, received_wall_us, json) values ('/qms', $1, $2, $3)")
                .bind(id)
                .bind(at)
                .bind(event(id, kind, subject).to_string())
                .execute(&index.writer)
                .await
                .unwrap();
        }
        assert_eq!(told().await, Some((WallTime(20), false)));
    }

    #[tokio::test]
    async fn a_day_stays_open_until_its_final_report_and_each_report_is_a_fact() {
        let (_dir, index) = index().await;
        let day = |counted: &str| OpenDay {
            counter: "q01".parse().unwrap(),
            date: jiff::civil::date(2026, 11, 23),
            counted: counted.to_owned(),
        };
        let signed = |text: &str| Signed {
            text: text.to_owned(),
            signature: "00".repeat(64),
        };
        index
            .put_health_day(&day("{}"), Some(&signed("1")), false)
            .await
            .unwrap();
        index.put_health_day(&day("[]"), None, false).await.unwrap();
        assert_eq!(index.open_health_days().await.unwrap(), [day("[]")]);
        let kept = async || index.health_report(&day("").counter, day("").date).await.unwrap();
        assert_eq!(kept().await, Some(signed("1")));
        index
            .put_health_day(&day("[]"), Some(&signed("2")), true)
            .await
            .unwrap();
        assert_eq!(index.open_health_days().await.unwrap(), []);
        assert_eq!(kept().await, Some(signed("2")));
        assert_eq!(index.pending_facts().await.unwrap(), 2);
    }
}
