//! Names of things. Each is a newtype, checked once where it enters the program.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that is not of the form that its kind demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} is not valid: {expected}")]
pub struct InvalidId {
    /// What the name should have named, e.g. `counter`.
    pub kind: &'static str,
    /// The text as it came, cut to 80 characters.
    pub value: String,
    /// The form that was expected.
    pub expected: &'static str,
}

impl InvalidId {
    fn new(kind: &'static str, value: &str, expected: &'static str) -> Self {
        Self {
            kind,
            value: value.chars().take(80).collect(),
            expected,
        }
    }
}

const SLUG_FORM: &str = "1 to 64 of a-z, 0-9 and '-', starting and ending with a letter or digit";

fn is_slug(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=64).contains(&bytes.len())
        && bytes.iter().all(|b| is_alphanumeric(b) || *b == b'-')
        && bytes.first().is_some_and(is_alphanumeric)
        && bytes.last().is_some_and(is_alphanumeric)
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr, $form:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if $check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId::new($kind, text, $form))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A unit of the administration (*đơn vị*) in a dated tree of any depth.
    UnitId, "unit", is_slug, SLUG_FORM
);
text_id!(
    /// A building with a one-stop hall (*điểm một cửa*).
    SiteId, "site", is_slug, SLUG_FORM
);
text_id!(
    /// A counter (*quầy*) of a site; the `subject` of most counter events.
    CounterId, "counter", is_slug, SLUG_FORM
);
text_id!(
    /// A recorder, named by the centre at enrolment.
    RecorderId, "recorder", is_slug, SLUG_FORM
);
text_id!(
    /// One capture without interruption; a UUIDv7 made by the recorder.
    RunId, "run", is_uuid, "a UUID in lower case"
);
text_id!(
    /// An interaction; see [`crate::interaction`] for how it is derived.
    InteractionId, "interaction", is_uuid, "a UUID in lower case"
);
text_id!(
    /// The synchronised tracks of one viewpoint of a counter at one quality,
    /// written `counter.viewpoint.quality`, e.g. `ba-dinh-q01.front.main`.
    StreamId, "stream", is_stream,
    "counter.viewpoint.quality, where quality is main or sub"
);

fn is_uuid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok_and(|id| id.hyphenated().to_string() == text)
}

fn is_stream(text: &str) -> bool {
    let mut pieces = text.split('.');
    let (counter, viewpoint, quality) = (pieces.next(), pieces.next(), pieces.next());
    counter.is_some_and(is_slug)
        && viewpoint.is_some_and(is_slug)
        && quality.is_some_and(|q| q.parse::<Quality>().is_ok())
        && pieces.next().is_none()
}

/// Which of the two encodings of a viewpoint a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// The full picture, kept as evidence.
    Main,
    /// The small picture for walls and thin lines.
    Sub,
}

impl Quality {
    /// The name used in ids and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Sub => "sub",
        }
    }
}

impl FromStr for Quality {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text {
            "main" => Ok(Self::Main),
            "sub" => Ok(Self::Sub),
            _ => Err(InvalidId::new("quality", text, "main or sub")),
        }
    }
}

impl StreamId {
    /// Joins the three pieces of a stream's name.
    ///
    /// # Errors
    /// [`InvalidId`] if `viewpoint` is not 1 to 64 of a-z, 0-9 and '-'.
    pub fn new(counter: &CounterId, viewpoint: &str, quality: Quality) -> Result<Self, InvalidId> {
        format!("{counter}.{viewpoint}.{}", quality.as_str()).parse()
    }

    /// The counter that the stream shows.
    pub fn counter(&self) -> CounterId {
        CounterId(self.piece(0).to_owned())
    }

    /// The viewpoint, e.g. `front` or `desk`.
    pub fn viewpoint(&self) -> &str {
        self.piece(1)
    }

    /// Main or sub.
    pub fn quality(&self) -> Quality {
        if self.piece(2) == "sub" {
            Quality::Sub
        } else {
            Quality::Main
        }
    }

    fn piece(&self, index: usize) -> &str {
        self.0.split('.').nth(index).unwrap_or_default()
    }
}

impl RunId {
    /// Wraps a fresh UUID.
    pub fn from_uuid(id: uuid::Uuid) -> Self {
        Self(id.hyphenated().to_string())
    }
}

impl InteractionId {
    /// Wraps a UUID.
    pub fn from_uuid(id: uuid::Uuid) -> Self {
        Self(id.hyphenated().to_string())
    }
}

/// One stored file of a stream: the stream and the file's number in it.
///
/// Sequence numbers start at 1, grow by one and are never used twice on a recorder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentKey {
    /// The stream.
    pub stream: StreamId,
    /// The number of the file in its stream.
    pub sequence: u64,
}

impl fmt::Display for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.sequence)
    }
}

/// A ticket's number resets daily, so its key is site, business date, series and number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TicketKey {
    /// The site that issued it.
    pub site: SiteId,
    /// The date at the site when it was issued.
    pub business_date: jiff::civil::Date,
    /// The queue's letter or letters, may be empty.
    pub series: String,
    /// The number as printed, leading zeros kept.
    pub number: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_id_gives_its_pieces() {
        let id: StreamId = "ba-dinh-q01.front.sub".parse().unwrap();
        assert_eq!(id.counter().as_str(), "ba-dinh-q01");
        assert_eq!(id.viewpoint(), "front");
        assert_eq!(id.quality(), Quality::Sub);
    }

    #[test]
    fn refuses_names_that_could_leave_their_folder() {
        for text in ["", "..", "a/b", "A", "a.b", "-a", "a-", "q01\n", &"a".repeat(65)] {
            assert!(text.parse::<CounterId>().is_err(), "{text:?}");
        }
        for text in ["a.b", "a.b.c", "a.b.main.x", "../b.main", "a..main"] {
            assert!(text.parse::<StreamId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn refused_text_names_kind_and_form() {
        let error = serde_json::from_str::<CounterId>("\"Q 1\"").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("counter \"Q 1\" is not valid: 1 to 64")
        );
    }
}
