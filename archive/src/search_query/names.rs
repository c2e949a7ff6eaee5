//! Tickets, counters, officers and procedures in a query.

use super::words::Word;
use super::{ChipValue, Found, Vocabulary};
use crate::fold::tokens;
use crate::ids::CounterId;

/// `quầy 3`, `số 123`, `cán bộ Hoa`: a word that says what the next ones are.
pub(super) fn by_keyword(rest: &[Word], known: &Vocabulary) -> Option<Found> {
    const TICKET: &[&[&str]] = &[
        &["so", "thu", "tu"],
        &["so", "phieu"],
        &["so"],
        &["phieu", "so"],
        &["phieu"],
        &["stt"],
        &["ticket", "number"],
        &["ticket"],
        &["number"],
        &["no"],
    ];
    const COUNTER: &[&[&str]] = &[
        &["quay", "so"],
        &["quay"],
        &["counter", "no"],
        &["counter"],
        &["desk"],
    ];
    const OFFICER: &[&[&str]] = &[&["can", "bo"], &["nhan", "vien"], &["officer"]];
    if let Some(taken) = starts_with(rest, COUNTER)
        && let Some(number) = rest.get(taken).and_then(|w| small_number(&w.folded))
    {
        return Some(counter(taken + 1, number, known));
    }
    if let Some(number) = joined(&rest[0].folded, &["quay", "counter"]) {
        return Some(counter(1, number, known));
    }
    if let Some(number) = joined(&rest[0].folded, &["q"]) {
        // It may be a ticket's series as well, so there must be such a counter.
        return Some(counter(1, number, known)).filter(|found| found.value != NO_COUNTER);
    }
    if let Some(taken) = starts_with(rest, TICKET) {
        return keyed_ticket(rest, taken);
    }
    if let Some(taken) = starts_with(rest, OFFICER) {
        return keyed_officer(rest, taken, known);
    }
    None
}

const NO_COUNTER: ChipValue = ChipValue::Counter { counters: Vec::new() };

/// The number written right behind one of the keywords.
fn joined(word: &str, keywords: &[&str]) -> Option<u32> {
    keywords.iter().find_map(|k| small_number(word.strip_prefix(k)?))
}

/// How many words the first of the keywords that fits takes, if more words follow.
fn starts_with(rest: &[Word], keywords: &[&[&str]]) -> Option<usize> {
    let fits = |keyword: &&&[&str]| {
        rest.len() > keyword.len() && keyword.iter().zip(rest).all(|(k, word)| word.folded == *k)
    };
    keywords.iter().find(fits).map(|keyword| keyword.len())
}

fn small_number(text: &str) -> Option<u32> {
    let is_number = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn counter(words: usize, number: u32, known: &Vocabulary) -> Found {
    let fitting: Vec<_> = (known.counters.iter())
        .map(|c| &c.known)
        .filter(|c| last_number(&c.name).or_else(|| last_number(c.counter.as_str())) == Some(number))
        .collect();
    let label = match fitting.as_slice() {
        [only] => only.name.clone(),
        _ => format!("Quầy {number}"),
    };
    let counters: Vec<CounterId> = fitting.into_iter().map(|c| c.counter.clone()).collect();
    Found {
        words,
        value: ChipValue::Counter { counters },
        label,
    }
}

fn last_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit())
        .rfind(|digits| !digits.is_empty())?
        .parse()
        .ok()
}

fn keyed_ticket(rest: &[Word], taken: usize) -> Option<Found> {
    let word = &rest.get(taken)?.folded;
    let next = rest.get(taken + 1).map(|w| w.folded.as_str());
    let is_number = |text: &str| (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if is_number(word) {
        return Some(found_ticket(taken + 1, "", word));
    }
    if let Some((series, number)) = series_and_number(word) {
        return Some(found_ticket(taken + 1, series, number));
    }
    let is_series = word.len() <= 3 && word.bytes().all(|b| b.is_ascii_lowercase());
    let number = next.filter(|n| is_series && is_number(n))?;
    Some(found_ticket(taken + 2, word, number))
}

/// `A0123`, `A-123`, `#123`, or a bare number of three to five digits that is no year.
pub(super) fn ticket(rest: &[Word]) -> Option<Found> {
    let word = rest[0].folded.as_str();
    let bare = word.trim_start_matches('#');
    let is_digits = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit());
    if is_digits {
        let is_year = bare.len() == 4 && (bare.starts_with("19") || bare.starts_with("20"));
        let is_number = (3..=5).contains(&bare.len()) && !is_year;
        return (is_number || (word != bare && bare.len() <= 6)).then(|| found_ticket(1, "", bare));
    }
    let (series, number) = series_and_number(bare)?;
    (number.len() >= 2).then(|| found_ticket(1, series, number))
}

fn series_and_number(word: &str) -> Option<(&str, &str)> {
    let letters = word.find(|c: char| !c.is_ascii_lowercase())?;
    let (series, number) = word.split_at(letters);
    let number = number.strip_prefix('-').unwrap_or(number);
    let is_number = (1..=5).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    ((1..=3).contains(&series.len()) && is_number).then_some((series, number))
}

fn found_ticket(words: usize, series: &str, number: &str) -> Found {
    let series = series.to_uppercase();
    Found {
        words,
        label: format!("{series}{number}"),
        value: ChipValue::Ticket {
            series: (!series.is_empty()).then_some(series),
            number: number.to_owned(),
        },
    }
}

