//! What lies on the disk, as retention sees it: how much of each class, and what could go.

use archive::time::{DurationUs, WallTime};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::segments::read_key;
use super::{Index, IndexError, from_json};
use crate::retention::{Candidate, Class, EARLIEST};

const DAY_US: DurationUs = 86_400_000_000;

/// Sealed footage of one class and day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    /// What it is kept as.
    pub class: Class,
    /// Whether the centre has it.
    pub is_delivered: bool,
    /// All of it ended before.
    pub ended_before: WallTime,
    /// Its bytes.
    pub size_bytes: u64,
    /// Bytes of it that ended after the moment asked for.
    pub recent_bytes: u64,
    /// Where those begin.
    pub recent_start: Option<WallTime>,
}

impl Index {
    /// All sealed footage by class and day, and how much of it ended after a moment.
    pub async fn stock(&self, recent: WallTime) -> Result<Vec<Stock>, IndexError> {
        sqlx::query(
            "select class, state in ('acknowledged', 'evictable') as is_delivered,
                 end_wall_us / $2 as day, sum(size_bytes) as size_bytes,
                 coalesce(sum(size_bytes) filter (where end_wall_us > $1), 0) as recent_bytes,
                 min(start_wall_us) filter (where end_wall_us > $1) as recent_start
             from segment where state not in ('recording', 'tombstone') and end_wall_us is not null
             group by 1, 2, 3",
        )
        .bind(recent.0)
        .bind(DAY_US)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            Ok(Stock {
                class: read_class(row)?,
                is_delivered: row.try_get("is_delivered")?,
                ended_before: WallTime((row.try_get::<i64, _>("day")? + 1) * DAY_US),
                size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
                recent_bytes: row.try_get::<i64, _>("recent_bytes")? as u64,
                recent_start: row.try_get::<Option<i64>, _>("recent_start")?.map(WallTime),
            })
        })
        .collect()
    }

    /// The oldest segments of a class, at most `most` for each state that they can be in.
    ///
    /// Oldest is what was recorded first: a clock that was wrong for a while does not change that.
    pub async fn oldest_segments(&self, class: Class, most: u32) -> Result<Vec<Candidate>, IndexError> {
        let mut oldest = Vec::new();
        for state in ["sealed", "uploading", "acknowledged", "evictable"] {
            let rows = sqlx::query(
                "select segment_id, stream, sequence, class, state, start_wall_us, end_wall_us, size_bytes from segment
                 where class = $1 and state = $2 and state not in ('recording', 'tombstone')
                     and end_wall_us is not null
                 order by segment_id limit $3",
            )
            .bind(class.as_str())
            .bind(state)
            .bind(most)
            .fetch_all(&self.reader)
            .await?;
            for row in &rows {
                oldest.push(read(row)?);
            }
        }
        Ok(oldest)
    }

    /// Segments of a class that ended before a moment, at most `most` for each state.
    ///
    /// What was recorded by an impossible clock counts as old as what was recorded behind it.
    pub async fn expired_segments(
        &self,
        class: Class,
        before: WallTime,
        most: u32,
    ) -> Result<Vec<Candidate>, IndexError> {
        let mut expired = Vec::new();
        for state in ["sealed", "uploading", "acknowledged", "evictable"] {
            let rows = sqlx::query(
                "select segment_id, stream, sequence, class, state, start_wall_us, end_wall_us, size_bytes from segment
                 where class = $1 and state = $2 and state not in ('recording', 'tombstone')
                     and end_wall_us < $3 and end_wall_us > $4
                 order by end_wall_us limit $5",
            )
            .bind(class.as_str())
            .bind(state)
            .bind(before.0)
            .bind(EARLIEST.0)
            .bind(most)
            .fetch_all(&self.reader)
            .await?;
            for row in &rows {
                expired.push(read(row)?);
            }
        }
        Ok(expired)
    }
}

