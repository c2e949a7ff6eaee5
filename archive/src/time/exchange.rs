//! How a recorder compares its clock with the server's: the four times of a heartbeat and its answer (RFC 5905 §8).

use std::collections::VecDeque;

use super::truth::{DRIFT_PPM, Sighting};
use super::{DurationUs, WallTime};

/// A heartbeat and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// When the recorder sent, in microseconds since its boot.
    pub sent_us: i64,
    /// When the server got it.
    pub server_received: WallTime,
    /// When the server answered.
    pub server_sent: WallTime,
    /// When the recorder got the answer, in microseconds since its boot.
    pub received_us: i64,
}

/// An answer that took longer tells nothing of use.
const LONGEST_US: DurationUs = 20_000_000;

impl Exchange {
    /// Time on the line, both ways.
    pub fn round_trip_us(&self) -> DurationUs {
        (self.received_us.saturating_sub(self.sent_us)) - (self.server_sent - self.server_received)
    }

    /// What it tells: the server's time at the middle of the exchange, true to half the round trip. `None` if the
    /// times contradict each other, e.g. because the server's own clock was set meanwhile.
    pub fn sighting(&self) -> Option<Sighting> {
        let round_trip_us = self.round_trip_us();
        if !(0..=LONGEST_US).contains(&round_trip_us) || self.server_sent < self.server_received {
            return None;
        }
        Some(Sighting {
            boot_us: self.sent_us + (self.received_us - self.sent_us) / 2,
            wall: self.server_received + (self.server_sent - self.server_received) / 2,
            uncertainty_us: round_trip_us / 2 + 1,
        })
    }
}

/// So many exchanges are compared.
const RECENT: usize = 8;
/// A new sighting is worth telling after so long, because clocks drift.
const TELL_AGAIN_US: i64 = 600_000_000;
/// Or if it moves the time by more than this.
const NEWS_US: i64 = 10_000;

/// Keeps the best of recent sightings: the one with the shortest way, unless it is old.
#[derive(Debug, Clone, Default)]
pub struct BestOfRecent {
    recent: VecDeque<Sighting>,
    told: Option<Sighting>,
}

impl BestOfRecent {
    /// Takes a sighting in and gives the best of the last few.
    pub fn add(&mut self, sighting: Sighting) -> Sighting {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(sighting);
        let now_us = sighting.boot_us;
        let doubt = |s: &Sighting| s.uncertainty_us + (now_us - s.boot_us).abs() * DRIFT_PPM / 1_000_000;
        self.recent.iter().copied().min_by_key(doubt).unwrap_or(sighting)
    }

    /// Whether this sighting says something that the one told last did not; it counts as told then.
    pub fn is_news(&mut self, best: Sighting) -> bool {
        let is_news = match self.told {
            None => true,
            Some(told) => {
                let moved_us = (best.offset_us() - told.offset_us()).abs();
                best.boot_us - told.boot_us >= TELL_AGAIN_US
                    || moved_us > NEWS_US + best.uncertainty_us
                    || best.uncertainty_us + NEWS_US < told.uncertainty_us
            }
        };
        if is_news {
            self.told = Some(best);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exchange over a line with these delays, with a server whose clock is `offset_us` ahead of the boot clock.
    fn over(there_us: i64, thinking_us: i64, back_us: i64, offset_us: i64) -> Exchange {
        let sent_us = 1_000_000_000;
        let received = WallTime(sent_us + there_us + offset_us);
        Exchange {
            sent_us,
            server_received: received,
            server_sent: received + thinking_us,
            received_us: sent_us + there_us + thinking_us + back_us,
        }
    }

    proptest::proptest! {
        #[test]
        fn the_true_offset_lies_within_the_uncertainty(
            there_us in 0i64..3_000_000, thinking_us in 0i64..2_000_000, back_us in 0i64..3_000_000,
            offset_us in -2_000_000_000_000_000i64..2_000_000_000_000_000,
        ) {
            let sighting = over(there_us, thinking_us, back_us, offset_us).sighting().unwrap();
            proptest::prop_assert!((sighting.offset_us() - offset_us).abs() <= sighting.uncertainty_us + 1);
        }
    }

    #[test]
    fn contradicting_times_tell_nothing() {
        assert_eq!(over(10, -5, 10, 0).sighting(), None);
        assert_eq!(over(10, 500, -600, 0).sighting(), None);
        assert_eq!(over(15_000_000, 0, 15_000_000, 0).sighting(), None);
    }

    fn sighting(boot_s: i64, offset_us: i64, uncertainty_us: i64) -> Sighting {
        Sighting {
            boot_us: boot_s * 1_000_000,
            wall: WallTime(boot_s * 1_000_000 + offset_us),
            uncertainty_us,
        }
    }

    #[test]
    fn a_quick_answer_outweighs_slow_ones_until_it_is_old() {
        let mut best = BestOfRecent::default();
        let quick = sighting(0, 0, 1_000);
        best.add(quick);
        assert_eq!(best.add(sighting(10, 400_000, 500_000)), quick);
        for i in 2..8 {
            assert_eq!(best.add(sighting(10 * i, 400_000, 500_000)), quick);
        }
        assert_eq!(best.add(sighting(80, 300_000, 400_000)).uncertainty_us, 400_000);
    }

    #[test]
    fn tells_the_first_a_move_a_better_one_and_one_from_time_to_time() {
        let mut best = BestOfRecent::default();
        assert!(best.is_news(sighting(0, 0, 100_000)));
        assert!(!best.is_news(sighting(10, 50_000, 100_000)));
        assert!(best.is_news(sighting(20, 50_000, 1_000)));
        assert!(!best.is_news(sighting(30, 52_000, 1_000)));
        assert!(best.is_news(sighting(40, 90_000, 1_000)));
        assert!(best.is_news(sighting(641, 90_000, 1_000)));
    }
}
