//! Which segments go, and in what order. Pure: what lies on the disk and what time it is are arguments.
//!
//! What has expired always goes. When room is needed beyond that, footage goes in steps: continuous footage that the
//! centre has, interactions that the centre has, and then, only under [`WhenFull::DropOldestContinuous`], continuous
//! footage that the centre does not have. A hold never goes, nor does an interaction that the centre does not have.

use archive::ids::{Quality, SegmentKey};
use archive::time::{DurationUs, WallTime};
pub use site_config::retention::WhenFull;

const DAY_US: DurationUs = 86_400_000_000;

/// Of two segments about as old, that of a sub stream goes first: it shows nothing that its main stream does not show
/// better, so going first it spares evidence.
const SUB_HEAD_START_US: DurationUs = 3600 * 1_000_000;

/// What a segment is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Nobody was served.
    Continuous,
    /// Somebody was served.
    Interaction,
    /// A person said that it must stay.
    Held,
}

impl Class {
    /// The name in the index and in tombstones.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continuous => "continuous",
            Self::Interaction => "interaction",
            Self::Held => "held",
        }
    }
}

/// A segment that could go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its row.
    pub segment_id: i64,
    /// Its name.
    pub key: SegmentKey,
    /// What it is kept as.
    pub class: Class,
    /// Whether the centre has it.
    pub is_delivered: bool,
    /// Begin on the wall clock.
    pub start: WallTime,
    /// End on the wall clock.
    pub end: WallTime,
    /// Length in bytes.
    pub size_bytes: u64,
}

/// Why a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is older than its class is kept.
    Expired,
    /// Room was needed, and the centre has it.
    Delivered,
    /// Room was needed, and nothing else could go.
    Full,
}

impl Reason {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Delivered => "delivered",
            Self::Full => "full",
        }
    }

    /// What the tombstone says.
    pub fn text(self) -> &'static str {
        match self {
            Self::Expired => "kept as long as its class is kept",
            Self::Delivered => "room was needed; the centre has it",
            Self::Full => "room was needed and nothing else could go; the centre does not have it",
        }
    }
}

/// How long footage stays, and what goes when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Continuous footage is kept so long.
    pub continuous_us: DurationUs,
    /// Footage of interactions is kept so long.
    pub interaction_us: DurationUs,
    /// What happens when nothing is left that the centre has.
    pub when_full: WhenFull,
}

impl Rules {
    /// The rules of the settings.
    pub fn new(settings: &site_config::retention::RetentionSettings) -> Self {
        Self {
            continuous_us: i64::from(settings.continuous_days) * DAY_US,
            interaction_us: i64::from(settings.interaction_days) * DAY_US,
            when_full: settings.when_full,
        }
    }

    /// How long a class is kept; `None`: until somebody says otherwise.
    pub fn keeps_us(&self, class: Class) -> Option<DurationUs> {
        match class {
            Class::Continuous => Some(self.continuous_us),
            Class::Interaction => Some(self.interaction_us),
            Class::Held => None,
        }
    }

    /// What ended before this moment has expired.
    pub fn expires_before(&self, class: Class, now: WallTime) -> Option<WallTime> {
        self.keeps_us(class).map(|keeps_us| now - keeps_us)
    }

    /// Whether such footage stays though room is needed, as long as it has not expired.
    pub fn must_stay(&self, class: Class, is_delivered: bool) -> bool {
        self.step(class, is_delivered).is_none()
    }

    /// In which step such footage goes when room is needed.
    fn step(&self, class: Class, is_delivered: bool) -> Option<(u8, Reason)> {
        match (class, is_delivered, self.when_full) {
            (Class::Held, ..) | (Class::Interaction, false, _) => None,
            (Class::Continuous, true, _) => Some((0, Reason::Delivered)),
            (Class::Interaction, true, _) => Some((1, Reason::Delivered)),
            (Class::Continuous, false, WhenFull::DropOldestContinuous) => Some((2, Reason::Full)),
            (Class::Continuous, false, WhenFull::Stop) => None,
        }
    }

