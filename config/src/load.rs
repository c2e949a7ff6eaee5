//! Reading a settings file; every complaint names file, key and what is allowed.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// What is wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key with its tables, e.g. `counter[0].stream[1].main.url`.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Problem {
    /// A complaint about one key.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Why settings can't be used. Programs exit with 78 (`EX_CONFIG`) and print it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: can't be read: {source}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or keys are missing, unknown or of the wrong kind or value.
    #[error("{}: {}", file.display(), list(problems))]
    Invalid {
        /// Which file.
        file: PathBuf,
        /// All that was found.
        problems: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n  ")
}

/// Settings that can say what is wrong with them beyond the form of the file.
pub trait Settings: DeserializeOwned {
    /// Everything that is wrong, with the key of each.
    fn problems(&self) -> Vec<Problem>;
}

/// Reads and validates a settings file.
///
/// # Errors
/// [`ConfigError`] names the file, the key and what is allowed.
pub fn load<T: Settings>(file: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
        file: file.to_owned(),
        source,
    })?;
    parse(file, &text)
}

/// Validates the text of a settings file; `file` is only named in errors.
///
/// # Errors
/// [`ConfigError::Invalid`].
pub fn parse<T: Settings>(file: &Path, text: &str) -> Result<T, ConfigError> {
    let invalid = |problems| ConfigError::Invalid {
        file: file.to_owned(),
        problems,
    };
    let document = toml::Deserializer::parse(text)
        .map_err(|e| invalid(vec![Problem::new(line_of(text, e.span()), e.message())]))?;
    let settings: T = serde_path_to_error::deserialize(document).map_err(|e| {
        let key = e.path().to_string();
        let inner = e.into_inner();
        let place = line_of(text, inner.span());
        let key = if key == "." {
            place
        } else {
            format!("{key} ({place})")
        };
        invalid(vec![Problem::new(key, inner.message())])
    })?;
    let problems = settings.problems();
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(invalid(problems))
    }
}

fn line_of(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let before = span.and_then(|s| text.get(..s.start)).unwrap_or_default();
    format!("line {}", before.matches('\n').count() + 1)
}
