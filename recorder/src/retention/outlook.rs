//! From what lies on the disk to a forecast.

use archive::time::{DurationUs, WallTime};

use super::forecast::{Flow, Outlook};
use super::{Lines, Rules};
use crate::disk::Space;
use crate::index::Stock;

/// The present rate is that of so long.
pub const RECENT_US: DurationUs = 6 * 3600 * 1_000_000;

/// What the forecast goes by: of the footage of the last hours, what must stay now is taken to keep coming as it did.
/// A line that is down shows in it, and so does a hold without an end.
pub fn outlook(rules: &Rules, lines: &Lines, space: Space, stock: &[Stock], now: WallTime) -> Outlook {
    let starts = stock.iter().filter_map(|s| s.recent_start);
    let since = starts.min().unwrap_or(now).max(now - RECENT_US);
    let recent_s = ((now - since) as f64 / 1e6).max(1.0);
    let mut outlook = Outlook {
        room_bytes: space.free_bytes.saturating_sub(lines.reserve_bytes),
        ..Outlook::default()
    };
    for part in stock {
        if !rules.must_stay(part.class, part.is_delivered) {
            outlook.room_bytes += part.size_bytes;
            continue;
        }
        let keeps_s = rules.keeps_us(part.class).map(|us| us as f64 / 1e6);
        if part.recent_bytes > 0 {
            outlook.flows.push(Flow {
                bytes_per_s: part.recent_bytes as f64 / recent_s,
                keeps_s,
            });
        }
        if let Some(keeps_s) = keeps_s {
            let age_s = (now - part.ended_before) as f64 / 1e6;
            outlook.leaving.push((keeps_s - age_s, part.size_bytes));
        }
    }
    outlook
}

#[cfg(test)]
mod tests {
    use site_config::retention::{RetentionSettings, WhenFull};

    use super::super::Class;
    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000_000);
    const HOUR_US: DurationUs = 3_600_000_000;
    const GB: u64 = 1_000_000_000;

    fn recorded(class: Class, is_delivered: bool, gb: u64, recent_gb: u64) -> Stock {
        Stock {
            class,
            is_delivered,
            ended_before: NOW,
            size_bytes: gb * GB,
            recent_bytes: recent_gb * GB,
            recent_start: (recent_gb > 0).then_some(NOW - 3 * HOUR_US),
        }
    }

    fn hours_left(when_full: WhenFull, stock: &[Stock]) -> Option<u64> {
        let settings = RetentionSettings {
            when_full,
            ..RetentionSettings::default()
        };
        let space = Space {
            free_bytes: 101 * GB,
            total_bytes: 1_000 * GB,
        };
        let lines = Lines {
            reserve_bytes: GB,
            ..Lines::new(&settings, space)
        };
        let outlook = outlook(&Rules::new(&settings), &lines, space, stock, NOW);
        outlook.seconds_left().map(|s| s.div_euclid(3600))
    }

    #[test]
    fn what_the_centre_has_makes_room_and_what_it_lacks_takes_it_only_if_it_must_stay() {
        // Three hours of 30 GB, a third of which the centre lacks.
        let stock = [
            recorded(Class::Continuous, true, 200, 20),
            recorded(Class::Continuous, false, 10, 10),
        ];
        assert_eq!(hours_left(WhenFull::Stop, &stock), Some(300 * 3 / 10));
        assert_eq!(hours_left(WhenFull::DropOldestContinuous, &stock), None);
    }

    #[test]
    fn a_hold_that_goes_on_uses_up_the_disk_whatever_the_choice() {
        let stock = [recorded(Class::Held, true, 500, 30)];
        for when_full in [WhenFull::Stop, WhenFull::DropOldestContinuous] {
            assert_eq!(hours_left(when_full, &stock), Some(10));
        }
        let ended = [recorded(Class::Held, true, 500, 0)];
        assert_eq!(hours_left(WhenFull::Stop, &ended), None);
    }
}
