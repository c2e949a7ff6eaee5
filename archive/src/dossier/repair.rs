//! Codes that a URL, a text around them, a keyboard layout or an input method hides.

use unicode_normalization::UnicodeNormalization;

use super::{DossierPatterns, Warning, normalise};

/// Looks for a code in a text that is none, the plainest reading first.
pub(super) fn recognise(text: &str, patterns: &DossierPatterns) -> Option<(String, Option<Warning>)> {
    let blankless: String = text.split(' ').collect();
    if patterns.is_code(&blankless) {
        return Some((blankless, None));
    }
    for piece in url_pieces(text) {
        if patterns.is_code(&piece) {
            return Some((piece, None));
        }
    }
    if let Some(code) = patterns.find_within(text) {
        return Some((code, Some(Warning::Extracted)));
    }
    if let Some(code) = only_code(separators(&blankless).into_iter().collect(), patterns) {
        return Some((code, Some(Warning::SeparatorsRepaired)));
    }
    let mut readings = vni_readings(&blankless);
    readings.extend(telex_readings(&blankless));
    readings.push(layout_reading(&blankless));
    only_code(readings, patterns).map(|code| (code, Some(Warning::InputMethodRepaired)))
}

/// The one reading that is a code; none if several differ.
fn only_code(mut readings: Vec<String>, patterns: &DossierPatterns) -> Option<String> {
    readings.retain(|r| patterns.is_code(r));
    readings.sort_unstable();
    readings.dedup();
    if readings.len() == 1 { readings.pop() } else { None }
}

/// Values of the query, the fragment and the path of a URL, decoded and normalised.
fn url_pieces(text: &str) -> Vec<String> {
    let Some((_, rest)) = text.split_once("://") else {
        return Vec::new();
    };
    let (path, query) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    let values = query
        .split(['&', ';', '?', '#'])
        .map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    values
        .chain(path.split('/').skip(1))
        .map(|piece| normalise(&percent_decoded(piece)))
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[at], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The text with dots between its parts, and dashes before the last two, whatever signs stood there.
fn separators(text: &str) -> Option<String> {
    let parts: Vec<_> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect();
    let (agency, serial) = parts.split_at(parts.len().checked_sub(2)?);
    Some(format!("{}-{}", agency.join("."), serial.join("-")))
}

/// Marks and the digit (VNI) and letter (Telex) whose key puts them on a letter.
const MARKS: &[(char, char, char)] = &[
    ('\u{301}', '1', 'S'),
    ('\u{300}', '2', 'F'),
    ('\u{309}', '3', 'R'),
    ('\u{303}', '4', 'X'),
    ('\u{323}', '5', 'J'),
    ('\u{302}', '6', '\0'),
    ('\u{31b}', '7', 'W'),
    ('\u{306}', '8', 'W'),
];

/// VNI turns `A1` into `Á`; both orders of two marks are readings.
fn vni_readings(text: &str) -> Vec<String> {
    key_readings(text, "D9", |_, mark| {
        Some(MARKS.iter().find(|(m, ..)| *m == mark)?.1)
    })
}

/// Telex turns `AS` into `Á`, `AA` into `Â` and `DD` into `Đ`.
fn telex_readings(text: &str) -> Vec<String> {
    key_readings(text, "DD", |base, mark| {
        let (_, _, letter) = MARKS.iter().find(|(m, ..)| *m == mark)?;
        Some(if *letter == '\0' { base } else { *letter })
    })
}

/// Writes each accented letter as the keys that make it, in both orders of two marks.
fn key_readings(text: &str, d_stroke: &str, key: impl Fn(char, char) -> Option<char>) -> Vec<String> {
    let (mut forward, mut backward) = (String::new(), String::new());
    for sign in text.chars() {
        if sign == 'Đ' {
            forward.push_str(d_stroke);
            backward.push_str(d_stroke);
            continue;
        }
        let mut parts = std::iter::once(sign).nfd();
        let base = parts.next().unwrap_or(sign);
        let keys: Option<Vec<char>> = parts.map(|mark| key(base, mark)).collect();
        let Some(keys) = keys else { return Vec::new() };
        forward.push(base);
        forward.extend(&keys);
        backward.push(base);
        backward.extend(keys.iter().rev());
    }
    vec![forward, backward]
}

/// The Vietnamese keyboard layout has letters and marks where digits are: `ă â ê ô ̀ ̉ ̃ ́ ̣ đ`.
fn layout_reading(text: &str) -> String {
    let mut reading = String::new();
    for sign in text.nfd() {
        let digit = match (reading.chars().last(), sign) {
            (Some('A'), '\u{306}') => Some(('1', true)),
            (Some('A'), '\u{302}') => Some(('2', true)),
            (Some('E'), '\u{302}') => Some(('3', true)),
            (Some('O'), '\u{302}') => Some(('4', true)),
            (_, '\u{300}') => Some(('5', false)),
            (_, '\u{309}') => Some(('6', false)),
            (_, '\u{303}') => Some(('7', false)),
            (_, '\u{301}') => Some(('8', false)),
            (_, '\u{323}') => Some(('9', false)),
            (_, 'Đ') => Some(('0', false)),
            _ => None,
        };
        match digit {
            Some((digit, replaces_letter)) => {
                if replaces_letter {
                    reading.pop();
                }
                reading.push(digit);
            }
            None => reading.push(sign),
        }
    }
    reading
}
