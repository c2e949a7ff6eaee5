//! The rules by example, and against a model that knows only cells of 10 ms.

use super::*;
use crate::time::{Anchor, ClockState};
use proptest::prelude::*;

const CELL_US: i64 = 10_000;

fn run_id(number: u64) -> RunId {
    RunId::from_uuid(uuid::Uuid::from_u64_pair(9, number))
}

fn run(number: u64, anchors: &[(i64, i64)]) -> Run {
    let anchors: Vec<_> = anchors
        .iter()
        .map(|(media_us, wall_us)| Anchor {
            media: MediaTime(*media_us),
            wall: WallTime(*wall_us),
            clock_state: ClockState::Synchronized,
            boot: None,
        })
        .collect();
    Run {
        run: run_id(number),
        clock: RunClock::new(&anchors),
    }
}

fn recorded(number: u64, sequence: u64, start_us: i64, end_us: i64) -> Recorded {
    Recorded {
        run: run_id(number),
        sequence,
        start: MediaTime(start_us),
        end: MediaTime(end_us),
    }
}

fn window(start_us: i64, end_us: i64) -> Window {
    Window {
        start: WallTime(start_us),
        end: WallTime(end_us),
    }
}

fn gap(number: u64, start_us: i64, end_us: Option<i64>, cause: GapCause) -> Gap {
    Gap {
        gap_id: uuid::Uuid::from_u64_pair(7, number),
        stream: "q01.front.main".parse().unwrap(),
        start: WallTime(start_us),
        end: end_us.map(WallTime),
        start_boot: None,
        end_boot: None,
        cause,
        detail: String::new(),
    }
}

fn walls(spans: &[Span]) -> Vec<(i64, i64)> {
    spans.iter().map(|s| (s.start.0, s.end.0)).collect()
}

fn causes(timeline: &Timeline) -> Vec<(i64, i64, Option<GapCause>)> {
    let holes = timeline.holes.iter();
    holes.map(|h| (h.start.0, h.end.0, h.cause)).collect()
}

#[test]
fn segments_that_touch_within_a_millisecond_are_one_span() {
    let runs = [run(1, &[(0, 1_000_000)])];
    let parts = [
        recorded(1, 1, 0, 60_000_000),
        recorded(1, 2, 60_001_000, 120_000_000),
        recorded(1, 3, 120_001_001, 180_000_000),
    ];
    let placed = place(&runs, &parts);
    assert_eq!(
        walls(&placed.spans),
        [(1_000_000, 121_000_000), (121_001_001, 181_000_000)]
    );
}

#[test]
fn after_the_clock_was_set_back_the_later_run_is_shown() {
    let runs = [run(1, &[(0, 0)]), run(2, &[(0, 40_000_000)])];
    let parts = [recorded(1, 1, 0, 100_000_000), recorded(2, 2, 0, 20_000_000)];
    let placed = place(&runs, &parts);
    let shown: Vec<_> = placed
        .spans
        .iter()
        .map(|s| (s.start.0, s.end.0, &s.run))
        .collect();
    let (first, second) = (run_id(1), run_id(2));
    assert_eq!(
        shown,
        [
            (0, 40_000_000, &first),
            (40_000_000, 60_000_000, &second),
            (60_000_000, 100_000_000, &first),
        ]
    );
    assert_eq!(placed.spans[2].media_start, MediaTime(60_000_000));
    assert_eq!(walls(&placed.hidden), [(40_000_000, 60_000_000)]);
}

#[test]
fn which_run_is_later_is_told_by_sequence_and_not_by_id_or_clock() {
    let runs = [run(1, &[(0, 0)]), run(2, &[(0, 0)])];
    let parts = [recorded(2, 1, 0, 50_000), recorded(1, 2, 0, 50_000)];
    let placed = place(&runs, &parts);
    assert_eq!(placed.spans[0].run, run_id(1));
    assert_eq!(placed.hidden[0].run, run_id(2));
}