/// A staff code that is known, as a whole word.
pub(super) fn officer_code(rest: &[Word], known: &Vocabulary) -> Option<Found> {
    let word = tokens(&rest[0].folded);
    let codes: Vec<_> = (known.officer_codes.iter().zip(&known.officers))
        .filter(|(code, _)| !word.is_empty() && **code == word)
        .map(|(_, officer)| officer.known.code.clone())
        .collect();
    (!codes.is_empty()).then(|| found_officers(1, codes, rest, known))
}

fn found_officers(words: usize, codes: Vec<String>, rest: &[Word], known: &Vocabulary) -> Found {
    let typed = |words: &[Word]| {
        words
            .iter()
            .map(|w| w.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let label = match codes.as_slice() {
        [only] => {
            let name = known
                .officers
                .iter()
                .find(|o| o.known.code == *only)
                .map_or("", |o| o.known.name.as_str());
            format!("{only} {name}").trim_end().to_owned()
        }
        _ => typed(&rest[..words]),
    };
    Found {
        words,
        value: ChipValue::Officer { codes },
        label,
    }
}

/// After `cán bộ` even a part of a name of one word counts.
fn keyed_officer(rest: &[Word], taken: usize, known: &Vocabulary) -> Option<Found> {
    let after = &rest[taken..];
    if let Some(found) = officer_code(after, known) {
        return Some(Found {
            words: taken + 1,
            ..found
        });
    }
    let (words, codes) = officers_by_name(after, 1, known)?;
    let found = found_officers(words, codes, after, known);
    Some(Found {
        words: taken + words,
        ..found
    })
}

/// The longest run of words that is part of a known name: of an officer, a procedure or a counter.
pub(super) fn by_phrase(rest: &[Word], known: &Vocabulary) -> Option<Found> {
    let counter = counters_by_name(rest, known);
    let officer = officers_by_name(rest, 2, known);
    let procedure = procedures_by_name(rest, known);
    let length = |found: &Option<(usize, Vec<String>)>| found.as_ref().map_or(0, |f| f.0);
    if let Some(found) = counter.filter(|c| c.words >= length(&officer).max(length(&procedure))) {
        return Some(found);
    }
    if length(&officer) >= length(&procedure) {
        let (words, codes) = officer?;
        return Some(found_officers(words, codes, rest, known));
    }
    let (words, names) = procedure?;
    let label = match names.as_slice() {
        [only] => only.clone(),
        _ => rest[..words]
            .iter()
            .map(|w| w.text.as_str())
            .collect::<Vec<_>>()
            .join(" "),
    };
    Some(Found {
        words,
        value: ChipValue::Procedure { names },
        label,
    })
}

fn officers_by_name(rest: &[Word], least: usize, known: &Vocabulary) -> Option<(usize, Vec<String>)> {
    let names = (known.officers.iter()).map(|o| (o.known.code.as_str(), o.name.as_slice()));
    longest(rest, least, names)
}

fn procedures_by_name(rest: &[Word], known: &Vocabulary) -> Option<(usize, Vec<String>)> {
    let names = (known.procedures.iter()).map(|p| (p.known.as_str(), p.name.as_slice()));
    longest(rest, 2, names)
}

/// The whole name of a counter.
fn counters_by_name(rest: &[Word], known: &Vocabulary) -> Option<Found> {
    let found = known.counters.iter().filter_map(|counter| {
        let words = whole(rest, &counter.name)?;
        Some((words, &counter.known))
    });
    let (words, _) = found.clone().max_by_key(|(words, _)| *words)?;
    let fitting: Vec<_> = found.filter(|(w, _)| *w == words).map(|(_, c)| c).collect();
    Some(Found {
        words,
        label: fitting[0].name.clone(),
        value: ChipValue::Counter {
            counters: fitting.iter().map(|c| c.counter.clone()).collect(),
        },
    })
}

/// How many words of the query are exactly this name; marks between its words do not count.
fn whole(rest: &[Word], name: &[String]) -> Option<usize> {
    let mut left = name;
    for (i, word) in rest.iter().enumerate() {
        let pieces = tokens(&word.folded);
        left = left.strip_prefix(pieces.as_slice())?;
        if left.is_empty() {
            return Some(i + 1);
        }
    }
    None
}

/// The most words, at least `least` unless they are a whole name, that run within some names; and whose.
fn longest<'n>(
    rest: &[Word],
    least: usize,
    names: impl Iterator<Item = (&'n str, &'n [String])> + Clone,
) -> Option<(usize, Vec<String>)> {
    let most = names.clone().map(|(_, name)| name.len()).max()?.min(rest.len());
    let query: Vec<_> = rest[..most].iter().map(|w| w.folded.as_str()).collect();
    (1..=most).rev().find_map(|words| {
        let query = &query[..words];
        let fits = |name: &[String]| {
            (words >= least || name.len() == words) && name.windows(words).any(|run| run == query)
        };
        let fitting: Vec<_> = (names.clone())
            .filter(|(_, name)| fits(name))
            .map(|(key, _)| key.to_owned())
            .collect();
        (!fitting.is_empty()).then_some((words, fitting))
    })
}
