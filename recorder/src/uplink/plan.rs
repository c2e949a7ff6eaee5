//! Which segment the next piece is of. Pure, and asked anew before each piece.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use archive::time::{DurationUs, WallTime};

use crate::index::{PendingSegment, Urgency};

/// Footage that ended so recently counts as new: it goes up before what an outage left behind.
pub const FRESH_US: DurationUs = 10 * 60_000_000;

/// Segments that can't go up now, and when each is tried again.
#[derive(Debug, Default)]
pub struct SetAside {
    /// By row; monotonic microseconds.
    until_us: BTreeMap<i64, i64>,
}

impl SetAside {
    /// Leaves a segment alone until a moment.
    pub fn put(&mut self, segment_id: i64, until_us: i64) {
        self.until_us.insert(segment_id, until_us);
    }

    /// How many are left alone now.
    pub fn count(&mut self, now_us: i64) -> usize {
        self.until_us.retain(|_, until| *until > now_us);
        self.until_us.len()
    }

    /// When the first of them is tried again.
    pub fn next_us(&self) -> Option<i64> {
        self.until_us.values().min().copied()
    }

    fn has(&self, segment_id: i64) -> bool {
        self.until_us.contains_key(&segment_id)
    }
}

/// The segment that goes up next: what somebody waits for, then what was begun or is newest of marked footage,
/// then of new footage, then the oldest of the rest.
pub fn choose<'a>(candidates: &'a [PendingSegment], aside: &SetAside) -> Option<&'a PendingSegment> {
    candidates
        .iter()
        .filter(|candidate| !aside.has(candidate.segment_id))
        .min_by_key(|candidate| rank(candidate))
}

/// What goes first has the lowest rank.
fn rank(of: &PendingSegment) -> (u8, u64, bool, Reverse<WallTime>, WallTime, i64) {
    let (newest_first, oldest_first) = (Reverse(of.start), of.start);
    let none = WallTime(0);
    match of.urgency {
        // Played from the start on, so in order, and the earlier request first.
        Urgency::Fetched { request } => (0, request, false, Reverse(none), oldest_first, of.segment_id),
        // What is begun is ended first: half a segment serves nobody.
        Urgency::Marked => (1, 0, !of.has_begun, newest_first, none, of.segment_id),
        Urgency::Fresh => (2, 0, !of.has_begun, newest_first, none, of.segment_id),
        Urgency::Backfill => (3, 0, !of.has_begun, Reverse(none), oldest_first, of.segment_id),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(segment_id: i64, urgency: Urgency, start_s: i64, has_begun: bool) -> PendingSegment {
        PendingSegment {
            segment_id,
            key: format!("q01.front.main/{segment_id}")
                .split_once('/')
                .map(|(stream, sequence)| archive::ids::SegmentKey {
                    stream: stream.parse().unwrap(),
                    sequence: sequence.parse().unwrap(),
                })
                .unwrap(),
            urgency,
            has_begun,
            start: WallTime(start_s * 1_000_000),
        }
    }

    fn chosen(candidates: &[PendingSegment], aside: &SetAside) -> Option<i64> {
        choose(candidates, aside).map(|c| c.segment_id)
    }

    #[test]
    fn fetches_then_marks_then_the_newest_then_backfill() {
        let mut all = vec![
            segment(1, Urgency::Backfill, 100, true),
            segment(2, Urgency::Backfill, 50, false),
            segment(3, Urgency::Backfill, 60, false),
            segment(4, Urgency::Fresh, 900, false),
            segment(5, Urgency::Fresh, 960, false),
            segment(6, Urgency::Marked, 200, false),
            segment(7, Urgency::Marked, 100, true),
            segment(8, Urgency::Fetched { request: 2 }, 10, false),
            segment(9, Urgency::Fetched { request: 1 }, 300, true),
            segment(10, Urgency::Fetched { request: 1 }, 240, false),
        ];
        let mut order = Vec::new();
        while let Some(next) = chosen(&all, &SetAside::default()) {
            order.push(next);
            all.retain(|s| s.segment_id != next);
        }
        assert_eq!(order, [10, 9, 8, 7, 6, 5, 4, 1, 2, 3]);
    }

    #[test]
    fn what_is_set_aside_holds_up_nothing_and_comes_back() {
        let all = [
            segment(1, Urgency::Fetched { request: 1 }, 0, false),
            segment(2, Urgency::Backfill, 0, false),
        ];
        let mut aside = SetAside::default();
        aside.put(1, 50);
        assert_eq!((aside.count(10), aside.next_us()), (1, Some(50)));
        assert_eq!(chosen(&all, &aside), Some(2));
        assert_eq!(aside.count(50), 0);
        assert_eq!(chosen(&all, &aside), Some(1));
    }

    fn any_segment() -> impl Strategy<Value = PendingSegment> {
        let urgency = prop_oneof![
            (0_u64..4).prop_map(|request| Urgency::Fetched { request }),
            Just(Urgency::Marked),
            Just(Urgency::Fresh),
            Just(Urgency::Backfill),
        ];
        (urgency, 0_i64..1000, any::<bool>()).prop_map(|(u, start, begun)| segment(0, u, start, begun))
    }

    fn class(of: &PendingSegment) -> u8 {
        rank(of).0
    }

    proptest! {
        /// Whatever waits: nothing less urgent goes before, and what is set aside never goes.
        #[test]
        fn nothing_less_urgent_goes_first(
            mut all in prop::collection::vec(any_segment(), 0..30),
            aside_every in 2_usize..6,
        ) {
            let mut aside = SetAside::default();
            for (i, segment) in all.iter_mut().enumerate() {
                segment.segment_id = i as i64;
                if i % aside_every == 0 {
                    aside.put(segment.segment_id, i64::MAX);
                }
            }
            let free: Vec<_> = all.iter().filter(|s| !aside.has(s.segment_id)).collect();
            match choose(&all, &aside) {
                None => prop_assert!(free.is_empty()),
                Some(chosen) => {
                    prop_assert!(!aside.has(chosen.segment_id));
                    prop_assert!(free.iter().all(|other| class(chosen) <= class(other)));
                }
            }
        }

        /// The order in which the candidates are listed does not matter.
        #[test]
        fn the_choice_does_not_depend_on_the_list(mut all in prop::collection::vec(any_segment(), 1..30)) {
            for (i, segment) in all.iter_mut().enumerate() {
                segment.segment_id = i as i64;
            }
            let first = chosen(&all, &SetAside::default());
            all.reverse();
            prop_assert_eq!(first, chosen(&all, &SetAside::default()));
        }
    }
}
