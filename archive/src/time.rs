//! Times: wall time, media time, and the anchors that tie one to the other.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A length of time in microseconds; negative when it runs backwards.
pub type DurationUs = i64;

/// A moment in UTC, in microseconds since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub i64);

/// A position in a run, in microseconds since the run's first sample. Immutable once recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaTime(pub i64);

macro_rules! point_in_time {
    ($name:ident) => {
        impl $name {
            /// The number of microseconds.
            pub fn as_micros(self) -> i64 {
                self.0
            }
        }
        impl Add<DurationUs> for $name {
            type Output = Self;
            fn add(self, duration_us: DurationUs) -> Self {
                Self(self.0.saturating_add(duration_us))
            }
        }
        impl Sub<DurationUs> for $name {
            type Output = Self;
            fn sub(self, duration_us: DurationUs) -> Self {
                Self(self.0.saturating_sub(duration_us))
            }
        }
        impl Sub for $name {
            type Output = DurationUs;
            fn sub(self, other: Self) -> DurationUs {
                self.0.saturating_sub(other.0)
            }
        }
    };
}
point_in_time!(WallTime);
point_in_time!(MediaTime);

/// A text that is not a time as RFC 3339 writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time with offset as RFC 3339 writes it, e.g. 2026-11-23T08:03:11+07:00")]
pub struct InvalidTime(pub String);

impl WallTime {
    /// Reads RFC 3339 with an offset.
    ///
    /// # Errors
    /// [`InvalidTime`] if the text has another form or lies outside years -9999 to 9999.
    pub fn parse_rfc3339(text: &str) -> Result<Self, InvalidTime> {
        text.parse::<jiff::Timestamp>()
            .map(|t| Self(t.as_microsecond()))
            .map_err(|_| InvalidTime(text.chars().take(80).collect()))
    }

    /// The moment as a timestamp; a value outside its range becomes the nearest end.
    pub fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// The civil date of this moment in a zone: a site's business date.
    pub fn date_in(self, zone: &jiff::tz::TimeZone) -> jiff::civil::Date {
        self.timestamp().to_zoned(zone.clone()).date()
    }
}

/// RFC 3339 in UTC with microseconds, e.g. `2026-11-23T01:03:11.000000Z`.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.timestamp())
    }
}

/// How far the machine's wall clock was to be believed when an anchor was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockState {
    /// The kernel says that a time service steers it.
    Synchronized,
    /// Nothing steers it.
    Unsynchronized,
    /// It shows a time that cannot be, such as 1970.
    Impossible,
}

/// One observation that ties a run's media time to the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Position in the run.
    pub media: MediaTime,
    /// What the wall clock showed at that position.
    pub wall: WallTime,
    /// How far the clock was to be believed.
    pub clock_state: ClockState,
}

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

/// Where time comes from; tests give their own.
pub trait Clock: Send + Sync {
    /// The machine's wall clock.
    fn wall(&self) -> WallTime;
    /// Microseconds since some fixed moment; never steps, never runs backwards.
    fn monotonic_us(&self) -> i64;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[allow(clippy::disallowed_methods)]
impl Clock for SystemClock {
    fn wall(&self) -> WallTime {
        WallTime(jiff::Timestamp::now().as_microsecond())
    }

    fn monotonic_us(&self) -> i64 {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed();
        i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(media_us: i64, wall_us: i64) -> Anchor {
        Anchor {
            media: MediaTime(media_us),
            wall: WallTime(wall_us),
            clock_state: ClockState::Synchronized,
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