fn read(row: &SqliteRow) -> Result<Candidate, IndexError> {
    let state: &str = row.try_get("state")?;
    Ok(Candidate {
        segment_id: row.try_get("segment_id")?,
        key: read_key(row)?,
        class: read_class(row)?,
        is_delivered: matches!(state, "acknowledged" | "evictable"),
        start: WallTime(row.try_get("start_wall_us")?),
        end: WallTime(row.try_get("end_wall_us")?),
        size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
    })
}

fn read_class(row: &SqliteRow) -> Result<Class, IndexError> {
    let class: &str = row.try_get("class")?;
    from_json("segment.class", &format!("\"{class}\""))
}

#[cfg(test)]
mod tests {
    use super::super::place::tests::{Sealed, with_segments};
    use super::*;

    /// Half a million segments: a month of eight streams, and some.
    ///
    /// `cargo test -p recorder -- --ignored --nocapture half_a_million`
    #[tokio::test]
    #[ignore = "a measurement"]
    async fn half_a_million_segments() {
        let (_dir, index) = with_segments(&[Sealed {
            stream: "q01.front.main",
            start_s: 1_780_000_000,
            length_s: 60,
        }])
        .await;
        sqlx::query(
            "with recursive n (i) as (select 2 union all select i + 1 from n where i < 500000)
             insert into segment (stream, sequence, run_id, state, init_size_bytes, size_bytes, sha256,
                 start_wall_us, end_wall_us, class)
             select 'q0' || (i % 8) || '.front.main', i, (select run_id from run),
                 case when i % 10 = 0 then 'sealed' else 'acknowledged' end, 100, 1000, randomblob(32),
                 (1780000000 + (i / 8) * 60) * 1000000, (1780000060 + (i / 8) * 60) * 1000000,
                 case when i % 5 = 0 then 'interaction' else 'continuous' end
             from n",
        )
        .execute(&index.writer)
        .await
        .unwrap();
        let newest = WallTime((1_780_000_000 + 500_000 / 8 * 60) * 1_000_000);
        macro_rules! timed {
            ($name:literal, $work:expr) => {{
                let started = archive::time::Clock::monotonic_us(&archive::time::SystemClock);
                let result = $work.await.unwrap();
                let took = archive::time::Clock::monotonic_us(&archive::time::SystemClock) - started;
                println!("{}: {:.1} ms", $name, took as f64 / 1e3);
                result
            }};
        }
        let recent = newest - 6 * 3600 * 1_000_000;
        timed!("stock", index.stock(recent));
        timed!("stock again", index.stock(recent));
        timed!("oldest", index.oldest_segments(Class::Continuous, 200));
        timed!("expired", index.expired_segments(Class::Continuous, newest, 200));
        let mark = |to| archive::uplink::Mark {
            mark_id: "h".to_owned(),
            kind: archive::uplink::MarkKind::Hold,
            counter: "q01".parse().unwrap(),
            from: WallTime(1_780_000_000_000_000),
            to,
        };
        timed!(
            "hold of an hour",
            index.put_mark(&mark(Some(WallTime(1_780_003_600_000_000))))
        );
        timed!("hold of all of a counter", index.put_mark(&mark(None)));
        timed!("its release", index.remove_mark("h"));
        for i in 0..12_000 {
            sqlx::query("insert into mark values ($1, 'interaction', 'q01', $2, $2, $2, $2 + 300000000)")
                .bind(format!("m{i}"))
                .bind((1_780_000_000 + i * 300) * 1_000_000_i64)
                .execute(&index.writer)
                .await
                .unwrap();
        }
        timed!("hold of an hour, many marks", index.put_mark(&mark(Some(newest))));
        timed!("its release, many marks", index.remove_mark("h"));
        let visit = archive::uplink::Mark {
            kind: archive::uplink::MarkKind::Interaction,
            from: newest - 300_000_000,
            to: Some(newest),
            ..mark(None)
        };
        timed!("an interaction, many marks", index.put_mark(&visit));
    }
}
