//! Spreads bursts, so that a keyframe does not overrun a socket or a router.

use std::time::Duration;

/// Bytes a second: 40 Mbit/s, ten times a usual stream.
const RATE: i64 = 5_000_000;

/// Bytes that may leave at once.
const BURST_BYTES: i64 = 32 * 1024;

/// A leaky bucket.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    level_bytes: i64,
    at_us: i64,
}

impl Pacer {
    /// Counts bytes about to leave; how long to wait before, if at all.
    pub(super) fn delay(&mut self, bytes: usize, now_us: i64) -> Option<Duration> {
        let leaked = (now_us - self.at_us).clamp(0, 1_000_000) * RATE / 1_000_000;
        self.at_us = now_us;
        self.level_bytes = (self.level_bytes - leaked).max(0) + i64::try_from(bytes).unwrap_or(BURST_BYTES);
        let over = self.level_bytes - BURST_BYTES;
        // A timer ticks in milliseconds: shorter waits only cost.
        let wait_us = over * 1_000_000 / RATE;
        (wait_us >= 1000).then(|| Duration::from_micros(wait_us.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_a_usual_stream_pass_and_spreads_a_burst() {
        let mut pacer = Pacer::default();
        for i in 0..500 {
            assert_eq!(pacer.delay(1200, i * 2_400), None);
        }
        let mut now_us = 10_000_000;
        let start_us = now_us;
        for _ in 0..1000 {
            if let Some(wait) = pacer.delay(1200, now_us) {
                now_us += i64::try_from(wait.as_micros()).unwrap();
            }
        }
        let took_ms = (now_us - start_us) / 1000;
        assert!((200..260).contains(&took_ms), "{took_ms} ms");
    }
}
