//! Facts of recorders, stored in order and exactly once.

use archive::ids::{RecorderId, RunId, SiteId, StreamId};
use archive::interaction::InteractionSettings;
use archive::segment::{Track, TrackKind};
use archive::time::{Anchor, WallTime};
use archive::uplink::Fact;
use jiff::tz::TimeZone;
use sqlx::{Any, Transaction};

use super::alert::put_alert;
use super::chain::Chains;
use super::event::{NewEvent, put_event};
use super::health::put_report;
use super::{Db, DbError, DbResult, clock, edge_segment, get, get_id, signed, unsigned};

/// What storing facts led to.
#[derive(Debug, Clone, Default)]
pub struct FactsStored {
    /// Number of the last fact stored.
    pub through: u64,
    /// How many events among them were new.
    pub new_events: u64,
    /// Facts that could not be read or were not the recorder's to tell; they count as stored.
    pub unusable: Vec<String>,
    /// Whether a recorder's clock was compared, so that events may have moved.
    pub times_moved: bool,
    /// Whether a stream's tracks changed.
    pub tracks_changed: bool,
    /// Whether an alert began or ended.
    pub alerts_changed: bool,
    /// How many entries of chains were taken over.
    pub chained: u64,
    /// What does not fit a chain; it is kept as evidence.
    pub chain_conflicts: Vec<String>,
}

/// Facts that leave a hole: the recorder must go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactsRefused {
    /// Number of the last fact stored.
    pub through: u64,
}

/// Who tells facts, and how they are read.
#[derive(Debug, Clone, Copy)]
pub struct Teller<'a> {
    /// Who.
    pub recorder: &'a RecorderId,
    /// Its site.
    pub site: &'a SiteId,
    /// The sites' zone.
    pub zone: &'a TimeZone,
    /// How events are read.
    pub settings: &'a InteractionSettings,
    /// When they came.
    pub now: WallTime,
}

impl Db {
    /// Stores facts; those stored before are passed over.
    pub async fn store_facts(
        &self,
        teller: &Teller<'_>,
        first: u64,
        facts: &[Fact],
    ) -> DbResult<Result<FactsStored, FactsRefused>> {
        let mut tx = self.write().await?;
        let row = sqlx::query(
            "UPDATE recorder SET facts_through = facts_through WHERE recorder_id = $1
             RETURNING facts_through, public_key",
        )
        .bind(teller.recorder.as_str())
        .fetch_one(&mut *tx)
        .await?;
        let through = unsigned(get(&row, "facts_through")?);
        if first == 0 || first > through + 1 {
            tx.rollback().await?;
            return Ok(Err(FactsRefused { through }));
        }
        let known = usize::try_from(through + 1 - first).unwrap_or(usize::MAX);
        let mut stored = FactsStored {
            through,
            ..FactsStored::default()
        };
        let mut chains = Chains::new(teller.recorder, get(&row, "public_key")?, teller.now);
        let clock_of = clock::Teller {
            recorder: teller.recorder,
            tolerance_us: self.clock_tolerance_us,
        };
        for fact in facts.iter().skip(known) {
            store_fact(&mut tx, teller, clock_of, fact, &mut stored, &mut chains).await?;
            stored.through += 1;
        }
        chains.finish(&mut tx).await?;
        stored.chained = chains.taken;
        stored.chain_conflicts = chains.conflicts;
        sqlx::query("UPDATE recorder SET facts_through = $2 WHERE recorder_id = $1")
            .bind(teller.recorder.as_str())
            .bind(signed(stored.through))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Ok(stored))
    }
}

