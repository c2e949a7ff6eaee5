//! Whose word counts: keys as they were given on paper.

use archive::seal::PublicKey;

use crate::report::Report;

/// A key or a fingerprint, as 64 hexadecimal digits with or without spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedKey(String);

impl std::str::FromStr for ExpectedKey {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, ':' | '-'))
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(digits))
        } else {
            Err("a key or fingerprint is 64 hexadecimal digits")
        }
    }
}

impl ExpectedKey {
    fn is(&self, key: &PublicKey) -> bool {
        self.0 == key.to_string() || self.0 == key.fingerprint().replace(' ', "")
    }
}

/// The keys that were given.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Recorders; empty: any.
    pub recorders: Vec<ExpectedKey>,
    /// The centre; `None`: any.
    pub centre: Option<ExpectedKey>,
}

impl Keys {
    /// Says which recorder's key was used, and finds one that was not expected.
    pub fn check_recorder(&self, key: &PublicKey, report: &mut Report) {
        report.fact("recorder's key, fingerprint", key.fingerprint());
        if self.recorders.is_empty() {
            report.note(
                "no --recorder-key was given: compare the recorder's fingerprint with the one on paper",
            );
        } else if !self.recorders.iter().any(|expected| expected.is(key)) {
            report.finding("recorder's key", "it is not the one that was given");
        }
    }

    /// Says which centre's key was used, and finds one that was not expected.
    pub fn check_centre(&self, key: &PublicKey, report: &mut Report) {
        report.fact("centre's key, fingerprint", key.fingerprint());
        match &self.centre {
            None => report
                .note("no --centre-key was given: compare the centre's fingerprint with the one on paper"),
            Some(expected) if !expected.is(key) => {
                report.finding("centre's key", "it is not the one that was given");
            }
            Some(_) => {}
        }
    }

    /// The centre's key, if the key itself and not its fingerprint was given.
    pub fn centre_key(&self) -> Option<PublicKey> {
        self.centre.as_ref()?.0.parse().ok()
    }
}
