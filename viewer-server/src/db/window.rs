//! What streams have recorded in windows of wall time, and their gaps: of many at once, in one question each.

use archive::gap::{Gap, GapCause};
use archive::ids::{RunId, StreamId};
use archive::time::{Anchor, ClockState, MediaTime, WallTime};
use archive::timeline::{Recorded, Window};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::clock::MAX_SEGMENT_US;
use super::{Db, DbError, DbResult, get, get_id, share};

/// What a segment holds, and when: answered from an index alone.
#[derive(Debug, Clone)]
pub struct SpanRow {
    /// Run, number and media time.
    pub recorded: Recorded,
    /// Its place on wall time.
    pub wall: Window,
}

impl SpanRow {
    /// The run's clock as far as this segment tells it.
    pub fn anchors(&self) -> [Anchor; 2] {
        let anchor = |media, wall| Anchor {
            media,
            wall,
            clock_state: ClockState::Synchronized,
            boot: None,
        };
        [
            anchor(self.recorded.start, self.wall.start),
            anchor(self.recorded.end, self.wall.end),
        ]
    }
}

/// Most windows of one statement.
const AT_ONCE: usize = 128;

/// Four values for each window: its place in the list, stream, start and end.
pub(super) fn spans_in_windows(windows: usize) -> String {
    format!(
        "WITH asked (place, stream_id, from_us, to_us) AS (VALUES {})
         SELECT asked.place, s.run_id, s.start_us, s.end_us, s.start_media_us, s.end_media_us
         FROM asked CROSS JOIN segment s
         WHERE s.stream_id = asked.stream_id AND s.start_us >= asked.from_us - {MAX_SEGMENT_US}
             AND s.start_us < asked.to_us AND s.end_us > asked.from_us
         ORDER BY asked.place, s.start_us",
        placeholders(windows)
    )
}

/// Four values for each window, as above.
pub(super) fn gaps_in_windows(windows: usize) -> String {
    // Two questions, because one index can't answer an OR.
    let of = |condition: &str| {
        format!(
            "SELECT asked.place, g.gap_id, g.stream_id, g.start_us, g.end_us, g.cause, g.detail
             FROM asked CROSS JOIN gap g
             WHERE g.stream_id = asked.stream_id AND {condition} AND g.start_us < asked.to_us"
        )
    };
    format!(
        "WITH asked (place, stream_id, from_us, to_us) AS (VALUES {})
         {} UNION ALL {} ORDER BY 1, 4",
        placeholders(windows),
        of("g.end_us > asked.from_us"),
        of("g.end_us IS NULL")
    )
}

fn placeholders(windows: usize) -> String {
    let of = |i: usize| format!("(${}, ${}, ${}, ${})", 4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4);
    (0..windows).map(of).collect::<Vec<_>>().join(", ")
}

impl Db {
    /// What is recorded of a stream in a window, by start.
    pub async fn spans(&self, stream: &StreamId, window: Window) -> DbResult<Vec<SpanRow>> {
        let mut found = self.spans_of(&[(stream.clone(), window)]).await?;
        Ok(found.pop().unwrap_or_default())
    }

    /// The gaps of a stream that reach into a window, by start.
    pub async fn gaps(&self, stream: &StreamId, window: Window) -> DbResult<Vec<Gap>> {
        let mut found = self.gaps_of(&[(stream.clone(), window)]).await?;
        Ok(found.pop().unwrap_or_default())
    }

    /// What is recorded in each of some windows, by start.
    pub async fn spans_of(&self, asked: &[(StreamId, Window)]) -> DbResult<Vec<Vec<SpanRow>>> {
        let mut found: Vec<Vec<SpanRow>> = Vec::new();
        found.resize_with(asked.len(), Vec::new);
        for (place, row) in self.ask(asked, spans_in_windows).await? {
            let list: &mut Vec<SpanRow> = &mut found[place];
            // Ordered by start, so the place in the list serves where the order of runs is asked for.
            let span = span_row(&row, list.len() as u64)?;
            list.push(span);
        }
        Ok(found)
    }

    /// The gaps that reach into each of some windows, by start.
    pub async fn gaps_of(&self, asked: &[(StreamId, Window)]) -> DbResult<Vec<Vec<Gap>>> {
        let mut found: Vec<Vec<Gap>> = Vec::new();
        found.resize_with(asked.len(), Vec::new);
        for (place, row) in self.ask(asked, gaps_in_windows).await? {
            found[place].push(gap_row(&row)?);
        }
        Ok(found)
    }

    /// Rows with the place of the window that each belongs to.
    async fn ask(
        &self,
        asked: &[(StreamId, Window)],
        sql: fn(usize) -> String,
    ) -> DbResult<Vec<(usize, AnyRow)>> {
        let size = share(asked.len()).min(AT_ONCE);
        let questions = asked.chunks(size).enumerate().map(|(chunk, windows)| async move {
            let mut query = sqlx::query(AssertSqlSafe(sql(windows.len())));
            for (i, (stream, window)) in (0_i64..).zip(windows) {
                query = query
                    .bind(i)
                    .bind(stream.as_str())
                    .bind(window.start.0)
                    .bind(window.end.0);
            }
            let rows = query.fetch_all(&self.reader).await?;
            let placed = rows.into_iter().map(|row| {
                let place = usize::try_from(get::<i64>(&row, "place")?).unwrap_or(usize::MAX);
                if place >= windows.len() {
                    return Err(DbError::damaged("place", "is none that was asked for"));
                }
                Ok((chunk * size + place, row))
            });
            placed.collect::<DbResult<Vec<_>>>()
        });
        let found = futures::future::try_join_all(questions).await?;
        Ok(found.into_iter().flatten().collect())
    }
}

pub(super) fn span_row(row: &AnyRow, sequence: u64) -> DbResult<SpanRow> {
    Ok(SpanRow {
        recorded: Recorded {
            run: get_id::<RunId>(row, "run_id")?,
            sequence,
            start: MediaTime(get(row, "start_media_us")?),
            end: MediaTime(get(row, "end_media_us")?),
        },
        wall: Window {
            start: WallTime(get(row, "start_us")?),
            end: WallTime(get(row, "end_us")?),
        },
    })
}

fn gap_row(row: &AnyRow) -> DbResult<Gap> {
    let cause: &str = get(row, "cause")?;
    let cause: GapCause =
        serde_json::from_value(cause.into()).map_err(|e| DbError::damaged("gap.cause", e))?;
    Ok(Gap {
        gap_id: get_id(row, "gap_id")?,
        stream: get_id(row, "stream_id")?,
        start: WallTime(get(row, "start_us")?),
        end: get::<Option<i64>>(row, "end_us")?.map(WallTime),
        start_boot: None,
        end_boot: None,
        cause,
        detail: get(row, "detail")?,
    })
}
