//! All SQL of the centre, the same text for SQLite and PostgreSQL.
//!
//! **Invariant**: no other module speaks SQL, and nothing outside asks which database it is.
//! SQLite has one writing connection and a pool of readers; a transaction that writes begins
//! IMMEDIATE, so it never fails half way for want of the lock.

mod access_log;
mod account;
mod alert;
mod chain;
mod clock;
mod day;
mod edge;
mod edge_segment;
mod event;
mod export;
mod fact;
mod fetch;
mod footage;
mod health;
mod hold;
mod interaction;
mod order;
mod place;
#[cfg(test)]
mod plans;
mod queue;
mod receipt;
mod search;
mod vocabulary;
mod window;

use std::panic::Location;
use std::sync::Once;
use std::time::Duration;

use archive::time::DurationUs;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyPool, ColumnIndex, ConnectOptions, Row, Transaction};

pub use access_log::FootageRead;
pub use account::{Account, SignedIn};
pub use alert::AlertRow;
pub use chain::{ChainConflict, ChainState, SegmentSeal};
pub use clock::MAX_SEGMENT_US;
pub use day::{DayBlock, DayRow};
pub use edge::{EnrolmentRefused, RecorderRow, RecorderSeen, Upload};
pub use edge_segment::EdgeSegmentRow;
pub use event::{EventRow, NewEvent};
pub use export::{ExportFile, ExportRow, ExportState};
pub use fact::{FactsRefused, FactsStored, Teller};
pub use fetch::{FetchOutcome, FetchRow};
pub use footage::{SegmentRow, StoredSegment};
pub use health::{HealthReportRow, Retrieval};
pub use hold::Hold;
pub use interaction::{Derived, InteractionRow, Rederived, RevisionRow, Why};
pub use order::OrdersResumed;
pub use queue::{Answered, Taken};
pub use receipt::ReceiptRow;
pub use search::{Cursor, SearchFilter};
pub use vocabulary::{Term, TermKind, term_id};
pub use window::SpanRow;

