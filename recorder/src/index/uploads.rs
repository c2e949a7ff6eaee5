//! What goes up, and what of it waits: the candidates for the next piece.

use archive::ids::{SegmentKey, StreamId};
use archive::time::{DurationUs, WallTime};
use site_config::upload::UploadPolicy;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::segments::read_key;
use super::{Index, IndexError};

/// A segment is at most so long, unless its camera sends no keyframe.
pub(super) const LONGEST_SEGMENT_US: DurationUs = 3600 * 1_000_000;
/// Rolls are at most so long.
const MOST_ROLL_US: DurationUs = 3600 * 1_000_000;

/// What of a stream goes up without being asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRule {
    /// Which stream.
    pub stream: StreamId,
    /// What of it.
    pub policy: UploadPolicy,
    /// How much before a mark, in microseconds.
    pub pre_us: DurationUs,
    /// How much behind it.
    pub post_us: DurationUs,
}

/// How pressing a segment is; the first presses most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for it.
    Fetched {
        /// The earlier request has the lower number.
        request: u64,
    },
    /// It shows an interaction, or is held.
    Marked,
    /// It was recorded a short while ago.
    Fresh,
    /// It was left behind.
    Backfill,
}

/// A sealed segment that goes up.
#[derive(Debug, Clone)]
pub struct PendingSegment {
    /// Its row.
    pub segment_id: i64,
    /// Its name.
    pub key: SegmentKey,
    /// How pressing it is.
    pub urgency: Urgency,
    /// Whether its upload was begun.
    pub has_begun: bool,
    /// Where it begins on the wall clock; 1970 if that is not known.
    pub start: WallTime,
}

/// The worth of the row of `segment` at hand by its stream's rule and the marks. An interaction whose end was never
/// told lasts 8 h at most, and none lasts longer than a day, so that few marks are looked at.
const WORTH: &str = "(select case
        when rule.policy = 'on_demand' then 0
        when exists (select 1 from mark where mark.counter = segment.counter and mark.kind = 'interaction'
                and mark.from_us < segment.end_wall_us + rule.pre_us
                and mark.from_us > segment.start_wall_us - rule.post_us - 86400000000
                and coalesce(mark.to_us, mark.from_us + 28800000000) > segment.start_wall_us - rule.post_us)
            or exists (select 1 from mark where mark.counter = segment.counter and mark.kind = 'hold'
                and mark.from_us < segment.end_wall_us + rule.pre_us
                and (mark.to_us is null or mark.to_us > segment.start_wall_us - rule.post_us))
            then 2
        when rule.policy = 'interactions' then 0
        else 1 end
    from (select coalesce(max(policy), 'everything') as policy, coalesce(max(pre_us), 0) as pre_us,
            coalesce(max(post_us), 0) as post_us
        from upload_rule where upload_rule.stream = segment.stream) rule)";

impl Index {
    /// Sets what goes up. What waits is weighed anew where that changed.
    pub async fn set_upload_rules(&self, rules: &[UploadRule]) -> Result<(), IndexError> {
        let mut tx = self.writer.begin().await?;
        for rule in rules {
            let changed = sqlx::query(
                "insert into upload_rule (stream, policy, pre_us, post_us) values ($1, $2, $3, $4)
                 on conflict (stream) do update
                 set policy = excluded.policy, pre_us = excluded.pre_us, post_us = excluded.post_us
                 where (policy, pre_us, post_us) <> (excluded.policy, excluded.pre_us, excluded.post_us)",
            )
            .bind(rule.stream.as_str())
            .bind(rule.policy.as_str())
            .bind(rule.pre_us)
            .bind(rule.post_us)
            .execute(&mut *tx)
            .await?;
            if changed.rows_affected() > 0 {
                sqlx::query(sqlx::AssertSqlSafe(format!(
                    "update segment set worth = {WORTH} where stream = $1 and state in ('sealed', 'uploading')"
                )))
                .bind(rule.stream.as_str())
                .execute(&mut *tx)
                .await?;
            }
        }
        tx.commit().await?;
        self.note_change();
        Ok(())
    }

