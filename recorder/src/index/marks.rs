//! Marks: which footage is of worth. Each change gives the segments of its stretch their class anew.

use archive::ids::CounterId;
use archive::time::{DurationUs, WallTime};
use archive::uplink::{Mark, MarkKind};
use sqlx::{Row, SqliteConnection};

use super::{Index, IndexError, damaged, from_json, name_of, uploads};

/// A segment is at most so long, unless its camera sends no keyframe.
const LONGEST_SEGMENT_US: DurationUs = 3600 * 1_000_000;

/// An interaction lasts at most a working day, also if its end was never told. The statements below count on it.
const LONGEST_INTERACTION_US: DurationUs = 8 * 3600 * 1_000_000;

/// How much is kept beyond both ends of a mark, in microseconds; at most ten minutes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolls {
    /// Before its begin.
    pub pre_us: DurationUs,
    /// Behind its end.
    pub post_us: DurationUs,
}

impl Default for Rolls {
    fn default() -> Self {
        Self {
            pre_us: 30_000_000,
            post_us: 30_000_000,
        }
    }
}

/// Whether a hold covers the row of `segment` at hand.
macro_rules! is_held {
    () => {
        "exists (select 1 from mark where mark.counter = segment.counter and mark.kind = 'hold'
            and mark.keep_from_us < segment.end_wall_us and mark.keep_to_us > segment.start_wall_us)"
    };
}
pub(super) use is_held;

/// The class that the marks give the row of `segment` at hand.
macro_rules! class_by_marks {
    () => {
        concat!(
            "case when ",
            crate::index::marks::is_held!(),
            // With its rolls an interaction is less than ten hours long: without that bound every mark of a month
            // would be looked at for every segment.
            " then 'held' when exists (
                select 1 from mark where mark.counter = segment.counter and mark.kind = 'interaction'
                    and mark.keep_from_us < segment.end_wall_us and mark.keep_to_us > segment.start_wall_us
                    and mark.keep_from_us > segment.start_wall_us - 36000000000)
            then 'interaction' else 'continuous' end"
        )
    };
}
pub(super) use class_by_marks;

impl Index {
    /// Stores a mark; one with the same id is replaced. Footage of its stretch changes its class at once.
    pub async fn put_mark(&self, mark: &Mark) -> Result<(), IndexError> {
        let mut tx = self.writer.begin().await?;
        put(&mut tx, mark, self.rolls).await?;
        tx.commit().await?;
        self.note_change();
        Ok(())
    }

    /// Forgets a mark; one that is not known is none.
    pub async fn remove_mark(&self, mark_id: &str) -> Result<(), IndexError> {
        let mut tx = self.writer.begin().await?;
        remove(&mut tx, mark_id).await?;
        tx.commit().await?;
        self.note_change();
        Ok(())
    }

    /// The marks of a counter that touch a stretch, by their begin.
    pub async fn marks(
        &self,
        counter: &CounterId,
        from: WallTime,
        to: WallTime,
    ) -> Result<Vec<Mark>, IndexError> {
        sqlx::query(
            "select mark_id, kind, counter, from_us, to_us from mark
             where counter = $1 and keep_from_us < $3 and keep_to_us > $2 order by from_us, mark_id",
        )
        .bind(counter.as_str())
        .bind(from.0)
        .bind(to.0)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            let kind: &str = row.try_get("kind")?;
            let counter: &str = row.try_get("counter")?;
            Ok(Mark {
                mark_id: row.try_get("mark_id")?,
                kind: from_json::<MarkKind>("mark.kind", &format!("\"{kind}\""))?,
                counter: counter
                    .parse()
                    .map_err(|e: archive::ids::InvalidId| damaged("mark.counter")(e.to_string()))?,
                from: WallTime(row.try_get("from_us")?),
                to: row.try_get::<Option<i64>, _>("to_us")?.map(WallTime),
            })
        })
        .collect()
    }
}

