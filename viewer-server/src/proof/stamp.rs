//! Questions to a time-stamp authority and its answers (RFC 3161), in DER. Pure.

use archive::segment::Digest;
use archive::time::WallTime;
use der::asn1::{AnyRef, ObjectIdentifier, OctetString, OctetStringRef};
use der::{Decode as _, Encode as _, Reader as _, Sequence, SliceReader, Tag, Tagged as _};

const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

/// Why an answer is no time stamp for what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// The authority refuses.
    #[error("the authority refuses with status {0} (RFC 3161 §2.4.2)")]
    Refused(u8),
    /// It is not of the form.
    #[error("the answer can't be read: {0}")]
    Form(String),
    /// It is for something else.
    #[error("the answer is not for this question: its {0} is another")]
    Other(&'static str),
}

impl From<der::Error> for StampError {
    fn from(error: der::Error) -> Self {
        Self::Form(error.to_string())
    }
}

/// A token that was checked to be for what was asked; its signature is for those to check who trust the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeStamp {
    /// `TimeStampToken`, DER.
    pub token: Vec<u8>,
    /// By the authority's clock.
    pub at: WallTime,
}

#[derive(Sequence)]
struct Algorithm {
    oid: ObjectIdentifier,
}

#[derive(Sequence)]
struct Imprint {
    algorithm: Algorithm,
    hashed: OctetString,
}

#[derive(Sequence)]
struct Question {
    version: u8,
    imprint: Imprint,
    nonce: u64,
    wants_certificate: bool,
}

/// Asks for a token over a SHA-256 digest.
///
/// # Errors
/// [`StampError::Form`] never in practice: everything has a fixed size.
pub fn request(digest: Digest, nonce: u64) -> Result<Vec<u8>, StampError> {
    let question = Question {
        version: 1,
        imprint: Imprint {
            algorithm: Algorithm { oid: SHA_256 },
            hashed: OctetString::new(digest.0)?,
        },
        nonce,
        wants_certificate: true,
    };
    Ok(question.to_der()?)
}

/// Reads a `TimeStampResp` and checks that it is for what was asked.
///
/// # Errors
/// [`StampError`].
pub fn read_answer(answer: &[u8], digest: Digest, nonce: u64) -> Result<TimeStamp, StampError> {
    let parts = parts(AnyRef::from_der(answer)?)?;
    let status: u8 = part(&self::parts(*part_of(&parts, 0)?)?, 0)?;
    // granted, grantedWithMods
    if status > 1 {
        return Err(StampError::Refused(status));
    }
    let token = *part_of(&parts, 1)?;
    let content = tst_info(token)?;
    let info = self::parts(AnyRef::from_der(content.as_bytes())?)?;
    let imprint = self::parts(*part_of(&info, 2)?)?;
    let algorithm: ObjectIdentifier = part(&self::parts(*part_of(&imprint, 0)?)?, 0)?;
    let hashed: &OctetStringRef = part(&imprint, 1)?;
    if algorithm != SHA_256 || hashed.as_bytes() != digest.0 {
        return Err(StampError::Other("message imprint"));
    }
    let optional = info.get(5..).unwrap_or_default();
    let answered = optional.iter().find(|part| part.tag() == Tag::Integer);
    match answered.map(|part| part.decode_as::<u64>()).transpose()? {
        Some(answered) if answered == nonce => {}
        _ => return Err(StampError::Other("nonce")),
    }
    let at = part_of(&info, 4)?;
    if at.tag() != Tag::GeneralizedTime {
        return Err(StampError::Form("it names no time".to_owned()));
    }
    Ok(TimeStamp {
        token: token.to_der()?,
        at: time(at.value())?,
    })
}

