//! Slows down guessing: after some failures in a window of time a name gets no further tries.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use archive::time::{DurationUs, WallTime};

const WINDOW_US: DurationUs = 15 * 60 * 1_000_000;
const MOST_NAMES: usize = 10_000;

/// The name has no tries left for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyAttempts {
    /// Seconds until there is one again.
    pub retry_after_s: i64,
}

/// Counts failures by name, e.g. of an account or an address.
#[derive(Debug)]
pub struct Attempts {
    most: usize,
    failures: Mutex<HashMap<String, Vec<WallTime>>>,
}

impl Attempts {
    /// Allows so many failures within 15 minutes.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            failures: Mutex::new(HashMap::new()),
        }
    }

    /// Whether a name may try.
    ///
    /// # Errors
    /// [`TooManyAttempts`] says when it may again.
    pub fn check(&self, name: &str, now: WallTime) -> Result<(), TooManyAttempts> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(times) = failures.get_mut(name) else {
            return Ok(());
        };
        times.retain(|at| now - *at < WINDOW_US);
        match times.first() {
            Some(first) if times.len() >= self.most => Err(TooManyAttempts {
                retry_after_s: (*first + WINDOW_US - now) / 1_000_000 + 1,
            }),
            _ => Ok(()),
        }
    }

    /// Counts a failure.
    pub fn failed(&self, name: &str, now: WallTime) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST_NAMES {
            failures.retain(|_, times| times.last().is_some_and(|at| now - *at < WINDOW_US));
        }
        if failures.len() < MOST_NAMES || failures.contains_key(name) {
            failures.entry(name.to_owned()).or_default().push(now);
        }
    }

    /// Forgets the failures of a name that got it right.
    pub fn succeeded(&self, name: &str) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_no_tries_until_its_failures_are_old() {
        let attempts = Attempts::new(3);
        for second in 0..3 {
            assert!(attempts.check("a", WallTime(second)).is_ok());
            attempts.failed("a", WallTime(second));
        }
        let refused = attempts.check("a", WallTime(3)).unwrap_err();
        assert_eq!(refused.retry_after_s, 900);
        assert!(attempts.check("b", WallTime(3)).is_ok());
        assert!(attempts.check("a", WallTime(WINDOW_US)).is_ok());
    }
}
