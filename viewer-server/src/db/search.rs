//! Finding interactions, newest first, page by page.
//!
//! Each search is led by one index: what is looked up, then the beginning, then all else that narrows. So a page
//! reads the rows that it shows and no others; never a scan with LIKE. Where words mean several procedures or
//! officers, the newest of each are taken and merged. Tests in `plans` hold the databases to this.

use std::collections::HashMap;

use archive::ids::{CounterId, InteractionId, SiteId};
use archive::time::{DurationUs, WallTime};
use sqlx::any::AnyArguments;
use sqlx::{Any, Arguments, AssertSqlSafe, Encode, Type};

use super::interaction::{INTERACTION_COLUMNS, interaction_row};
use super::{Db, DbError, DbResult, InteractionRow, get, share};

/// Where a page ended: the next holds only what comes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Beginning of the last one shown.
    pub began: WallTime,
    /// Its id.
    pub interaction: InteractionId,
}

/// What is searched for; all that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct SearchFilter {
    /// Only these sites; `None`: all.
    pub sites: Option<Vec<SiteId>>,
    /// Only these counters; `None`: all.
    pub counters: Option<Vec<CounterId>>,
    /// Only these officers, by term id; `None`: all.
    pub officers: Option<Vec<String>>,
    /// Only these procedures, by term id; `None`: all.
    pub procedures: Option<Vec<String>>,
    /// Only these dossiers, folded; `None`: all.
    pub dossiers: Option<Vec<String>>,
    /// Folded series, if it matters, and folded number of a ticket.
    pub ticket: Option<(Option<String>, String)>,
    /// Only rated at or below.
    pub rating_max: Option<f64>,
    /// Beginning at or after.
    pub from: Option<WallTime>,
    /// Beginning before.
    pub to: Option<WallTime>,
    /// Only what comes after this page.
    pub cursor: Option<Cursor>,
}

const DOSSIER: &str = "d.folded";
const TICKET: &str = "i.ticket_number";
const SERIES: &str = "i.ticket_series";
const OFFICER: &str = "i.officer_id";
const COUNTER: &str = "i.counter_id";
const PROCEDURE: &str = "i.procedure_id";
const SITE: &str = "i.site_id";

/// Most lookups that are made one by one; SQLite joins at most 500 selects.
const MAX_BRANCHES: usize = 100;
/// So many are made rather than that more is read than is shown.
const FEW_BRANCHES: usize = 8;

/// A statement under construction.
#[derive(Default)]
struct Statement {
    arguments: AnyArguments,
}

impl Statement {
    fn bind<'t, T: Encode<'t, Any> + Type<Any>>(&mut self, value: T) -> DbResult<String> {
        self.arguments
            .add(value)
            .map_err(|e| DbError::from(sqlx::Error::Encode(e)))?;
        Ok(format!("${}", self.arguments.len()))
    }

    fn any_of(&mut self, column: &str, values: &[&str]) -> DbResult<String> {
        let places = values
            .iter()
            .map(|value| self.bind((*value).to_owned()))
            .collect::<DbResult<Vec<_>>>()?;
        // IN () is no SQL; nothing equals nothing.
        Ok(match places.as_slice() {
            [] => "1 = 0".to_owned(),
            [only] => format!("{column} = {only}"),
            _ => format!("{column} IN ({})", places.join(", ")),
        })
    }
}

/// The columns whose index leads, and for each lookup the values to look up in them.
struct Driver<'f> {
    columns: &'static [&'static str],
    lookups: Vec<Vec<&'f str>>,
}

fn texts(values: Option<&Vec<String>>) -> Option<Vec<&str>> {
    Some(values?.iter().map(String::as_str).collect())
}

/// Values to look up in a column; absent: any.
type Wanted<'f> = (&'static str, Option<Vec<&'f str>>);

impl SearchFilter {
    /// What must hold of columns of text, the most selective first, as a rule.
    fn wanted(&self) -> [Wanted<'_>; 7] {
        let ticket = self.ticket.as_ref();
        let counters = self.counters.as_ref();
        let sites = self.sites.as_ref();
        [
            (DOSSIER, texts(self.dossiers.as_ref())),
            (TICKET, ticket.map(|t| vec![t.1.as_str()])),
            (OFFICER, texts(self.officers.as_ref())),
            (
                COUNTER,
                counters.map(|v| v.iter().map(CounterId::as_str).collect()),
            ),
            (PROCEDURE, texts(self.procedures.as_ref())),
            (SITE, sites.map(|v| v.iter().map(SiteId::as_str).collect())),
            (SERIES, ticket.and_then(|t| Some(vec![t.0.as_deref()?]))),
        ]
    }

