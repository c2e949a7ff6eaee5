//! Comparisons with the centre's clock, and times put right by them.

use archive::ids::RunId;
use archive::time::{Anchor, BootClock, BootTime, DurationUs, RunClock, Sighting, WallTime};
use archive::uplink::{ClockSource, Fact};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::runs::read_anchor;
use super::{Index, IndexError, damaged, facts, name_of, place};

/// A clock that is off by no more than this is left as it is: the line's doubt is of the same size.
const TOLERANCE_US: DurationUs = 50_000;

/// The true time at a moment of a boot, and how it is known.
#[derive(Debug, Clone, Copy)]
pub struct ClockSeen {
    /// The moment.
    pub boot: BootTime,
    /// The true time.
    pub truth: WallTime,
    /// What this machine's wall clock showed.
    pub wall: WallTime,
    /// `truth` is good to half of it.
    pub round_trip_us: DurationUs,
    /// Whose clock `truth` is.
    pub source: ClockSource,
}

pub(super) fn boot_of(
    row: &SqliteRow,
    id: &'static str,
    us: &'static str,
) -> Result<Option<BootTime>, IndexError> {
    let (Some(boot), Some(us)) = (row.try_get::<Option<String>, _>(id)?, row.try_get(us)?) else {
        return Ok(None);
    };
    let boot = boot
        .parse()
        .map_err(|e: uuid::Error| damaged("boot_id")(e.to_string()))?;
    Ok(Some(BootTime { boot, us }))
}

impl Index {
    /// Keeps a comparison of clocks; it is a fact for the centre in the same transaction.
    pub async fn put_sighting(&self, seen: &ClockSeen) -> Result<(), IndexError> {
        let mut tx = self.writer.begin().await?;
        let inserted = sqlx::query(
            "insert into clock_sighting (boot_id, boot_us, server_wall_us, wall_us, round_trip_us, source)
             values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        )
        .bind(seen.boot.boot.hyphenated().to_string())
        .bind(seen.boot.us)
        .bind(seen.truth.0)
        .bind(seen.wall.0)
        .bind(seen.round_trip_us)
        .bind(name_of(&seen.source))
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok(());
        }
        let fact = Fact::ClockMeasured {
            boot: seen.boot,
            server_wall: seen.truth,
            wall: seen.wall,
            round_trip_us: seen.round_trip_us,
            source: seen.source,
        };
        facts::append(&mut tx, &fact).await?;
        tx.commit().await?;
        self.note_change();
        Ok(())
    }

    /// A run's clock with what is known by now of the true time: for everything that compares times of a recording
    /// with the centre's, or with today's. What is stored stays as it was seen.
    pub async fn true_clock(&self, run: &RunId) -> Result<RunClock, IndexError> {
        let anchors = self.anchors(run).await?;
        let anchors = corrected(&mut *self.reader.acquire().await?, anchors).await?;
        Ok(RunClock::new(&anchors))
    }

    /// The newest sighting in a boot.
    pub async fn newest_sighting_us(&self, boot: uuid::Uuid) -> Result<Option<i64>, IndexError> {
        Ok(
            sqlx::query_scalar("select max(boot_us) from clock_sighting where boot_id = $1")
                .bind(boot.hyphenated().to_string())
                .fetch_one(&self.reader)
                .await?,
        )
    }

    /// Places the segments anew whose clock is known to have been wrong, of runs that reach behind `from_us` of a
    /// boot; gives how many. A few at a time, since recording wants to write in between.
    pub async fn replace_segments(&self, boot: uuid::Uuid, from_us: i64) -> Result<usize, IndexError> {
        let boot_id = boot.hyphenated().to_string();
        let runs: Vec<String> = sqlx::query_scalar(
            "select run_id from run where exists (
                 select 1 from anchor where anchor.run_id = run.run_id and anchor.media_us =
                     (select max(media_us) from anchor where anchor.run_id = run.run_id)
                 and boot_id = $1 and boot_us > $2)",
        )
        .bind(&boot_id)
        .bind(from_us)
        .fetch_all(&self.reader)
        .await?;
        let mut placed = 0;
        for run in &runs {
            let ends = sqlx::query(
                "select media_us, wall_us, clock_state, boot_id, boot_us from anchor where run_id = $1 and media_us in (
                     (select min(media_us) from anchor where run_id = $1),
                     (select max(media_us) from anchor where run_id = $1))",
            )
            .bind(run)
            .fetch_all(&self.reader)
            .await?;
            let ends = ends.iter().map(read_anchor).collect::<Result<Vec<_>, _>>()?;
            if corrected(&mut *self.reader.acquire().await?, ends.clone()).await? == ends {
                continue;
            }
            let segments: Vec<i64> = sqlx::query_scalar(
                "select segment_id from segment where run_id = $1 and state not in ('recording', 'tombstone')",
            )
            .bind(run)
            .fetch_all(&self.reader)
            .await?;
            for few in segments.chunks(AT_ONCE) {
                let mut tx = self.writer.begin().await?;
                for segment_id in few {
                    place::put(&mut tx, *segment_id).await?;
                }
                tx.commit().await?;
                placed += few.len();
            }
        }
        Ok(placed)
    }
}

