//! Interactions as last derived, and what each derivation changed.

use std::collections::{BTreeMap, BTreeSet};

use archive::ids::{CounterId, InteractionId, RecorderId, SiteId};
use archive::interaction::{FieldChange, Interaction, Revision, RevisionKind, SiteEvent};
use archive::time::WallTime;
use archive::timeline::Window;
use jiff::civil::Date;
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};

use super::event::{EVENT_COLUMNS, site_event};
use super::order::{mark_of, order_mark};
use super::vocabulary::put_term;
use super::{Db, DbError, DbResult, Term, TermKind, get, get_id, term_id, unsigned};

/// An interaction as stored.
#[derive(Debug, Clone)]
pub struct InteractionRow {
    /// As derived.
    pub interaction: Interaction,
    /// How often it changed; 1 when it appeared.
    pub revision: u64,
}

/// One stored revision.
#[derive(Debug, Clone)]
pub struct RevisionRow {
    /// Ascending from 1.
    pub revision: u64,
    /// When it was derived.
    pub at: WallTime,
    /// Source and id of the event that caused it.
    pub cause: Option<(String, String)>,
    /// What differs.
    pub changes: Vec<FieldChange>,
}

/// What a derivation found for one business day.
#[derive(Debug, Default)]
pub struct Derived {
    /// Interactions that are new or differ.
    pub changed: Vec<Interaction>,
    /// What differs; vanished ones are removed.
    pub revisions: Vec<Revision>,
}

/// What a derivation led to.
#[derive(Debug, Default)]
pub struct Rederived {
    /// What changed.
    pub revisions: Vec<Revision>,
    /// Recorders that were given orders.
    pub told: BTreeSet<RecorderId>,
}

/// What asks for a derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Events came; nothing is to do if another derivation has seen them.
    EventsCame,
    /// Time passed.
    TimePassed,
}

pub(super) const INTERACTION_COLUMNS: &str = "interaction_id, revision, body";

/// Counter, earliest beginning, end of the window, its start, limit.
pub(super) const IN_WINDOW_OF_COUNTER: &str = "SELECT interaction_id FROM interaction
     WHERE counter_id = $1 AND began_us >= $2 AND began_us < $3 AND (end_us IS NULL OR end_us > $4)
     ORDER BY began_us LIMIT $5";

impl Db {
    /// Business days that wait for a derivation, of one site or all.
    pub async fn derivations_due(&self) -> DbResult<Vec<(SiteId, Date)>> {
        sqlx::query("SELECT site_id, business_date FROM derivation_due ORDER BY business_date, site_id")
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(|row| Ok((get_id(row, "site_id")?, get_id(row, "business_date")?)))
            .collect()
    }

