//! Recorders' clocks compared with ours: what they timed is put right, also what came before.

use archive::ids::RecorderId;
use archive::time::{BootClock, BootTime, DurationUs, Sighting, WallTime};
use archive::uplink::ClockSource;
use jiff::tz::TimeZone;
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};

use super::super::event::mark_days_due;
use super::{Teller, restate};
use crate::db::{DbResult, get, get_id};

/// The true time instead of what a recorder said, if that is certainly off and better is known.
pub(in crate::db) async fn truth(
    tx: &mut Transaction<'static, Any>,
    teller: Teller<'_>,
    said: WallTime,
    boot: Option<BootTime>,
) -> DbResult<Option<WallTime>> {
    let Some(BootTime { boot, us }) = boot else {
        return Ok(None);
    };
    let clock = boot_clock(tx, teller.recorder, boot, us, us).await?;
    Ok(clock.correct(said, us, teller.tolerance_us))
}

/// What must be added to the times of an event for the true ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::db) struct EventFix {
    pub received_us: DurationUs,
    pub device_us: DurationUs,
}

/// A device whose time is this near to the recorder's at receipt goes by the recorder's clock: a scanner, which has
/// none of its own, or one that is set by the recorder.
const SHARED_CLOCK_US: DurationUs = 5_000_000;

/// How an event's times are off if it was truly received at `truth`.
pub(in crate::db) fn event_fix(device: WallTime, received: WallTime, truth: Option<WallTime>) -> EventFix {
    let received_us = truth.map_or(0, |truth| truth - received);
    let is_shared = (device - received).abs() <= SHARED_CLOCK_US;
    EventFix {
        received_us,
        device_us: if is_shared { received_us } else { 0 },
    }
}

/// Keeps a comparison and puts right what it bears on.
pub(in crate::db) async fn put_sighting(
    tx: &mut Transaction<'static, Any>,
    teller: Teller<'_>,
    zone: &TimeZone,
    clock_tolerance_us: DurationUs,
    boot: BootTime,
    sighting: &(WallTime, WallTime, DurationUs),
    source: ClockSource,
) -> DbResult<()> {
    let (server_wall, recorder_wall, round_trip_us) = *sighting;
    let source = match source {
        ClockSource::Server => "server",
        ClockSource::TimeService => "time_service",
    };
    let boot_id = boot.boot.hyphenated().to_string();
    let inserted = sqlx::query(
        "INSERT INTO clock_sighting (recorder_id, boot_id, boot_us, server_wall_us, recorder_wall_us,
             round_trip_us, source)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (recorder_id, boot_id, boot_us) DO NOTHING",
    )
    .bind(teller.recorder.as_str())
    .bind(boot_id.as_str())
    .bind(boot.us)
    .bind(server_wall.0)
    .bind(recorder_wall.0)
    .bind(round_trip_us.max(0))
    .bind(source)
    .execute(&mut **tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(());
    }
    // Between two sightings the time is interpolated, so everything behind the one before moves.
    let row = sqlx::query(
        "SELECT max(boot_us) AS before_us FROM clock_sighting
         WHERE recorder_id = $1 AND boot_id = $2 AND source = $3 AND boot_us < $4",
    )
    .bind(teller.recorder.as_str())
    .bind(boot_id.as_str())
    .bind(source)
    .bind(boot.us)
    .fetch_one(&mut **tx)
    .await?;
    let from_us = get::<Option<i64>>(&row, "before_us")?.unwrap_or(i64::MIN);
    let clock = boot_clock(tx, teller.recorder, boot.boot, from_us, i64::MAX).await?;
    correct_runs(tx, teller, &boot_id, from_us, &clock).await?;
    correct_gaps(tx, teller, &boot_id, from_us).await?;
    correct_events(tx, teller, zone, clock_tolerance_us, &boot_id, from_us, &clock).await
}