    fn driver<'f>(&self, wanted: &[Wanted<'f>]) -> Option<Driver<'f>> {
        const LEADERS: [&[&str]; 8] = [
            &[DOSSIER],
            &[TICKET],
            &[OFFICER],
            &[COUNTER, PROCEDURE],
            &[COUNTER],
            &[SITE, PROCEDURE],
            &[PROCEDURE],
            &[SITE],
        ];
        LEADERS.iter().find_map(|columns| {
            let mut lookups = vec![Vec::new()];
            for column in *columns {
                let (_, values) = wanted.iter().find(|(name, _)| name == column)?;
                let values = values.as_ref()?;
                // Only dossiers can't be asked for in any other way.
                if lookups.len() * values.len() > MAX_BRANCHES && *column != DOSSIER {
                    return None;
                }
                lookups = lookups
                    .iter()
                    .flat_map(|before| {
                        values
                            .iter()
                            .map(move |value| [before.as_slice(), &[*value]].concat())
                    })
                    .collect();
            }
            // Within a few days all sites' lie close together.
            let is_dense = self.is_brief() && lookups.len() > FEW_BRANCHES;
            if is_dense && **columns == [SITE, PROCEDURE] {
                return None;
            }
            Some(Driver { columns, lookups })
        })
    }

    /// Whether only a few days are asked for.
    fn is_brief(&self) -> bool {
        const WEEK_US: DurationUs = 7 * 24 * 3_600_000_000;
        self.from
            .zip(self.to)
            .is_some_and(|(from, to)| to - from <= WEEK_US)
    }

    /// The statements that find the keys of a page, newest first, from indexes alone; to be merged.
    pub(super) fn statements(&self, limit: usize) -> DbResult<Vec<(String, AnyArguments)>> {
        let wanted = self.wanted();
        let Some(Driver { columns, lookups }) = self.driver(&wanted) else {
            return Ok(vec![self.statement(&wanted, &[Vec::new()], limit)?]);
        };
        let led: Vec<Vec<_>> = lookups
            .iter()
            .map(|lookup| columns.iter().copied().zip(lookup.iter().copied()).collect())
            .collect();
        led.chunks(share(led.len()).min(MAX_BRANCHES))
            .map(|led| self.statement(&wanted, led, limit))
            .collect()
    }

    fn statement(
        &self,
        wanted: &[Wanted<'_>],
        led: &[Vec<(&'static str, &str)>],
        limit: usize,
    ) -> DbResult<(String, AnyArguments)> {
        let mut statement = Statement::default();
        let branches = led
            .iter()
            .map(|led| {
                let branch = statement.branch(self, wanted, led, limit)?;
                Ok(format!("SELECT * FROM ({branch}) AS branch"))
            })
            .collect::<DbResult<Vec<_>>>()?;
        let limit = statement.bind(i64::try_from(limit).unwrap_or(i64::MAX))?;
        let found = branches.join(" UNION ");
        let sql = format!("{found} ORDER BY began_us DESC, interaction_id DESC LIMIT {limit}");
        Ok((sql, statement.arguments))
    }
}

impl Db {
    /// The newest interactions that match, at most `limit`.
    pub async fn search(&self, filter: &SearchFilter, limit: usize) -> DbResult<Vec<InteractionRow>> {
        let is_hopeless = |(_, values): &Wanted<'_>| values.as_ref().is_some_and(Vec::is_empty);
        if filter.wanted().iter().any(is_hopeless) {
            return Ok(Vec::new());
        }
        let found = filter
            .statements(limit)?
            .into_iter()
            .map(|(sql, arguments)| async {
                let rows = sqlx::query_with(AssertSqlSafe(sql), arguments)
                    .fetch_all(&self.reader)
                    .await?;
                let key = |row| -> DbResult<(i64, String)> {
                    Ok((get(row, "began_us")?, get(row, "interaction_id")?))
                };
                rows.iter().map(key).collect::<DbResult<Vec<_>>>()
            });
        let mut keys = futures::future::try_join_all(found).await?.concat();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.dedup();
        let ids: Vec<_> = keys.iter().take(limit).map(|(_, id)| id.as_str()).collect();
        self.rows_of(&ids).await
    }

    /// Interactions in the order of their ids. One that vanished meanwhile is left out.
    pub(super) async fn rows_of(&self, ids: &[&str]) -> DbResult<Vec<InteractionRow>> {
        let shares = ids.chunks(share(ids.len())).map(|ids| async {
            let mut statement = Statement::default();
            let condition = statement.any_of("interaction_id", ids)?;
            let sql = format!("SELECT {INTERACTION_COLUMNS} FROM interaction WHERE {condition}");
            let rows = sqlx::query_with(AssertSqlSafe(sql), statement.arguments)
                .fetch_all(&self.reader)
                .await?;
            rows.iter().map(interaction_row).collect::<DbResult<Vec<_>>>()
        });
        let found = futures::future::try_join_all(shares).await?;
        let mut found: HashMap<_, _> = found
            .into_iter()
            .flatten()
            .map(|row| (row.interaction.interaction_id.to_string(), row))
            .collect();
        Ok(ids.iter().filter_map(|id| found.remove(*id)).collect())
    }

    /// Every visit of a dossier at these sites, oldest first, at most 1,000.
    pub async fn dossier_visits(
        &self,
        folded: &str,
        sites: Option<&[SiteId]>,
    ) -> DbResult<Vec<InteractionRow>> {
        let filter = SearchFilter {
            dossiers: Some(vec![folded.to_owned()]),
            sites: sites.map(<[SiteId]>::to_vec),
            ..SearchFilter::default()
        };
        let mut visits = self.search(&filter, 1000).await?;
        visits.reverse();
        Ok(visits)
    }
}

impl Statement {
    /// The keys of the newest that match with some columns at fixed values, at most `limit`.
    fn branch(
        &mut self,
        filter: &SearchFilter,
        wanted: &[Wanted<'_>],
        led: &[(&'static str, &str)],
        limit: usize,
    ) -> DbResult<String> {
        let is_by_dossier = led.iter().any(|(column, _)| *column == DOSSIER);
        let by = if is_by_dossier { "d" } else { "i" };
        let mut conditions = Vec::new();
        for (column, value) in led {
            conditions.push(self.any_of(column, &[value])?);
        }
        for (column, values) in wanted {
            let Some(values) = values
                .as_ref()
                .filter(|_| led.iter().all(|(led, _)| led != column))
            else {
                continue;
            };
            // The dossier's own row knows the site as well.
            let is_here = *column == SITE && is_by_dossier;
            let column = if is_here { "d.site_id" } else { column };
            // An expression, so that no database looks it up first and then has to sort.
            let narrowing = format!("({column} || '')");
            conditions.push(self.any_of(&narrowing, values)?);
        }
        if let Some(rating_max) = filter.rating_max {
            let place = self.bind(rating_max)?;
            conditions.push(format!("i.rating_percent <= {place}"));
        }
        for (operator, bound) in [(">=", filter.from), ("<", filter.to)] {
            if let Some(bound) = bound {
                let place = self.bind(bound.0)?;
                conditions.push(format!("{by}.began_us {operator} {place}"));
            }
        }
        if let Some(cursor) = &filter.cursor {
            let began = self.bind(cursor.began.0)?;
            let id = self.bind(cursor.interaction.as_str().to_owned())?;
            conditions.push(format!(
                "{by}.began_us <= {began} AND ({by}.began_us < {began} OR {by}.interaction_id < {id})"
            ));
        }
        let is_joined = conditions
            .iter()
            .any(|condition| condition.trim_start_matches('(').starts_with("i."));
        let from = match (is_by_dossier, is_joined) {
            (true, true) => "interaction_dossier d JOIN interaction i ON i.interaction_id = d.interaction_id",
            (true, false) => "interaction_dossier d",
            (false, _) => "interaction i",
        };
        let conditions = if conditions.is_empty() {
            "1 = 1".to_owned()
        } else {
            conditions.join(" AND ")
        };
        let limit = self.bind(i64::try_from(limit).unwrap_or(i64::MAX))?;
        Ok(format!(
            "SELECT {by}.interaction_id AS interaction_id, {by}.began_us AS began_us FROM {from}
             WHERE {conditions} ORDER BY {by}.began_us DESC, {by}.interaction_id DESC LIMIT {limit}"
        ))
    }
}
