//! Runs and their anchors; each change is a fact for the server in the same transaction.

use archive::ids::{RunId, StreamId};
use archive::segment::Track;
use archive::time::{Anchor, MediaTime, Moment, RunClock, WallTime, boot_at};
use archive::uplink::Fact;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqliteExecutor};

use super::{Index, IndexError, facts, from_json, name_of, to_json};

/// A run that begins.
#[derive(Debug, Clone)]
pub struct RunOpening {
    /// Which run.
    pub run: RunId,
    /// Of which stream.
    pub stream: StreamId,
    /// Its tracks.
    pub tracks: Vec<Track>,
    /// Its first anchor.
    pub anchor: Anchor,
}

impl Index {
    /// The anchors of a run.
    pub async fn anchors(&self, run: &RunId) -> Result<Vec<Anchor>, IndexError> {
        read_anchors(&self.reader, run).await
    }

    /// The runs of a stream, each with its first anchor.
    pub async fn runs(&self, stream: &StreamId) -> Result<Vec<RunOpening>, IndexError> {
        let rows = sqlx::query(
            "select r.run_id, r.tracks, a.media_us, a.wall_us, a.clock_state, a.boot_id, a.boot_us
             from run r join anchor a on a.run_id = r.run_id
             where r.stream = $1 and a.media_us = (select min(media_us) from anchor where run_id = r.run_id)",
        )
        .bind(stream.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| {
                let tracks: &str = row.try_get("tracks")?;
                Ok(RunOpening {
                    run: read_run(row.try_get("run_id")?)?,
                    stream: stream.clone(),
                    tracks: from_json("run.tracks", tracks)?,
                    anchor: read_anchor(row)?,
                })
            })
            .collect()
    }

    /// A position in a run by both clocks, as the recorder saw them.
    pub async fn moment_of(&self, run: &RunId, media: MediaTime) -> Result<Option<Moment>, IndexError> {
        let anchors = self.anchors(run).await?;
        Ok(RunClock::new(&anchors).wall(media).map(|wall| Moment {
            wall,
            boot: boot_at(&anchors, wall),
        }))
    }

    /// Wall time of a position in a run, as the recorder saw it.
    pub async fn wall_of(&self, run: &RunId, media: MediaTime) -> Result<Option<WallTime>, IndexError> {
        Ok(self.moment_of(run, media).await?.map(|moment| moment.wall))
    }

    /// The runs of a stream that were never ended: a crash.
    pub async fn open_runs(&self, stream: &StreamId) -> Result<Vec<RunId>, IndexError> {
        let rows: Vec<String> =
            sqlx::query_scalar("select run_id from run where stream = $1 and is_ended = 0 order by run_id")
                .bind(stream.as_str())
                .fetch_all(&self.reader)
                .await?;
        rows.iter().map(|id| read_run(id)).collect()
    }
}

fn read_run(id: &str) -> Result<RunId, IndexError> {
    id.parse()
        .map_err(|e: archive::ids::InvalidId| super::damaged("run.run_id")(e.to_string()))
}

pub(super) async fn read_anchors(
    from: impl SqliteExecutor<'_>,
    run: &RunId,
) -> Result<Vec<Anchor>, IndexError> {
    sqlx::query("select * from anchor where run_id = $1 order by media_us")
        .bind(run.as_str())
        .fetch_all(from)
        .await?
        .iter()
        .map(read_anchor)
        .collect()
}

/// Reads `media_us, wall_us, clock_state, boot_id, boot_us`.
pub(super) fn read_anchor(row: &SqliteRow) -> Result<Anchor, IndexError> {
    let state: String = row.try_get("clock_state")?;
    Ok(Anchor {
        media: MediaTime(row.try_get("media_us")?),
        wall: WallTime(row.try_get("wall_us")?),
        clock_state: from_json("anchor.clock_state", &format!("\"{state}\""))?,
        boot: super::clock::boot_of(row, "boot_id", "boot_us")?,
    })
}

/// Stores a run that begins; says whether it is new.
pub(super) async fn start(tx: &mut SqliteConnection, opening: &RunOpening) -> Result<bool, IndexError> {
    let inserted = sqlx::query(
        "insert into run (run_id, stream, tracks) values ($1, $2, $3) on conflict (run_id) do nothing",
    )
    .bind(opening.run.as_str())
    .bind(opening.stream.as_str())
    .bind(to_json(&opening.tracks))
    .execute(&mut *tx)
    .await?;
    insert_anchor(tx, &opening.run, opening.anchor, true).await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    let fact = Fact::RunStarted {
        run: opening.run.clone(),
        stream: opening.stream.clone(),
        tracks: opening.tracks.clone(),
        anchor: opening.anchor,
    };
    facts::append(tx, &fact).await?;
    Ok(true)
}

/// Stores an anchor; says whether it is new.
pub(super) async fn insert_anchor(
    tx: &mut SqliteConnection,
    run: &RunId,
    anchor: Anchor,
    is_chained: bool,
) -> Result<bool, IndexError> {
    let inserted = sqlx::query(
        "insert into anchor (run_id, media_us, wall_us, clock_state, is_chained, boot_id, boot_us)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
    )
    .bind(run.as_str())
    .bind(anchor.media.0)
    .bind(anchor.wall.0)
    .bind(name_of(&anchor.clock_state))
    .bind(is_chained)
    .bind(anchor.boot.map(|b| b.boot.hyphenated().to_string()))
    .bind(anchor.boot.map(|b| b.us))
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

pub(super) async fn end_run(tx: &mut SqliteConnection, run: &RunId) -> Result<(), IndexError> {
    let ended = sqlx::query("update run set is_ended = 1 where run_id = $1 and is_ended = 0")
        .bind(run.as_str())
        .execute(&mut *tx)
        .await?;
    if ended.rows_affected() > 0 {
        facts::append(tx, &Fact::RunEnded { run: run.clone() }).await?;
    }
    Ok(())
}