    /// Chooses what goes: everything expired, then in order as much as gives `need_bytes` in all.
    ///
    /// `now` is `None` while the clock is not to be believed: nothing expires then.
    pub fn choose(
        &self,
        need_bytes: u64,
        now: Option<WallTime>,
        candidates: &[Candidate],
    ) -> Vec<(Candidate, Reason)> {
        let has_expired = |c: &Candidate| {
            now.and_then(|now| self.expires_before(c.class, now))
                .is_some_and(|before| c.end < before && c.start >= EARLIEST)
        };
        let mut in_order: Vec<(u8, WallTime, &Candidate, Reason)> = candidates
            .iter()
            .filter_map(|c| {
                let head_start_us = match c.key.stream.quality() {
                    Quality::Sub => SUB_HEAD_START_US,
                    Quality::Main => 0,
                };
                let (step, reason) = if has_expired(c) {
                    (0, Reason::Expired)
                } else {
                    let (step, reason) = self.step(c.class, c.is_delivered)?;
                    (step + 1, reason)
                };
                Some((step, c.start - head_start_us, c, reason))
            })
            .collect();
        in_order.sort_by_key(|(step, age, c, _)| (*step, *age, c.segment_id));
        let mut freed_bytes = 0;
        in_order
            .into_iter()
            .map(|(_, _, candidate, reason)| (candidate.clone(), reason))
            .take_while(|(candidate, reason)| {
                let goes = *reason == Reason::Expired || freed_bytes < need_bytes;
                freed_bytes += candidate.size_bytes;
                goes
            })
            .collect()
    }
}

