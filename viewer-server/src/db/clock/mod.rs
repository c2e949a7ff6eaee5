//! Anchors of runs: wall time as a view on media time, corrected where the recorder's clock was wrong.

mod correct;

use archive::ids::{RecorderId, RunId, StreamId};
use archive::time::{Anchor, BootClock, ClockState, DurationUs, MAX_SLEW_PPM, MediaTime, RunClock, WallTime};
use sqlx::{Any, AnyConnection, Transaction};

use super::{Db, DbResult, get, get_id};

pub(super) use correct::{EventFix, event_fix, happened, put_sighting, true_gap, truth};

/// Whose times are told, and how far they may be off before they are corrected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Teller<'a> {
    pub recorder: &'a RecorderId,
    pub tolerance_us: DurationUs,
}

/// Longest segment that is accepted; bounds how far back a look for footage must reach.
pub const MAX_SEGMENT_US: DurationUs = 600_000_000;

/// Stores one look at a run's clock and moves what it bears on.
pub(super) async fn put_anchor(
    tx: &mut Transaction<'static, Any>,
    teller: Teller<'_>,
    run: &RunId,
    stream: &StreamId,
    anchor: &Anchor,
) -> DbResult<()> {
    let truth = correct::truth(tx, teller, anchor.wall, anchor.boot).await?;
    sqlx::query(
        "INSERT INTO anchor (run_id, media_us, wall_us, steered_us, clock_state, boot_us, corrected_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (run_id, media_us) DO NOTHING",
    )
    .bind(run.as_str())
    .bind(anchor.media.0)
    .bind(anchor.wall.0)
    // Not steered yet: an offset that no run has, so that it is.
    .bind(i64::MIN)
    .bind(match anchor.clock_state {
        ClockState::Synchronized => "synchronized",
        ClockState::Unsynchronized => "unsynchronized",
        ClockState::Impossible => "impossible",
    })
    .bind(anchor.boot.map(|b| b.us))
    .bind(truth.map(|t| t.0))
    .execute(&mut **tx)
    .await?;
    restate(tx, run, stream, anchor.media.0, None).await
}

/// Corrects and steers the anchors of a run from a position on, and moves the segments that they bear on.
async fn restate(
    tx: &mut Transaction<'static, Any>,
    run: &RunId,
    stream: &StreamId,
    from_media_us: i64,
    clock: Option<(&BootClock, DurationUs)>,
) -> DbResult<()> {
    let mut before = sqlx::query(
        "SELECT media_us, steered_us FROM anchor WHERE run_id = $1 AND media_us < $2
         ORDER BY media_us DESC LIMIT 1",
    )
    .bind(run.as_str())
    .bind(from_media_us)
    .fetch_optional(&mut **tx)
    .await?
    .map(|row| Ok::<_, super::DbError>((get::<i64>(&row, "media_us")?, get::<i64>(&row, "steered_us")?)))
    .transpose()?;
    let rows = sqlx::query(
        "SELECT media_us, wall_us, steered_us, boot_us, corrected_us FROM anchor
         WHERE run_id = $1 AND media_us >= $2 ORDER BY media_us",
    )
    .bind(run.as_str())
    .bind(from_media_us)
    .fetch_all(&mut **tx)
    .await?;
    let mut moved_from_us: Option<i64> = None;
    for row in &rows {
        let (media_us, wall_us): (i64, i64) = (get(row, "media_us")?, get(row, "wall_us")?);
        let known: Option<i64> = get(row, "corrected_us")?;
        let corrected = match (clock, get::<Option<i64>>(row, "boot_us")?) {
            (Some((clock, tolerance_us)), Some(boot_us)) => clock
                .correct(WallTime(wall_us), boot_us, tolerance_us)
                .map(|truth| truth.0),
            _ => known,
        };
        let limited = steered(before, media_us, corrected.unwrap_or(wall_us));
        if limited != get::<i64>(row, "steered_us")? || corrected != known {
            sqlx::query(
                "UPDATE anchor SET steered_us = $3, corrected_us = $4 WHERE run_id = $1 AND media_us = $2",
            )
            .bind(run.as_str())
            .bind(media_us)
            .bind(limited)
            .bind(corrected)
            .execute(&mut **tx)
            .await?;
            moved_from_us.get_or_insert(before.map_or(i64::MIN, |(media_us, _)| media_us));
        }
        before = Some((media_us, limited));
    }
    match moved_from_us {
        Some(from_us) => move_segments(tx, run, stream, from_us).await,
        None => Ok(()),
    }
}

