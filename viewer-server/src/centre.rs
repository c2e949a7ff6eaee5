//! The centre as a whole: what every request and every background task works with.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use archive::dossier::{DossierPatterns, InvalidPattern};
use archive::ids::SiteId;
use archive::interaction::InteractionSettings;
use archive::time::{Clock, DurationUs, WallTime};
use ed25519_dalek::SigningKey;
use jiff::tz::TimeZone;
use site_config::server::ServerSettings;
use tokio::sync::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use crate::access::{Attempts, PasswordError, Passwords};
use crate::db::{Db, DbError};
use crate::edge::{RecorderSessions, Uploads};
use crate::export::Exports;
use crate::ingest::Ingest;
use crate::live::{EdgeCommands, LiveHub, Offline};
use crate::places::Places;
use crate::playback::Stills;
use crate::search::KnownWords;
use crate::storage::{Storage, StorageError};
use crate::supervision::Supervision;

/// Why the centre can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The footage store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The patterns of dossier codes.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    /// Password hashing.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A file or folder of `data_dir`.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server's own key is damaged.
    #[error("{}: is no Ed25519 key in PKCS#8 PEM", .0.display())]
    Key(PathBuf),
}

/// Everything that requests and tasks share.
pub struct Centre {
    /// As set up.
    pub settings: ServerSettings,
    /// The sites' zone.
    pub zone: TimeZone,
    /// How events are read.
    pub interaction: InteractionSettings,
    /// Rows.
    pub db: Db,
    /// Footage.
    pub storage: Storage,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The centre's own key.
    pub key: SigningKey,
    /// Password hashing.
    pub passwords: Passwords,
    /// Failed sign-ins by name and by address.
    pub sign_ins: Attempts,
    /// Failed enrolments by address.
    pub enrolments: Attempts,
    /// Recorders that are connected.
    pub recorders: RecorderSessions,
    /// Segments on their way up.
    pub uploads: Uploads,
    /// Footage on its way out.
    pub exports: Exports,
    /// Live pictures.
    pub live: LiveHub,
    /// Events to interactions.
    pub ingest: Ingest,
    /// How the counters do.
    pub supervision: Supervision,
    /// What the search box knows by name.
    pub words: KnownWords,
    /// Pictures cut out of footage.
    pub stills: Stills,
    /// Ends every long answer and task.
    pub shutdown: CancellationToken,
    places: RwLock<Option<(WallTime, Arc<Places>)>>,
    places_load: Mutex<()>,
}

/// The centre's key in `data_dir`.
const KEY_FILE: &str = "server-key.pem";

/// Another program may change the places; so they are read again after this long.
const PLACES_AGE_US: DurationUs = 2_000_000;

