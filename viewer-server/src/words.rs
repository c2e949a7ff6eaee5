//! One folding of words for storing and for searching.

use archive::dossier::DossierCode;
use archive::fold;

/// A dossier's code as search columns hold it.
pub fn fold_dossier(code: &DossierCode) -> String {
    fold::fold(code.as_str())
}

/// A ticket's letters as search columns hold them.
pub fn fold_series(series: &str) -> String {
    fold::fold(series)
}

/// A ticket's number as search columns hold it: leading zeros do not count.
pub fn fold_number(number: &str) -> String {
    let folded = fold::fold(number);
    let trimmed = folded.trim_start_matches('0');
    if trimmed.is_empty() && !folded.is_empty() {
        "0".to_owned()
    } else {
        trimmed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_of_a_ticket_do_not_count() {
        assert_eq!(fold_number("0123"), "123");
        assert_eq!(fold_number("123"), "123");
        assert_eq!(fold_number("000"), "0");
        assert_eq!(fold_number(""), "");
    }
}
