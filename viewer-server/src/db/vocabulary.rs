//! Procedures and officers that interactions name, so that search resolves words to ids first.

use archive::segment::Digest;
use archive::time::WallTime;
use sqlx::{Any, Transaction};

use super::{Db, DbError, DbResult, get};

/// What a term names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TermKind {
    /// An administrative procedure, by name.
    Procedure,
    /// An officer, by code.
    Officer,
}

impl TermKind {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Procedure => "procedure",
            Self::Officer => "officer",
        }
    }
}

/// A procedure or officer that some interaction names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Procedure or officer.
    pub kind: TermKind,
    /// Staff code of an officer, empty for a procedure.
    pub code: String,
    /// As people write it, may be empty for an officer.
    pub label: String,
}

impl Term {
    /// See [`term_id`].
    pub fn id(&self) -> String {
        match self.kind {
            TermKind::Procedure => term_id(self.kind, &self.label),
            TermKind::Officer => term_id(self.kind, &self.code),
        }
    }
}

/// The id of a term: the same everywhere, so that nobody need look it up before writing.
///
/// `key` is the name of a procedure or the code of an officer; spellings that fold to the same are the same.
pub fn term_id(kind: TermKind, key: &str) -> String {
    let digest = Digest::of(format!("{}\n{}", kind.as_str(), archive::fold::fold(key)).as_bytes());
    hex::encode(&digest.0[..12])
}

/// Stores a term; an officer's name is kept up to date.
pub(super) async fn put_term(tx: &mut Transaction<'static, Any>, term: &Term, now: WallTime) -> DbResult<()> {
    sqlx::query(
        "INSERT INTO vocabulary (term_id, kind, code, label, changed_us) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (term_id) DO UPDATE SET label = excluded.label, changed_us = excluded.changed_us
         WHERE vocabulary.kind = 'officer' AND excluded.label <> '' AND vocabulary.label <> excluded.label",
    )
    .bind(term.id())
    .bind(term.kind.as_str())
    .bind(term.code.as_str())
    .bind(term.label.as_str())
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Db {
    /// When the vocabulary last changed.
    pub async fn vocabulary_version(&self) -> DbResult<Option<i64>> {
        let row = sqlx::query("SELECT max(changed_us) AS changed_us FROM vocabulary")
            .fetch_one(&self.reader)
            .await?;
        get(&row, "changed_us")
    }

    /// All terms, by id.
    pub async fn vocabulary(&self) -> DbResult<Vec<Term>> {
        sqlx::query("SELECT kind, code, label FROM vocabulary ORDER BY term_id")
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(|row| {
                let kind = match get(row, "kind")? {
                    "procedure" => TermKind::Procedure,
                    "officer" => TermKind::Officer,
                    other => return Err(DbError::damaged("vocabulary.kind", other)),
                };
                Ok(Term {
                    kind,
                    code: get(row, "code")?,
                    label: get(row, "label")?,
                })
            })
            .collect()
    }
}
