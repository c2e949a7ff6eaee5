//! Dates and times of day in a query.

use jiff::ToSpan;
use jiff::civil::{Date, Time};

use super::words::Word;
use super::{ChipValue, Found};

/// Finds a date or a time of day at the first word; `before` is the chip that stands before it.
pub(super) fn find(rest: &[Word], before: Option<&ChipValue>, today: Date) -> Option<Found> {
    date(rest, before, today)
        .or_else(|| time(rest))
        .or_else(|| part_of_day(rest, before, today))
        .or_else(|| filler(rest, today))
}

/// `lúc 9h`, `ngày 23/11`, `at 9:30`: the word before belongs to what follows.
fn filler(rest: &[Word], today: Date) -> Option<Found> {
    let rest_after = rest.get(1..).filter(|after| !after.is_empty())?;
    let found = match rest[0].folded.as_str() {
        "ngay" | "on" | "date" => date(rest_after, None, today),
        "luc" | "at" | "khoang" | "about" | "around" => time(rest_after),
        "tu" | "from" => time_range(rest_after),
        _ => None,
    }?;
    Some(Found {
        words: found.words + 1,
        ..found
    })
}

fn date(rest: &[Word], before: Option<&ChipValue>, today: Date) -> Option<Found> {
    let word = rest[0].folded.as_str();
    let next = rest.get(1).map(|w| w.folded.as_str());
    let day_ago = |days: i64| today.checked_sub(days.days()).ok();
    let monday = today
        .checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days())
        .ok()?;
    let first = today.first_of_month();
    let is_after_part_of_day = matches!(before, Some(ChipValue::Time { .. }));
    let (words, from, to) = match (word, next) {
        ("hom", Some("nay")) => (2, today, today),
        ("hom", Some("qua")) => (2, day_ago(1)?, day_ago(1)?),
        ("hom", Some("kia")) => (2, day_ago(2)?, day_ago(2)?),
        ("homnay" | "today", _) => (1, today, today),
        ("homqua" | "yesterday", _) => (1, day_ago(1)?, day_ago(1)?),
        ("nay", _) if is_after_part_of_day => (1, today, today),
        ("qua", _) if is_after_part_of_day => (1, day_ago(1)?, day_ago(1)?),
        ("tuan", Some("nay")) | ("this", Some("week")) => (2, monday, today),
        ("tuan", Some("truoc")) | ("last", Some("week")) => {
            let from = monday.checked_sub(7.days()).ok()?;
            (2, from, monday.yesterday().ok()?)
        }
        ("thang", Some("nay")) | ("this", Some("month")) => (2, first, today),
        ("thang", Some("truoc")) | ("last", Some("month")) => {
            let to = first.yesterday().ok()?;
            (2, to.first_of_month(), to)
        }
        _ => {
            let day = written_date(word, today)?;
            (1, day, day)
        }
    };
    let write = |day: Date| day.strftime("%d/%m/%Y").to_string();
    let label = if from == to {
        write(from)
    } else {
        format!("{} – {}", write(from), write(to))
    };
    Some(Found {
        words,
        value: ChipValue::Date { from, to },
        label,
    })
}

