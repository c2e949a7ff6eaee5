//! An alert begins and ends only when what is measured has been so for a while, so that it does not flap.

use std::time::Duration;

/// A state that just turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has been wrong for long enough: raise.
    Wrong,
    /// It has been right for long enough: clear.
    Right,
}

/// Turns measurements into begin and end. Has no clock: the moment is an argument.
#[derive(Debug, Clone)]
pub struct Steadiness {
    wrong_for_us: i64,
    right_for_us: i64,
    /// What was told last; `None` before anything was.
    is_wrong: Option<bool>,
    /// What has been measured without a break, and since when.
    measured: Option<(bool, i64)>,
}

impl Steadiness {
    /// Wrong is believed after `wrong_for`, right after `right_for`.
    pub fn new(wrong_for: Duration, right_for: Duration) -> Self {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self {
            wrong_for_us: micros(wrong_for),
            right_for_us: micros(right_for),
            is_wrong: None,
            measured: None,
        }
    }

    /// Takes a measurement at a moment of the monotonic clock. The first steady state is told even if it is right,
    /// since an alert may be open from before a restart.
    pub fn see(&mut self, is_wrong: bool, now_us: i64) -> Option<Turn> {
        let since = match self.measured {
            Some((same, since)) if same == is_wrong => since,
            _ => now_us,
        };
        self.measured = Some((is_wrong, since));
        if self.is_wrong == Some(is_wrong) {
            return None;
        }
        let needed_us = if is_wrong {
            self.wrong_for_us
        } else {
            self.right_for_us
        };
        if now_us - since < needed_us {
            return None;
        }
        self.settle(is_wrong)
    }

    /// What was told last did not arrive: it is told again.
    pub fn forget(&mut self) {
        self.is_wrong = None;
    }

    /// Believes it at once, because it can't wait.
    pub fn settle(&mut self, is_wrong: bool) -> Option<Turn> {
        if self.is_wrong == Some(is_wrong) {
            return None;
        }
        self.is_wrong = Some(is_wrong);
        Some(if is_wrong { Turn::Wrong } else { Turn::Right })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(measured: &[(i64, bool)]) -> Vec<(i64, Turn)> {
        let mut steadiness = Steadiness::new(Duration::from_secs(3), Duration::from_secs(10));
        measured
            .iter()
            .filter_map(|(at_s, is_wrong)| Some((*at_s, steadiness.see(*is_wrong, at_s * 1_000_000)?)))
            .collect()
    }

    #[test]
    fn what_lasts_too_briefly_turns_nothing() {
        let flapping: Vec<_> = (0..100).map(|s| (s, s % 3 != 0)).collect();
        assert_eq!(turns(&flapping), []);
        let lasting: Vec<_> = (0..30).map(|s| (s, (5..12).contains(&s))).collect();
        assert_eq!(turns(&lasting), [(8, Turn::Wrong), (22, Turn::Right)]);
    }

    #[test]
    fn the_first_steady_state_is_told_though_it_is_right() {
        let right: Vec<_> = (0..30).map(|s| (s, false)).collect();
        assert_eq!(turns(&right), [(10, Turn::Right)]);
    }
}
