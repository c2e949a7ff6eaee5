//! How long a recorder keeps footage, and what it does when its disk gets full.

use serde::Deserialize;

use crate::Problem;

/// How long footage stays, and what happens when the disk gets full.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// Days that footage without an interaction is kept, 1 to 3650.
    pub continuous_days: u32,
    /// Days that footage of an interaction is kept, 1 to 3650; not fewer than `continuous_days`.
    pub interaction_days: u32,
    /// Seconds kept before an interaction or a hold, 5 to 600.
    pub pre_roll_s: u32,
    /// Seconds kept behind an interaction or a hold, 5 to 600.
    pub post_roll_s: u32,
    /// With more of the disk used, in percent, footage goes, 50 to 99.
    pub high_percent: u8,
    /// It goes until only so much is used, in percent; below `high_percent`.
    pub low_percent: u8,
    /// MB that recording never uses; at most half of what `high_percent` leaves.
    pub reserve_mb: u32,
    /// What happens when nothing is left that the centre has.
    pub when_full: WhenFull,
    /// Days before only footage that must stay would be left on the disk, from which an alert says so, 1 to 365.
    pub forecast_days: u32,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            continuous_days: 30,
            interaction_days: 120,
            pre_roll_s: 30,
            post_roll_s: 30,
            high_percent: 95,
            low_percent: 92,
            reserve_mb: 1024,
            when_full: WhenFull::default(),
            forecast_days: 7,
        }
    }
}

/// What happens when room is needed and nothing is left that the centre has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Recording stops, with a gap and an alert, until there is room.
    Stop,
    /// The oldest footage without an interaction goes, though the centre does not have it.
    #[default]
    DropOldestContinuous,
}

impl RetentionSettings {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        let ranges = [
            ("continuous_days", self.continuous_days, 1..=3650, "days"),
            ("interaction_days", self.interaction_days, 1..=3650, "days"),
            ("pre_roll_s", self.pre_roll_s, 5..=600, "seconds"),
            ("post_roll_s", self.post_roll_s, 5..=600, "seconds"),
            ("high_percent", u32::from(self.high_percent), 50..=99, "percent"),
            ("low_percent", u32::from(self.low_percent), 1..=98, "percent"),
            ("forecast_days", self.forecast_days, 1..=365, "days"),
        ];
        for (name, value, range, unit) in ranges {
            if !range.contains(&value) {
                let message = format!("must be {} to {} {unit}", range.start(), range.end());
                problems.push(Problem::new(format!("retention.{name}"), message));
            }
        }
        if self.low_percent >= self.high_percent {
            let message = format!("must be below retention.high_percent, {}", self.high_percent);
            problems.push(Problem::new("retention.low_percent", message));
        }
        if self.interaction_days < self.continuous_days {
            let message = format!(
                "must not be below retention.continuous_days, {}",
                self.continuous_days
            );
            problems.push(Problem::new("retention.interaction_days", message));
        }
    }
}