/// So many segments are placed in one transaction.
const AT_ONCE: usize = 20;

/// Anchors with their wall times put right, as far as the true time was told.
pub(super) async fn corrected(
    connection: &mut SqliteConnection,
    mut anchors: Vec<Anchor>,
) -> Result<Vec<Anchor>, IndexError> {
    let mut known: Option<(uuid::Uuid, BootClock)> = None;
    for anchor in &mut anchors {
        let Some(BootTime { boot, us }) = anchor.boot else {
            continue;
        };
        let clock = match known.take() {
            Some((known, clock)) if known == boot => clock,
            _ => boot_clock(connection, boot).await?,
        };
        if let Some(truth) = clock.correct(anchor.wall, us, TOLERANCE_US) {
            anchor.wall = truth;
        }
        known = Some((boot, clock));
    }
    Ok(anchors)
}

/// The true time over a boot, as far as it was told. Where the centre was ever heard, its word alone counts.
async fn boot_clock(connection: &mut SqliteConnection, boot: uuid::Uuid) -> Result<BootClock, IndexError> {
    let rows = sqlx::query(
        "select boot_us, server_wall_us, round_trip_us from clock_sighting
         where boot_id = $1 and source = case when exists (
             select 1 from clock_sighting where boot_id = $1 and source = 'server'
         ) then 'server' else 'time_service' end",
    )
    .bind(boot.hyphenated().to_string())
    .fetch_all(connection)
    .await?;
    let sightings = rows
        .iter()
        .map(|row| {
            Ok(Sighting {
                boot_us: row.try_get(0)?,
                wall: WallTime(row.try_get(1)?),
                uncertainty_us: row.try_get::<i64, _>(2)? / 2 + 1,
            })
        })
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    Ok(BootClock::new(sightings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::time::{ClockState, MediaTime};

    use crate::index::{Change, RunOpening};

    #[tokio::test]
    async fn knows_the_true_time_of_a_run_of_1970_once_the_centre_told_it() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
        let run = RunId::from_uuid(uuid::Uuid::now_v7());
        let boot = |us| BootTime {
            boot: uuid::Uuid::from_u128(7),
            us,
        };
        let opening = RunOpening {
            run: run.clone(),
            stream: "q01.front.main".parse().unwrap(),
            tracks: Vec::new(),
            anchor: Anchor {
                media: MediaTime(0),
                wall: WallTime(60_000_000),
                clock_state: ClockState::Impossible,
                boot: Some(boot(20_000_000)),
            },
        };
        index.commit(&[Change::RunStarted(opening)]).await.unwrap();
        let at = MediaTime(5_000_000);
        assert_eq!(
            index.true_clock(&run).await.unwrap().wall(at),
            Some(WallTime(65_000_000))
        );
        let truth = WallTime(1_795_000_000_000_000);
        let seen = ClockSeen {
            boot: boot(50_000_000),
            truth,
            wall: WallTime(90_000_000),
            round_trip_us: 4_000,
            source: ClockSource::Server,
        };
        index.put_sighting(&seen).await.unwrap();
        assert_eq!(
            index.true_clock(&run).await.unwrap().wall(at),
            Some(truth - 25_000_000)
        );
        assert_eq!(index.wall_of(&run, at).await.unwrap(), Some(WallTime(65_000_000)));
        let (_, facts) = index.facts_after(0).await.unwrap().unwrap();
        assert!(
            matches!(facts.last(), Some(Fact::ClockMeasured { .. })),
            "{facts:?}"
        );
    }
}