async fn store_fact(
    tx: &mut Transaction<'static, Any>,
    teller: &Teller<'_>,
    clock_of: clock::Teller<'_>,
    fact: &Fact,
    stored: &mut FactsStored,
    chains: &mut Chains<'_>,
) -> DbResult<()> {
    let recorder = teller.recorder;
    match fact {
        Fact::Event {
            received,
            received_boot,
            event,
        } => match NewEvent::read(event, *received, teller.settings) {
            Ok(event) => {
                let truth = clock::truth(tx, clock_of, *received, *received_boot).await?;
                let event = event.over(recorder, *received_boot, truth, teller.settings);
                if put_event(tx, teller.site, teller.zone, &event).await? {
                    stored.new_events += 1;
                }
            }
            Err(e) => stored.unusable.push(format!("event: {e}")),
        },
        Fact::RunStarted {
            run,
            stream,
            tracks,
            anchor,
        } => {
            if !is_recorded_by(tx, recorder, stream).await? {
                stored
                    .unusable
                    .push(format!("run {run} of foreign stream {stream}"));
                return Ok(());
            }
            put_run(tx, recorder, run, stream, tracks, anchor).await?;
            clock::put_anchor(tx, clock_of, run, stream, anchor).await?;
            stored.tracks_changed = true;
        }
        Fact::Anchored { run, anchor } => match stream_of_run(tx, recorder, run).await? {
            Some(stream) => clock::put_anchor(tx, clock_of, run, &stream, anchor).await?,
            None => stored.unusable.push(format!("anchor of unknown run {run}")),
        },
        Fact::RunEnded { run } => {
            sqlx::query("UPDATE run SET has_ended = 1 WHERE run_id = $1 AND recorder_id = $2")
                .bind(run.as_str())
                .bind(recorder.as_str())
                .execute(&mut **tx)
                .await?;
        }
        Fact::GapSeen { gap } => {
            if !is_recorded_by(tx, recorder, &gap.stream).await? {
                stored
                    .unusable
                    .push(format!("gap of foreign stream {}", gap.stream));
                return Ok(());
            }
            let cause = serde_json::to_value(gap.cause).map_err(|e| DbError::damaged("gap.cause", e))?;
            let said_end = gap.end.map(|end| (end, gap.end_boot));
            let (start, end) = clock::true_gap(tx, clock_of, (gap.start, gap.start_boot), said_end).await?;
            sqlx::query(
                "INSERT INTO gap (gap_id, recorder_id, stream_id, start_us, end_us, cause, detail, said_start_us,
                     said_end_us, start_boot_id, start_boot_us, end_boot_id, end_boot_us)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                 ON CONFLICT (gap_id) DO UPDATE SET start_us = excluded.start_us, end_us = excluded.end_us,
                     cause = excluded.cause, detail = excluded.detail, said_start_us = excluded.said_start_us,
                     said_end_us = excluded.said_end_us, start_boot_id = excluded.start_boot_id,
                     start_boot_us = excluded.start_boot_us, end_boot_id = excluded.end_boot_id,
                     end_boot_us = excluded.end_boot_us
                 WHERE gap.recorder_id = excluded.recorder_id",
            )
            .bind(gap.gap_id.to_string())
            .bind(recorder.as_str())
            .bind(gap.stream.as_str())
            .bind(start.0)
            .bind(end.map(|e| e.0))
            .bind(cause.as_str().unwrap_or_default())
            .bind(gap.detail.chars().take(500).collect::<String>())
            .bind(gap.start.0)
            .bind(gap.end.map(|e| e.0))
            .bind(gap.start_boot.map(|b| b.boot.hyphenated().to_string()))
            .bind(gap.start_boot.map(|b| b.us))
            .bind(gap.end_boot.map(|b| b.boot.hyphenated().to_string()))
            .bind(gap.end_boot.map(|b| b.us))
            .execute(&mut **tx)
            .await?;
        }
        Fact::SegmentLost { key, reason } => {
            if !is_recorded_by(tx, recorder, &key.stream).await? {
                stored
                    .unusable
                    .push(format!("lost segment of foreign stream {key}"));
                return Ok(());
            }
            edge_segment::remove(tx, recorder, key).await?;
            sqlx::query(
                "INSERT INTO lost_segment (recorder_id, stream_id, sequence, reason) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (stream_id, sequence, recorder_id) DO NOTHING",
            )
            .bind(recorder.as_str())
            .bind(key.stream.as_str())
            .bind(signed(key.sequence.max(1)))
            .bind(reason.chars().take(500).collect::<String>())
            .execute(&mut **tx)
            .await?;
        }
        Fact::ClockMeasured {
            boot,
            server_wall,
            wall,
            round_trip_us,
            source,
        } => {
            let sighting = (*server_wall, *wall, *round_trip_us);
            let tolerance_us = teller.settings.clock_tolerance_us;
            clock::put_sighting(tx, clock_of, teller.zone, tolerance_us, *boot, &sighting, *source).await?;
            stored.times_moved = true;
        }
        Fact::Chained {
            stream,
            number,
            entry,
        } => {
            if !is_recorded_by(tx, recorder, stream).await? {
                stored
                    .unusable
                    .push(format!("entry {number} of the chain of foreign stream {stream}"));
                return Ok(());
            }
            chains.take(tx, stream, *number, entry).await?;
        }
        Fact::AlertSeen { alert } => {
            if let Some(stream) = &alert.stream
                && !is_recorded_by(tx, recorder, stream).await?
            {
                let kind = alert.kind.as_str();
                stored
                    .unusable
                    .push(format!("alert {kind} of foreign stream {stream}"));
                return Ok(());
            }
            put_alert(tx, recorder, alert).await?;
            stored.alerts_changed = true;
        }
        Fact::HealthReported { report } => {
            if let Err(reason) = put_report(tx, teller, report).await? {
                stored.unusable.push(format!("report of health: {reason}"));
            }
        }
    }
    Ok(())
}

