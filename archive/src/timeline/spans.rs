//! From recorded media time to spans of wall time that never overlap.

use std::collections::{BTreeMap, BTreeSet};

use super::{JOIN_US, Recorded, Run, Span, Window};
use crate::ids::RunId;
use crate::time::{MediaTime, RunClock, WallTime};

/// Where everything that was recorded lies on wall time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placed {
    /// What can be played, ascending, never overlapping.
    pub spans: Vec<Span>,
    /// What lies under a later run, ascending by start.
    pub hidden: Vec<Span>,
    /// Runs without an anchor.
    pub unplaced: Vec<RunId>,
}

/// Places all recorded ranges of one stream; see the module for the rules.
pub fn place(runs: &[Run], recorded: &[Recorded]) -> Placed {
    let clocks: BTreeMap<&RunId, &RunClock> = runs.iter().map(|r| (&r.run, &r.clock)).collect();
    let mut by_run: BTreeMap<&RunId, Vec<&Recorded>> = BTreeMap::new();
    for range in recorded.iter().filter(|range| range.start < range.end) {
        by_run.entry(&range.run).or_default().push(range);
    }
    let mut latest_first: Vec<_> = by_run.into_iter().collect();
    let first_sequence = |ranges: &[&Recorded]| ranges.iter().map(|range| range.sequence).min();
    latest_first.sort_by_key(|(run, ranges)| (first_sequence(ranges), *run));
    latest_first.reverse();

    let mut placed = Placed::default();
    let mut taken = Taken::default();
    let mut unplaced = BTreeSet::new();
    for (run, ranges) in latest_first {
        for (media_start, media_end) in join(ranges) {
            let clock = clocks.get(run);
            let walls = clock.and_then(|c| c.wall(media_start).zip(c.wall(media_end)));
            let (Some(clock), Some((start, end))) = (clock, walls) else {
                unplaced.insert(run.clone());
                continue;
            };
            let span = Span {
                start,
                end,
                run: run.clone(),
                media_start,
                media_end,
            };
            let (free, covered) = taken.split(span.window());
            placed
                .spans
                .extend(free.iter().filter_map(|part| cut(&span, clock, *part)));
            placed
                .hidden
                .extend(covered.iter().filter_map(|part| cut(&span, clock, *part)));
            for part in free {
                taken.add(part);
            }
        }
    }
    placed.spans.sort_by_key(|span| span.start);
    placed
        .hidden
        .sort_by(|a, b| (a.start, a.end, &a.run).cmp(&(b.start, b.end, &b.run)));
    placed.unplaced = unplaced.into_iter().collect();
    placed
}

/// The part of a span within a window; `None` if nothing is left.
pub(super) fn cut(span: &Span, clock: &RunClock, part: Window) -> Option<Span> {
    if part.start >= part.end {
        return None;
    }
    let media = |wall: WallTime| {
        let at = clock.media(wall).unwrap_or(span.media_start);
        at.clamp(span.media_start, span.media_end)
    };
    // The ends that are not cut stay exactly what was recorded; the clock's inverse may be 1 µs off.
    Some(Span {
        start: part.start,
        end: part.end,
        run: span.run.clone(),
        media_start: if part.start == span.start {
            span.media_start
        } else {
            media(part.start)
        },
        media_end: if part.end == span.end {
            span.media_end
        } else {
            media(part.end)
        },
    })
}

/// The ranges of one run, ascending, those that overlap or nearly touch joined.
fn join(mut ranges: Vec<&Recorded>) -> Vec<(MediaTime, MediaTime)> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut joined: Vec<(MediaTime, MediaTime)> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some((_, end)) if range.start - *end <= JOIN_US => *end = range.end.max(*end),
            _ => joined.push((range.start, range.end)),
        }
    }
    joined
}

/// Wall time that later runs already cover: disjoint stretches, end by start.
#[derive(Default)]
struct Taken(BTreeMap<WallTime, WallTime>);

impl Taken {
    /// The parts of a window that are free, and those that are not.
    fn split(&self, window: Window) -> (Vec<Window>, Vec<Window>) {
        let (mut free, mut covered) = (Vec::new(), Vec::new());
        let mut at = window.start;
        let first = self
            .0
            .range(..=window.start)
            .next_back()
            .map_or(window.start, |(start, _)| *start);
        for (start, end) in self.0.range(first..window.end.max(first)) {
            let part = window.overlap(Window {
                start: *start,
                end: *end,
            });
            if part.start >= part.end {
                continue;
            }
            if at < part.start {
                free.push(Window {
                    start: at,
                    end: part.start,
                });
            }
            covered.push(part);
            at = part.end;
        }
        if at < window.end {
            free.push(Window {
                start: at,
                end: window.end,
            });
        }
        (free, covered)
    }

    fn add(&mut self, free: Window) {
        self.0.insert(free.start, free.end);
    }
}
