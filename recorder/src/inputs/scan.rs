//! What a scanner read, as a counter event.

use archive::ids::CounterId;
use serde_json::{Value, json};

/// The event of one scanned code; `source` names the scanner.
pub(super) fn scan_event(source: &str, counter: &CounterId, text: &str, time: &str) -> Value {
    let (symbology, code) = split_symbology(text);
    let mut data = json!({ "dossier": code });
    if let Some(symbology) = symbology {
        data["symbology"] = symbology.into();
    }
    json!({
        "specversion": "1.0",
        "type": "dossier.scanned",
        "source": format!("/recorder/{source}"),
        "id": uuid::Uuid::now_v7().to_string(),
        "time": time,
        "subject": counter.as_str(),
        "data": data,
    })
}

/// Takes off the symbology identifier (ISO/IEC 15424, `]C1`), which many scanners can put before the code.
fn split_symbology(text: &str) -> (Option<&'static str>, &str) {
    let mut signs = text.chars();
    let (Some(']'), Some(letter), Some(modifier)) = (signs.next(), signs.next(), signs.next()) else {
        return (None, text);
    };
    let symbology = match letter {
        'A' => "code39",
        'C' => "code128",
        'E' => "ean",
        'F' => "codabar",
        'G' => "code93",
        'I' => "itf",
        'L' => "pdf417",
        'Q' => "qr",
        'd' => "datamatrix",
        'z' => "aztec",
        _ => return (None, text),
    };
    let code = signs.as_str();
    if modifier.is_ascii_alphanumeric() && !code.is_empty() {
        (Some(symbology), code)
    } else {
        (None, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_symbology_identifier_off_a_code() {
        let code = "000.00.17.H26-180615-0001";
        for (text, expected) in [
            (format!("]C0{code}"), (Some("code128"), code)),
            (format!("]Q3{code}"), (Some("qr"), code)),
            (code.to_owned(), (None, code)),
        ] {
            assert_eq!(split_symbology(&text), expected);
        }
    }

    #[test]
    fn leaves_what_is_no_identifier() {
        for text in ["]", "]C", "]C1", "]x1A", "]C-A", "]đ1A", "C1]A"] {
            assert_eq!(split_symbology(text), (None, text));
        }
    }
}
