//! Wall time as a view on the media time of one run.

use super::{Anchor, MediaTime, WallTime};

/// Largest rate, in parts per million, at which a run's wall time may differ from its media time.
pub const MAX_SLEW_PPM: i64 = 500;

/// Wall time as a view on the media time of one run.
///
/// Between anchors the offset is interpolated; outside them it is held. The rate is limited to
/// [`MAX_SLEW_PPM`], so wall time never runs backwards within a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunClock {
    /// Media position and wall minus media, ascending in media, slew-limited.
    offsets: Vec<(MediaTime, i64)>,
}

impl RunClock {
    /// Builds the view from a run's anchors in any order.
    pub fn new(anchors: &[Anchor]) -> Self {
        let mut sorted: Vec<_> = anchors
            .iter()
            .map(|a| (a.media, a.wall.0.saturating_sub(a.media.0)))
            .collect();
        sorted.sort_unstable();
        sorted.dedup_by_key(|(media, _)| *media);
        let mut offsets: Vec<(MediaTime, i64)> = Vec::with_capacity(sorted.len());
        for (media, offset) in sorted {
            let limited = match offsets.last() {
                Some((before, last)) => {
                    let most = media.0.saturating_sub(before.0) / 1_000_000 * MAX_SLEW_PPM;
                    offset.clamp(last.saturating_sub(most), last.saturating_add(most))
                }
                None => offset,
            };
            offsets.push((media, limited));
        }
        Self { offsets }
    }

    /// Wall time of a media position; `None` while the run has no anchor.
    pub fn wall(&self, media: MediaTime) -> Option<WallTime> {
        let after = self.offsets.partition_point(|(at, _)| *at <= media);
        let offset = match (
            after.checked_sub(1).map(|i| self.offsets[i]),
            self.offsets.get(after),
        ) {
            (Some((m0, o0)), Some((m1, o1))) => {
                let share = i128::from(media - m0) * i128::from(o1 - o0) / i128::from(*m1 - m0);
                o0 + i64::try_from(share).unwrap_or(0)
            }
            (Some((_, only)), None) => only,
            (None, Some((_, only))) => *only,
            (None, None) => return None,
        };
        Some(WallTime(media.0.saturating_add(offset)))
    }

    /// Media position of a wall time; `None` while the run has no anchor.
    pub fn media(&self, wall: WallTime) -> Option<MediaTime> {
        let first = self.offsets.first()?;
        let mut guess = MediaTime(wall.0.saturating_sub(first.1));
        // The offset changes by at most 500 ppm, so this converges in a few rounds.
        for _ in 0..8 {
            guess = guess + (wall - self.wall(guess)?);
        }
        Some(guess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ClockState;

    fn anchor(media_us: i64, wall_us: i64) -> Anchor {
        Anchor {
            media: MediaTime(media_us),
            wall: WallTime(wall_us),
            clock_state: ClockState::Synchronized,
            boot: None,
        }
    }

    #[test]
    fn interpolates_between_anchors_and_holds_outside() {
        let clock = RunClock::new(&[anchor(0, 1_000_000_000), anchor(10_000_000, 1_010_001_000)]);
        assert_eq!(clock.wall(MediaTime(5_000_000)), Some(WallTime(1_005_000_500)));
        assert_eq!(clock.wall(MediaTime(-1_000_000)), Some(WallTime(999_000_000)));
        assert_eq!(clock.wall(MediaTime(20_000_000)), Some(WallTime(1_020_001_000)));
    }

    #[test]
    fn slews_at_most_500_ppm_when_an_anchor_jumps() {
        let clock = RunClock::new(&[anchor(0, 0), anchor(10_000_000, 3_610_000_000)]);
        assert_eq!(clock.wall(MediaTime(10_000_000)), Some(WallTime(10_005_000)));
    }

    proptest::proptest! {
        #[test]
        fn media_is_the_inverse_of_wall(
            jumps in proptest::collection::vec(-9_000i64..9_000, 1..20),
            at in 0i64..200_000_000,
        ) {
            let anchors: Vec<_> = jumps.iter().enumerate()
                .map(|(i, jump)| anchor(i as i64 * 10_000_000, 5_000_000 + i as i64 * 10_000_000 + jump))
                .collect();
            let clock = RunClock::new(&anchors);
            let wall = clock.wall(MediaTime(at)).unwrap();
            let back = clock.media(wall).unwrap();
            proptest::prop_assert!((back - MediaTime(at)).abs() <= 1);
            proptest::prop_assert!(clock.wall(MediaTime(at + 10)).unwrap() > wall);
        }
    }
}
