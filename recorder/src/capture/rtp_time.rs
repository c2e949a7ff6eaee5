//! Running times of packets by their RTP timestamps (RFC 3550 §5.1).

use std::num::NonZeroU32;

/// Numbers further apart than this are no passage of time: the count begins anew at the packet's arrival.
const LONGEST_STEP_S: i64 = 3;

/// The times of one track: its first packet counts as it came, all others by the camera's numbers.
#[derive(Debug)]
pub(super) struct RtpTime {
    /// Ticks a second.
    rate: i64,
    base_ns: i64,
    /// Timestamp of the packet before, and ticks since the base.
    before: Option<(u32, i64)>,
}

impl RtpTime {
    pub fn new(rate: NonZeroU32) -> Self {
        Self {
            rate: i64::from(rate.get()),
            base_ns: 0,
            before: None,
        }
    }

    /// The running time in nanoseconds of a packet that came at `now_ns`.
    pub fn running_ns(&mut self, rtp_time: u32, now_ns: i64) -> i64 {
        let ticks = self.before.and_then(|(before, ticks)| {
            // Timestamps wrap around.
            let step = i64::from(rtp_time.wrapping_sub(before) as i32);
            (step.abs() <= LONGEST_STEP_S * self.rate).then_some(ticks + step)
        });
        let ticks = ticks.unwrap_or_else(|| {
            self.base_ns = now_ns;
            0
        });
        self.before = Some((rtp_time, ticks));
        let since_ns = i128::from(ticks) * 1_000_000_000 / i128::from(self.rate);
        self.base_ns + i64::try_from(since_ns).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn packets_get_the_times_that_the_camera_numbered_from_the_first_arrival_on() {
        let mut time = RtpTime::new(NonZeroU32::new(90_000).unwrap());
        let near_the_end = u32::MAX - 1_000;
        assert_eq!(time.running_ns(near_the_end, 500 * MS), 500 * MS);
        // Late by jitter, and over the wrap.
        let next = near_the_end.wrapping_add(3_600);
        assert_eq!(time.running_ns(next, 590 * MS), 540 * MS);
        // A picture that is shown before the one sent before it.
        let shown_before = near_the_end.wrapping_add(1_800);
        assert_eq!(time.running_ns(shown_before, 600 * MS), 520 * MS);
    }

    #[test]
    fn a_jump_of_the_numbers_begins_anew_at_the_arrival() {
        let mut time = RtpTime::new(NonZeroU32::new(8_000).unwrap());
        time.running_ns(1_000, 100 * MS);
        assert_eq!(time.running_ns(1_000 + 4 * 8_000, 140 * MS), 140 * MS);
        assert_eq!(time.running_ns(1_000 + 4 * 8_000 + 80, 150 * MS), 150 * MS);
    }
}
