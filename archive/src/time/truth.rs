//! What the wall clock should have shown: all times of one boot of a machine, put right by a few sightings.

use super::{DurationUs, WallTime};

/// How far an unsteered clock may drift: used for how much a sighting is worth with growing distance.
pub(super) const DRIFT_PPM: i64 = 20;

/// The true time at one moment of a boot, as somebody with a right clock told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Microseconds since the boot.
    pub boot_us: i64,
    /// The true time.
    pub wall: WallTime,
    /// It is true to this, either way.
    pub uncertainty_us: DurationUs,
}

impl Sighting {
    /// True time minus time since the boot: the same for all sightings but for drift and doubt.
    pub fn offset_us(&self) -> i64 {
        self.wall.0.saturating_sub(self.boot_us)
    }
}

/// True time over one boot: between sightings the offset is interpolated, outside them held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootClock {
    /// Ascending in `boot_us`.
    sightings: Vec<Sighting>,
}

impl BootClock {
    /// Built from the sightings of one boot in any order.
    pub fn new(mut sightings: Vec<Sighting>) -> Self {
        sightings.sort_unstable_by_key(|s| (s.boot_us, s.uncertainty_us));
        sightings.dedup_by_key(|s| s.boot_us);
        Self { sightings }
    }

    /// Whether nobody has told the true time.
    pub fn is_empty(&self) -> bool {
        self.sightings.is_empty()
    }

    /// The true time at a moment of the boot and its uncertainty in microseconds; `None` without a sighting.
    pub fn at(&self, boot_us: i64) -> Option<(WallTime, DurationUs)> {
        let held = |s: &Sighting| {
            let doubt_us = (boot_us.saturating_sub(s.boot_us)).saturating_abs() / 1_000_000 * DRIFT_PPM;
            (
                WallTime(boot_us.saturating_add(s.offset_us())),
                s.uncertainty_us.saturating_add(doubt_us),
            )
        };
        let after = self.sightings.partition_point(|s| s.boot_us <= boot_us);
        let before = after.checked_sub(1).and_then(|i| self.sightings.get(i));
        match (before, self.sightings.get(after)) {
            (Some(a), Some(b)) => {
                let change = i128::from(b.offset_us()) - i128::from(a.offset_us());
                let share =
                    i128::from(boot_us - a.boot_us) * change / i128::from(b.boot_us - a.boot_us).max(1);
                let offset_us = a.offset_us().saturating_add(i64::try_from(share).unwrap_or(0));
                Some((
                    WallTime(boot_us.saturating_add(offset_us)),
                    a.uncertainty_us.max(b.uncertainty_us),
                ))
            }
            (Some(one), None) | (None, Some(one)) => Some(held(one)),
            (None, None) => None,
        }
    }