/// Stores a mark within a transaction.
pub(super) async fn put(tx: &mut SqliteConnection, mark: &Mark, rolls: Rolls) -> Result<(), IndexError> {
    // What it covered before may lose its class.
    remove(tx, &mark.mark_id).await?;
    let keep_from = mark.from - rolls.pre_us;
    let to = match mark.kind {
        MarkKind::Interaction => {
            let longest = mark.from + LONGEST_INTERACTION_US;
            mark.to.map_or(longest, |to| to.min(longest))
        }
        MarkKind::Hold => mark.to.unwrap_or(WallTime(i64::MAX)),
    };
    let keep_to = to + rolls.post_us;
    sqlx::query(
        "insert into mark (mark_id, kind, counter, from_us, to_us, keep_from_us, keep_to_us)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&mark.mark_id)
    .bind(name_of(&mark.kind))
    .bind(mark.counter.as_str())
    .bind(mark.from.0)
    .bind(mark.to.map(|to| to.0))
    .bind(keep_from.0)
    .bind(keep_to.0)
    .execute(&mut *tx)
    .await?;
    class_anew(tx, mark.counter.as_str(), keep_from, keep_to).await
}

/// Removes a mark within a transaction.
pub(super) async fn remove(tx: &mut SqliteConnection, mark_id: &str) -> Result<(), IndexError> {
    let removed: Option<(String, i64, i64)> =
        sqlx::query_as("delete from mark where mark_id = $1 returning counter, keep_from_us, keep_to_us")
            .bind(mark_id)
            .fetch_optional(&mut *tx)
            .await?;
    match removed {
        Some((counter, from, to)) => class_anew(tx, &counter, WallTime(from), WallTime(to)).await,
        None => Ok(()),
    }
}

async fn class_anew(
    tx: &mut SqliteConnection,
    counter: &str,
    from: WallTime,
    to: WallTime,
) -> Result<(), IndexError> {
    sqlx::query(concat!(
        "update segment set class = ",
        class_by_marks!(),
        " where state <> 'tombstone' and counter = $1
             and start_wall_us >= $2 and start_wall_us < $3 and end_wall_us > $4"
    ))
    .bind(counter)
    .bind((from - LONGEST_SEGMENT_US).0)
    .bind(to.0)
    .bind(from.0)
    .execute(&mut *tx)
    .await?;
    uploads::weigh_around(tx, counter, from, to).await
}

#[cfg(test)]
mod tests {
    use super::super::place::tests::{Sealed, with_segments};
    use super::*;

    fn mark(id: &str, kind: MarkKind, from_s: i64, to_s: Option<i64>) -> Mark {
        Mark {
            mark_id: id.to_owned(),
            kind,
            counter: "q01".parse().unwrap(),
            from: WallTime(from_s * 1_000_000),
            to: to_s.map(|s| WallTime(s * 1_000_000)),
        }
    }

    /// Ten segments of a minute each of two counters from second 100,000 on.
    async fn place() -> (tempfile::TempDir, Index) {
        let segment = |stream, minute: i64| Sealed {
            stream,
            start_s: 100_000 + minute * 60,
            length_s: 60,
        };
        let both = |minute| {
            [
                segment("q01.front.main", minute),
                segment("q02.front.main", minute),
            ]
        };
        with_segments(&(0..10).flat_map(both).collect::<Vec<_>>()).await
    }

    async fn classes(index: &Index, stream: &str) -> String {
        sqlx::query_scalar::<_, String>(
            "select group_concat(substr(class, 1, 1), '') from
                 (select class from segment where stream = $1 order by sequence)",
        )
        .bind(stream)
        .fetch_one(&index.reader)
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn a_mark_gives_its_footage_its_class_with_the_rolls_and_takes_it_back() {
        let (_dir, index) = place().await;
        let visit = mark("v", MarkKind::Interaction, 100_130, Some(100_200));
        index.put_mark(&visit).await.unwrap();
        // 100,100 to 100,230 with the rolls.
        assert_eq!(classes(&index, "q01.front.main").await, "ciiicccccc");
        assert_eq!(classes(&index, "q02.front.main").await, "cccccccccc");
        let hold = mark("h", MarkKind::Hold, 100_200, Some(100_400));
        index.put_mark(&hold).await.unwrap();
        assert_eq!(classes(&index, "q01.front.main").await, "cihhhhhhcc");
        index.remove_mark("h").await.unwrap();
        assert_eq!(classes(&index, "q01.front.main").await, "ciiicccccc");
        index.remove_mark("h").await.unwrap();
    }

    #[tokio::test]
    async fn a_mark_with_the_same_id_replaces_the_earlier() {
        let (_dir, index) = place().await;
        index
            .put_mark(&mark("h", MarkKind::Hold, 100_300, None))
            .await
            .unwrap();
        assert_eq!(classes(&index, "q01.front.main").await, "cccchhhhhh");
        let ended = mark("h", MarkKind::Hold, 100_300, Some(100_310));
        index.put_mark(&ended).await.unwrap();
        assert_eq!(classes(&index, "q01.front.main").await, "cccchhcccc");
        let counter = "q01".parse().unwrap();
        let marks = index
            .marks(&counter, WallTime(0), WallTime(i64::MAX))
            .await
            .unwrap();
        assert_eq!(marks, [ended]);
    }

    #[tokio::test]
    async fn footage_sealed_under_an_open_mark_gets_its_class_at_once() {
        let (_dir, index) = with_segments(&[]).await;
        index
            .put_mark(&mark("h", MarkKind::Hold, 1_000, None))
            .await
            .unwrap();
        let visit = mark("v", MarkKind::Interaction, 1_000, None);
        index
            .put_mark(&Mark {
                counter: "q02".parse().unwrap(),
                ..visit
            })
            .await
            .unwrap();
        for (stream, start_s) in [
            ("q01.front.main", 500_000),
            ("q02.front.main", 2_000),
            ("q02.front.main", 900_000),
        ] {
            Sealed {
                stream,
                start_s,
                length_s: 60,
            }
            .put(&index)
            .await;
        }
        assert_eq!(classes(&index, "q01.front.main").await, "h");
        // An interaction that never ended does not last for days.
        assert_eq!(classes(&index, "q02.front.main").await, "ic");
    }
}
