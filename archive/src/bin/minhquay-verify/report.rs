//! What was found, for people and as JSON.

use std::fmt;

use serde::Serialize;

/// The outcome in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All that was checked is what was recorded.
    Proven,
    /// The same pictures and sound in another container.
    Remuxed,
    /// Other pictures or sound than the original's, of the same length in pictures.
    Reencoded,
    /// Something is not what was recorded.
    Tampered,
    /// There is nothing to prove it by.
    Unproven,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Proven => "PROVEN (đã chứng thực)",
            Self::Remuxed => {
                "RE-MUXED COPY (bản sao đổi vỏ tệp): pictures and sound are those recorded, the container is not"
            }
            Self::Reencoded => {
                "RE-ENCODED COPY (bản sao mã hoá lại): pictures or sound are not those recorded"
            }
            Self::Tampered => "TAMPERED (đã bị thay đổi)",
            Self::Unproven => "UNPROVEN (không có bằng chứng)",
        }
    }
}

/// One thing that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: a file, a stream's entry, a row.
    pub place: String,
    /// What.
    pub reason: String,
}

/// Everything that a check found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    verdict: Option<Verdict>,
    /// What was checked and learned, in order.
    facts: Vec<(String, String)>,
    findings: Vec<Finding>,
    /// What could not be checked, and why; it does not change the verdict.
    notes: Vec<String>,
}

impl Report {
    /// The outcome: tampered as soon as anything does not hold.
    pub fn verdict(&self) -> Verdict {
        match self.verdict {
            Some(verdict) => verdict,
            None if self.findings.is_empty() => Verdict::Proven,
            None => Verdict::Tampered,
        }
    }

    /// Something learned.
    pub fn fact(&mut self, name: &str, value: impl fmt::Display) {
        self.facts.push((name.to_owned(), value.to_string()));
    }

    /// Something that does not hold.
    pub fn finding(&mut self, place: impl fmt::Display, reason: impl fmt::Display) {
        self.findings.push(Finding {
            place: place.to_string(),
            reason: reason.to_string(),
        });
    }

    /// Something that was not checked.
    pub fn note(&mut self, note: impl fmt::Display) {
        self.notes.push(note.to_string());
    }

    /// Sets the outcome by hand.
    pub fn conclude(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    /// Takes what another check found; its places get a prefix.
    pub fn take(&mut self, prefix: &str, other: Report) {
        for (name, value) in other.facts {
            self.facts.push((format!("{prefix}: {name}"), value));
        }
        for finding in other.findings {
            self.finding(format!("{prefix}: {}", finding.place), finding.reason);
        }
        for note in other.notes {
            self.note(format!("{prefix}: {note}"));
        }
        match other.verdict {
            Some(verdict) if verdict != Verdict::Proven && self.verdict.is_none() => {
                self.verdict = Some(verdict);
            }
            _ => {}
        }
    }

    /// As JSON: `verdict`, `facts`, `findings`, `notes`.
    pub fn to_json(&self) -> String {
        let facts: Vec<_> = self
            .facts
            .iter()
            .map(|(name, value)| serde_json::json!({ "name": name, "value": value }))
            .collect();
        let json = serde_json::json!({
            "verdict": self.verdict(),
            "facts": facts,
            "findings": self.findings,
            "notes": self.notes,
        });
        json.to_string()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.facts {
            writeln!(f, "{name}: {value}")?;
        }
        for finding in &self.findings {
            writeln!(f, "! {}: {}", finding.place, finding.reason)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        writeln!(f, "{}", self.verdict().words())
    }
}
