//! What a new derivation changed, so that each revision of an interaction is kept with its cause.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EventKey, Interaction};
use crate::ids::InteractionId;

/// What happened to an interaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevisionKind {
    /// It was not there before.
    Appeared,
    /// Some fields differ.
    Changed,
    /// It is no longer there: its events belong to another one.
    Vanished,
}

/// One field that differs. Values are JSON texts; a plain text stands without quotes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Name of the field in [`Interaction`].
    pub field: String,
    /// Before; `None` if it was empty.
    pub before: Option<String>,
    /// After; `None` if it is empty.
    pub after: Option<String>,
}

/// A change of one interaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Which.
    pub interaction_id: InteractionId,
    /// What happened to it.
    pub kind: RevisionKind,
    /// What differs, by name of field; all fields with a value if it appeared or vanished.
    pub changes: Vec<FieldChange>,
    /// The event that caused it; `None` if only time passed.
    pub cause: Option<EventKey>,
}

/// Names what differs between two derivations, in the order of `new`, vanished ones last.
pub fn diff(old: &[Interaction], new: &[Interaction], cause: Option<&EventKey>) -> Vec<Revision> {
    let before: BTreeMap<_, _> = old.iter().map(|i| (&i.interaction_id, i)).collect();
    let after: BTreeMap<_, _> = new.iter().map(|i| (&i.interaction_id, i)).collect();
    let revision = |id: &InteractionId, kind, changes| Revision {
        interaction_id: id.clone(),
        kind,
        changes,
        cause: cause.cloned(),
    };
    let mut revisions = Vec::new();
    for interaction in new {
        let id = &interaction.interaction_id;
        match before.get(id) {
            None => revisions.push(revision(
                id,
                RevisionKind::Appeared,
                changes(&BTreeMap::new(), &fields(interaction)),
            )),
            Some(known) if *known != interaction => revisions.push(revision(
                id,
                RevisionKind::Changed,
                changes(&fields(known), &fields(interaction)),
            )),
            Some(_) => {}
        }
    }
    for interaction in old {
        let id = &interaction.interaction_id;
        if !after.contains_key(id) {
            revisions.push(revision(
                id,
                RevisionKind::Vanished,
                changes(&fields(interaction), &BTreeMap::new()),
            ));
        }
    }
    revisions
}

fn fields(interaction: &Interaction) -> BTreeMap<String, String> {
    use serde_json::Value;
    let Ok(Value::Object(fields)) = serde_json::to_value(interaction) else {
        return BTreeMap::new();
    };
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    fields
        .into_iter()
        .filter(|(name, value)| name != "interaction_id" && !is_empty(value))
        .map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })
        .collect()
}

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<FieldChange> {
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| FieldChange {
            field: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}
