//! Whether the clock is good enough to say that footage has expired. A clock that leapt ahead would delete everything.

use archive::time::{ClockState, DurationUs, WallTime};

/// Between two looks the wall clock may differ from the monotonic clock by so much.
const MOST_LEAP_US: DurationUs = 3600 * 1_000_000;
/// A machine may have been off for so long before a start without its clock being doubted.
const MOST_OFF_US: DurationUs = 3 * 86_400_000_000;
/// After a leap a clock that nothing steers is doubted for so long: time for somebody to see the alert of the clock.
const DOUBT_US: DurationUs = 86_400_000_000;

/// Watches the wall clock. Has no clock itself: the moments are arguments.
#[derive(Debug, Clone)]
pub struct ClockTrust {
    last: Option<(WallTime, i64)>,
    doubted_since_us: Option<i64>,
}

impl ClockTrust {
    /// Trust from the start of a recorder, which was last alive at a moment of its wall clock.
    pub fn new(alive: Option<WallTime>, now: WallTime, monotonic_us: i64) -> Self {
        let is_plausible = alive.is_none_or(|alive| (-MOST_LEAP_US..MOST_OFF_US).contains(&(now - alive)));
        Self {
            last: None,
            doubted_since_us: (!is_plausible).then_some(monotonic_us),
        }
    }

    /// The moment by which footage may be judged, if there is one.
    pub fn believed(&mut self, now: WallTime, monotonic_us: i64, state: ClockState) -> Option<WallTime> {
        if let Some((wall, monotonic)) = self.last.replace((now, monotonic_us)) {
            let leap_us = (now - wall) - (monotonic_us - monotonic);
            if leap_us.abs() > MOST_LEAP_US {
                self.doubted_since_us = Some(monotonic_us);
            }
        }
        match state {
            ClockState::Impossible => return None,
            ClockState::Synchronized => self.doubted_since_us = None,
            ClockState::Unsynchronized => {}
        }
        if self
            .doubted_since_us
            .is_some_and(|since| monotonic_us - since < DOUBT_US)
        {
            return None;
        }
        self.doubted_since_us = None;
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClockState::{Impossible, Synchronized, Unsynchronized};

    const NOW: WallTime = WallTime(1_800_000_000_000_000);
    const YEAR_US: DurationUs = 365 * 86_400_000_000;
    const HOUR_US: DurationUs = 3_600_000_000;

    #[test]
    fn a_clock_that_leaps_is_doubted_for_a_day_unless_it_is_steered() {
        let mut trust = ClockTrust::new(Some(NOW - HOUR_US), NOW, 0);
        assert_eq!(trust.believed(NOW, 0, Unsynchronized), Some(NOW));
        let later = NOW + YEAR_US;
        assert_eq!(trust.believed(later, 10, Unsynchronized), None);
        assert_eq!(trust.believed(later + HOUR_US, HOUR_US, Unsynchronized), None);
        let mut steered = trust.clone();
        let much_later = later + 25 * HOUR_US;
        assert_eq!(
            trust.believed(much_later, 25 * HOUR_US, Unsynchronized),
            Some(much_later)
        );
        assert_eq!(
            steered.believed(later + 2 * HOUR_US, 2 * HOUR_US, Synchronized),
            Some(later + 2 * HOUR_US)
        );
        assert_eq!(steered.believed(WallTime(5), 2 * HOUR_US, Impossible), None);
    }

    #[test]
    fn a_clock_far_from_when_the_recorder_was_last_alive_is_doubted() {
        for off_us in [YEAR_US, -YEAR_US] {
            let mut trust = ClockTrust::new(Some(NOW - off_us), NOW, 7);
            assert_eq!(trust.believed(NOW, 8, Unsynchronized), None, "{off_us}");
        }
        assert_eq!(
            ClockTrust::new(None, NOW, 0).believed(NOW, 0, Unsynchronized),
            Some(NOW)
        );
    }
}