#[test]
fn a_span_cut_by_the_window_keeps_its_place_in_the_run() {
    let runs = [run(1, &[(0, 5_000_000)])];
    let timeline = Timeline::lay(
        window(6_000_000, 7_000_000),
        &runs,
        &[recorded(1, 1, 0, 60_000_000)],
        &[],
        &[],
    );
    let span = &timeline.spans[0];
    assert_eq!(
        (span.media_start, span.media_end),
        (MediaTime(1_000_000), MediaTime(2_000_000))
    );
    assert_eq!(timeline.holes, []);
}

#[test]
fn a_run_without_anchor_is_named_and_not_placed() {
    let runs = [run(1, &[])];
    let placed = place(&runs, &[recorded(1, 1, 0, 10), recorded(2, 2, 0, 10)]);
    assert_eq!(placed.spans, []);
    assert_eq!(placed.unplaced, [run_id(1), run_id(2)]);
}

#[test]
fn holes_have_the_cause_of_their_gap_or_none() {
    let runs = [run(1, &[(0, 100)]), run(2, &[(0, 300)])];
    let parts = [recorded(1, 1, 0, 100), recorded(2, 2, 0, 100)];
    let gaps = [
        gap(1, 150, Some(250), GapCause::CameraOffline),
        gap(2, 220, Some(280), GapCause::RecorderDown),
        gap(3, 320, Some(380), GapCause::DiskFull), // recorded after all
        gap(4, 400, None, GapCause::CameraSilent),
    ];
    let timeline = Timeline::lay(window(50, 500), &runs, &parts, &gaps, &[]);
    assert_eq!(
        causes(&timeline),
        [
            (50, 100, None),
            (200, 220, Some(GapCause::CameraOffline)),
            (220, 280, Some(GapCause::RecorderDown)),
            (280, 300, None),
            (400, 500, Some(GapCause::CameraSilent)),
        ]
    );
}

#[test]
fn a_forgotten_open_gap_ends_where_recording_goes_on() {
    let runs = [run(1, &[(0, 0)])];
    let parts = [recorded(1, 1, 100_000, 200_000), recorded(1, 2, 300_000, 400_000)];
    let open = [gap(1, 50_000, None, GapCause::RecorderDown)];
    let timeline = Timeline::lay(window(0, 400_000), &runs, &parts, &open, &[]);
    assert_eq!(
        causes(&timeline),
        [
            (0, 50_000, None),
            (50_000, 100_000, Some(GapCause::RecorderDown)),
            (200_000, 300_000, None),
        ]
    );
    // The span that ends the gap may lie before the window.
    let timeline = Timeline::lay(window(250_000, 400_000), &runs, &parts, &open, &[]);
    assert_eq!(causes(&timeline), [(250_000, 300_000, None)]);
}

#[test]
fn coverage_counts_what_is_missing() {
    let runs = [run(1, &[(0, 0)])];
    let parts = [recorded(1, 1, 10_000, 20_000), recorded(1, 2, 30_000, 40_000)];
    let spans = place(&runs, &parts).spans;
    for (start, end, expected) in [
        (10_000, 20_000, Coverage::Full),
        (12_000, 12_000, Coverage::Full),
        (20_000, 20_000, Coverage::None { missing_us: 0 }),
        (10_000, 20_001, Coverage::Partial { missing_us: 1 }),
        (0, 50_000, Coverage::Partial { missing_us: 30_000 }),
        (20_000, 30_000, Coverage::None { missing_us: 10_000 }),
        (90_000, 91_000, Coverage::None { missing_us: 1_000 }),
    ] {
        assert_eq!(coverage(&spans, window(start, end)), expected, "{start} to {end}");
    }
}