    /// Sites and business days with an interaction that is open for too long at `now`.
    pub async fn forgotten(&self, now: WallTime) -> DbResult<Vec<(SiteId, Date)>> {
        sqlx::query(
            "SELECT DISTINCT site_id, business_date FROM interaction
             WHERE open_until_us IS NOT NULL AND open_until_us < $1",
        )
        .bind(now.0)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| Ok((get_id(row, "site_id")?, get_id(row, "business_date")?)))
        .collect()
    }

    /// Derives one business day of a site anew: `derive` is given the events of the window and the
    /// interactions of the day as stored, and says what changed.
    ///
    /// One derivation of a site runs at a time, on however many servers.
    pub async fn rederive<F>(
        &self,
        site: &SiteId,
        date: Date,
        window: Window,
        why: Why,
        now: WallTime,
        derive: F,
    ) -> DbResult<Rederived>
    where
        F: FnOnce(&[SiteEvent], &[Interaction]) -> Derived,
    {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE site SET derivation = derivation + 1 WHERE site_id = $1")
            .bind(site.as_str())
            .execute(&mut *tx)
            .await?;
        let due = sqlx::query("DELETE FROM derivation_due WHERE site_id = $1 AND business_date = $2")
            .bind(site.as_str())
            .bind(date.to_string())
            .execute(&mut *tx)
            .await?;
        if due.rows_affected() == 0 && why == Why::EventsCame {
            tx.rollback().await?;
            return Ok(Rederived::default());
        }
        let events = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {EVENT_COLUMNS} FROM event WHERE site_id = $1 AND at_us >= $2 AND at_us < $3 ORDER BY at_us"
        )))
        .bind(site.as_str())
        .bind(window.start.0)
        .bind(window.end.0)
        .fetch_all(&mut *tx)
        .await?
        .iter()
        .map(site_event)
        .collect::<DbResult<Vec<_>>>()?;
        let known = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {INTERACTION_COLUMNS} FROM interaction WHERE site_id = $1 AND business_date = $2"
        )))
        .bind(site.as_str())
        .bind(date.to_string())
        .fetch_all(&mut *tx)
        .await?
        .iter()
        .map(|row| Ok(interaction_row(row)?.interaction))
        .collect::<DbResult<Vec<_>>>()?;
        let derived = derive(&events, &known);
        let mut revisions = BTreeMap::new();
        for revision in &derived.revisions {
            let number = put_revision(&mut tx, revision, now).await?;
            revisions.insert(&revision.interaction_id, number);
            if revision.kind == RevisionKind::Vanished {
                sqlx::query("DELETE FROM interaction WHERE interaction_id = $1")
                    .bind(revision.interaction_id.as_str())
                    .execute(&mut *tx)
                    .await?;
            }
        }
        let mut terms = BTreeSet::new();
        for interaction in &derived.changed {
            let revision = revisions.get(&interaction.interaction_id).copied().unwrap_or(1);
            put_interaction(&mut tx, interaction, date, revision).await?;
            for term in terms_of(interaction) {
                if terms.insert(term.id()) {
                    put_term(&mut tx, &term, now).await?;
                }
            }
        }
        let told = order_marks(&mut tx, &known, &derived, now).await?;
        tx.commit().await?;
        Ok(Rederived {
            revisions: derived.revisions,
            told,
        })
    }

    /// One interaction.
    pub async fn interaction(&self, id: &InteractionId) -> DbResult<Option<InteractionRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {INTERACTION_COLUMNS} FROM interaction WHERE interaction_id = $1"
        )))
        .bind(id.as_str())
        .fetch_optional(&self.reader)
        .await?
        .map(|row| interaction_row(&row))
        .transpose()
    }

    /// Its revisions, ascending.
    pub async fn revisions(&self, id: &InteractionId) -> DbResult<Vec<RevisionRow>> {
        sqlx::query(
            "SELECT revision, at_us, cause_source, cause_id, changes FROM interaction_revision
             WHERE interaction_id = $1 ORDER BY revision LIMIT 1000",
        )
        .bind(id.as_str())
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            let source: Option<String> = get(row, "cause_source")?;
            Ok(RevisionRow {
                revision: unsigned(get(row, "revision")?),
                at: WallTime(get(row, "at_us")?),
                cause: source.zip(get::<Option<String>>(row, "cause_id")?),
                changes: serde_json::from_str(get(row, "changes")?)
                    .map_err(|e| DbError::damaged("interaction_revision.changes", e))?,
            })
        })
        .collect()
    }

    /// The interactions of a counter before and after one, by their beginning.
    pub async fn neighbours(
        &self,
        of: &Interaction,
    ) -> DbResult<(Option<InteractionId>, Option<InteractionId>)> {
        let (began, id) = (of.began().0, of.interaction_id.as_str());
        let before = sqlx::query(
            "SELECT interaction_id FROM interaction
             WHERE counter_id = $1 AND (began_us < $2 OR (began_us = $2 AND interaction_id < $3))
             ORDER BY began_us DESC, interaction_id DESC LIMIT 1",
        );
        let after = sqlx::query(
            "SELECT interaction_id FROM interaction
             WHERE counter_id = $1 AND (began_us > $2 OR (began_us = $2 AND interaction_id > $3))
             ORDER BY began_us, interaction_id LIMIT 1",
        );
        let mut found = Vec::with_capacity(2);
        for query in [before, after] {
            let row = query
                .bind(of.counter.as_str())
                .bind(began)
                .bind(id)
                .fetch_optional(&self.reader)
                .await?;
            found.push(row.map(|row| get_id(&row, "interaction_id")).transpose()?);
        }
        let after = found.pop().flatten();
        Ok((found.pop().flatten(), after))
    }

    /// The interaction that came out of one by transfer.
    pub async fn successor(&self, id: &InteractionId) -> DbResult<Option<InteractionId>> {
        sqlx::query(
            "SELECT interaction_id FROM interaction WHERE predecessor_id = $1 ORDER BY began_us LIMIT 1",
        )
        .bind(id.as_str())
        .fetch_optional(&self.reader)
        .await?
        .map(|row| get_id(&row, "interaction_id"))
        .transpose()
    }

    /// The interactions of a counter whose footage reaches into a window, by start, at most `limit`.
    pub async fn counter_interactions(
        &self,
        counter: &CounterId,
        window: Window,
        limit: i64,
    ) -> DbResult<Vec<InteractionRow>> {
        // Nobody is served for longer than a day.
        const LONGEST_US: i64 = 86_400_000_000;
        let found = sqlx::query(IN_WINDOW_OF_COUNTER)
            .bind(counter.as_str())
            .bind((window.start - LONGEST_US).0)
            .bind(window.end.0)
            .bind(window.start.0)
            .bind(limit)
            .fetch_all(&self.reader)
            .await?;
        let ids = found
            .iter()
            .map(|row| get(row, "interaction_id"))
            .collect::<DbResult<Vec<&str>>>()?;
        self.rows_of(&ids).await
    }

    /// The interactions of a site's business day.
    pub async fn day_interactions(&self, site: &SiteId, date: Date) -> DbResult<Vec<InteractionRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {INTERACTION_COLUMNS} FROM interaction WHERE site_id = $1 AND business_date = $2
             ORDER BY began_us, interaction_id"
        )))
        .bind(site.as_str())
        .bind(date.to_string())
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(interaction_row)
        .collect()
    }
}

