//! How much of the line footage may take, by the hour. Pure: times are arguments.

use archive::time::{DurationUs, WallTime};
use jiff::tz::TimeZone;
use site_config::upload::{Day, OfficeHours, UploadSettings};

/// A piece takes about so long, so that what is more urgent does not wait for it.
const PIECE_US: DurationUs = 2_000_000;
const LEAST_PIECE_BYTES: u64 = 16 * 1024;
const MOST_PIECE_BYTES: u64 = 2 * 1024 * 1024;
const SECOND_US: i64 = 1_000_000;

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);

impl Rate {
    fn of_kbit(kbit: u32) -> Option<Self> {
        (kbit > 0).then_some(Self(u64::from(kbit) * 1000 / 8))
    }

    /// What was carried in a time.
    pub fn measured(bytes: u64, duration_us: DurationUs) -> Self {
        let duration_us = u64::try_from(duration_us).unwrap_or(0).max(1);
        Self(bytes.saturating_mul(1_000_000) / duration_us)
    }

    /// What it carries in a time.
    pub fn bytes_in(self, duration_us: DurationUs) -> u64 {
        let us = u64::try_from(duration_us).unwrap_or(0);
        (u128::from(self.0) * u128::from(us) / 1_000_000) as u64
    }

    /// How long it takes for some bytes.
    pub fn time_for(self, bytes: u64) -> DurationUs {
        (u128::from(bytes) * 1_000_000).div_ceil(u128::from(self.0.max(1))) as DurationUs
    }
}

/// Bytes of one piece on a line of some speed under some budget; `None` is not known or no limit.
pub fn piece_bytes(line: Option<Rate>, budget: Option<Rate>) -> u64 {
    let slower = [line, budget].into_iter().flatten().min();
    slower.map_or(LEAST_PIECE_BYTES * 16, |rate| {
        rate.bytes_in(PIECE_US).clamp(LEAST_PIECE_BYTES, MOST_PIECE_BYTES)
    })
}

/// The budget by the hour.
#[derive(Debug, Clone)]
pub struct Hours {
    otherwise_kbit: u32,
    office_hours: Vec<OfficeHours>,
    zone: TimeZone,
}

impl Hours {
    /// As set up.
    pub fn new(settings: &UploadSettings) -> Self {
        Self {
            otherwise_kbit: settings.budget_kbit,
            office_hours: settings.office_hours.clone(),
            zone: settings.time_zone(),
        }
    }

    /// The budget at a moment; `None` is no limit.
    pub fn rate_at(&self, wall: WallTime) -> Option<Rate> {
        let local = wall.timestamp().to_zoned(self.zone.clone());
        let day = Day::of(local.weekday());
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
        let hours = self
            .office_hours
            .iter()
            .find(|hours| hours.days.contains(&day) && hours.from.0 <= minute && minute < hours.to.0);
        Rate::of_kbit(hours.map_or(self.otherwise_kbit, |hours| hours.budget_kbit))
    }
}

/// A token bucket: what was not used is saved up for one piece, and no more.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// In millionths of a byte; below zero after more was taken than was there.
    level: i128,
    /// Monotonic microseconds of `level`; `None` before the first look.
    at_us: Option<i64>,
}