/// The wall time of an anchor with its rate limited against the anchor before.
fn steered(before: Option<(i64, i64)>, media_us: i64, wall_us: i64) -> i64 {
    let Some((media_before, steered_before)) = before else {
        return wall_us;
    };
    let most = media_us.saturating_sub(media_before) / 1_000_000 * MAX_SLEW_PPM;
    let held = steered_before.saturating_add(media_us.saturating_sub(media_before));
    wall_us.clamp(held.saturating_sub(most), held.saturating_add(most))
}

/// Gives the segments of a run that reach behind a position their wall times anew.
async fn move_segments(
    tx: &mut Transaction<'static, Any>,
    run: &RunId,
    stream: &StreamId,
    from_media_us: i64,
) -> DbResult<()> {
    let rows = sqlx::query(
        "SELECT sequence, recorder_id, start_us, end_us, start_media_us, end_media_us FROM segment
         WHERE run_id = $1 AND end_media_us > $2",
    )
    .bind(run.as_str())
    .bind(from_media_us)
    .fetch_all(&mut **tx)
    .await?;
    let mut has_moved = false;
    for row in &rows {
        let start = MediaTime(get(row, "start_media_us")?);
        let end = MediaTime(get(row, "end_media_us")?);
        let clock = clock_between(tx, run, start, end).await?;
        let (Some(start), Some(end)) = (clock.wall(start), clock.wall(end)) else {
            continue;
        };
        if (start.0, end.0) == (get(row, "start_us")?, get(row, "end_us")?) {
            continue;
        }
        has_moved = true;
        sqlx::query(
            "UPDATE segment SET start_us = $4, end_us = $5
             WHERE stream_id = $1 AND sequence = $2 AND recorder_id = $3",
        )
        .bind(stream.as_str())
        .bind(get::<i64>(row, "sequence")?)
        .bind(get::<&str>(row, "recorder_id")?)
        .bind(start.0)
        .bind(end.0)
        .execute(&mut **tx)
        .await?;
    }
    if has_moved {
        sqlx::query(
            "UPDATE stream SET footage_until_us =
                 (SELECT end_us FROM segment WHERE segment.stream_id = $1 ORDER BY start_us DESC LIMIT 1)
             WHERE stream_id = $1",
        )
        .bind(stream.as_str())
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// The clock of a run over a span of media, from the anchors in it and one on either side.
pub(super) async fn clock_between(
    connection: &mut AnyConnection,
    run: &RunId,
    from: MediaTime,
    to: MediaTime,
) -> DbResult<RunClock> {
    let rows = sqlx::query(
        "SELECT media_us, steered_us FROM anchor WHERE run_id = $1
             AND media_us >= COALESCE((SELECT max(media_us) FROM anchor WHERE run_id = $1 AND media_us <= $2), $2)
             AND media_us <= COALESCE((SELECT min(media_us) FROM anchor WHERE run_id = $1 AND media_us >= $3), $3)",
    )
    .bind(run.as_str())
    .bind(from.0)
    .bind(to.0)
    .fetch_all(connection)
    .await?;
    let anchors = rows
        .iter()
        .map(|row| {
            Ok(Anchor {
                media: MediaTime(get(row, "media_us")?),
                wall: WallTime(get(row, "steered_us")?),
                clock_state: ClockState::Synchronized,
                boot: None,
            })
        })
        .collect::<DbResult<Vec<_>>>()?;
    Ok(RunClock::new(&anchors))
}

impl Db {
    /// The clock of a run over a span of media; without anchors while none is stored.
    pub async fn run_clock(&self, run: &RunId, from: MediaTime, to: MediaTime) -> DbResult<RunClock> {
        clock_between(&mut *self.reader.acquire().await?, run, from, to).await
    }

    /// The stream of a run.
    pub async fn stream_of_run(&self, run: &RunId) -> DbResult<Option<StreamId>> {
        sqlx::query("SELECT stream_id FROM run WHERE run_id = $1")
            .bind(run.as_str())
            .fetch_optional(&self.reader)
            .await?
            .map(|row| get_id(&row, "stream_id"))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_the_rate_as_the_run_clock_does() {
        let raw = [(0, 1_000_000), (10_000_000, 11_400_000), (20_000_000, 20_990_000)];
        let anchors: Vec<_> = raw
            .iter()
            .map(|(media, wall)| Anchor {
                media: MediaTime(*media),
                wall: WallTime(*wall),
                clock_state: ClockState::Synchronized,
                boot: None,
            })
            .collect();
        let clock = RunClock::new(&anchors);
        let mut before = None;
        for (media, wall) in raw {
            let limited = steered(before, media, wall);
            assert_eq!(clock.wall(MediaTime(media)), Some(WallTime(limited)));
            before = Some((media, limited));
        }
    }
}