/// The true time over a span of a boot, from the sightings in it and one on either side. Where the server was ever
/// heard, its word alone counts.
async fn boot_clock(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    boot: uuid::Uuid,
    from_us: i64,
    to_us: i64,
) -> DbResult<BootClock> {
    let rows = sqlx::query(
        "WITH told AS (
             SELECT boot_us, server_wall_us, round_trip_us FROM clock_sighting
             WHERE recorder_id = $1 AND boot_id = $2 AND source = CASE WHEN EXISTS (
                 SELECT 1 FROM clock_sighting WHERE recorder_id = $1 AND boot_id = $2 AND source = 'server'
             ) THEN 'server' ELSE 'time_service' END
         )
         SELECT boot_us, server_wall_us, round_trip_us FROM told
         WHERE boot_us >= COALESCE((SELECT max(boot_us) FROM told WHERE boot_us <= $3), $3)
             AND boot_us <= COALESCE((SELECT min(boot_us) FROM told WHERE boot_us >= $4), $4)",
    )
    .bind(recorder.as_str())
    .bind(boot.hyphenated().to_string())
    .bind(from_us)
    .bind(to_us)
    .fetch_all(&mut **tx)
    .await?;
    let sighting = |row: &AnyRow| {
        Ok(Sighting {
            boot_us: get(row, "boot_us")?,
            wall: WallTime(get(row, "server_wall_us")?),
            uncertainty_us: get::<i64>(row, "round_trip_us")? / 2 + 1,
        })
    };
    Ok(BootClock::new(
        rows.iter().map(sighting).collect::<DbResult<_>>()?,
    ))
}

async fn correct_runs(
    tx: &mut Transaction<'static, Any>,
    teller: Teller<'_>,
    boot_id: &str,
    from_us: i64,
    clock: &BootClock,
) -> DbResult<()> {
    // The last anchor tells from which position on a run lies behind `from_us`.
    let runs = sqlx::query(
        "SELECT run.run_id, run.stream_id, last.media_us, last.boot_us FROM run
         JOIN anchor last ON last.run_id = run.run_id
             AND last.media_us = (SELECT max(media_us) FROM anchor WHERE anchor.run_id = run.run_id)
         WHERE run.boot_id = $1 AND run.recorder_id = $2 AND last.boot_us > $3",
    )
    .bind(boot_id)
    .bind(teller.recorder.as_str())
    .bind(from_us)
    .fetch_all(&mut **tx)
    .await?;
    for row in &runs {
        let (media_us, boot_us): (i64, i64) = (get(row, "media_us")?, get(row, "boot_us")?);
        // Positions and boot time go at nearly the same rate; a little more than needed does no harm.
        let back_us = boot_us.saturating_sub(from_us);
        let from_media_us =
            media_us.saturating_sub(back_us.saturating_add(back_us / 500).saturating_add(1_000_000));
        let (run, stream) = (get_id(row, "run_id")?, get_id(row, "stream_id")?);
        restate(
            tx,
            &run,
            &stream,
            from_media_us,
            Some((clock, teller.tolerance_us)),
        )
        .await?;
    }
    Ok(())
}

