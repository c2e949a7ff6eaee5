//! What footage goes up to the centre, and how much of the line it may take.

use serde::Deserialize;

use crate::Problem;

/// What of a stream goes up without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadPolicy {
    /// All of it.
    #[default]
    Everything,
    /// What shows interactions and held footage, with the rolls of [`UploadSettings`].
    Interactions,
    /// Nothing; somebody who wants to see it fetches it.
    OnDemand,
}

impl UploadPolicy {
    /// The name in settings and index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Interactions => "interactions",
            Self::OnDemand => "on_demand",
        }
    }
}

/// The policies of a viewpoint's two qualities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewpointUpload {
    /// Of the full picture.
    pub main: UploadPolicy,
    /// Of the small picture.
    pub sub: UploadPolicy,
}

/// How footage goes up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UploadSettings {
    /// Most kilobits a second that footage takes of the line; 0: no limit.
    pub budget_kbit: u32,
    /// Time zone of the office hours.
    pub zone: String,
    /// Hours with a budget of their own; the first that fits counts.
    pub office_hours: Vec<OfficeHours>,
    /// Seconds that go up before an interaction, 0 to 3600.
    pub pre_roll_s: u32,
    /// Seconds that go up behind an interaction, 0 to 3600.
    pub post_roll_s: u32,
}

impl Default for UploadSettings {
    fn default() -> Self {
        Self {
            budget_kbit: 0,
            zone: "Asia/Ho_Chi_Minh".to_owned(),
            office_hours: Vec::new(),
            pre_roll_s: 30,
            post_roll_s: 30,
        }
    }
}

/// Hours of some days.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficeHours {
    /// On which days.
    pub days: Vec<Day>,
    /// From when.
    pub from: TimeOfDay,
    /// Until when, this minute not counted in.
    pub to: TimeOfDay,
    /// The budget then; 0: no limit.
    pub budget_kbit: u32,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// The day that a calendar names.
    pub fn of(weekday: jiff::civil::Weekday) -> Self {
        use jiff::civil::Weekday;
        match weekday {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

/// Minutes since midnight, 0 to 1440, written `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeOfDay(pub u16);

impl TryFrom<String> for TimeOfDay {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        const FORM: &str = "must be a time from \"00:00\" to \"24:00\"";
        let (hours, minutes) = text.split_once(':').ok_or(FORM)?;
        let number = |part: &str| {
            let is_number = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u16>().ok().filter(|_| is_number)
        };
        let (hours, minutes) = (number(hours).ok_or(FORM)?, number(minutes).ok_or(FORM)?);
        if minutes > 59 || hours * 60 + minutes > 24 * 60 {
            return Err(FORM);
        }
        Ok(Self(hours * 60 + minutes))
    }
}

/// Less would not carry the footage of an hour in a day.
const LEAST_KBIT: u32 = 16;
const MOST_ROLL_S: u32 = 3600;

impl UploadSettings {
    /// The zone of the office hours; UTC if the settings were not validated.
    pub fn time_zone(&self) -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::get(&self.zone).unwrap_or(jiff::tz::TimeZone::UTC)
    }

    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        let mut check = |is_good: bool, key: String, message: &str| {
            if !is_good {
                problems.push(Problem::new(key, message));
            }
        };
        let is_budget = |kbit: u32| kbit == 0 || kbit >= LEAST_KBIT;
        let budget = "must be 0 (no limit) or at least 16 kilobits a second";
        check(
            is_budget(self.budget_kbit),
            "upload.budget_kbit".to_owned(),
            budget,
        );
        let zone = "must be a name of the IANA time zone database, e.g. Asia/Ho_Chi_Minh";
        let is_zone = jiff::tz::TimeZone::get(&self.zone).is_ok();
        check(is_zone, "upload.zone".to_owned(), zone);
        for (name, seconds) in [("pre_roll_s", self.pre_roll_s), ("post_roll_s", self.post_roll_s)] {
            check(
                seconds <= MOST_ROLL_S,
                format!("upload.{name}"),
                "must be 0 to 3600 seconds",
            );
        }
        for (i, hours) in self.office_hours.iter().enumerate() {
            let key = format!("upload.office_hours[{i}]");
            check(is_budget(hours.budget_kbit), format!("{key}.budget_kbit"), budget);
            let days = "must name at least one of mon, tue, wed, thu, fri, sat, sun";
            check(!hours.days.is_empty(), format!("{key}.days"), days);
            let order = "must be later than from; hours over midnight are two entries";
            check(hours.to > hours.from, format!("{key}.to"), order);
        }
    }
}
