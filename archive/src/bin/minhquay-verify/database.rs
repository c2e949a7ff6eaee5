//! Opening a database to read, and what is common to both kinds.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::runtime::Runtime;

use crate::keys::Keys;
use crate::report::Report;
use crate::{Unreadable, disk, index};

/// Why a row can't be read.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A database opened to read only.
pub struct Database {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Database {
    /// Opens a file; what its write-ahead log holds counts.
    pub fn open(path: &Path) -> Result<Self, Unreadable> {
        let failed = |e: &dyn std::fmt::Display| Unreadable::new(path, e);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| failed(&e))?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let has_log = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .read_only(true)
            // Without a log nothing needs to be written beside it, so it can lie on a read-only disk.
            .immutable(!has_log);
        let connection = runtime.block_on(options.connect()).map_err(|e| failed(&e))?;
        Ok(Self { runtime, connection })
    }

    /// The rows of a query, each read by `read`; one that can't be read is a finding.
    pub fn rows<T>(
        &mut self,
        place: &str,
        sql: &'static str,
        report: &mut Report,
        read: impl Fn(&SqliteRow) -> Result<T, Failure>,
    ) -> Vec<T> {
        let fetched = self
            .runtime
            .block_on(sqlx::query(sql).fetch_all(&mut self.connection));
        let rows = match fetched {
            Ok(rows) => rows,
            Err(error) => {
                report.finding(place, format!("it can't be read: {error}"));
                return Vec::new();
            }
        };
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            match read(row) {
                Ok(value) => found.push(value),
                Err(error) => report.finding(place, format!("a row can't be read: {error}")),
            }
        }
        found
    }

    /// Whether there is a table of this name.
    fn has_table(&mut self, name: &'static str, report: &mut Report) -> bool {
        let names = self.rows(
            "sqlite_schema",
            "select name from sqlite_schema where type = 'table'",
            report,
            |row| Ok(row.try_get::<String, _>(0)?),
        );
        names.iter().any(|found| found == name)
    }

    /// Asks the database whether its own structure holds.
    pub fn check_integrity(&mut self, report: &mut Report) {
        let lines = self.rows("structure", "pragma integrity_check(20)", report, |row| {
            Ok(row.try_get::<String, _>(0)?)
        });
        for line in lines.iter().filter(|line| *line != "ok") {
            report.finding("structure", line);
        }
    }
}

/// Checks a recorder's index against its disk, or the centre's catalogue against the chains in it.
pub fn verify(path: &Path, recordings: Option<&Path>, keys: &Keys) -> Result<Report, Unreadable> {
    let mut report = Report::default();
    let mut database = Database::open(path)?;
    if database.has_table("chain_entry", &mut report) {
        return Ok(crate::centre::verify(database, path, keys));
    }
    if !database.has_table("fragment", &mut report) {
        return Err(Unreadable::new(
            path,
            "it is neither a recorder's index nor a centre's catalogue",
        ));
    }
    drop(database);
    let beside = path.parent().unwrap_or(Path::new(".")).join("recordings");
    let root = recordings.map_or(beside, Path::to_owned);
    let chains = disk::read_disk(&root, keys, &mut report)?;
    index::check(path, &chains, &mut report)?;
    Ok(report)
}
