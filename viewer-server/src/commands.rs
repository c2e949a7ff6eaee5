//! What an administrator does from the shell.

use archive::ids::{SiteId, UnitId};
use archive::time::Clock;
use site_config::server::ServerSettings;

use crate::access::{self, Grant, Passwords};
use crate::centre;
use crate::db::{Account, Db, DbError};
use crate::edge;
use crate::proof;
use crate::storage::{Storage, media_key};

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The footage store.
    #[error(transparent)]
    Storage(#[from] crate::storage::StorageError),
    /// The password.
    #[error(transparent)]
    Password(#[from] access::PasswordError),
    /// What the command refers to is not there.
    #[error("there is no {kind} {id}; add it first")]
    Missing {
        /// Unit or site.
        kind: &'static str,
        /// Which.
        id: String,
    },
    /// A user name of another form.
    #[error("a user name has 1 to 64 of a-z, 0-9, '.', '_' and '-'")]
    Username,
}

/// Opens the database of the settings, its tables up to date.
///
/// # Errors
/// [`CommandError`].
pub async fn open(settings: &ServerSettings) -> Result<Db, CommandError> {
    // SQLite makes its file, not its folder; an error shows when it is opened.
    let _ = std::fs::create_dir_all(&settings.data_dir);
    let db = Db::open(&settings.database_url()).await?;
    db.migrate().await?;
    Ok(db)
}

fn missing(kind: &'static str, id: &dyn ToString, error: DbError) -> CommandError {
    if error.is_constraint() {
        CommandError::Missing {
            kind,
            id: id.to_string(),
        }
    } else {
        error.into()
    }
}

/// Adds a unit, or renames and moves it.
///
/// # Errors
/// [`CommandError`].
pub async fn add_unit(
    db: &Db,
    clock: &dyn Clock,
    unit: &UnitId,
    name: &str,
    parent: Option<&UnitId>,
) -> Result<(), CommandError> {
    db.put_unit(unit, name, parent, clock.wall())
        .await
        .map_err(|e| missing("unit", &parent.map_or_else(String::new, ToString::to_string), e))
}

/// Adds a site, or renames and moves it.
///
/// # Errors
/// [`CommandError`].
pub async fn add_site(db: &Db, site: &SiteId, unit: &UnitId, name: &str) -> Result<(), CommandError> {
    db.put_site(site, unit, name, None)
        .await
        .map_err(|e| missing("unit", unit, e))
}

/// Adds a person with a role, or gives a known one a new password and the role.
///
/// # Errors
/// [`CommandError`].
pub async fn add_user(
    db: &Db,
    clock: &dyn Clock,
    username: &str,
    display_name: Option<&str>,
    grant: &Grant,
    password: String,
) -> Result<(), CommandError> {
    let username = username.trim().to_lowercase();
    let is_sign = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    if !(1..=64).contains(&username.len()) || !username.chars().all(is_sign) {
        return Err(CommandError::Username);
    }
    let password_hash = Passwords::new()?.hash(password).await?;
    let display_name = display_name.unwrap_or(&username).to_owned();
    let account = Account {
        username,
        display_name,
        password_hash,
    };
    db.put_account(&account, grant, clock.wall())
        .await
        .map_err(|e| missing("unit", &grant.unit, e))
}

/// Makes a one-time code for a recorder of a site.
///
/// # Errors
/// [`CommandError`].
pub async fn enrol_code(db: &Db, clock: &dyn Clock, site: &SiteId) -> Result<edge::NewCode, CommandError> {
    edge::new_code(db, site, clock.wall())
        .await
        .map_err(|e| missing("site", site, e))
}

/// Makes a token for integrators; it is shown this once.
///
/// # Errors
/// [`CommandError`].
pub async fn add_token(db: &Db, clock: &dyn Clock, scope: &str) -> Result<String, CommandError> {
    let token = format!("mq_{}", access::new_secret());
    let id = uuid::Uuid::now_v7().to_string();
    db.put_token(&access::secret_hash(&token), &id, scope, clock.wall())
        .await?;
    Ok(token)
}

/// What a check of the catalogue, the store and the proofs found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Segments looked at.
    pub segments: u64,
    /// Segments among them that no chain tells of.
    pub unsealed: u64,
    /// Entries of chains looked at.
    pub entries: u64,
    /// Receipts looked at.
    pub receipts: u64,
    /// Days' roots looked at.
    pub days: u64,
    /// What is missing, differs or does not hold.
    pub faults: Vec<String>,
}

impl Checked {
    /// Notes what is wrong.
    pub(crate) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }
}

impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} segments ({} never sealed), {} entries of chains, {} receipts, {} days, {} faults",
            self.segments,
            self.unsealed,
            self.entries,
            self.receipts,
            self.days,
            self.faults.len()
        )
    }
}

/// Compares the catalogue with the footage store and both with the chains; changes nothing.
///
/// # Errors
/// [`CommandError`].
pub async fn check(db: &Db, settings: &ServerSettings) -> Result<Checked, CommandError> {
    const PAGE: i64 = 1000;
    let storage = Storage::open(settings)?;
    let mut checked = Checked::default();
    let mut last = None;
    loop {
        let after = last.as_ref().map(|(key, recorder)| (key, recorder));
        let rows = db.segments_after(after, PAGE).await?;
        let Some(newest) = rows.last() else { break };
        last = Some((newest.key.clone(), newest.recorder.clone()));
        for row in &rows {
            checked.segments += 1;
            let path = media_key(&row.recorder, &row.key);
            match storage.size(&path).await? {
                Some(size) if size == row.size_bytes => {}
                Some(size) => checked.fault(format!("{path}: {size} bytes instead of {}", row.size_bytes)),
                None => checked.fault(format!("{path}: missing")),
            }
            proof::check_segment(db, &storage, row, &mut checked).await?;
        }
    }
    proof::check_proofs(db, centre::public_key(settings).as_ref(), &mut checked).await?;
    Ok(checked)
}