/// The `TSTInfo` inside a `ContentInfo` (RFC 5652 §3, §5.1).
fn tst_info(token: AnyRef<'_>) -> Result<&OctetStringRef, StampError> {
    let content = parts(token)?;
    if part::<ObjectIdentifier>(&content, 0)? != SIGNED_DATA {
        return Err(StampError::Form("it is not signed".to_owned()));
    }
    let signed_data = parts(*part_of(&parts(*part_of(&content, 1)?)?, 0)?)?;
    let encapsulated = parts(*part_of(&signed_data, 2)?)?;
    if part::<ObjectIdentifier>(&encapsulated, 0)? != TST_INFO {
        return Err(StampError::Form("it signs something else".to_owned()));
    }
    part(&parts(*part_of(&encapsulated, 1)?)?, 0)
}

/// What is inside a constructed value.
fn parts(of: AnyRef<'_>) -> Result<Vec<AnyRef<'_>>, StampError> {
    let mut reader = SliceReader::new(of.value())?;
    let mut parts = Vec::new();
    while !reader.is_finished() {
        parts.push(AnyRef::decode(&mut reader)?);
    }
    Ok(parts)
}

fn part_of<'s, 'a>(parts: &'s [AnyRef<'a>], index: usize) -> Result<&'s AnyRef<'a>, StampError> {
    let missing = || StampError::Form(format!("part {index} is missing"));
    parts.get(index).ok_or_else(missing)
}

fn part<'a, T>(parts: &[AnyRef<'a>], index: usize) -> Result<T, StampError>
where
    T: der::Choice<'a> + der::DecodeValue<'a, Error = der::Error>,
{
    Ok(part_of(parts, index)?.decode_as::<T>()?)
}

/// `YYYYMMDDhhmmss[.f…]Z`; the crate's own type has no fractions, which RFC 3161 allows.
fn time(text: &[u8]) -> Result<WallTime, StampError> {
    let bad = || StampError::Form("its time is not YYYYMMDDhhmmss[.f]Z".to_owned());
    let text = std::str::from_utf8(text).map_err(|_| bad())?;
    let text = text.strip_suffix('Z').ok_or_else(bad)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() != 14 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let number = |from: usize, to: usize| whole[from..to].parse::<i8>().map_err(|_| bad());
    let year = whole[..4].parse::<i16>().map_err(|_| bad())?;
    let (month, day) = (number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    let at = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| bad())?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| bad())?;
    let micros: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    let micros: i64 = micros.parse().map_err(|_| bad())?;
    Ok(WallTime(at.timestamp().as_microsecond() + micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_as_rfc_3161_wants() {
        let question = request(Digest([0xab; 32]), 0x1234).unwrap();
        // As `openssl ts -query -digest abab… -sha256 -cert` but for its NULL parameters, which RFC 5754 leaves out.
        let expected = format!(
            "303b020101302f300b0609608648016503040201{}{}02021234{}",
            "0420",
            "ab".repeat(32),
            "0101ff"
        );
        assert_eq!(hex::encode(question), expected);
    }

    #[test]
    fn reads_times_with_and_without_fractions() {
        let micros = |text: &str| time(text.as_bytes()).map(|t| t.0);
        assert_eq!(micros("20261123010000Z"), Ok(1_795_395_600_000_000));
        assert_eq!(micros("20261123010000.25Z"), Ok(1_795_395_600_250_000));
        for text in [
            "20261123010000",
            "2026112301Z",
            "20261323010000Z",
            "20261123010000.xZ",
            "+0261123010000Z",
        ] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_and_rubbish_are_no_stamps() {
        let refusal = hex::decode("30053003020102").unwrap();
        let digest = Digest([0; 32]);
        assert_eq!(read_answer(&refusal, digest, 1), Err(StampError::Refused(2)));
        for rubbish in [&b""[..], b"\x30\x00", b"\x30\x05\x30\x03\x02\x01\x00", b"<html>"] {
            assert!(matches!(
                read_answer(rubbish, digest, 1),
                Err(StampError::Form(_))
            ));
        }
    }
}