async fn correct_gaps(
    tx: &mut Transaction<'static, Any>,
    teller: Teller<'_>,
    boot_id: &str,
    from_us: i64,
) -> DbResult<()> {
    let columns = "gap_id, start_us, end_us, COALESCE(said_start_us, start_us) AS said_start_us,
        COALESCE(said_end_us, end_us) AS said_end_us, start_boot_id, start_boot_us, end_boot_id, end_boot_us";
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {columns} FROM gap WHERE start_boot_id = $1 AND start_boot_us > $2 AND recorder_id = $3
         UNION SELECT {columns} FROM gap WHERE end_boot_id = $1 AND end_boot_us > $2 AND recorder_id = $3"
    )))
    .bind(boot_id)
    .bind(from_us)
    .bind(teller.recorder.as_str())
    .fetch_all(&mut **tx)
    .await?;
    for row in &rows {
        let said_start = WallTime(get(row, "said_start_us")?);
        let said_end = get::<Option<i64>>(row, "said_end_us")?.map(WallTime);
        let start_boot = boot_time(row, "start_boot_id", "start_boot_us")?;
        let end_boot = boot_time(row, "end_boot_id", "end_boot_us")?;
        let (start, end) = true_gap(
            tx,
            teller,
            (said_start, start_boot),
            said_end.map(|end| (end, end_boot)),
        )
        .await?;
        if (start.0, end.map(|e| e.0)) == (get(row, "start_us")?, get(row, "end_us")?) {
            continue;
        }
        sqlx::query(
            "UPDATE gap SET start_us = $2, end_us = $3, said_start_us = $4, said_end_us = $5 WHERE gap_id = $1",
        )
        .bind(get::<String>(row, "gap_id")?)
        .bind(start.0)
        .bind(end.map(|e| e.0))
        .bind(said_start.0)
        .bind(said_end.map(|e| e.0))
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

type Said = (WallTime, Option<BootTime>);

/// A gap's true start and end; it never ends before it starts.
pub(in crate::db) async fn true_gap(
    tx: &mut Transaction<'static, Any>,
    teller: Teller<'_>,
    start: Said,
    end: Option<Said>,
) -> DbResult<(WallTime, Option<WallTime>)> {
    let true_start = truth(tx, teller, start.0, start.1).await?.unwrap_or(start.0);
    let true_end = match end {
        Some((end, boot)) => Some(truth(tx, teller, end, boot).await?.unwrap_or(end).max(true_start)),
        None => None,
    };
    Ok((true_start, true_end))
}

fn boot_time(row: &AnyRow, id: &'static str, us: &'static str) -> DbResult<Option<BootTime>> {
    let (Some(boot), Some(us)) = (get::<Option<String>>(row, id)?, get::<Option<i64>>(row, us)?) else {
        return Ok(None);
    };
    let boot = boot
        .parse()
        .map_err(|e| crate::db::DbError::damaged("boot_id", e))?;
    Ok(Some(BootTime { boot, us }))
}

async fn correct_events(
    tx: &mut Transaction<'static, Any>,
    teller: Teller<'_>,
    zone: &TimeZone,
    clock_tolerance_us: DurationUs,
    boot_id: &str,
    from_us: i64,
    clock: &BootClock,
) -> DbResult<()> {
    let rows = sqlx::query(
        "SELECT source, id, site_id, device_us, received_us, at_us, boot_us, received_fix_us, device_fix_us
         FROM event WHERE boot_id = $1 AND boot_us > $2 AND recorder_id = $3",
    )
    .bind(boot_id)
    .bind(from_us)
    .bind(teller.recorder.as_str())
    .fetch_all(&mut **tx)
    .await?;
    for row in &rows {
        let device = WallTime(get(row, "device_us")?);
        let received = WallTime(get(row, "received_us")?);
        let truth = clock.correct(received, get(row, "boot_us")?, teller.tolerance_us);
        let fix = event_fix(device, received, truth);
        let known = EventFix {
            received_us: get(row, "received_fix_us")?,
            device_us: get(row, "device_fix_us")?,
        };
        if fix == known {
            continue;
        }
        let before = WallTime(get(row, "at_us")?);
        let at = happened(
            device + fix.device_us,
            received + fix.received_us,
            clock_tolerance_us,
        );
        sqlx::query(
            "UPDATE event SET at_us = $3, received_fix_us = $4, device_fix_us = $5 WHERE source = $1 AND id = $2",
        )
        .bind(get::<String>(row, "source")?)
        .bind(get::<String>(row, "id")?)
        .bind(at.0)
        .bind(fix.received_us)
        .bind(fix.device_us)
        .execute(&mut **tx)
        .await?;
        let site = get_id(row, "site_id")?;
        for moment in [before, at] {
            mark_days_due(tx, &site, zone, moment).await?;
        }
    }
    Ok(())
}

/// When an event counts to have happened: device time, unless that lies ahead of receipt.
pub(in crate::db) fn happened(
    device: WallTime,
    received: WallTime,
    clock_tolerance_us: DurationUs,
) -> WallTime {
    if device > received + clock_tolerance_us {
        received
    } else {
        device
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    #[test]
    fn a_scanner_goes_by_the_clock_of_its_recorder_and_a_kiosk_by_its_own() {
        let (truth, received) = (WallTime(10 * HOUR_US), WallTime(9 * HOUR_US));
        let scan = event_fix(received - 1_000, received, Some(truth));
        assert_eq!((scan.received_us, scan.device_us), (HOUR_US, HOUR_US));
        let kiosk = event_fix(truth - 1_000, received, Some(truth));
        assert_eq!((kiosk.received_us, kiosk.device_us), (HOUR_US, 0));
        assert_eq!(event_fix(received, received, None), EventFix::default());
    }
}
