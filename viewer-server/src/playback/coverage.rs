//! How much of an interaction there is to see.
//!
//! An interaction is covered as well as the main stream of its counter that shows most of it: who saw all of it
//! from one viewpoint misses nothing. Streams are not added up, since nobody watches half of a service from
//! one side and the rest from another without noticing a break. A sub stream counts where there is no main one.

use archive::gap::Gap;
use archive::ids::{Quality, StreamId};
use archive::interaction::Interaction;
use archive::time::{DurationUs, RunClock, WallTime};
use archive::timeline::{Coverage, Recorded, Run, Span, Timeline, Window, coverage};

use crate::centre::Centre;
use crate::db::{DbResult, SpanRow};
use crate::places::Places;

/// Footage that ended less than this ago may still be sealed and uploaded.
const ON_ITS_WAY_US: DurationUs = 5 * 60_000_000;
/// So much is no loss: the clocks' last milliseconds.
const SEAM_US: DurationUs = 100_000;

/// What there is to see of an interaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The stream that shows most; `None` if the counter has none.
    pub stream: Option<StreamId>,
    /// `full`, `partial`, `none` or `pending`.
    pub coverage: &'static str,
    /// How much of it no picture shows.
    pub missing_us: DurationUs,
    /// What that stream shows.
    pub spans: Vec<Span>,
}

impl Centre {
    /// What there is to see of each of some interactions.
    ///
    /// # Errors
    /// [`crate::db::DbError`].
    pub async fn seen(&self, places: &Places, interactions: &[&Interaction]) -> DbResult<Vec<Seen>> {
        let now = self.now();
        let windows: Vec<_> = interactions.iter().map(|i| bounds(i, now)).collect();
        let streams: Vec<_> = interactions
            .iter()
            .map(|i| streams_that_count(places, i))
            .collect();
        let asked: Vec<_> = streams
            .iter()
            .zip(&windows)
            .flat_map(|(streams, window)| streams.iter().map(|stream| (stream.clone(), *window)))
            .collect();
        let (spans, gaps) = tokio::try_join!(self.db.spans_of(&asked), self.db.gaps_of(&asked))?;
        let mut told = asked.into_iter().zip(spans.into_iter().zip(gaps));
        Ok(streams
            .iter()
            .zip(windows)
            .map(|(streams, window)| {
                let looks = told.by_ref().take(streams.len());
                best(
                    window,
                    looks.map(|((stream, _), (rows, gaps))| look(stream, window, &rows, &gaps, now)),
                )
            })
            .collect())
    }
}

/// From the start of the footage to its end, or to now.
fn bounds(interaction: &Interaction, now: WallTime) -> Window {
    let end = interaction.footage.end.unwrap_or(now).min(now);
    Window {
        start: interaction.footage.start.min(end),
        end,
    }
}

fn streams_that_count(places: &Places, interaction: &Interaction) -> Vec<StreamId> {
    let all = || places.streams_of(&interaction.counter).map(|s| &s.stream_id);
    let has_main = all().any(|s| s.quality() == Quality::Main);
    all()
        .filter(|s| !has_main || s.quality() == Quality::Main)
        .cloned()
        .collect()
}

/// What one stream shows, and whether more of it may come.
fn look(stream: StreamId, window: Window, rows: &[SpanRow], gaps: &[Gap], now: WallTime) -> (Seen, bool) {
    let Timeline { spans, holes, .. } = Timeline::lay(window, &runs(rows), &recorded(rows), gaps, &[]);
    // What a gap explains will not come any more.
    let unexplained = holes.iter().filter(|hole| hole.cause.is_none());
    let unexplained_us: DurationUs = unexplained.map(|hole| hole.end - hole.start).sum();
    let is_awaited = unexplained_us >= SEAM_US && now - window.end < ON_ITS_WAY_US;
    let (coverage, missing_us) = match coverage(&spans, window) {
        Coverage::Full => ("full", 0),
        Coverage::Partial { missing_us } if missing_us < SEAM_US => ("full", 0),
        Coverage::Partial { missing_us } => ("partial", missing_us),
        Coverage::None { missing_us } => ("none", missing_us),
    };
    let seen = Seen {
        stream: Some(stream),
        coverage,
        missing_us,
        spans,
    };
    (seen, is_awaited)
}

