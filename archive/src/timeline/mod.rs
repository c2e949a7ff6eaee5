//! Lays runs, gaps and interactions of one stream out on wall time: what can be played, what is missing and why.
//!
//! Pure: the same facts in any order give the same timeline. The rules:
//!
//! - A *recorded* range is one segment's stretch of media time. Ranges of one run that overlap or leave at most
//!   [`JOIN_US`] between them are one; that much is the rounding of track timescales, not a loss.
//! - Runs are ordered by the sequence number of their first segment, never by clock: it only grows.
//! - Where two runs lie on the same wall time, because the clock was stepped back, the later run is shown wherever
//!   it recorded. What it covers of the earlier run is not lost: it is listed in [`Timeline::hidden`].
//! - A gap fills only what no span covers. A gap without end reaches to the next span. Where gaps overlap, the one
//!   that started later gives the cause.
//! - What neither span nor gap covers is a hole of unknown cause, and is listed too.

mod holes;
mod spans;

use std::collections::BTreeMap;

use crate::gap::{Gap, GapCause};
use crate::ids::{InteractionId, RunId};
use crate::time::{DurationUs, MediaTime, RunClock, WallTime};

pub use spans::{Placed, place};

/// Longest hole between two segments of a run that counts as recorded, in microseconds.
pub const JOIN_US: DurationUs = 1_000;

/// A stretch of wall time, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Where it starts.
    pub start: WallTime,
    /// Where it ends; nothing is in it if that is not after the start.
    pub end: WallTime,
}

impl Window {
    /// What two windows share; empty at `start` if nothing.
    pub fn overlap(self, other: Self) -> Self {
        let start = self.start.max(other.start);
        Self {
            start,
            end: self.end.min(other.end).max(start),
        }
    }

    /// Length in microseconds, 0 if empty.
    pub fn duration_us(self) -> DurationUs {
        (self.end - self.start).max(0)
    }
}

/// A run and its view on wall time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which run.
    pub run: RunId,
    /// Built from all its anchors.
    pub clock: RunClock,
}

/// The media time that one segment holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Recorded {
    /// The run that it is part of.
    pub run: RunId,
    /// The segment's number in its stream.
    pub sequence: u64,
    /// Start of its first fragment.
    pub start: MediaTime,
    /// End of its last fragment.
    pub end: MediaTime,
}

/// One person's time at the counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Which interaction.
    pub interaction: InteractionId,
    /// Where it starts.
    pub start: WallTime,
    /// Where it ends; `None` while it goes on.
    pub end: Option<WallTime>,
}

/// A stretch that can be played without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub start: WallTime,
    /// Where it ends, after the start.
    pub end: WallTime,
    /// The run that it is part of.
    pub run: RunId,
    /// Its start in the run.
    pub media_start: MediaTime,
    /// Its end in the run.
    pub media_end: MediaTime,
}

impl Span {
    /// Its stretch of wall time.
    pub fn window(&self) -> Window {
        Window {
            start: self.start,
            end: self.end,
        }
    }
}

/// A stretch in which nothing can be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// Where it starts.
    pub start: WallTime,
    /// Where it ends, after the start.
    pub end: WallTime,
    /// Why; `None` if no gap says so.
    pub cause: Option<GapCause>,
    /// The gap that says so.
    pub gap_id: Option<uuid::Uuid>,
}

/// How much of a stretch can be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// All of it.
    Full,
    /// Some of it.
    Partial {
        /// What is missing.
        missing_us: DurationUs,
    },
    /// Nothing.
    None {
        /// The whole length.
        missing_us: DurationUs,
    },
}

/// An interaction within the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedVisit {
    /// Which interaction.
    pub interaction: InteractionId,
    /// Where it starts, or the window does.
    pub start: WallTime,
    /// Where it ends, or the window does.
    pub end: WallTime,
    /// How much of that can be played.
    pub coverage: Coverage,
}

/// One stream in a window of wall time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// The window asked for; everything below lies in it.
    pub window: Window,
    /// What can be played, ascending, never overlapping.
    pub spans: Vec<Span>,
    /// What was recorded but lies under a later run, ascending by start.
    pub hidden: Vec<Span>,
    /// All of the window that is not in `spans`, ascending, never overlapping.
    pub holes: Vec<Hole>,
    /// The interactions that touch the window, ascending by start.
    pub visits: Vec<PlacedVisit>,
    /// Runs that recorded but have no anchor yet, so that nobody knows when.
    pub unplaced: Vec<RunId>,
}

impl Timeline {
    /// Lays out one stream's facts, given in any order; those outside the window do no harm.
    ///
    /// The window should not reach beyond what could have been recorded yet: what lies ahead is a hole.
    /// A gap without end is only seen to be over if what was recorded after it is given too. A gap
    /// that names another stream must be left out by the caller.
    pub fn lay(window: Window, runs: &[Run], recorded: &[Recorded], gaps: &[Gap], visits: &[Visit]) -> Self {
        let placed = place(runs, recorded);
        let clocks = runs.iter().map(|r| (&r.run, &r.clock)).collect();
        let ends = holes::end_gaps(window, &placed.spans, gaps);
        let spans = clip(placed.spans, &clocks, window);
        let holes = holes::explain(window, &spans, &ends);
        let mut timeline = Self {
            window,
            hidden: clip(placed.hidden, &clocks, window),
            visits: visits
                .iter()
                .filter_map(|v| place_visit(window, &spans, v))
                .collect(),
            spans,
            holes,
            unplaced: placed.unplaced,
        };
        timeline
            .visits
            .sort_by(|a, b| (a.start, a.end, &a.interaction).cmp(&(b.start, b.end, &b.interaction)));
        timeline
    }
}

/// How much of a window the spans cover; they ascend and never overlap, as [`Timeline::spans`].
///
/// An empty window is a moment: full if a span contains it.
pub fn coverage(spans: &[Span], window: Window) -> Coverage {
    let first = spans.partition_point(|span| span.end <= window.start);
    let rest = &spans[first..];
    if window.duration_us() == 0 {
        return match rest.first() {
            Some(span) if span.start <= window.start => Coverage::Full,
            _ => Coverage::None { missing_us: 0 },
        };
    }
    let inside = rest.iter().take_while(|span| span.start < window.end);
    let covered_us: DurationUs = inside
        .map(|span| span.window().overlap(window).duration_us())
        .sum();
    match window.duration_us() - covered_us {
        0 => Coverage::Full,
        missing_us if covered_us == 0 => Coverage::None { missing_us },
        missing_us => Coverage::Partial { missing_us },
    }
}

fn place_visit(window: Window, spans: &[Span], visit: &Visit) -> Option<PlacedVisit> {
    let whole = Window {
        start: visit.start,
        end: visit.end.unwrap_or(window.end).max(visit.start),
    };
    // A visit of no length is a moment and is shown if the window contains it.
    let reaches_in = whole.end > window.start || whole.start >= window.start;
    if whole.start >= window.end || !reaches_in {
        return None;
    }
    let shown = whole.overlap(window);
    Some(PlacedVisit {
        interaction: visit.interaction.clone(),
        start: shown.start,
        end: shown.end,
        coverage: coverage(spans, shown),
    })
}

fn clip(spans: Vec<Span>, clocks: &BTreeMap<&RunId, &RunClock>, window: Window) -> Vec<Span> {
    let clipped = spans.into_iter().filter_map(|span| {
        let clock = clocks.get(&span.run)?;
        spans::cut(&span, clock, span.window().overlap(window))
    });
    clipped.collect()
}

#[cfg(test)]
mod tests;
