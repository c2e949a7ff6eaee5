//! Search folding: one form for texts that people take for the same, the same on every database.
//!
//! Databases disagree on diacritics, and stripping marks after NFD leaves `đ`; so texts are folded
//! here before they are stored in search columns, and queries likewise.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Folds a text: no diacritics, `đ` as `d`, lower case, single spaces. ASCII for all of Vietnamese.
///
/// Idempotent.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    // Compatibility forms may decompose to upper case, and lower case to marks: hence twice.
    let signs = text.nfkd().flat_map(char::to_lowercase).nfkd();
    for sign in signs.filter(|c| !is_combining_mark(*c)).filter_map(plain) {
        if !sign.is_whitespace() {
            folded.push(sign);
        } else if !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    folded
}

/// The folded words of a text: runs of letters and digits, in order, repeated ones kept.
pub fn tokens(text: &str) -> Vec<String> {
    fold(text)
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Letters that no normalisation takes apart; invisible signs vanish.
fn plain(sign: char) -> Option<char> {
    match sign {
        // Eth looks like đ in upper case and is often typed for it.
        'đ' | 'ð' => Some('d'),
        'ø' => Some('o'),
        'ł' => Some('l'),
        'ħ' => Some('h'),
        'ŧ' => Some('t'),
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}' => None,
        _ if sign.is_control() => Some(' '),
        _ => Some(sign),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTORS: &[(&str, &str)] = &[
        ("Trần Thị Hoa", "tran thi hoa"),
        ("NGUYỄN ĐỨC ĐẠT", "nguyen duc dat"),
        ("Đặng Thuỳ Dương", "dang thuy duong"),
        ("Đặng Thùy Dương", "dang thuy duong"),
        ("Ngô Quỳnh Như", "ngo quynh nhu"),
        ("Huỳnh Võ Kiều Ơn", "huynh vo kieu on"),
        ("Lê Ỷ Lan", "le y lan"),
        ("Ðỗ Hữu", "do huu"),
        ("Đăng ký khai sinh", "dang ky khai sinh"),
        ("Cấp bản sao trích lục hộ tịch", "cap ban sao trich luc ho tich"),
        ("Chứng thực chữ ký", "chung thuc chu ky"),
        ("Đăng ký  kết\u{a0}hôn\n", "dang ky ket hon"),
        ("Xác nhận tình trạng hôn nhân", "xac nhan tinh trang hon nhan"),
        ("Quầy 03 · Tây Hồ", "quay 03 · tay ho"),
        ("ａ０１２３", "a0123"),
    ];

    #[test]
    fn folds_vietnamese_names_and_procedures() {
        for (text, expected) in VECTORS {
            assert_eq!(fold(text), *expected);
            assert_eq!(fold(&text.nfd().collect::<String>()), *expected, "decomposed");
            assert_eq!(fold(&text.to_uppercase()), *expected, "upper case");
        }
    }

    #[test]
    fn gives_words_without_their_punctuation() {
        assert_eq!(
            tokens("Quầy 03 · Tây Hồ (A-0123)"),
            ["quay", "03", "tay", "ho", "a", "0123"]
        );
    }

    const VIETNAMESE: &str =
        "aàảãáạăằẳẵắặâầẩẫấậbcdđeèẻẽéẹêềểễếệghiìỉĩíịklmnoòỏõóọôồổỗốộơờởỡớợpqrstuùủũúụưừửữứựvxyỳỷỹýỵ";

    proptest::proptest! {
        #[test]
        fn is_idempotent(text in "\\PC{0,40}|[\\s\\S]{0,20}") {
            let once = fold(&text);
            proptest::prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn gives_ascii_for_vietnamese(
            letters in proptest::collection::vec(proptest::sample::select(
                VIETNAMESE.chars().chain(VIETNAMESE.to_uppercase().chars()).collect::<Vec<_>>()), 0..40),
        ) {
            let text: String = letters.iter().collect();
            let folded = fold(&text);
            proptest::prop_assert!(folded.is_ascii(), "{folded}");
            proptest::prop_assert_eq!(folded.len(), letters.len());
            proptest::prop_assert_eq!(fold(&text.nfd().collect::<String>()), folded);
        }
    }
}
