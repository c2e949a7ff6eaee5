//! The words of a query, each with its place.

use super::MAX_QUERY_CHARS;
use crate::fold::fold;

/// A word without the punctuation around it.
pub(super) struct Word {
    pub text: String,
    pub folded: String,
    /// Place in the query, in characters.
    pub start: usize,
    pub end: usize,
}

/// Splits at blanks, commas and semicolons.
pub(super) fn split(query: &str) -> Vec<Word> {
    let signs: Vec<char> = query.chars().take(MAX_QUERY_CHARS).collect();
    let is_gap = |sign: &char| sign.is_whitespace() || matches!(sign, ',' | ';');
    let mut words = Vec::new();
    let mut at = 0;
    while at < signs.len() {
        let length = signs[at..].iter().take_while(|c| !is_gap(c)).count();
        words.extend(word(&signs, at, at + length));
        at += length + 1;
    }
    words
}

fn word(signs: &[char], mut start: usize, mut end: usize) -> Option<Word> {
    let is_quote = |sign: char| "\"'()[]{}“”‘’«»!?".contains(sign);
    while start < end && is_quote(signs[start]) {
        start += 1;
    }
    while start < end && (is_quote(signs[end - 1]) || matches!(signs[end - 1], '.' | ':')) {
        end -= 1;
    }
    let text: String = signs[start..end].iter().collect();
    let folded = fold(&text);
    (!folded.is_empty()).then_some(Word {
        text,
        folded,
        start,
        end,
    })
}