/// A failure of the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A statement failed.
    #[error("database at {at}: {source}")]
    Query {
        /// Where in the code.
        at: &'static Location<'static>,
        /// Why.
        source: sqlx::Error,
    },
    /// The tables could not be brought up to date.
    #[error("migrating the database: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored value has a form that this program never writes.
    #[error("database at {at}: stored {what} is damaged: {reason}")]
    Damaged {
        /// Where in the code.
        at: &'static Location<'static>,
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<sqlx::Error> for DbError {
    #[track_caller]
    fn from(source: sqlx::Error) -> Self {
        Self::Query {
            at: Location::caller(),
            source,
        }
    }
}

impl DbError {
    #[track_caller]
    pub(crate) fn damaged(what: &'static str, reason: impl ToString) -> Self {
        Self::Damaged {
            at: Location::caller(),
            what,
            reason: reason.to_string(),
        }
    }

    /// Whether a row with the same key, or none with the key referred to, was the reason.
    pub fn is_constraint(&self) -> bool {
        matches!(self, Self::Query { source: sqlx::Error::Database(e), .. }
            if e.is_unique_violation() || e.is_foreign_key_violation() || e.is_check_violation())
    }
}

/// Result of a database call.
pub type DbResult<T> = Result<T, DbError>;

/// The catalogue.
#[derive(Debug, Clone)]
pub struct Db {
    writer: AnyPool,
    reader: AnyPool,
    begin: &'static str,
    /// A recorder's clock may be off by so much before its times are corrected.
    clock_tolerance_us: DurationUs,
}

const READERS: u32 = 8;
const POSTGRES_CONNECTIONS: u32 = 16;
const CLOCK_TOLERANCE_US: DurationUs = 50_000;

impl Db {
    /// Connects; `url` is `sqlite://PATH` or `postgres://…`. Creates a missing SQLite file.
    ///
    /// # Errors
    /// [`DbError`] if the database can't be reached.
    pub async fn open(url: &str) -> DbResult<Self> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        if let Some(path) = url.strip_prefix("sqlite://") {
            let options = connect_options(&format!("sqlite://{path}?mode=rwc"))?;
            let writer = sqlite_pool("PRAGMA query_only = 0")
                .max_connections(1)
                .connect_with(options.clone())
                .await?;
            let reader = sqlite_pool("PRAGMA query_only = 1")
                .max_connections(READERS)
                .connect_with(options)
                .await?;
            Ok(Self {
                writer,
                reader,
                begin: "BEGIN IMMEDIATE",
                clock_tolerance_us: CLOCK_TOLERANCE_US,
            })
        } else {
            let pool = AnyPoolOptions::new()
                .max_connections(POSTGRES_CONNECTIONS)
                .acquire_timeout(Duration::from_secs(10))
                .connect_with(connect_options(url)?)
                .await?;
            Ok(Self {
                writer: pool.clone(),
                reader: pool,
                begin: "BEGIN",
                clock_tolerance_us: CLOCK_TOLERANCE_US,
            })
        }
    }

    /// The same catalogue with another tolerance for recorders' clocks.
    pub fn with_clock_tolerance(mut self, tolerance_us: DurationUs) -> Self {
        self.clock_tolerance_us = tolerance_us;
        self
    }

    /// Brings the tables up to date.
    ///
    /// # Errors
    /// [`DbError::Migrate`].
    pub async fn migrate(&self) -> DbResult<()> {
        Ok(sqlx::migrate!("src/db/migrations").run(&self.writer).await?)
    }

    /// Answers if the database does.
    ///
    /// # Errors
    /// [`DbError`] if it does not.
    pub async fn ping(&self) -> DbResult<()> {
        sqlx::query("SELECT count(*) FROM unit")
            .fetch_one(&self.reader)
            .await?;
        Ok(())
    }

    /// Closes all connections; SQLite folds its log back into the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    async fn write(&self) -> DbResult<Transaction<'static, Any>> {
        Ok(self.writer.begin_with(self.begin).await?)
    }
}

fn connect_options(url: &str) -> DbResult<AnyConnectOptions> {
    let options: AnyConnectOptions = url.parse()?;
    Ok(options.disable_statement_logging())
}

fn sqlite_pool(query_only: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .acquire_timeout(Duration::from_secs(30))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for pragma in [
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = FULL",
                    "PRAGMA foreign_keys = ON",
                    "PRAGMA busy_timeout = 10000",
                    "PRAGMA cache_size = -65536",
                    "PRAGMA mmap_size = 1073741824",
                    query_only,
                ] {
                    sqlx::raw_sql(pragma).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
}

/// How many of `count` things to read in one question, so that at most four go to the disk at once: what the
/// machine does not hold in memory is then waited for together, not one after the other.
fn share(count: usize) -> usize {
    count.div_ceil(4).max(8)
}

/// Reads a column.
#[track_caller]
fn get<'r, T>(row: &'r AnyRow, column: &'static str) -> DbResult<T>
where
    T: sqlx::Decode<'r, Any> + sqlx::Type<Any>,
    &'static str: ColumnIndex<AnyRow>,
{
    row.try_get(column).map_err(|source| DbError::Query {
        at: Location::caller(),
        source,
    })
}

/// Reads a text column into a checked name.
#[track_caller]
fn get_id<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> DbResult<T>
where
    T::Err: ToString,
{
    let at = Location::caller();
    let text: &str = row
        .try_get(column)
        .map_err(|source| DbError::Query { at, source })?;
    text.parse().map_err(|reason: T::Err| DbError::Damaged {
        at,
        what: column,
        reason: reason.to_string(),
    })
}

/// An unsigned number as the database keeps it; never negative where a check says so.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A number for the database, which has no unsigned ones.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
