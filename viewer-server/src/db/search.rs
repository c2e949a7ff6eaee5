//! Finding interactions, newest first, page by page.
//!
//! Each search is driven by one index that ends in the beginning, so a page reads about as many rows
//! as it shows; never a scan with LIKE. Where words mean several procedures or officers, the newest of each are
//! taken and merged.

use archive::ids::{CounterId, InteractionId, SiteId};
use archive::time::WallTime;
use sqlx::any::AnyArguments;
use sqlx::{Any, Arguments, AssertSqlSafe, Encode, Type};

use super::interaction::interaction_row;
use super::{Db, DbError, DbResult, InteractionRow, get};

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

/// Most values of one kind that are looked up one by one; SQLite joins at most 500 selects.
const MAX_BRANCHES: usize = 100;

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

    fn any_of<'v>(&mut self, column: &str, values: impl Iterator<Item = &'v str>) -> DbResult<String> {
        let places = values
            .map(|value| self.bind(value.to_owned()))
            .collect::<DbResult<Vec<_>>>()?;
        // IN () is no SQL; nothing equals nothing.
        Ok(if places.is_empty() {
            "1 = 0".to_owned()
        } else if places.len() == 1 {
            format!("{column} = {}", places[0])
        } else {
            format!("{column} IN ({})", places.join(", "))
        })
    }
}

/// The column whose index leads, and the values to look up in it one by one.
struct Driver<'f> {
    column: &'static str,
    values: Vec<&'f str>,
}

impl SearchFilter {
    /// Whether nothing can match.
    fn is_empty(&self) -> bool {
        fn is_none_of<T>(values: Option<&Vec<T>>) -> bool {
            values.is_some_and(Vec::is_empty)
        }
        is_none_of(self.sites.as_ref())
            || is_none_of(self.counters.as_ref())
            || is_none_of(self.officers.as_ref())
            || is_none_of(self.procedures.as_ref())
            || is_none_of(self.dossiers.as_ref())
    }

    /// The most selective of what is given, as a rule.
    fn driver(&self) -> Option<Driver<'_>> {
        fn of<'f>(column: &'static str, values: Option<Vec<&'f str>>) -> Option<Driver<'f>> {
            values
                .filter(|values| values.len() <= MAX_BRANCHES)
                .map(|values| Driver { column, values })
        }
        let counters = self.counters.as_ref();
        let sites = self.sites.as_ref();
        None.or_else(|| of("d.folded", texts_of(self.dossiers.as_ref())))
            .or_else(|| {
                of(
                    "i.ticket_number",
                    self.ticket.as_ref().map(|t| vec![t.1.as_str()]),
                )
            })
            .or_else(|| of("i.officer_id", texts_of(self.officers.as_ref())))
            .or_else(|| {
                of(
                    "i.counter_id",
                    counters.map(|v| v.iter().map(CounterId::as_str).collect()),
                )
            })
            .or_else(|| of("i.procedure_id", texts_of(self.procedures.as_ref())))
            .or_else(|| of("i.site_id", sites.map(|v| v.iter().map(SiteId::as_str).collect())))
    }
}

fn texts_of(values: Option<&Vec<String>>) -> Option<Vec<&str>> {
    values.map(|v| v.iter().map(String::as_str).collect())
}

impl Db {
    /// The newest interactions that match, at most `limit`.
    pub async fn search(&self, filter: &SearchFilter, limit: usize) -> DbResult<Vec<InteractionRow>> {
        if filter.is_empty() {
            return Ok(Vec::new());
        }
        let mut statement = Statement::default();
        let branches = match filter.driver() {
            Some(driver) => driver
                .values
                .iter()
                .map(|value| statement.branch(filter, Some((driver.column, value)), limit))
                .collect::<DbResult<Vec<_>>>()?,
            None => vec![statement.branch(filter, None, limit)?],
        };
        let limit = statement.bind(i64::try_from(limit).unwrap_or(i64::MAX))?;
        let found = branches
            .iter()
            .map(|branch| format!("SELECT * FROM ({branch}) AS branch"))
            .collect::<Vec<_>>()
            .join(" UNION ");
        // First the keys from the indexes alone, then the rows of one page.
        let sql = format!(
            "SELECT i.interaction_id, i.revision, i.body, i.began_us
             FROM ({found} ORDER BY began_us DESC, interaction_id DESC LIMIT {limit}) AS found
                 JOIN interaction i ON i.interaction_id = found.interaction_id
             ORDER BY found.began_us DESC, found.interaction_id DESC"
        );
        sqlx::query_with(AssertSqlSafe(sql), statement.arguments)
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(interaction_row)
            .collect()
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

    /// How many interactions there are; for checks and benches.
    pub async fn interaction_count(&self) -> DbResult<i64> {
        let row = sqlx::query("SELECT count(*) AS count FROM interaction")
            .fetch_one(&self.reader)
            .await?;
        get(&row, "count")
    }
}

impl Statement {
    fn branch(
        &mut self,
        filter: &SearchFilter,
        driver: Option<(&'static str, &str)>,
        limit: usize,
    ) -> DbResult<String> {
        let (by, from) = match driver {
            Some(("d.folded", _)) => (
                "d",
                "interaction_dossier d JOIN interaction i ON i.interaction_id = d.interaction_id",
            ),
            _ => ("i", "interaction i"),
        };
        let led_by = driver.map_or("", |d| d.0);
        let mut conditions = Vec::new();
        if let Some((column, value)) = driver {
            let place = self.bind(value.to_owned())?;
            conditions.push(format!("{column} = {place}"));
        }
        if let Some((series, number)) = &filter.ticket {
            if led_by != "i.ticket_number" {
                conditions.push(self.any_of("i.ticket_number", std::iter::once(number.as_str()))?);
            }
            if let Some(series) = series {
                conditions.push(self.any_of("i.ticket_series", std::iter::once(series.as_str()))?);
            }
        }
        let texts = [
            ("i.officer_id", filter.officers.as_ref()),
            ("i.procedure_id", filter.procedures.as_ref()),
        ];
        for (column, values) in texts {
            if let Some(values) = values.filter(|_| led_by != column) {
                conditions.push(self.any_of(column, values.iter().map(String::as_str))?);
            }
        }
        if let Some(counters) = filter.counters.as_ref().filter(|_| led_by != "i.counter_id") {
            conditions.push(self.any_of("i.counter_id", counters.iter().map(CounterId::as_str))?);
        }
        if let Some(sites) = filter.sites.as_ref().filter(|_| led_by != "i.site_id") {
            conditions.push(self.any_of(&format!("{by}.site_id"), sites.iter().map(SiteId::as_str))?);
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
