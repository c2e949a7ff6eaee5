//! What lies between the spans, and why.

use super::{Hole, Span, Window};
use crate::gap::Gap;
use crate::time::WallTime;

/// All of the window that no span covers, cut where the cause changes.
pub(super) fn explain(window: Window, spans: &[Span], stated: &[Stated<'_>]) -> Vec<Hole> {
    let mut holes = Vec::new();
    for empty in between(window, spans) {
        let inside: Vec<_> = stated
            .iter()
            .filter(|s| s.gap.start < empty.end && s.end > empty.start)
            .collect();
        let mut cuts: Vec<_> = inside
            .iter()
            .flat_map(|s| [s.gap.start, s.end])
            .filter(|cut| empty.start < *cut && *cut < empty.end)
            .chain([empty.start, empty.end])
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        for pair in cuts.windows(2) {
            // The last in order is the one that started latest.
            let cause = inside
                .iter()
                .rfind(|s| s.gap.start <= pair[0] && s.end >= pair[1]);
            push(
                &mut holes,
                Hole {
                    start: pair[0],
                    end: pair[1],
                    cause: cause.map(|s| s.gap.cause),
                    gap_id: cause.map(|s| s.gap.gap_id),
                },
            );
        }
    }
    holes
}

/// A gap whose end is known or has been worked out.
pub(super) struct Stated<'a> {
    gap: &'a Gap,
    end: WallTime,
}

/// The gaps that reach into the window, by start; one without end lasts until the next of all spans.
pub(super) fn end_gaps<'a>(window: Window, all_spans: &[Span], gaps: &'a [Gap]) -> Vec<Stated<'a>> {
    let end = |gap: &Gap| {
        gap.end.unwrap_or_else(|| {
            let next = all_spans.partition_point(|span| span.start < gap.start);
            all_spans.get(next).map_or(window.end, |span| span.start)
        })
    };
    let mut stated: Vec<_> = gaps
        .iter()
        .map(|gap| Stated { gap, end: end(gap) })
        .filter(|s| s.gap.start < s.end && s.gap.start < window.end && s.end > window.start)
        .collect();
    stated.sort_by_key(|s| (s.gap.start, s.gap.gap_id, s.end, s.gap.cause));
    stated
}

fn between(window: Window, spans: &[Span]) -> Vec<Window> {
    let mut empty = Vec::new();
    let mut at = window.start;
    for span in spans {
        if at < span.start {
            empty.push(Window {
                start: at,
                end: span.start,
            });
        }
        at = span.end;
    }
    if at < window.end {
        empty.push(Window {
            start: at,
            end: window.end,
        });
    }
    empty
}

/// Adds a hole, joined with the one before it if the same gap explains both.
fn push(holes: &mut Vec<Hole>, hole: Hole) {
    match holes.last_mut() {
        Some(last) if last.end == hole.start && last.gap_id == hole.gap_id => last.end = hole.end,
        _ => holes.push(hole),
    }
}
