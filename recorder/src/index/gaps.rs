//! Gaps: at most one is open per stream; every change is a fact for the server.

use archive::gap::{Gap, GapCause};
use archive::ids::{RunId, StreamId};
use archive::time::{MediaTime, WallTime};
use archive::uplink::Fact;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::clock::boot_of;
use super::{Index, IndexError, damaged, facts, from_json, name_of};

/// Where the recording of a stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingEnd {
    /// The last run with a fragment.
    pub run: RunId,
    /// The end of its last fragment.
    pub media: MediaTime,
}

impl Index {
    /// The gap of a stream that has no end yet.
    pub async fn open_gap(&self, stream: &StreamId) -> Result<Option<Gap>, IndexError> {
        sqlx::query("select * from gap where stream = $1 and end_wall_us is null")
            .bind(stream.as_str())
            .fetch_optional(&self.reader)
            .await?
            .map(|row| read(&row))
            .transpose()
    }

    /// All gaps of a stream by start.
    pub async fn gaps(&self, stream: &StreamId) -> Result<Vec<Gap>, IndexError> {
        sqlx::query("select * from gap where stream = $1 order by start_wall_us, gap_id")
            .bind(stream.as_str())
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// The end of what is recorded of a stream.
    pub async fn recording_end(&self, stream: &StreamId) -> Result<Option<RecordingEnd>, IndexError> {
        let row = sqlx::query(
            "select s.run_id, max(f.start_media_us + f.duration_us)
             from segment s join fragment f on f.segment_id = s.segment_id
             where s.segment_id = (
                 select max(segment_id) from segment
                 where stream = $1 and segment_id in (select segment_id from fragment))
             group by s.run_id",
        )
        .bind(stream.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.map(|row| {
            let run: String = row.try_get(0)?;
            Ok(RecordingEnd {
                run: run
                    .parse()
                    .map_err(|e: archive::ids::InvalidId| damaged("segment.run_id")(e.to_string()))?,
                media: MediaTime(row.try_get(1)?),
            })
        })
        .transpose()
    }

    /// Notes that the recorder is alive now; tells after a crash until when it was.
    pub async fn note_alive(&self, now: WallTime) -> Result<(), IndexError> {
        self.set_setting("alive_wall_us", &now.0.to_string()).await
    }

    /// When the recorder was last noted alive.
    pub async fn last_alive(&self) -> Result<Option<WallTime>, IndexError> {
        Ok(self
            .setting("alive_wall_us")
            .await?
            .and_then(|us| us.parse().ok())
            .map(WallTime))
    }
}

fn read(row: &SqliteRow) -> Result<Gap, IndexError> {
    let cause: String = row.try_get("cause")?;
    let gap_id: String = row.try_get("gap_id")?;
    let stream: String = row.try_get("stream")?;
    Ok(Gap {
        gap_id: gap_id
            .parse()
            .map_err(|e: uuid::Error| damaged("gap.gap_id")(e.to_string()))?,
        stream: stream
            .parse()
            .map_err(|e: archive::ids::InvalidId| damaged("gap.stream")(e.to_string()))?,
        start: WallTime(row.try_get("start_wall_us")?),
        end: row.try_get::<Option<i64>, _>("end_wall_us")?.map(WallTime),
        start_boot: boot_of(row, "start_boot_id", "start_boot_us")?,
        end_boot: boot_of(row, "end_boot_id", "end_boot_us")?,
        cause: from_json::<GapCause>("gap.cause", &format!("\"{cause}\""))?,
        detail: row.try_get("detail")?,
    })
}

pub(super) async fn put(tx: &mut SqliteConnection, gap: &Gap) -> Result<(), IndexError> {
    sqlx::query(
        "insert into gap (gap_id, stream, start_wall_us, end_wall_us, cause, detail,
             start_boot_id, start_boot_us, end_boot_id, end_boot_us)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (gap_id) do update set
             end_wall_us = excluded.end_wall_us, cause = excluded.cause, detail = excluded.detail,
             end_boot_id = excluded.end_boot_id, end_boot_us = excluded.end_boot_us",
    )
    .bind(gap.gap_id.hyphenated().to_string())
    .bind(gap.stream.as_str())
    .bind(gap.start.0)
    .bind(gap.end.map(|end| end.0))
    .bind(name_of(&gap.cause))
    .bind(&gap.detail)
    .bind(gap.start_boot.map(|b| b.boot.hyphenated().to_string()))
    .bind(gap.start_boot.map(|b| b.us))
    .bind(gap.end_boot.map(|b| b.boot.hyphenated().to_string()))
    .bind(gap.end_boot.map(|b| b.us))
    .execute(&mut *tx)
    .await?;
    facts::append(tx, &Fact::GapSeen { gap: gap.clone() }).await
}
