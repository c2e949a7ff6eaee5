//! Dossier codes (*mã hồ sơ*, Thông tư 01/2018/TT-VPCP art. 19): accepted always, with warnings, never rejected.

mod repair;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::civil::Date;
use regex::Regex;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// Most characters that a code keeps.
pub const MAX_CODE_CHARS: usize = 300;

/// A dossier's code as [`accept`] normalised it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DossierCode(String);

impl DossierCode {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DossierCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is odd about a code as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// Nothing but blanks.
    Empty,
    /// It has none of the forms that are set up; kept as it is.
    Unrecognised,
    /// Cut to [`MAX_CODE_CHARS`].
    TooLong,
    /// It stood inside a longer text; the rest is dropped, as it may be personal data.
    Extracted,
    /// `.` or `-` came as other signs, as from a scanner set to another keyboard layout.
    SeparatorsRepaired,
    /// A Vietnamese input method had turned letters or digits into accented letters.
    InputMethodRepaired,
    /// The date inside is no date.
    DateImpossible,
}

/// A dossier code and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The code, normalised.
    pub code: DossierCode,
    /// The date inside, if the pattern has one and it is one.
    pub date: Option<Date>,
    /// What is odd, each once, ascending.
    pub warnings: Vec<Warning>,
}

/// A pattern that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("dossier pattern {pattern:?}: {source}")]
pub struct InvalidPattern {
    /// The pattern as set up.
    pub pattern: String,
    /// What is wrong with it.
    #[source]
    pub source: regex::Error,
}

/// The forms that a dossier code may have.
#[derive(Debug, Clone)]
pub struct DossierPatterns {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    whole: Regex,
    within: Regex,
}

/// The patterns of [`DossierPatterns::default`]: as of 2018, and with the agency's id reversed.
pub const DEFAULT_PATTERNS: &[&str] = &[
    r"\d{3}\.\d{2}\.\d{2}\.[A-Z]\d{2}-(?P<date>\d{6})-\d{4,6}",
    r"[A-Z]\d{2}(?:\.\d{1,3}){0,3}-(?P<date>\d{6})-\d{4,6}",
];

impl DossierPatterns {
    /// Compiles patterns, each a regular expression for the whole code in upper case.
    ///
    /// A group named `date` holds the date as yyMMdd.
    ///
    /// # Errors
    /// [`InvalidPattern`] names the first that is not a regular expression.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, InvalidPattern> {
        let patterns = patterns
            .iter()
            .map(|pattern| Pattern::new(pattern.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Whether a text is a code already, without any repair.
    pub fn is_code(&self, text: &str) -> bool {
        self.patterns.iter().any(|p| p.whole.is_match(text))
    }

    fn find_within(&self, text: &str) -> Option<String> {
        self.patterns
            .iter()
            .find_map(|p| Some(p.within.captures(text)?.name("dossier_code")?.as_str().to_owned()))
    }

    /// The six digits of the date of a code, if its pattern has them.
    fn date_digits<'t>(&self, code: &'t str) -> Option<&'t str> {
        let captures = self.patterns.iter().find_map(|p| p.whole.captures(code))?;
        Some(captures.name("date")?.as_str())
    }
}

impl Default for DossierPatterns {
    fn default() -> Self {
        Self::new(DEFAULT_PATTERNS).expect("the default patterns are regular expressions, as a test shows")
    }
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        let compile = |expression: &str| {
            Regex::new(expression).map_err(|source| InvalidPattern {
                pattern: pattern.to_owned(),
                source,
            })
        };
        Ok(Self {
            whole: compile(&format!("^(?:{pattern})$"))?,
            within: compile(&format!(
                r"(?:^|[^A-Z0-9.\-])(?P<dossier_code>{pattern})(?:$|[^A-Z0-9])"
            ))?,
        })
    }
}

/// Reads a code as scanned or typed.
///
/// Trims, makes it NFC, upper case and ASCII where a sign has an ASCII twin, takes it out of a
/// receipt's URL or text, and undoes a keyboard's garbling where only one reading has a known form.
pub fn accept(text: &str, patterns: &DossierPatterns) -> Accepted {
    let mut warnings = Vec::new();
    let mut code = normalise(text);
    if code.is_empty() {
        warnings.push(Warning::Empty);
    } else if !patterns.is_code(&code) {
        match repair::recognise(&code, patterns) {
            Some((found, warning)) => {
                code = found;
                warnings.extend(warning);
            }
            None => warnings.push(Warning::Unrecognised),
        }
    }
    if let Some((end, _)) = code.char_indices().nth(MAX_CODE_CHARS) {
        code.truncate(end);
        code.truncate(code.trim_end().len());
        warnings.push(Warning::TooLong);
    }
    let digits = patterns.date_digits(&code);
    let date = digits.and_then(date);
    if digits.is_some() && date.is_none() {
        warnings.push(Warning::DateImpossible);
    }
    warnings.sort_unstable();
    Accepted {
        code: DossierCode(code),
        date,
        warnings,
    }
}

fn date(digits: &str) -> Option<Date> {
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<i16>().ok();
    let (year, month, day) = (number(0..2)?, number(2..4)?, number(4..6)?);
    Date::new(2000 + year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// The text in the alphabet of codes: upper case, NFC, plain dashes, dots and blanks.
fn normalise(text: &str) -> String {
    let upper: String = text
        .nfc()
        .map(plain)
        .flat_map(char::to_uppercase)
        .nfc()
        .filter(|c| !is_invisible(*c))
        .collect();
    upper.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plain(sign: char) -> char {
    match sign {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(sign) - 0xfee0).expect("full-width forms have ASCII twins")
        }
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2043}' | '\u{fe58}' | '\u{fe63}' | '\u{ad}' => '-',
        '\u{3002}' | '\u{ff61}' | '\u{2024}' | '\u{2027}' | '\u{b7}' | '\u{2022}' | '\u{22c5}' => '.',
        // Group separators and the like end up as blanks, so that they still part what they parted.
        _ if sign.is_control() => ' ',
        _ => sign,
    }
}

fn is_invisible(sign: char) -> bool {
    matches!(sign, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}')
}