#[test]
fn visits_are_cut_to_the_window_and_say_what_is_missing() {
    let runs = [run(1, &[(0, 0)])];
    let visit = |number: u64, start: i64, end: Option<i64>| Visit {
        interaction: InteractionId::from_uuid(uuid::Uuid::from_u64_pair(1, number)),
        start: WallTime(start),
        end: end.map(WallTime),
    };
    let visits = [
        visit(4, 90_000, None),
        visit(1, 0, Some(20_000)),
        visit(2, 0, Some(10_000)),
        visit(3, 30_000, Some(60_000)),
    ];
    let parts = [recorded(1, 1, 0, 50_000)];
    let timeline = Timeline::lay(window(10_000, 100_000), &runs, &parts, &[], &visits);
    let shown: Vec<_> = timeline
        .visits
        .iter()
        .map(|v| (v.start.0, v.end.0, v.coverage))
        .collect();
    assert_eq!(
        shown,
        [
            (10_000, 20_000, Coverage::Full),
            (30_000, 60_000, Coverage::Partial { missing_us: 10_000 }),
            (90_000, 100_000, Coverage::None { missing_us: 10_000 }),
        ]
    );
}

/// Runs with their start cell and ranges of cells; the number of a run is its order.
fn cells() -> impl Strategy<Value = Vec<(i64, Vec<(i64, i64)>)>> {
    let ranges = proptest::collection::vec((0i64..40, 1i64..12), 1..6);
    proptest::collection::vec((0i64..60, ranges), 1..5)
}

fn facts(cells: &[(i64, Vec<(i64, i64)>)]) -> (Vec<Run>, Vec<Recorded>) {
    let (mut runs, mut parts) = (Vec::new(), Vec::new());
    for (order, (at, ranges)) in cells.iter().enumerate() {
        // Ids fall while the order grows, as after a clock was set back.
        let number = 100 - order as u64;
        runs.push(run(number, &[(0, at * CELL_US)]));
        for (index, (start, length)) in ranges.iter().enumerate() {
            let sequence = order as u64 * 10 + index as u64 + 1;
            parts.push(recorded(
                number,
                sequence,
                start * CELL_US,
                (start + length) * CELL_US,
            ));
        }
    }
    (runs, parts)
}

/// The latest run that recorded a cell of wall time.
fn model(cells: &[(i64, Vec<(i64, i64)>)], cell: i64) -> Option<RunId> {
    let has = |(at, ranges): &(i64, Vec<(i64, i64)>)| {
        ranges
            .iter()
            .any(|(start, length)| (at + start..at + start + length).contains(&cell))
    };
    cells
        .iter()
        .rposition(has)
        .map(|order| run_id(100 - order as u64))
}