/// Tells the recorders whose footage is of worth now, or is no more.
async fn order_marks(
    tx: &mut Transaction<'static, Any>,
    known: &[Interaction],
    derived: &Derived,
    now: WallTime,
) -> DbResult<BTreeSet<RecorderId>> {
    let before: BTreeMap<_, _> = known.iter().map(|i| (&i.interaction_id, mark_of(i))).collect();
    let mut told = BTreeSet::new();
    for interaction in &derived.changed {
        let mark = mark_of(interaction);
        let earlier = before.get(&interaction.interaction_id);
        told.extend(order_mark(tx, earlier, Some(&mark), now).await?);
    }
    let vanished = derived
        .revisions
        .iter()
        .filter(|revision| revision.kind == RevisionKind::Vanished);
    for revision in vanished {
        let earlier = before.get(&revision.interaction_id);
        told.extend(order_mark(tx, earlier, None, now).await?);
    }
    Ok(told)
}

pub(super) fn interaction_row(row: &AnyRow) -> DbResult<InteractionRow> {
    Ok(InteractionRow {
        interaction: serde_json::from_str(get(row, "body")?)
            .map_err(|e| DbError::damaged("interaction.body", e))?,
        revision: unsigned(get(row, "revision")?),
    })
}

fn terms_of(interaction: &Interaction) -> Vec<Term> {
    let procedure = interaction.procedure.as_ref().map(|name| Term {
        kind: TermKind::Procedure,
        code: String::new(),
        label: name.clone(),
    });
    let officer = interaction.officer.as_ref().map(|officer| Term {
        kind: TermKind::Officer,
        code: officer.code.clone(),
        label: officer.name.clone().unwrap_or_default(),
    });
    procedure.into_iter().chain(officer).collect()
}