    /// The true time instead of what the wall clock said, if that is certainly off by more than `tolerance_us`;
    /// `None` if it is to be believed, or nothing better is known.
    pub fn correct(&self, said: WallTime, boot_us: i64, tolerance_us: DurationUs) -> Option<WallTime> {
        let (truth, uncertainty_us) = self.at(boot_us)?;
        let off_us = said.0.saturating_sub(truth.0).saturating_abs();
        (off_us > tolerance_us.saturating_add(uncertainty_us)).then_some(truth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Anchor, ClockState, MediaTime, RunClock};

    const TOLERANCE_US: i64 = 50_000;
    /// 2026-11-23, when the boot began.
    const BOOT: i64 = 1_795_000_000_000_000;

    fn sighting(boot_us: i64, error_us: i64, uncertainty_us: i64) -> Sighting {
        Sighting {
            boot_us,
            wall: WallTime(BOOT + boot_us + error_us),
            uncertainty_us,
        }
    }

    #[test]
    fn without_a_sighting_all_is_believed() {
        assert_eq!(BootClock::default().correct(WallTime(0), 5, 0), None);
    }

    #[test]
    fn corrects_an_impossible_clock_also_before_the_first_sighting() {
        let clock = BootClock::new(vec![sighting(3_600_000_000, 0, 2_000)]);
        // The machine came up in 1970.
        let said = WallTime(61_000_000);
        assert_eq!(
            clock.correct(said, 60_000_000, TOLERANCE_US),
            Some(WallTime(BOOT + 60_000_000))
        );
    }

    #[test]
    fn believes_a_clock_that_is_as_near_as_can_be_told() {
        let slow_line = BootClock::new(vec![sighting(0, 700_000, 800_000)]);
        assert_eq!(slow_line.correct(WallTime(BOOT), 0, TOLERANCE_US), None);
        // A good clock differs from a sighting of yesterday by drift.
        let old = BootClock::new(vec![sighting(0, 0, 1_000)]);
        let day_us = 86_400_000_000;
        assert_eq!(
            old.correct(WallTime(BOOT + day_us + 1_500_000), day_us, TOLERANCE_US),
            None
        );
    }

    proptest::proptest! {
        /// The clock is stepped at will, drifts, and is compared over lines of any quality: after correction no time is
        /// further from the truth than tolerance and twice the doubt allow, and nothing is reordered by more than that.
        #[test]
        fn corrected_times_are_true(
            steps in proptest::collection::vec((1i64..600, -100_000_000_000_000i64..100_000_000_000_000), 0..6),
            seen in proptest::collection::btree_map(0i64..3_600, (-1_000i64..=1_000, 1_000i64..40_000), 1..12),
            at in proptest::collection::vec(0i64..3_600_000_000, 2..40),
        ) {
            let sightings = seen.iter()
                .map(|(s, (error_permille, uncertainty_us))|
                    sighting(s * 1_000_000, error_permille * uncertainty_us / 1_000, *uncertainty_us))
                .collect();
            let clock = BootClock::new(sightings);
            let said = |boot_us: i64| {
                let (mut us, mut offset) = (0, 0);
                for (after_s, by_us) in &steps {
                    us += after_s * 1_000_000;
                    if us <= boot_us { offset += by_us; }
                }
                WallTime(BOOT + boot_us + offset)
            };
            let mut at = at;
            at.sort_unstable();
            let mut before: Option<i64> = None;
            for boot_us in at {
                let (_, doubt_us) = clock.at(boot_us).unwrap();
                let time = clock.correct(said(boot_us), boot_us, TOLERANCE_US).unwrap_or(said(boot_us));
                let error_us = time.0 - (BOOT + boot_us);
                proptest::prop_assert!(error_us.abs() <= TOLERANCE_US + 2 * doubt_us, "{error_us}");
                if let Some(before) = before {
                    proptest::prop_assert!(time.0 >= before - 2 * (TOLERANCE_US + 120_000));
                }
                before = Some(time.0);
            }
        }

        /// What the centre does: a run's anchors corrected, then the run's clock. Wall time never runs backwards in it.
        #[test]
        fn a_corrected_run_keeps_its_order(
            offset_us in -10_000_000_000i64..10_000_000_000, drift_ppm in -100i64..100, anchors in 2i64..30,
        ) {
            let clock = BootClock::new(vec![sighting(5_000_000, 0, 1_000)]);
            let anchors: Vec<_> = (0..anchors).map(|i| {
                let media_us = i * 10_000_000;
                let boot_us = media_us + media_us / 1_000_000 * drift_ppm;
                let said = WallTime(BOOT + boot_us + offset_us);
                Anchor {
                    media: MediaTime(media_us),
                    wall: clock.correct(said, boot_us, TOLERANCE_US).unwrap_or(said),
                    clock_state: ClockState::Unsynchronized,
                    boot: None,
                }
            }).collect();
            let run = RunClock::new(&anchors);
            let walls: Vec<_> = (0..300).map(|s| run.wall(MediaTime(s * 1_000_000)).unwrap()).collect();
            proptest::prop_assert!(walls.windows(2).all(|w| w[0] < w[1]));
            let off_us = walls[0].0 - BOOT;
            proptest::prop_assert!(off_us.abs() <= TOLERANCE_US + 1_100, "{off_us}");
        }
    }
}
