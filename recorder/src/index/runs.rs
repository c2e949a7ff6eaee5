//! Runs and their anchors; each change is a fact for the server in the same transaction.

use archive::ids::{RunId, StreamId};
use archive::segment::Track;
use archive::time::{Anchor, MediaTime, RunClock, WallTime};
use archive::uplink::Fact;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

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
    /// Stores a run that begins.
    pub async fn start_run(&self, opening: &RunOpening) -> Result<(), IndexError> {
        let mut tx = self.writer.begin().await?;
        sqlx::query("insert into run (run_id, stream, tracks) values ($1, $2, $3)")
            .bind(opening.run.as_str())
            .bind(opening.stream.as_str())
            .bind(to_json(&opening.tracks))
            .execute(&mut *tx)
            .await?;
        insert_anchor(&mut tx, &opening.run, opening.anchor).await?;
        facts::append(
            &mut tx,
            &Fact::RunStarted {
                run: opening.run.clone(),
                stream: opening.stream.clone(),
                tracks: opening.tracks.clone(),
                anchor: opening.anchor,
            },
        )
        .await?;
        tx.commit().await?;
        self.note_change();
        Ok(())
    }

    /// The anchors of a run.
    pub async fn anchors(&self, run: &RunId) -> Result<Vec<Anchor>, IndexError> {
        let rows = sqlx::query(
            "select media_us, wall_us, clock_state from anchor where run_id = $1 order by media_us",
        )
        .bind(run.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(read_anchor).collect()
    }

    /// Wall time of a position in a run.
    pub async fn wall_of(&self, run: &RunId, media: MediaTime) -> Result<Option<WallTime>, IndexError> {
        Ok(RunClock::new(&self.anchors(run).await?).wall(media))
    }

    /// The runs of a stream that were never ended: a crash.
    pub async fn open_runs(&self, stream: &StreamId) -> Result<Vec<RunId>, IndexError> {
        let rows: Vec<String> =
            sqlx::query_scalar("select run_id from run where stream = $1 and is_ended = 0 order by run_id")
                .bind(stream.as_str())
                .fetch_all(&self.reader)
                .await?;
        rows.iter()
            .map(|id| {
                id.parse()
                    .map_err(|e: archive::ids::InvalidId| super::damaged("run.run_id")(e.to_string()))
            })
            .collect()
    }
}

/// Reads `media_us, wall_us, clock_state`.
pub(super) fn read_anchor(row: &SqliteRow) -> Result<Anchor, IndexError> {
    let state: String = row.try_get(2)?;
    Ok(Anchor {
        media: MediaTime(row.try_get(0)?),
        wall: WallTime(row.try_get(1)?),
        clock_state: from_json("anchor.clock_state", &format!("\"{state}\""))?,
    })
}

pub(super) async fn insert_anchor(
    tx: &mut SqliteConnection,
    run: &RunId,
    anchor: Anchor,
) -> Result<(), IndexError> {
    sqlx::query(
        "insert into anchor (run_id, media_us, wall_us, clock_state) values ($1, $2, $3, $4)
         on conflict do nothing",
    )
    .bind(run.as_str())
    .bind(anchor.media.0)
    .bind(anchor.wall.0)
    .bind(name_of(&anchor.clock_state))
    .execute(tx)
    .await?;
    Ok(())
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
