//! Codes that a URL, a text around them, a keyboard layout or an input method hides.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

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
    readings.extend(layout_reading(&blankless));
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

/// The Vietnamese keyboard layout has `đ ă â ê ô` and the marks `̀ ̉ ̃ ́ ̣` where digits are: none is left then.
fn layout_reading(text: &str) -> Option<String> {
    if text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let signs: Vec<char> = text.nfd().collect();
    let mut reading = String::new();
    for cluster in signs.chunk_by(|_, next| is_combining_mark(*next)) {
        let (base, marks) = (cluster[0], &cluster[1..]);
        let shape = marks.iter().find(|m| matches!(**m, '\u{306}' | '\u{302}'));
        reading.push(match (base, shape) {
            ('Đ', _) => '0',
            ('A', Some('\u{306}')) => '1',
            ('A', Some(_)) => '2',
            ('E', Some(_)) => '3',
            ('O', Some(_)) => '4',
            _ => base,
        });
        let tones = marks.iter().filter(|m| Some(*m) != shape);
        reading.extend(tones.map(|mark| match mark {
            '\u{300}' => '5',
            '\u{309}' => '6',
            '\u{303}' => '7',
            '\u{301}' => '8',
            '\u{323}' => '9',
            other => *other,
        }));
    }
    Some(reading)
}