async fn put_revision(
    tx: &mut Transaction<'static, Any>,
    revision: &Revision,
    now: WallTime,
) -> DbResult<i64> {
    let row = sqlx::query(
        "SELECT COALESCE(max(revision), 0) + 1 AS revision FROM interaction_revision WHERE interaction_id = $1",
    )
    .bind(revision.interaction_id.as_str())
    .fetch_one(&mut **tx)
    .await?;
    let number: i64 = get(&row, "revision")?;
    sqlx::query(
        "INSERT INTO interaction_revision (interaction_id, revision, at_us, kind, cause_source, cause_id, changes)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(revision.interaction_id.as_str())
    .bind(number)
    .bind(now.0)
    .bind(match revision.kind {
        RevisionKind::Appeared => "appeared",
        RevisionKind::Changed => "changed",
        RevisionKind::Vanished => "vanished",
    })
    .bind(revision.cause.as_ref().map(|c| c.source.clone()))
    .bind(revision.cause.as_ref().map(|c| c.id.clone()))
    .bind(serde_json::to_string(&revision.changes).map_err(|e| DbError::damaged("changes", e))?)
    .execute(&mut **tx)
    .await?;
    Ok(number)
}

async fn put_interaction(
    tx: &mut Transaction<'static, Any>,
    interaction: &Interaction,
    date: Date,
    revision: i64,
) -> DbResult<()> {
    let began = interaction.began();
    let ticket = interaction.ticket.as_ref();
    let procedure = interaction.procedure.as_ref();
    let officer = interaction.officer.as_ref();
    sqlx::query(
        "INSERT INTO interaction (interaction_id, site_id, counter_id, business_date, state, began_us, start_us,
             end_us, open_until_us, ticket_series, ticket_number, procedure_id, officer_id, rating_percent,
             predecessor_id, revision, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT (interaction_id) DO UPDATE SET counter_id = excluded.counter_id,
             business_date = excluded.business_date, state = excluded.state, began_us = excluded.began_us,
             start_us = excluded.start_us, end_us = excluded.end_us, open_until_us = excluded.open_until_us,
             ticket_series = excluded.ticket_series, ticket_number = excluded.ticket_number,
             procedure_id = excluded.procedure_id, officer_id = excluded.officer_id,
             rating_percent = excluded.rating_percent, predecessor_id = excluded.predecessor_id,
             revision = excluded.revision, body = excluded.body",
    )
    .bind(interaction.interaction_id.as_str())
    .bind(interaction.site.as_str())
    .bind(interaction.counter.as_str())
    .bind(date.to_string())
    .bind(interaction.state.as_str())
    .bind(began.0)
    .bind(interaction.footage.start.0)
    .bind(interaction.footage.end.map(|e| e.0))
    .bind(interaction.open_until.map(|u| u.0))
    .bind(ticket.map(|t| crate::words::fold_series(&t.series)))
    .bind(ticket.map(|t| crate::words::fold_number(&t.number)))
    .bind(procedure.map(|p| term_id(TermKind::Procedure, p)))
    .bind(officer.map(|o| term_id(TermKind::Officer, &o.code)))
    .bind(interaction.rating.as_ref().map(|r| r.percent))
    .bind(interaction.predecessor.as_ref().map(|p| p.as_str().to_owned()))
    .bind(revision)
    .bind(serde_json::to_string(interaction).map_err(|e| DbError::damaged("interaction", e))?)
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM interaction_dossier WHERE interaction_id = $1")
        .bind(interaction.interaction_id.as_str())
        .execute(&mut **tx)
        .await?;
    for link in &interaction.dossiers {
        sqlx::query(
            "INSERT INTO interaction_dossier (interaction_id, code, folded, began_us, site_id)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(interaction.interaction_id.as_str())
        .bind(link.code.as_str())
        .bind(crate::words::fold_dossier(&link.code))
        .bind(began.0)
        .bind(interaction.site.as_str())
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