impl Centre {
    /// Opens what the settings name and brings the tables up to date.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(settings: ServerSettings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        let data_dir = settings.data_dir.clone();
        let uploads_dir = data_dir.join("uploads");
        let exports_dir = data_dir.join("exports");
        for folder in [&data_dir, &uploads_dir, &exports_dir] {
            std::fs::create_dir_all(folder).map_err(|source| StartError::File {
                path: folder.clone(),
                source,
            })?;
        }
        let db = Db::open(&settings.database_url())
            .await?
            .with_clock_tolerance(i64::from(settings.clock_tolerance_ms) * 1_000);
        db.migrate().await?;
        let interaction = interaction_settings(&settings)?;
        let storage = Storage::open(&settings)?;
        let key = server_key(data_dir.join(KEY_FILE))?;
        let passwords = Passwords::new()?;
        Ok(Arc::new_cyclic(|centre| Self {
            zone: settings.time_zone(),
            interaction,
            storage,
            key,
            passwords,
            live: LiveHub::new(
                &settings.live,
                settings.listen.ip(),
                edge_commands(centre.clone()),
                Arc::clone(&clock),
            ),
            sign_ins: Attempts::new(10),
            enrolments: Attempts::new(20),
            recorders: RecorderSessions::default(),
            uploads: Uploads::new(uploads_dir),
            exports: Exports::new(exports_dir),
            ingest: Ingest::default(),
            supervision: Supervision::default(),
            words: KnownWords::default(),
            stills: Stills::default(),
            shutdown: CancellationToken::new(),
            places: RwLock::new(None),
            places_load: Mutex::new(()),
            settings,
            db,
            clock,
        }))
    }

    /// The wall clock.
    pub fn now(&self) -> WallTime {
        self.clock.wall()
    }

    /// Where everything is, at most two seconds old.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn places(&self) -> Result<Arc<Places>, DbError> {
        if let Some(places) = self.fresh_places().await {
            return Ok(places);
        }
        let _one_loads = self.places_load.lock().await;
        if let Some(places) = self.fresh_places().await {
            return Ok(places);
        }
        let now = self.now();
        let places = Arc::new(self.db.places(now).await?);
        *self.places.write().await = Some((now, Arc::clone(&places)));
        Ok(places)
    }

    async fn fresh_places(&self) -> Option<Arc<Places>> {
        let known = self.places.read().await;
        let (read, places) = known.as_ref()?;
        (0..PLACES_AGE_US)
            .contains(&(self.now() - *read))
            .then(|| Arc::clone(places))
    }

    /// Reads the places anew next time, because this server changed them.
    pub async fn forget_places(&self) {
        *self.places.write().await = None;
    }

    /// The business date of a moment.
    pub fn date_of(&self, at: WallTime) -> jiff::civil::Date {
        at.date_in(&self.zone)
    }

    /// The site of a counter, if the counter is known.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn site_of(&self, counter: &archive::ids::CounterId) -> Result<Option<SiteId>, DbError> {
        Ok(self.places().await?.counter(counter).map(|c| c.site_id.clone()))
    }
}

/// The way to whichever recorder has a stream.
fn edge_commands(centre: Weak<Centre>) -> EdgeCommands {
    EdgeCommands::new(move |stream, command| {
        let centre = centre.clone();
        async move {
            let centre = centre.upgrade().ok_or(Offline)?;
            let places = centre.places().await.map_err(|_| Offline)?;
            let stream = places.stream(&stream).ok_or(Offline)?;
            let is_sent = centre.recorders.send(&stream.recorder_id, command);
            is_sent.then_some(()).ok_or(Offline)
        }
    })
}

/// How events are read, as set up.
///
/// # Errors
/// [`InvalidPattern`].
pub fn interaction_settings(settings: &ServerSettings) -> Result<InteractionSettings, InvalidPattern> {
    const MINUTE_US: DurationUs = 60_000_000;
    let rules = settings.interaction;
    let mut interaction = InteractionSettings {
        forgotten_after_us: i64::from(rules.forgotten_after_minutes) * MINUTE_US,
        rating_window_us: i64::from(rules.rating_window_minutes) * MINUTE_US,
        ..InteractionSettings::default()
    };
    if !settings.dossier.patterns.is_empty() {
        interaction.dossier_patterns = DossierPatterns::new(&settings.dossier.patterns)?;
    }
    Ok(interaction)
}

/// The centre's public key, if it has been made.
pub fn public_key(settings: &ServerSettings) -> Option<archive::seal::PublicKey> {
    use ed25519_dalek::pkcs8::DecodePrivateKey as _;
    let pem = std::fs::read_to_string(settings.data_dir.join(KEY_FILE)).ok()?;
    let key = SigningKey::from_pkcs8_pem(&pem).ok()?;
    Some(archive::seal::PublicKey::from(&key))
}

/// Reads the centre's key, or makes it at the first start, readable by its owner alone.
fn server_key(path: PathBuf) -> Result<SigningKey, StartError> {
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let file_error = |source| StartError::File {
        path: path.clone(),
        source,
    };
    match std::fs::read_to_string(&path) {
        Ok(pem) => SigningKey::from_pkcs8_pem(&pem).map_err(|_| StartError::Key(path.clone())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            rand::RngCore::fill_bytes(&mut rand::rng(), &mut seed);
            let key = SigningKey::from_bytes(&seed);
            let pem = key
                .to_pkcs8_pem(LineEnding::LF)
                .map_err(|_| StartError::Key(path.clone()))?;
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(file_error)?;
            file.write_all(pem.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(file_error)?;
            Ok(key)
        }
        Err(source) => Err(file_error(source)),
    }
}