    /// The segments of which one goes up next: of each urgency the first few, `most` of each kind.
    pub async fn upload_candidates(
        &self,
        now: WallTime,
        fresh_us: DurationUs,
        most: u32,
    ) -> Result<Vec<PendingSegment>, IndexError> {
        sqlx::query(sqlx::AssertSqlSafe(candidates()))
            .bind(most)
            .bind((now - fresh_us).0)
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(read_candidate)
            .collect()
    }

    /// For each stream how many sealed segments are to go up and how many stay here until they are fetched.
    pub async fn waiting_segments(&self) -> Result<Vec<(String, u64, u64)>, IndexError> {
        sqlx::query(
            "select stream, count(*) filter (where worth > 0), count(*) filter (where worth = 0)
             from segment where state in ('sealed', 'uploading') group by stream",
        )
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            Ok((
                row.try_get(0)?,
                row.try_get::<i64, _>(1)? as u64,
                row.try_get::<i64, _>(2)? as u64,
            ))
        })
        .collect()
    }
}

/// How many of each kind; the moment from which on footage is fresh.
fn candidates() -> String {
    let of = |urgency: u8, condition: &str, order: &str| {
        format!(
            "select * from (select {urgency} as urgency, 0 as request, segment_id, stream, sequence, state,
                 start_wall_us
             from segment where state in ('sealed', 'uploading') and {condition}
             order by end_wall_us {order} limit $1)"
        )
    };
    let begun_and_not = |urgency: u8, condition: &str, order: &str| {
        let [begun, not] = ["uploading", "sealed"]
            .map(|state| of(urgency, &format!("state = '{state}' and {condition}"), order));
        format!("{begun} union all {not}")
    };
    format!(
        "select * from (select 0 as urgency, f.number as request, s.segment_id, s.stream, s.sequence, s.state,
             s.start_wall_us
         from fetch f cross join segment s
         where s.stream = f.stream and s.state in ('sealed', 'uploading')
             and s.start_wall_us > f.from_wall_us - {LONGEST_SEGMENT_US} and s.start_wall_us < f.to_wall_us
             and s.end_wall_us > f.from_wall_us
         order by f.number, s.start_wall_us limit $1)
         union all {} union all {} union all {}",
        begun_and_not(1, "worth = 2", "desc"),
        begun_and_not(2, "worth = 1 and end_wall_us > $2", "desc"),
        begun_and_not(3, "worth = 1", "asc"),
    )
}

fn read_candidate(row: &SqliteRow) -> Result<PendingSegment, IndexError> {
    let urgency = match row.try_get::<i64, _>("urgency")? {
        0 => Urgency::Fetched {
            request: row.try_get::<i64, _>("request")? as u64,
        },
        1 => Urgency::Marked,
        2 => Urgency::Fresh,
        _ => Urgency::Backfill,
    };
    Ok(PendingSegment {
        segment_id: row.try_get("segment_id")?,
        key: read_key(row)?,
        urgency,
        has_begun: row.try_get::<&str, _>("state")? == "uploading",
        start: WallTime(row.try_get::<Option<i64>, _>("start_wall_us")?.unwrap_or(0)),
    })
}