/// `23/11/2026`, `23/11/26`, `23-11-2026`, `23.11.2026`, `2026-11-23`, and `23/11` for the last such day.
fn written_date(word: &str, today: Date) -> Option<Date> {
    let separator = ['/', '-', '.'].into_iter().find(|s| word.contains(*s))?;
    let pieces: Vec<&str> = word.split(separator).collect();
    if !pieces
        .iter()
        .all(|p| (1..=4).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    let numbers: Vec<i16> = pieces.iter().filter_map(|p| p.parse().ok()).collect();
    let date = |year: i16, month: i16, day: i16| {
        Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
    };
    match (pieces.as_slice(), numbers.as_slice()) {
        ([y, _, _], [year, month, day]) if y.len() == 4 => date(*year, *month, *day),
        ([_, _, y], [day, month, year]) if y.len() == 4 => date(*year, *month, *day),
        ([_, _, y], [day, month, year]) if y.len() == 2 => date(2000 + year, *month, *day),
        ([_, _], [day, month]) if separator == '/' => {
            let years = [today.year(), today.year() - 1];
            // 29/02 may not exist this year or last: up to eight years back it does.
            let years = years.into_iter().chain((2..=8).map(|ago| today.year() - ago));
            years
                .filter_map(|year| date(year, *month, *day))
                .find(|d| *d <= today)
        }
        _ => None,
    }
}

/// A time of day: an hour (`9h`: all of it) or a minute (`9h30`, `14:20`).
struct Moment {
    words: usize,
    from: Time,
    to: Time,
}

fn time(rest: &[Word]) -> Option<Found> {
    if let Some(range) = time_range(rest) {
        return Some(range);
    }
    moment(rest).map(|m| found_time(m.words, m.from, m.to))
}

fn found_time(words: usize, from: Time, to: Time) -> Found {
    Found {
        words,
        value: ChipValue::Time { from, to },
        label: if to.duration_since(from).as_secs() <= 60 {
            from.strftime("%H:%M").to_string()
        } else {
            format!("{} – {}", from.strftime("%H:%M"), to.strftime("%H:%M"))
        },
    }
}

/// `9h-10h30`, `9-10h`, `9h đến 10h`, `9:00 to 10:00`.
fn time_range(rest: &[Word]) -> Option<Found> {
    let first = &rest[0].folded;
    if let Some((left, right)) = first.split_once(['-', '–']) {
        let to = clock(right, None)?;
        let from = clock(left, None).or_else(|| clock(&format!("{left}h"), None))?;
        return (from.0 < to.0).then(|| found_time(1, from.0, to.0));
    }
    let from = moment(rest)?;
    let link = rest.get(from.words)?.folded.as_str();
    if !matches!(link, "den" | "toi" | "to" | "till" | "until" | "-" | "–") {
        return None;
    }
    let to = moment(rest.get(from.words + 1..).filter(|r| !r.is_empty())?)?;
    (from.from < to.from).then(|| found_time(from.words + 1 + to.words, from.from, to.from))
}

/// One time of day with the words that belong to it: `9h`, `9 giờ 30`, `2h chiều`, `9 am`.
fn moment(rest: &[Word]) -> Option<Moment> {
    let word = |i: usize| rest.get(i).map(|w| w.folded.as_str());
    let number = |i: usize| word(i).filter(|w| w.len() <= 2 && w.parse::<u8>().is_ok());
    let (mut words, text) = match (number(0), word(1)) {
        (Some(hour), Some("gio" | "h")) => match (number(2), word(3)) {
            (Some(minute), Some("phut")) => (4, format!("{hour}h{minute}")),
            (Some(minute), _) => (3, format!("{hour}h{minute}")),
            (None, _) => (2, format!("{hour}h")),
        },
        (Some(hour), Some("am" | "pm")) => (1, format!("{hour}h")),
        _ => (1, rest[0].folded.clone()),
    };
    let half = match word(words) {
        Some("sang" | "am") => Some(Half::Morning),
        Some("chieu" | "pm") => Some(Half::Afternoon),
        // `tới` folds the same: then a time follows.
        Some("toi")
            if rest
                .get(words + 1..)
                .is_none_or(|r| r.is_empty() || moment(r).is_none()) =>
        {
            Some(Half::Afternoon)
        }
        _ => None,
    };
    let (from, to) = clock(&text, half)?;
    words += usize::from(half.is_some());
    Some(Moment { words, from, to })
}

#[derive(Clone, Copy, PartialEq)]
enum Half {
    Morning,
    Afternoon,
}

/// `9h`, `9g`, `9gio`, `9h30`, `9h30p`, `14:20`, `14:20:05`, `9am`, `2:30pm`: from and to.
fn clock(text: &str, half: Option<Half>) -> Option<(Time, Time)> {
    let (text, half) = match (text.strip_suffix("am"), text.strip_suffix("pm")) {
        (Some(text), _) => (text, Some(Half::Morning)),
        (_, Some(text)) => (text, Some(Half::Afternoon)),
        _ => (text, half),
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (hour, rest) = text.split_at(digits);
    let mut hour: i8 = hour.parse().ok().filter(|_| hour.len() <= 2)?;
    let minute = ["gio", "h", "g", ":"]
        .iter()
        .find_map(|mark| rest.strip_prefix(mark));
    let minute = match minute {
        None if rest.is_empty() && half.is_some() => "",
        None => return None,
        Some("") if rest == ":" => return None,
        Some(minute) => ["phut", "ph", "p"]
            .iter()
            .find_map(|mark| minute.strip_suffix(mark))
            .unwrap_or(minute),
    };
    if half == Some(Half::Afternoon) && hour < 12 {
        hour += 12;
    }
    if minute.is_empty() {
        let from = Time::new(hour, 0, 0, 0).ok()?;
        return Some((from, from.saturating_add(1.hour())));
    }
    let mut pieces = minute.split(':');
    let minute = pieces
        .next()
        .filter(|m| (1..=2).contains(&m.len()))?
        .parse()
        .ok()?;
    let from = Time::new(hour, minute, 0, 0).ok()?;
    let seconds_fit = pieces.all(|s| s.len() == 2 && s.parse::<u8>().is_ok_and(|s| s < 60));
    seconds_fit.then(|| (from, from.saturating_add(1.minute())))
}

/// `sáng nay`, `chiều qua`, `hôm qua chiều`: only beside a date, as `Sang` is a name too.
fn part_of_day(rest: &[Word], before: Option<&ChipValue>, today: Date) -> Option<Found> {
    let (from, to) = match rest[0].folded.as_str() {
        "sang" | "morning" => (0, 12),
        "trua" | "noon" => (11, 14),
        "chieu" | "afternoon" => (12, 18),
        // `tôi` (I) and `tới` (to) fold the same.
        "toi" if rest[0].text.to_lowercase().contains(['ô', 'ơ', 'ớ']) => return None,
        "toi" | "evening" => (18, 24),
        _ => return None,
    };
    let is_after_date = matches!(before, Some(ChipValue::Date { .. }));
    let from = Time::new(from, 0, 0, 0).ok()?;
    let to = Time::new(to, 0, 0, 0).unwrap_or(Time::MAX);
    let as_before = ChipValue::Time { from, to };
    let is_before_date = rest
        .get(1..)
        .is_some_and(|r| !r.is_empty() && date(r, Some(&as_before), today).is_some());
    (is_after_date || is_before_date).then(|| found_time(1, from, to))
}