impl Bucket {
    /// How long to wait until so many bytes may go.
    pub fn wait_us(&mut self, now_us: i64, rate: Option<Rate>, bytes: u64) -> DurationUs {
        self.fill(now_us, rate, bytes);
        let Some(rate) = rate else { return 0 };
        let short = i128::from(bytes) * i128::from(SECOND_US) - self.level;
        if short <= 0 {
            return 0;
        }
        let short_bytes = u64::try_from(short.unsigned_abs().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        rate.time_for(short_bytes)
    }

    /// Takes bytes that went.
    pub fn take(&mut self, bytes: u64) {
        self.level -= i128::from(bytes) * i128::from(SECOND_US);
    }

    fn fill(&mut self, now_us: i64, rate: Option<Rate>, most_bytes: u64) {
        let most = i128::from(most_bytes) * i128::from(SECOND_US);
        let elapsed = now_us.saturating_sub(self.at_us.unwrap_or(now_us)).max(0);
        self.at_us = Some(now_us);
        self.level = match rate {
            Some(rate) => (self.level + i128::from(rate.0) * i128::from(elapsed)).min(most),
            // Without a limit nothing is owed when one begins.
            None => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use site_config::upload::TimeOfDay;

    use super::*;

    fn hours(day: Day, from: u16, to: u16, budget_kbit: u32) -> OfficeHours {
        OfficeHours {
            days: vec![day],
            from: TimeOfDay(from),
            to: TimeOfDay(to),
            budget_kbit,
        }
    }

    fn at(text: &str) -> WallTime {
        WallTime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn the_first_hours_that_fit_count_in_their_zone() {
        let table = Hours::new(&UploadSettings {
            budget_kbit: 8000,
            office_hours: vec![
                hours(Day::Mon, 690, 780, 0),
                hours(Day::Mon, 450, 1020, 512),
                hours(Day::Sun, 1380, 1440, 64),
            ],
            ..UploadSettings::default()
        });
        // 2026-11-23 is a Monday.
        let cases = [
            ("2026-11-23T07:29:59+07:00", Some(1_000_000)),
            ("2026-11-23T07:30:00+07:00", Some(64_000)),
            ("2026-11-23T11:30:00+07:00", None),
            ("2026-11-23T16:59:59.999+07:00", Some(64_000)),
            ("2026-11-23T17:00:00+07:00", Some(1_000_000)),
            ("2026-11-24T08:00:00+07:00", Some(1_000_000)),
            ("2026-11-22T23:59:00+07:00", Some(8_000)),
            ("2026-11-22T16:59:00Z", Some(8_000)),
        ];
        for (moment, expected) in cases {
            assert_eq!(table.rate_at(at(moment)), expected.map(Rate), "{moment}");
        }
    }

    #[test]
    fn pieces_take_about_two_seconds_whatever_is_slower() {
        assert_eq!(piece_bytes(None, None), 256 * 1024);
        assert_eq!(piece_bytes(Some(Rate(64_000)), None), 128_000);
        assert_eq!(piece_bytes(Some(Rate(64_000)), Some(Rate(32_000))), 64_000);
        assert_eq!(piece_bytes(Some(Rate(u64::MAX / 4)), None), 2 * 1024 * 1024);
        assert_eq!(piece_bytes(Some(Rate(1)), Some(Rate(2_000))), 16 * 1024);
    }

    #[test]
    fn a_long_rest_saves_up_one_piece_only() {
        let mut bucket = Bucket::default();
        let rate = Some(Rate(1000));
        assert_eq!(bucket.wait_us(0, rate, 2000), 2_000_000);
        assert_eq!(bucket.wait_us(3_600_000_000, rate, 2000), 0);
        bucket.take(2000);
        assert_eq!(bucket.wait_us(3_600_000_000, rate, 2000), 2_000_000);
    }

    proptest! {
        /// However pieces and waits fall, no more goes than the budget and one piece allow.
        #[test]
        fn never_more_than_the_budget_and_one_piece(
            rate in 2_000_u64..1_000_000,
            pieces in prop::collection::vec((1_u64..300_000, 0_i64..5_000_000), 1..60),
        ) {
            let mut bucket = Bucket::default();
            let (mut now_us, mut sent) = (7_i64, 0_u64);
            for (bytes, idle_us) in pieces {
                now_us += idle_us;
                now_us += bucket.wait_us(now_us, Some(Rate(rate)), bytes);
                prop_assert_eq!(bucket.wait_us(now_us, Some(Rate(rate)), bytes), 0);
                bucket.take(bytes);
                sent += bytes;
                prop_assert!(sent <= Rate(rate).bytes_in(now_us) + 300_000 + 60, "{} in {} us", sent, now_us);
            }
        }

        /// Who always has something to send uses the whole budget.
        #[test]
        fn the_whole_budget_is_used(rate in 2_000_u64..1_000_000, bytes in 1_000_u64..300_000) {
            let mut bucket = Bucket::default();
            let mut now_us = 0_i64;
            for _ in 0..50 {
                now_us += bucket.wait_us(now_us, Some(Rate(rate)), bytes);
                bucket.take(bytes);
            }
            let ideal_us = Rate(rate).time_for(50 * bytes);
            prop_assert!((now_us - ideal_us).abs() <= 50 + 50 * 1_000_000 / rate as i64, "{} {}", now_us, ideal_us);
        }
    }
}
