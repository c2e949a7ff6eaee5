//! What accepting a code promises.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

static PATTERNS: LazyLock<DossierPatterns> = LazyLock::new(DossierPatterns::default);

fn read(text: &str) -> Accepted {
    accept(text, &PATTERNS)
}

const OLD: &str = "000.00.17.H26-180615-0001";
const NEW: &str = "H26.17.05-250701-0001";

#[test]
fn reads_both_forms_with_their_date() {
    for (code, date) in [
        (OLD, Date::constant(2018, 6, 15)),
        (NEW, Date::constant(2025, 7, 1)),
    ] {
        let accepted = read(code);
        assert_eq!(accepted.code.as_str(), code);
        assert_eq!(accepted.date, Some(date));
        assert_eq!(accepted.warnings, []);
    }
}

#[test]
fn writes_the_same_code_the_same_way() {
    let same = [
        " 000.00.17.h26-180615-0001\r\n",
        "000.00.17.H26–180615—0001",
        "０００．００．１７．Ｈ２６－１８０６１５－０００１",
        "000.00.17.H26 - 180615 - 0001",
        "\u{feff}000·00·17·H26\u{2010}180615\u{2212}0001",
    ];
    for text in same {
        let accepted = read(text);
        assert_eq!(
            (accepted.code.as_str(), accepted.warnings.as_slice()),
            (OLD, &[][..]),
            "{text:?}"
        );
    }
}

#[test]
fn takes_the_code_out_of_a_receipts_url() {
    let urls = [
        "https://dichvucong.example.vn/tra-cuu?maHoSo=H26.17.05-250701-0001&k=1",
        "HTTPS://DVC.EXAMPLE.VN/HS/H26.17.05-250701-0001",
        "http://x.example/#/ho-so?id=H26.17.05%2D250701%2D0001",
        "https://x.example/a/h26.17.05-250701-0001?utm=qr",
        "minhquay://H26.17.05-250701-0001/H26.17.05-250701-0001",
    ];
    for url in urls {
        let accepted = read(url);
        assert_eq!(
            (accepted.code.as_str(), accepted.warnings.as_slice()),
            (NEW, &[][..]),
            "{url}"
        );
    }
}

#[test]
fn drops_what_stands_around_the_code_and_says_so() {
    let accepted = read("Mã hồ sơ: H26.17.05-250701-0001\nNguyễn Văn A");
    assert_eq!(accepted.code.as_str(), NEW);
    assert_eq!(accepted.warnings, [Warning::Extracted]);
}

#[test]
fn repairs_separators_of_another_keyboard_layout() {
    for text in [
        "000/00/17/H26'180615'0001",
        "000.00.17.H26_180615_0001",
        "000-00-17-H26-180615-0001",
    ] {
        let accepted = read(text);
        assert_eq!(accepted.code.as_str(), OLD, "{text}");
        assert_eq!(accepted.warnings, [Warning::SeparatorsRepaired]);
    }
}

#[test]
fn repairs_what_an_input_method_made_of_it() {
    // VNI, agency A12: A1 becomes Á; the Vietnamese layout has đ for 0, and so on.
    for (text, code) in [
        ("Á2.17.05-250701-0001", "A12.17.05-250701-0001"),
        ("Đ9.17.05-250701-0001", "D99.17.05-250701-0001"),
        ("đđđ.đđ.ă\u{303}.hâ\u{309}-ă\u{301}đ\u{309}ă\u{300}-đđđă", OLD),
    ] {
        let accepted = read(text);
        assert_eq!(accepted.code.as_str(), code, "{text}");
        assert_eq!(accepted.warnings, [Warning::InputMethodRepaired], "{text}");
    }
}

#[test]
fn does_not_guess_between_two_readings() {
    // Two marks: A16 or A61.
    let accepted = read("Ấ.17.05-250701-0001");
    assert_eq!(accepted.code.as_str(), "Ấ.17.05-250701-0001");
    assert_eq!(accepted.warnings, [Warning::Unrecognised]);
}

#[test]
fn warns_of_what_it_keeps() {
    assert_eq!(read("\r\n ").warnings, [Warning::Empty]);
    assert_eq!(read("abc 12").code.as_str(), "ABC 12");
    assert_eq!(read("abc 12").warnings, [Warning::Unrecognised]);
    let impossible = read("H26.17.05-251341-0001");
    assert_eq!(
        (impossible.date, impossible.warnings.as_slice()),
        (None, &[Warning::DateImpossible][..])
    );
    let long = read(&"x".repeat(400));
    assert_eq!(long.code.as_str().len(), MAX_CODE_CHARS);
    assert_eq!(long.warnings, [Warning::Unrecognised, Warning::TooLong]);
}

#[test]
fn names_the_pattern_that_is_none() {
    let error = DossierPatterns::new(&["ok", "(("]).unwrap_err();
    assert!(error.to_string().starts_with("dossier pattern \"((\""), "{error}");
}

#[test]
fn takes_patterns_of_the_site() {
    let patterns = DossierPatterns::new(&[r"BD/\d{4}"]).unwrap();
    assert_eq!(accept("bd/0042", &patterns).warnings, []);
    assert_eq!(accept(NEW, &patterns).warnings, [Warning::Unrecognised]);
}

proptest! {
    #[test]
    fn a_code_is_unchanged(
        code in "([0-9]{3}\\.[0-9]{2}\\.[0-9]{2}\\.[A-Z][0-9]{2}|[A-Z][0-9]{2}(\\.[0-9]{1,3}){0,3})-[0-9]{6}-[0-9]{4,6}",
    ) {
        let accepted = read(&code);
        prop_assert_eq!(accepted.code.as_str(), &code);
        prop_assert!(!accepted.warnings.contains(&Warning::Unrecognised));
    }

    #[test]
    fn accepting_twice_is_accepting_once(
        text in prop_oneof![
            "\\PC{0,60}",
            "[\\s\\S]{0,40}",
            "[0-9A-Za-zÀ-ỹđĐ./:?&=#% -]{0,60}",
            "https?://[a-z.]{1,9}/[A-Z0-9.%/-]{0,30}\\?[a-z]=[A-Z0-9.%-]{0,30}",
            "[HhĐÁ0-9]{1,3}[./][0-9]{2}[-–][0-9]{6}[-_][0-9]{4}",
        ],
    ) {
        let once = read(&text);
        let twice = read(once.code.as_str());
        prop_assert_eq!(&twice.code, &once.code);
        let still_is = |w: Warning| twice.warnings.contains(&w) == once.warnings.contains(&w);
        prop_assert!(still_is(Warning::Unrecognised) && still_is(Warning::DateImpossible));
    }
}
