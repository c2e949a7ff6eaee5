//! What the text in the one search box means: `hôm qua 9h quầy 3` → a date, an hour, a counter.
//!
//! Understands Vietnamese with and without diacritics, and English. Nothing is lost: each word ends up
//! in one chip, those not understood as plain text.

mod moments;
mod names;
#[cfg(test)]
mod tests;
mod words;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::dossier::{DossierPatterns, Warning, accept};
use crate::fold::{fold, tokens};
use crate::ids::CounterId;
use crate::time::WallTime;
use words::Word;

/// Longest text that is looked at, in characters; the rest is ignored.
pub const MAX_QUERY_CHARS: usize = 500;

/// What is known by name where the search is made.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    counters: Vec<Named<KnownCounter>>,
    officers: Vec<Named<KnownOfficer>>,
    procedures: Vec<Named<String>>,
    /// The words of the officers' staff codes, in their order.
    officer_codes: Vec<Vec<String>>,
    dossier_patterns: DossierPatterns,
}

/// Something with the folded words of its name: thousands of names are folded once, not with every query.
#[derive(Debug, Clone)]
struct Named<T> {
    known: T,
    name: Vec<String>,
}

impl Vocabulary {
    /// Knows counters, officers and procedures by name, and dossiers by what their codes look like.
    pub fn new(
        counters: Vec<KnownCounter>,
        officers: Vec<KnownOfficer>,
        procedures: Vec<String>,
        dossier_patterns: DossierPatterns,
    ) -> Self {
        fn named<T>(all: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<Named<T>> {
            all.into_iter()
                .map(|known| Named {
                    name: tokens(name(&known)),
                    known,
                })
                .collect()
        }
        Self {
            officer_codes: officers.iter().map(|o| tokens(&o.code)).collect(),
            counters: named(counters, |c| &c.name),
            officers: named(officers, |o| &o.name),
            procedures: named(procedures, |p| p),
            dossier_patterns,
        }
    }
}

/// A counter that can be searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCounter {
    /// Its id.
    pub counter: CounterId,
    /// Its name for people, e.g. `Quầy 03`.
    pub name: String,
}

/// An officer that can be searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOfficer {
    /// Staff code, as in events.
    pub code: String,
    /// Name for people, may be empty.
    pub name: String,
}

/// What a part of the query stands for. In JSON `kind` names the variant, `value` holds its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum ChipValue {
    /// A dossier's code, normalised.
    Dossier {
        /// The code.
        code: String,
    },
    /// A ticket.
    Ticket {
        /// Letters in upper case; `None` if only the number was given.
        series: Option<String>,
        /// The number as typed; leading zeros do not count.
        number: String,
    },
    /// Officers that the words may mean.
    Officer {
        /// Staff codes.
        codes: Vec<String>,
    },
    /// Procedures that the words may mean.
    Procedure {
        /// Their names.
        names: Vec<String>,
    },
    /// Counters that the words may mean; none if there is no such counter.
    Counter {
        /// Their ids.
        counters: Vec<CounterId>,
    },
    /// Days at the site.
    Date {
        /// The first.
        from: Date,
        /// The last, included.
        to: Date,
    },
    /// A time of day at the site.
    Time {
        /// From here.
        from: Time,
        /// To here, not included; 23:59:59 stands for midnight.
        to: Time,
    },
    /// Words for the full text search.
    Text {
        /// The words, folded.
        folded: String,
    },
}

/// One understood part of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chip {
    /// What it stands for.
    #[serde(flatten)]
    pub value: ChipValue,
    /// How to show it to people: names and numbers only, so it needs no translation.
    pub label: String,
    /// First character of the query that it comes from, counted in characters (Unicode scalar values).
    pub start: usize,
    /// Character after its last.
    pub end: usize,
}

/// What a matcher found at a word: how many words it takes, what they mean, how to show it.
struct Found {
    words: usize,
    value: ChipValue,
    label: String,
}

/// Reads a query typed at `now` about sites in `zone`. Chips come in the order of the text.
pub fn understand(query: &str, now: WallTime, zone: &TimeZone, known: &Vocabulary) -> Vec<Chip> {
    let today = now.date_in(zone);
    let words = words::split(query);
    let mut chips: Vec<Chip> = Vec::new();
    let mut at = 0;
    while let Some(rest) = words.get(at..).filter(|rest| !rest.is_empty()) {
        let found = dossier(rest, known)
            .or_else(|| names::by_keyword(rest, known))
            .or_else(|| names::officer_code(rest, known))
            .or_else(|| moments::find(rest, chips.last().map(|c| &c.value), today))
            .or_else(|| names::ticket(rest))
            .or_else(|| names::by_phrase(rest, known));
        match found {
            Some(found) => {
                let taken = &rest[..found.words];
                chips.push(Chip {
                    value: found.value,
                    label: found.label,
                    start: taken[0].start,
                    end: taken[found.words - 1].end,
                });
                at += found.words;
            }
            None => {
                let is_continued = at > 0 && is_text_word(&words[at - 1], &chips);
                add_text(&mut chips, query, &rest[0], is_continued);
                at += 1;
            }
        }
    }
    chips
}

fn dossier(rest: &[Word], known: &Vocabulary) -> Option<Found> {
    let text = &rest[0].text;
    if text.chars().count() < 8 || !text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let accepted = accept(text, &known.dossier_patterns);
    let is_code =
        !accepted.warnings.contains(&Warning::Unrecognised) && !accepted.warnings.contains(&Warning::Empty);
    is_code.then(|| Found {
        words: 1,
        label: accepted.code.to_string(),
        value: ChipValue::Dossier {
            code: accepted.code.to_string(),
        },
    })
}

/// Whether the word before is the end of the text chip that stands last.
fn is_text_word(before: &Word, chips: &[Chip]) -> bool {
    chips
        .last()
        .is_some_and(|chip| matches!(chip.value, ChipValue::Text { .. }) && chip.end == before.end)
}

fn add_text(chips: &mut Vec<Chip>, query: &str, word: &Word, is_continued: bool) {
    let start = match chips.last() {
        Some(chip) if is_continued => chip.start,
        _ => word.start,
    };
    if is_continued {
        chips.pop();
    }
    let label: String = query.chars().skip(start).take(word.end - start).collect();
    chips.push(Chip {
        value: ChipValue::Text { folded: fold(&label) },
        label,
        start,
        end: word.end,
    });
}
