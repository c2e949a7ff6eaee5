//! Whether a counter serves now: by what events say of its day, else by the hours that are set up.

use archive::time::WallTime;
use jiff::tz::TimeZone;
use site_config::health::HealthSettings;

/// What the newest event of a counter said of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: WallTime,
    /// Whether it serves from then on.
    pub is_open: bool,
}

/// Whether a counter serves. An event counts on its own day only: nobody opens a counter for tomorrow.
pub fn is_serving(settings: &HealthSettings, zone: &TimeZone, told: Option<Told>, now: WallTime) -> bool {
    let today = now.date_in(zone);
    if let Some(told) = told.filter(|told| told.at <= now && told.at.date_in(zone) == today) {
        return told.is_open;
    }
    let time = now.timestamp().to_zoned(zone.clone()).time();
    let in_hours = settings
        .hours()
        .is_none_or(|(from, to)| (from..=to).contains(&time));
    in_hours && settings.serves_on(today.weekday())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_the_day_go_before_hours_and_days() {
        let settings = HealthSettings::default();
        let zone = settings.time_zone();
        let at = |text: &str| WallTime::parse_rfc3339(&format!("2026-11-{text}:00+07:00")).unwrap();
        let serving = |now, told| is_serving(&settings, &zone, told, at(now));
        let told = |when, is_open| {
            Some(Told {
                at: at(when),
                is_open,
            })
        };
        // The 23rd is a Monday.
        assert!(serving("23T10:00", None));
        assert!(!serving("23T18:00", None));
        assert!(!serving("22T10:00", None));
        assert!(!serving("23T16:30", told("23T16:10", false)));
        assert!(serving("23T18:00", told("23T17:40", true)));
        assert!(serving("23T10:00", told("20T16:00", false)));
        assert!(serving("22T10:00", told("22T08:00", true)));
    }
}
