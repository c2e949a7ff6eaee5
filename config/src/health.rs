//! How picture and sound are watched at the edge.

use jiff::civil::{Time, Weekday};
use serde::Deserialize;

use crate::Problem;

/// How picture and sound are watched.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSettings {
    /// Whether they are looked at, at all.
    pub enabled: bool,
    /// Time zone of the site: service hours and the days of the reports.
    pub zone: String,
    /// When the counters serve, `HH:MM-HH:MM`. Outside of it darkness is no fault. What events say of a counter's day
    /// (`counter.opened`, `counter.closed`, `counter.paused`) goes before.
    pub service_hours: String,
    /// On which days, `mon` to `sun`.
    pub service_days: Vec<ServiceDay>,
    /// The recorder's clock may differ by so much from the centre's before an alert, 50 to 3,600,000 milliseconds.
    pub clock_off_ms: u32,
    /// A day's report is made anew so often while the day lasts, 10 to 86,400 seconds.
    pub report_every_s: u32,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "days need no words")]
pub enum ServiceDay {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Default for HealthSettings {
    fn default() -> Self {
        use ServiceDay::{Fri, Mon, Thu, Tue, Wed};
        Self {
            enabled: true,
            zone: "Asia/Ho_Chi_Minh".to_owned(),
            service_hours: "07:30-17:00".to_owned(),
            service_days: vec![Mon, Tue, Wed, Thu, Fri],
            clock_off_ms: 2000,
            report_every_s: 3600,
        }
    }
}

impl HealthSettings {
    /// The site's time zone; UTC if the settings were not validated.
    pub fn time_zone(&self) -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::get(&self.zone).unwrap_or(jiff::tz::TimeZone::UTC)
    }

    /// First and last moment of service in a day; `24:00` is the day's last.
    pub fn hours(&self) -> Option<(Time, Time)> {
        let (from, to) = self.service_hours.split_once('-')?;
        let (from, to) = (time(from)?, time(to)?);
        (from < to).then_some((from, to))
    }

    /// Whether counters serve on a day of the week.
    pub fn serves_on(&self, day: Weekday) -> bool {
        use ServiceDay::{Fri, Mon, Sat, Sun, Thu, Tue, Wed};
        let day = match day {
            Weekday::Monday => Mon,
            Weekday::Tuesday => Tue,
            Weekday::Wednesday => Wed,
            Weekday::Thursday => Thu,
            Weekday::Friday => Fri,
            Weekday::Saturday => Sat,
            Weekday::Sunday => Sun,
        };
        self.service_days.contains(&day)
    }

    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        let mut check = |is_good: bool, key: &str, message: &str| {
            if !is_good {
                problems.push(Problem::new(key, message));
            }
        };
        check(
            jiff::tz::TimeZone::get(&self.zone).is_ok(),
            "health.zone",
            "must be a name of the IANA time zone database, e.g. Asia/Ho_Chi_Minh",
        );
        check(
            self.hours().is_some(),
            "health.service_hours",
            "must be HH:MM-HH:MM within a day, e.g. 07:30-17:00, or 00:00-24:00",
        );
        check(
            (50..=3_600_000).contains(&self.clock_off_ms),
            "health.clock_off_ms",
            "must be 50 to 3600000 milliseconds",
        );
        check(
            (10..=86_400).contains(&self.report_every_s),
            "health.report_every_s",
            "must be 10 to 86400 seconds",
        );
    }
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    match (hour.parse().ok()?, minute.parse().ok()?) {
        (24, 0) => Some(Time::MAX),
        (hour, minute) => Time::new(hour, minute, 0, 0).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hours_and_refuses_what_is_none() {
        let hours = |text: &str| {
            let settings = HealthSettings {
                service_hours: text.to_owned(),
                ..HealthSettings::default()
            };
            settings.hours()
        };
        let at = |hour, minute| Time::new(hour, minute, 0, 0).unwrap();
        assert_eq!(hours("07:30-17:00"), Some((at(7, 30), at(17, 0))));
        assert_eq!(hours("00:00-24:00"), Some((at(0, 0), Time::MAX)));
        for text in [
            "",
            "7:30-17:00",
            "17:00-07:30",
            "07:30",
            "07:60-08:00",
            "25:00-26:00",
        ] {
            assert_eq!(hours(text), None, "{text:?}");
        }
    }
}