proptest! {
    #[test]
    fn spans_are_exactly_what_was_recorded(
        cells in cells(),
        (from, length) in (0i64..110, 0i64..110),
    ) {
        let (runs, parts) = facts(&cells);
        let asked = window(from * CELL_US, (from + length) * CELL_US);
        let timeline = Timeline::lay(asked, &runs, &parts, &[], &[]);
        for pair in timeline.spans.windows(2) {
            prop_assert!(pair[0].start < pair[0].end && pair[0].end <= pair[1].start);
        }
        for cell in 0..120 {
            let middle = WallTime(cell * CELL_US + CELL_US / 2);
            let shown: Vec<_> = timeline.spans.iter()
                .filter(|s| s.start <= middle && middle < s.end)
                .collect();
            let expected = model(&cells, cell).filter(|_| (from..from + length).contains(&cell));
            prop_assert_eq!(shown.first().map(|s| s.run.clone()), expected);
            if let Some(span) = shown.first() {
                let at = cells[(100 - (1..=100).find(|n| run_id(*n) == span.run).unwrap()) as usize].0;
                prop_assert_eq!(span.start.0 - span.media_start.0, at * CELL_US);
                prop_assert_eq!(span.end.0 - span.media_end.0, at * CELL_US);
            }
        }
        let covered: i64 = timeline.spans.iter().map(|s| s.window().duration_us()).sum();
        let missing: i64 = timeline.holes.iter().map(|h| h.end - h.start).sum();
        prop_assert_eq!(covered + missing, asked.duration_us());
    }

    #[test]
    fn shown_and_hidden_together_are_all_that_was_recorded(cells in cells()) {
        let (runs, parts) = facts(&cells);
        let placed = place(&runs, &parts);
        let recorded_cells: usize = cells.iter()
            .map(|(_, ranges)| (0..60)
                .filter(|c| ranges.iter().any(|(s, l)| (*s..s + l).contains(c)))
                .count())
            .sum();
        let placed_us: i64 = placed.spans.iter().chain(&placed.hidden)
            .map(|s| s.media_end - s.media_start)
            .sum();
        prop_assert_eq!(placed_us, recorded_cells as i64 * CELL_US);
    }

    #[test]
    fn any_order_of_the_facts_gives_the_same_timeline(
        (cells, runs_order, parts_order) in cells().prop_flat_map(|cells| {
            let (runs, parts) = facts(&cells);
            (Just(cells), Just(runs).prop_shuffle(), Just(parts).prop_shuffle())
        }),
        gaps in proptest::collection::vec((0i64..110, proptest::option::of(0i64..110)), 0..6),
    ) {
        let gaps: Vec<_> = gaps.iter().zip(1..).map(|((start, end), number)| {
            gap(number, start * CELL_US, end.map(|e| e * CELL_US), GapCause::CameraOffline)
        }).collect();
        let (runs, parts) = facts(&cells);
        let asked = window(0, 120 * CELL_US);
        let backwards: Vec<_> = gaps.iter().rev().cloned().collect();
        let timeline = Timeline::lay(asked, &runs, &parts, &gaps, &[]);
        prop_assert_eq!(&timeline, &Timeline::lay(asked, &runs_order, &parts_order, &backwards, &[]));
        // Spans and holes tile the window.
        let mut tiles = walls(&timeline.spans);
        tiles.extend(timeline.holes.iter().map(|h| (h.start.0, h.end.0)));
        tiles.sort_unstable();
        let mut at = 0;
        for (start, end) in tiles {
            prop_assert_eq!(start, at);
            prop_assert!(end > start);
            at = end;
        }
        prop_assert_eq!(at, 120 * CELL_US);
    }

    #[test]
    fn spans_of_drifting_clocks_never_overlap(
        runs in proptest::collection::vec(
            (0i64..100_000_000, -5_000i64..5_000, -5_000i64..5_000), 1..5,
        ),
    ) {
        let (mut clocks, mut parts) = (Vec::new(), Vec::new());
        for (order, (at, drift_a, drift_b)) in runs.iter().enumerate() {
            let anchors = [
                (0, *at),
                (10_000_000, at + 10_000_000 + drift_a),
                (20_000_000, at + 20_000_000 + drift_a + drift_b),
            ];
            clocks.push(run(order as u64, &anchors));
            parts.push(recorded(order as u64, order as u64 * 2 + 1, 0, 9_000_000));
            parts.push(recorded(order as u64, order as u64 * 2 + 2, 11_000_000, 30_000_000));
        }
        let placed = place(&clocks, &parts);
        for pair in placed.spans.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
        }
        // Union of the stretches, counted without the code under test.
        let mut stretches: Vec<(i64, i64)> = parts.iter().map(|part| {
            let clock = &clocks.iter().find(|r| r.run == part.run).unwrap().clock;
            (clock.wall(part.start).unwrap().0, clock.wall(part.end).unwrap().0)
        }).collect();
        stretches.sort_unstable();
        let (mut union_us, mut reached) = (0, i64::MIN);
        for (start, end) in stretches {
            union_us += (end - start.max(reached)).max(0);
            reached = reached.max(end);
        }
        let shown_us: i64 = placed.spans.iter().map(|s| s.window().duration_us()).sum();
        prop_assert_eq!(shown_us, union_us);
    }
}