/// Weighs a segment that was sealed.
pub(super) async fn weigh(tx: &mut SqliteConnection, segment_id: i64) -> Result<(), IndexError> {
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "update segment set worth = {WORTH} where segment_id = $1"
    )))
    .bind(segment_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Weighs what waits of a counter around a stretch anew, because a mark there changed.
pub(super) async fn weigh_around(
    tx: &mut SqliteConnection,
    counter: &str,
    from: WallTime,
    to: WallTime,
) -> Result<(), IndexError> {
    let earliest = from.0.saturating_sub(MOST_ROLL_US);
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "update segment set worth = {WORTH}
         where counter = $1 and state <> 'tombstone' and state in ('sealed', 'uploading')
             and start_wall_us >= $2 and start_wall_us < $3 and end_wall_us > $4"
    )))
    .bind(counter)
    .bind(earliest.saturating_sub(LONGEST_SEGMENT_US))
    .bind(to.0.saturating_add(MOST_ROLL_US))
    .bind(earliest)
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use archive::time::{Clock as _, SystemClock};
    use archive::uplink::{Mark, MarkKind, Order};

    use super::super::place::tests::{Sealed, with_segments};
    use super::*;

    const FRESH_US: i64 = 600 * 1_000_000;

    fn wall(seconds: i64) -> WallTime {
        WallTime(seconds * 1_000_000)
    }

    fn rule(stream: &str, policy: UploadPolicy, roll_s: i64) -> UploadRule {
        UploadRule {
            stream: stream.parse().unwrap(),
            policy,
            pre_us: roll_s * 1_000_000,
            post_us: roll_s * 1_000_000,
        }
    }

    fn mark(id: &str, kind: MarkKind, from_s: i64, to_s: Option<i64>) -> Mark {
        Mark {
            mark_id: id.to_owned(),
            kind,
            counter: "q01".parse().unwrap(),
            from: wall(from_s),
            to: to_s.map(wall),
        }
    }

    /// Ten segments of a minute each of both qualities from second 100,000 on.
    async fn place() -> (tempfile::TempDir, Index) {
        let segments = (0..10).flat_map(|minute| {
            ["q01.front.main", "q01.front.sub"].map(|stream| Sealed {
                stream,
                start_s: 100_000 + minute * 60,
                length_s: 60,
            })
        });
        with_segments(&segments.collect::<Vec<_>>()).await
    }

    async fn worths(index: &Index, stream: &str) -> String {
        sqlx::query_scalar::<_, String>(
            "select group_concat(worth, '') from
                 (select worth from segment where stream = $1 order by sequence)",
        )
        .bind(stream)
        .fetch_one(&index.reader)
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn each_quality_goes_up_by_its_own_policy() {
        let (_dir, index) = place().await;
        let rules = [
            rule("q01.front.main", UploadPolicy::Interactions, 0),
            rule("q01.front.sub", UploadPolicy::Everything, 0),
        ];
        index.set_upload_rules(&rules).await.unwrap();
        let visit = mark("v", MarkKind::Interaction, 100_130, Some(100_200));
        index.put_mark(&visit).await.unwrap();
        assert_eq!(worths(&index, "q01.front.main").await, "0022000000");
        assert_eq!(worths(&index, "q01.front.sub").await, "1122111111");
        let waiting = index.waiting_segments().await.unwrap();
        assert_eq!(
            waiting,
            [
                ("q01.front.main".to_owned(), 2, 8),
                ("q01.front.sub".to_owned(), 10, 0)
            ]
        );
        let on_demand = rule("q01.front.main", UploadPolicy::OnDemand, 0);
        index.set_upload_rules(&[on_demand]).await.unwrap();
        assert_eq!(worths(&index, "q01.front.main").await, "0000000000");
        assert_eq!(worths(&index, "q01.front.sub").await, "1122111111");
    }

    #[tokio::test]
    async fn marks_weigh_with_their_rolls_and_lose_their_weight_when_they_go() {
        let (_dir, index) = place().await;
        let main = rule("q01.front.main", UploadPolicy::Interactions, 45);
        index.set_upload_rules(&[main]).await.unwrap();
        index
            .put_mark(&mark("v", MarkKind::Interaction, 100_230, Some(100_290)))
            .await
            .unwrap();
        // 100,185 to 100,335 with the rolls.
        assert_eq!(worths(&index, "q01.front.main").await, "0002220000");
        index
            .put_mark(&mark("h", MarkKind::Hold, 100_500, None))
            .await
            .unwrap();
        assert_eq!(worths(&index, "q01.front.main").await, "0002220222");
        index.remove_mark("v").await.unwrap();
        index.remove_mark("h").await.unwrap();
        assert_eq!(worths(&index, "q01.front.main").await, "0000000000");
    }

    #[tokio::test]
    async fn footage_sealed_later_is_weighed_by_the_marks_that_are_there() {
        let (_dir, index) = with_segments(&[]).await;
        let main = rule("q01.front.main", UploadPolicy::Interactions, 30);
        index.set_upload_rules(&[main]).await.unwrap();
        index
            .put_mark(&mark("v", MarkKind::Interaction, 1_000, None))
            .await
            .unwrap();
        for start_s in [900, 960, 2_000, 900_000] {
            let stream = "q01.front.main";
            Sealed {
                stream,
                start_s,
                length_s: 60,
            }
            .put(&index)
            .await;
        }
        assert_eq!(worths(&index, "q01.front.main").await, "0220");
    }

    /// What goes up next, again and again, as seconds after 100,000 with the first letter of the urgency.
    async fn order(index: &Index, now: WallTime) -> Vec<String> {
        let mut order = Vec::new();
        loop {
            let candidates = index.upload_candidates(now, FRESH_US, 2).await.unwrap();
            let aside = crate::uplink::SetAside::default();
            let Some(next) = crate::uplink::choose(&candidates, &aside) else {
                return order;
            };
            let urgency = format!("{:?}", next.urgency).chars().next().unwrap();
            let quality = &next.key.stream.as_str()[10..];
            order.push(format!(
                "{urgency}{quality}{}",
                next.start.0 / 1_000_000 - 100_000
            ));
            let states = ["sealed", "uploading"];
            index
                .set_state(next.segment_id, &states, "acknowledged")
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn fetches_go_before_marks_and_marks_before_the_newest_and_that_before_the_rest() {
        let (_dir, index) = place().await;
        let rules = [
            rule("q01.front.main", UploadPolicy::Everything, 0),
            rule("q01.front.sub", UploadPolicy::OnDemand, 0),
        ];
        index.set_upload_rules(&rules).await.unwrap();
        let fetch = Order::Fetch {
            request: uuid::Uuid::now_v7(),
            stream: "q01.front.sub".parse().unwrap(),
            from: wall(100_130),
            to: wall(100_200),
        };
        let visit = mark("v", MarkKind::Interaction, 100_250, Some(100_290));
        index
            .store_orders(1, &[fetch, Order::Mark { mark: visit }])
            .await
            .unwrap();
        // What ended in the last ten minutes is new: from second 360 on.
        assert_eq!(
            order(&index, wall(101_000)).await,
            [
                "Fsub120", "Fsub180", "Mmain240", "Fmain540", "Fmain480", "Fmain420", "Fmain360", "Bmain0",
                "Bmain60", "Bmain120", "Bmain180", "Bmain300",
            ]
        );
        assert_eq!(
            index.waiting_segments().await.unwrap(),
            [("q01.front.sub".to_owned(), 0, 8)]
        );
    }

    #[tokio::test]
    async fn a_fetch_ends_when_all_of_it_has_gone_up_or_nobody_waits() {
        let (_dir, index) = place().await;
        let sub = rule("q01.front.sub", UploadPolicy::OnDemand, 0);
        index.set_upload_rules(&[sub]).await.unwrap();
        let request = uuid::Uuid::now_v7();
        let fetch = |request| Order::Fetch {
            request,
            stream: "q01.front.sub".parse().unwrap(),
            from: wall(100_130),
            to: wall(100_170),
        };
        let other = uuid::Uuid::now_v7();
        index
            .store_orders(1, &[fetch(request), fetch(other)])
            .await
            .unwrap();
        let cancelled = Order::FetchCancelled { request: other };
        index.store_orders(3, &[cancelled]).await.unwrap();
        let late = wall(110_000);
        assert_eq!(index.end_fetches(late).await.unwrap(), 1, "it has not gone up");
        let candidates = index.upload_candidates(late, FRESH_US, 10).await.unwrap();
        let fetched = candidates
            .iter()
            .find(|c| matches!(c.urgency, Urgency::Fetched { .. }))
            .unwrap();
        index
            .set_state(fetched.segment_id, &["sealed"], "acknowledged")
            .await
            .unwrap();
        assert_eq!(
            index.end_fetches(wall(100_200)).await.unwrap(),
            1,
            "a growing segment may hold its end"
        );
        assert_eq!(index.end_fetches(late).await.unwrap(), 0);
    }

    /// Half a million segments wait, of eight streams over weeks, with the marks of as long.
    #[tokio::test]
    async fn half_a_million_waiting_segments_are_chosen_from_at_once() {
        let (_dir, index) = with_segments(&[]).await;
        let mut tx = index.writer.begin().await.unwrap();
        sqlx::query("insert into run (run_id, stream, tracks) values ($1, 'q1.front.main', '[]')")
            .bind(uuid::Uuid::nil().to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
        sqlx::query(
            "with recursive n (i) as (select 0 union all select i + 1 from n where i < 499999)
             insert into segment (stream, sequence, run_id, state, init_size_bytes, size_bytes, sha256, start_wall_us,
                 end_wall_us, worth)
             select 'q' || (i % 8) || '.front.main', 1 + i / 8, $1, 'sealed', 100, 1000, zeroblob(32),
                 (i / 8) * 60000000, (i / 8 + 1) * 60000000, case when i % 50 < 8 then 2 else 1 end from n",
        )
        .bind(uuid::Uuid::nil().to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "with recursive n (i) as (select 0 union all select i + 1 from n where i < 79999)
             insert into mark (mark_id, kind, counter, from_us, to_us, keep_from_us, keep_to_us)
             select 'm' || i, 'interaction', 'q' || (i % 8), (i / 8) * 375000000, (i / 8) * 375000000 + 300000000,
                 (i / 8) * 375000000, (i / 8) * 375000000 + 300000000 from n",
        )
        .execute(&mut *tx)
        .await
        .unwrap();
        for i in 0..50_i64 {
            sqlx::query(
                "insert into fetch (request, stream, from_wall_us, to_wall_us) values ($1, $2, $3, $4)",
            )
            .bind(uuid::Uuid::now_v7().to_string())
            .bind(format!("q{}.front.main", i % 8))
            .bind(i * 3_600_000_000)
            .bind((i + 1) * 3_600_000_000)
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
        let plan = plan(&index, &candidates()).await;
        assert!(
            !plan.contains("SCAN segment") && !plan.contains("SCAN s "),
            "{plan}"
        );
        assert!(
            plan.contains("segment_to_upload") && plan.contains("segment_to_fetch"),
            "{plan}"
        );
        let lap = |began: &mut i64, what: &str| {
            let now = SystemClock.monotonic_us();
            let took = now - std::mem::replace(began, now);
            println!("{what}: {took} us");
            // Generous: a loaded machine, no optimisation. A scan would take far longer for each.
            assert!(took < 1_000_000, "{what} took {took} us");
        };
        let mut began = SystemClock.monotonic_us();
        let now = WallTime(62_400 * 60_000_000);
        let all = index.upload_candidates(now, FRESH_US, 2).await.unwrap();
        lap(&mut began, "candidates");
        assert_eq!(all.len(), 2 + 2 + 2 + 2);
        let visit = mark("v", MarkKind::Interaction, 3_000_000, Some(3_000_300));
        let order = Order::Mark {
            mark: Mark {
                counter: "q1".parse().unwrap(),
                ..visit
            },
        };
        index.store_orders(1, &[order]).await.unwrap();
        lap(&mut began, "a mark");
        index.waiting_segments().await.unwrap();
        lap(&mut began, "counting");
        index.end_fetches(now).await.unwrap();
        lap(&mut began, "ending fetches");
    }

    async fn plan(index: &Index, sql: &str) -> String {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("explain query plan {sql}")))
            .bind(2)
            .bind(0)
            .fetch_all(&index.reader)
            .await
            .unwrap();
        rows.iter()
            .map(|row| row.get::<String, _>("detail") + "\n")
            .collect()
    }
}