/// 2020-01-01: what bears an earlier time was recorded with a wrong clock, so its age is not known.
pub const EARLIEST: WallTime = WallTime(1_577_836_800_000_000);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000_000);

    fn rules(when_full: WhenFull) -> Rules {
        Rules {
            continuous_us: 30 * DAY_US,
            interaction_us: 120 * DAY_US,
            when_full,
        }
    }

    fn key(stream: &str) -> SegmentKey {
        SegmentKey {
            stream: stream.parse().unwrap(),
            sequence: 1,
        }
    }

    fn candidate(segment_id: i64, class: Class, is_delivered: bool, age_days: i64) -> Candidate {
        let start = NOW - age_days * DAY_US;
        Candidate {
            segment_id,
            key: key("q01.front.main"),
            class,
            is_delivered,
            start,
            end: start + 60_000_000,
            size_bytes: 10,
        }
    }

    fn chosen(rules: Rules, need_bytes: u64, candidates: &[Candidate]) -> Vec<i64> {
        let chosen = rules.choose(need_bytes, Some(NOW), candidates);
        chosen.iter().map(|(c, _)| c.segment_id).collect()
    }

    #[test]
    fn goes_by_steps_from_what_is_worth_least() {
        use Class::{Continuous, Held, Interaction};
        let all = [
            candidate(1, Held, true, 500),
            candidate(2, Interaction, false, 100),
            candidate(3, Continuous, false, 20),
            candidate(4, Interaction, true, 90),
            candidate(5, Continuous, true, 5),
            candidate(6, Continuous, true, 6),
            candidate(7, Interaction, false, 130),
            candidate(8, Continuous, false, 10),
        ];
        let drop = rules(WhenFull::DropOldestContinuous);
        assert_eq!(chosen(drop, 1_000, &all), [7, 6, 5, 4, 3, 8]);
        assert_eq!(chosen(drop, 0, &all), [7], "what has expired goes without need");
        assert_eq!(chosen(drop, 21, &all), [7, 6, 5]);
        assert_eq!(chosen(rules(WhenFull::Stop), 1_000, &all), [7, 6, 5, 4]);
    }

    #[test]
    fn nothing_expires_by_a_clock_that_is_not_believed_nor_by_a_time_that_cannot_be() {
        let old = candidate(1, Class::Continuous, false, 400);
        let rules = rules(WhenFull::Stop);
        assert_eq!(rules.choose(1_000, None, std::slice::from_ref(&old)), []);
        let of_1970 = Candidate {
            start: WallTime(5),
            end: WallTime(6),
            ..old.clone()
        };
        assert_eq!(rules.choose(1_000, Some(NOW), &[of_1970]), []);
    }

    #[test]
    fn a_sub_stream_goes_before_a_main_stream_of_the_same_hour() {
        let main = candidate(1, Class::Continuous, true, 3);
        let sub = |segment_id, later_us| Candidate {
            segment_id,
            key: key("q01.front.sub"),
            start: main.start + later_us,
            ..main.clone()
        };
        let all = [main.clone(), sub(2, 60_000_000), sub(3, 7200 * 1_000_000)];
        assert_eq!(chosen(rules(WhenFull::Stop), 1_000, &all), [2, 1, 3]);
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        let class = prop_oneof![
            Just(Class::Continuous),
            Just(Class::Interaction),
            Just(Class::Held)
        ];
        (class, any::<bool>(), any::<bool>(), 0i64..200, 1u64..1_000).prop_map(
            |(class, is_delivered, is_sub, age_days, size_bytes)| Candidate {
                key: key(if is_sub { "q01.front.sub" } else { "q01.front.main" }),
                size_bytes,
                ..candidate(0, class, is_delivered, age_days)
            },
        )
    }

    fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
        proptest::collection::vec(any_candidate(), 0..60).prop_map(|mut all| {
            for (segment_id, candidate) in (1..).zip(&mut all) {
                candidate.segment_id = segment_id;
            }
            all
        })
    }

    proptest! {
        #[test]
        fn never_takes_a_hold_nor_what_the_rules_keep(
            all in any_candidates(), need_bytes in 0u64..40_000, drops in any::<bool>(), believes in any::<bool>(),
        ) {
            let rules = rules(if drops { WhenFull::DropOldestContinuous } else { WhenFull::Stop });
            for (c, reason) in rules.choose(need_bytes, believes.then_some(NOW), &all) {
                prop_assert!(c.class != Class::Held);
                prop_assert!(believes || reason != Reason::Expired);
                prop_assert!(reason == Reason::Expired || c.is_delivered || (drops && c.class == Class::Continuous));
            }
        }

        #[test]
        fn takes_no_more_than_is_needed_and_no_less_if_it_may(
            all in any_candidates(), need_bytes in 0u64..40_000, drops in any::<bool>(),
        ) {
            let rules = rules(if drops { WhenFull::DropOldestContinuous } else { WhenFull::Stop });
            let chosen = rules.choose(need_bytes, Some(NOW), &all);
            let freed: u64 = chosen.iter().map(|(c, _)| c.size_bytes).sum();
            if let Some((last, reason)) = chosen.last() && *reason != Reason::Expired {
                prop_assert!(freed - last.size_bytes < need_bytes);
            }
            if freed < need_bytes {
                let everything = rules.choose(u64::MAX, Some(NOW), &all);
                prop_assert_eq!(chosen, everything);
            }
        }

        #[test]
        fn whatever_stays_is_worth_no_less_than_what_goes(all in any_candidates(), need_bytes in 0u64..40_000) {
            let rules = rules(WhenFull::DropOldestContinuous);
            let chosen = rules.choose(need_bytes, Some(NOW), &all);
            let is_chosen = |c: &Candidate| chosen.iter().any(|(other, _)| other.segment_id == c.segment_id);
            for (gone, reason) in &chosen {
                for stays in all.iter().filter(|c| !is_chosen(c)) {
                    if let Some((step, _)) = rules.step(stays.class, stays.is_delivered)
                        && *reason != Reason::Expired
                        && let Some((gone_step, _)) = rules.step(gone.class, gone.is_delivered)
                    {
                        prop_assert!(gone_step <= step);
                        prop_assert!(gone_step < step || gone.start <= stays.start + SUB_HEAD_START_US);
                    }
                }
            }
        }
    }
}