async fn is_recorded_by(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    stream: &StreamId,
) -> DbResult<bool> {
    let row = sqlx::query("SELECT stream_id FROM stream WHERE stream_id = $1 AND recorder_id = $2")
        .bind(stream.as_str())
        .bind(recorder.as_str())
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.is_some())
}

async fn stream_of_run(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    run: &RunId,
) -> DbResult<Option<StreamId>> {
    sqlx::query("SELECT stream_id FROM run WHERE run_id = $1 AND recorder_id = $2")
        .bind(run.as_str())
        .bind(recorder.as_str())
        .fetch_optional(&mut **tx)
        .await?
        .map(|row| get_id(&row, "stream_id"))
        .transpose()
}

async fn put_run(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    run: &RunId,
    stream: &StreamId,
    tracks: &[Track],
    anchor: &Anchor,
) -> DbResult<()> {
    let json = serde_json::to_string(tracks).map_err(|e| DbError::damaged("run.tracks", e))?;
    sqlx::query(
        "INSERT INTO run (run_id, stream_id, recorder_id, tracks, started_us, boot_id)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (run_id) DO NOTHING",
    )
    .bind(run.as_str())
    .bind(stream.as_str())
    .bind(recorder.as_str())
    .bind(json)
    .bind(anchor.wall.0)
    .bind(anchor.boot.map(|b| b.boot.hyphenated().to_string()))
    .execute(&mut **tx)
    .await?;
    let video = tracks.iter().find(|t| t.kind == TrackKind::Video);
    let audio = tracks.iter().find(|t| t.kind == TrackKind::Audio);
    sqlx::query(
        "UPDATE stream SET video_codec = $2, audio_codec = $3, width = $4, height = $5 WHERE stream_id = $1",
    )
    .bind(stream.as_str())
    .bind(video.map(|t| t.codec.clone()))
    .bind(audio.map(|t| t.codec.clone()))
    .bind(video.map_or(0, |t| i64::from(t.width)))
    .bind(video.map_or(0, |t| i64::from(t.height)))
    .execute(&mut **tx)
    .await?;
    Ok(())
}
