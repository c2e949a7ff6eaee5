//! Times: wall time, media time, and the anchors that tie one to the other.
//!
//! A recorder's wall clock may be wrong. Its anchors therefore also name a moment on a clock that is never set
//! ([`BootTime`]), and once somebody has compared that clock with the true time ([`Sighting`]), all that was timed in
//! the same boot of the machine can be put right ([`BootClock`]), also what came before.

mod boot;
mod exchange;
mod run_clock;
mod truth;

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

pub use boot::{BootTime, Moment, boot_at};
pub use exchange::{BestOfRecent, Exchange};
pub use run_clock::{MAX_SLEW_PPM, RunClock};
pub use truth::{BootClock, Sighting};

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
    /// The same moment on the clock that is never set; `None` from recorders that did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootTime>,
}

/// Where time comes from; tests give their own.
pub trait Clock: Send + Sync {
    /// The machine's wall clock.
    fn wall(&self) -> WallTime;
    /// Microseconds since some fixed moment; never steps, never runs backwards.
    fn monotonic_us(&self) -> i64;
    /// As `monotonic_us`, but comparable between programs as long as the machine runs; `None` where nobody needs it.
    fn boot(&self) -> Option<BootTime> {
        None
    }
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