/// The look that misses least; of equal ones the first. While one that is not full may grow, it is pending.
fn best(window: Window, looks: impl Iterator<Item = (Seen, bool)>) -> Seen {
    let mut best: Option<Seen> = None;
    let mut is_any_awaited = false;
    for (seen, is_awaited) in looks {
        is_any_awaited |= is_awaited;
        let rank = |seen: &Seen| (seen.coverage != "full", seen.coverage == "none", seen.missing_us);
        if best.as_ref().is_none_or(|best| rank(&seen) < rank(best)) {
            best = Some(seen);
        }
    }
    let mut best = best.unwrap_or(Seen {
        stream: None,
        coverage: "none",
        missing_us: window.duration_us(),
        spans: Vec::new(),
    });
    if is_any_awaited && best.coverage != "full" {
        best.coverage = "pending";
    }
    best
}

/// The runs of some spans, each with the clock that the spans tell.
pub fn runs(rows: &[SpanRow]) -> Vec<Run> {
    let mut anchors = std::collections::BTreeMap::<_, Vec<_>>::new();
    for row in rows {
        anchors
            .entry(&row.recorded.run)
            .or_default()
            .extend(row.anchors());
    }
    anchors
        .into_iter()
        .map(|(run, anchors)| Run {
            run: run.clone(),
            clock: RunClock::new(&anchors),
        })
        .collect()
}

/// What the spans recorded.
pub fn recorded(rows: &[SpanRow]) -> Vec<Recorded> {
    rows.iter().map(|row| row.recorded.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::gap::GapCause;
    use archive::ids::RunId;
    use archive::time::MediaTime;

    const SECOND: i64 = 1_000_000;
    const WINDOW: Window = Window {
        start: WallTime(0),
        end: WallTime(100 * SECOND),
    };
    const LATER: WallTime = WallTime(1000 * SECOND);

    fn stream(viewpoint: &str) -> StreamId {
        format!("q1.{viewpoint}.main").parse().unwrap()
    }

    fn row(from_s: i64, to_s: i64) -> SpanRow {
        SpanRow {
            recorded: Recorded {
                run: RunId::from_uuid(uuid::Uuid::from_bytes([1; 16])),
                sequence: 1,
                start: MediaTime(from_s * SECOND),
                end: MediaTime(to_s * SECOND),
            },
            wall: Window {
                start: WallTime(from_s * SECOND),
                end: WallTime(to_s * SECOND),
            },
        }
    }

    fn seen(looks: &[(&str, &[SpanRow], &[Gap])], now: WallTime) -> (String, &'static str, i64) {
        let looks = looks
            .iter()
            .map(|(viewpoint, rows, gaps)| look(stream(viewpoint), WINDOW, rows, gaps, now));
        let seen = best(WINDOW, looks);
        let stream = seen.stream.map_or_else(String::new, |s| s.viewpoint().to_owned());
        (stream, seen.coverage, seen.missing_us / SECOND)
    }

    #[test]
    fn one_stream_that_saw_all_is_enough() {
        let (half, whole) = ([row(0, 50)], [row(0, 100)]);
        let looks: [(&str, &[_], &[_]); 3] =
            [("desk", &half, &[]), ("front", &whole, &[]), ("side", &[], &[])];
        assert_eq!(seen(&looks, LATER), ("front".to_owned(), "full", 0));
    }

    #[test]
    fn the_stream_that_misses_least_counts_and_streams_are_not_added_up() {
        let (first, second) = ([row(0, 50)], [row(40, 100)]);
        let looks: [(&str, &[_], &[_]); 2] = [("desk", &first, &[]), ("front", &second, &[])];
        assert_eq!(seen(&looks, LATER), ("front".to_owned(), "partial", 40));
        assert_eq!(seen(&[], LATER), (String::new(), "none", 100));
    }

    #[test]
    fn more_is_awaited_as_long_as_any_stream_may_grow() {
        let soon = WINDOW.end + 10 * SECOND;
        let gap = Gap {
            gap_id: uuid::Uuid::nil(),
            stream: stream("front"),
            start: WallTime(60 * SECOND),
            end: Some(WINDOW.end),
            start_boot: None,
            end_boot: None,
            cause: GapCause::CameraOffline,
            detail: String::new(),
        };
        let (late, short) = ([row(0, 20)], [row(0, 60)]);
        let over: [(&str, &[_], &[_]); 1] = [("front", &short, std::slice::from_ref(&gap))];
        assert_eq!(seen(&over, soon), ("front".to_owned(), "partial", 40));
        let both: [(&str, &[_], &[_]); 2] = [over[0], ("side", &late, &[])];
        assert_eq!(seen(&both, soon), ("front".to_owned(), "pending", 40));
        assert_eq!(seen(&both, LATER), ("front".to_owned(), "partial", 40));
    }
}
