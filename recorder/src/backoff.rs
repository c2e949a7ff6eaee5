//! Waiting longer after each failure, with jitter so that many recorders don't come back at once.

use std::time::Duration;

/// Delays from half a second to fifteen seconds, each up to a quarter longer or shorter by chance.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const MOST: Duration = Duration::from_secs(15);

    /// The delay after one more failure; `chance` lies in 0..1.
    pub fn after_failure(&mut self, chance: f64) -> Duration {
        let doubled = Self::FIRST.saturating_mul(1 << self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        let jitter = 0.75 + 0.5 * chance.clamp(0.0, 1.0);
        doubled.min(Self::MOST).mul_f64(jitter).min(Self::MOST)
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_fifteen_seconds() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> = (0..8).map(|_| backoff.after_failure(0.5).as_millis()).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
        backoff.reset();
        assert_eq!(backoff.after_failure(0.5).as_millis(), 500);
    }

    #[test]
    fn jitter_stays_in_bounds_for_ever() {
        let mut backoff = Backoff::default();
        for round in 0..1000 {
            let delay = backoff.after_failure(f64::from(round % 11) / 10.0).as_millis();
            assert!((375..=15_000).contains(&delay), "{delay}");
        }
    }
}
