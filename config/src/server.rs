//! Settings of `minhquay-server`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use crate::{Problem, Settings};

/// Everything that the centre is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Address of the HTTP service.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The address that people type, e.g. `https://minhquay.example.vn`; decides whether cookies are `Secure`.
    pub public_url: String,
    /// Folder of the database and the footage, unless the sections below say otherwise.
    pub data_dir: PathBuf,
    /// Time zone of the sites: business dates and printed times.
    #[serde(default = "default_zone")]
    pub zone: String,
    /// Milliseconds, 10 to 10000, that a recorder's clock may differ from this machine's, beyond what the line leaves in
    /// doubt, before its times are corrected.
    #[serde(default = "default_clock_tolerance_ms")]
    pub clock_tolerance_ms: u32,
    /// Where rows go.
    #[serde(default)]
    pub database: DatabaseSettings,
    /// Where footage goes.
    #[serde(default)]
    pub storage: StorageSettings,
    /// How long people stay signed in.
    #[serde(default)]
    pub session: SessionSettings,
    /// Live pictures.
    #[serde(default)]
    pub live: LiveSettings,
    /// How events become interactions.
    #[serde(default)]
    pub interaction: InteractionRules,
    /// What a dossier code looks like.
    #[serde(default)]
    pub dossier: DossierSettings,
    /// What makes footage provable.
    #[serde(default)]
    pub proof: ProofSettings,
    /// Footage taken out of the archive.
    #[serde(default)]
    pub export: ExportSettings,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_zone() -> String {
    "Asia/Ho_Chi_Minh".into()
}

fn default_clock_tolerance_ms() -> u32 {
    50
}

/// Where rows go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `postgres://…` or `sqlite://PATH`; absent: SQLite at `data_dir/centre.db`.
    pub url: Option<String>,
}

/// Where footage goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSettings {
    /// `s3://BUCKET/PREFIX` or `file:///PATH`; absent: the folder `data_dir/footage`.
    pub url: Option<String>,
    /// The S3 service's address, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// The S3 region.
    pub region: Option<String>,
    /// File with two lines: access key id, secret access key.
    pub credentials_file: Option<PathBuf>,
}

/// How long people stay signed in.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSettings {
    /// Minutes without a call after which a session ends, 5 to 1440.
    pub idle_minutes: u32,
    /// Hours after which a session ends in any case, 1 to 168.
    pub absolute_hours: u32,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            idle_minutes: 60,
            absolute_hours: 12,
        }
    }
}

/// Live pictures.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveSettings {
    /// Local address for media; `0.0.0.0` takes every interface.
    pub bind: IpAddr,
    /// First and last UDP port for media.
    pub udp_ports: [u16; 2],
    /// Addresses that browsers reach this machine by, when it is behind NAT.
    pub public_ips: Vec<IpAddr>,
    /// Seconds that a publication goes on after its last viewer left, 0 to 300.
    pub linger_s: u32,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            bind: IpAddr::from([0, 0, 0, 0]),
            udp_ports: [40_000, 40_999],
            public_ips: Vec::new(),
            linger_s: 10,
        }
    }
}

/// How events become interactions.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InteractionRules {
    /// Minutes after the last event of an open interaction until it counts as abandoned, 5 to 1440.
    pub forgotten_after_minutes: u32,
    /// Minutes after its end in which a rating still belongs to an interaction, 0 to 1440.
    pub rating_window_minutes: u32,
    /// A rating at or below this share of its scale, 0 to 100, raises an alert.
    pub low_rating_percent: u32,
    /// Minutes of service after which the wall says so, 1 to 480.
    pub long_service_minutes: u32,
    /// Minutes that somebody waits with a number after which the wall says so, 1 to 480.
    pub long_wait_minutes: u32,
}

impl Default for InteractionRules {
    fn default() -> Self {
        Self {
            forgotten_after_minutes: 90,
            rating_window_minutes: 30,
            low_rating_percent: 25,
            long_service_minutes: 30,
            long_wait_minutes: 30,
        }
    }
}

/// What a dossier code looks like.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DossierSettings {
    /// Regular expressions; empty: the forms of Circular 01/2018/TT-VPCP. Other codes are kept with a warning.
    pub patterns: Vec<String>,
}

/// What makes footage provable.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProofSettings {
    /// Minutes after midnight at the sites until the root over a day's receipts is signed, 1 to 720.
    pub close_after_minutes: u32,
    /// An RFC 3161 time-stamp authority that stamps each day's root; absent: none does.
    pub timestamp_url: Option<String>,
}

impl Default for ProofSettings {
    fn default() -> Self {
        Self {
            close_after_minutes: 15,
            timestamp_url: None,
        }
    }
}

/// Footage taken out of the archive.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportSettings {
    /// Exports built at once, 1 to 16.
    pub parallel: u32,
    /// Longest export in hours, 1 to 24.
    pub max_hours: u32,
    /// Hours that a file is kept, 1 to 720.
    pub keep_hours: u32,
    /// Room that all files may take, in GiB, 1 to 100000.
    pub quota_gb: u32,
}

impl Default for ExportSettings {
    fn default() -> Self {
        Self {
            parallel: 2,
            max_hours: 12,
            keep_hours: 24,
            quota_gb: 50,
        }
    }
}

impl ServerSettings {
    /// Address of the database.
    pub fn database_url(&self) -> String {
        self.database
            .url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.data_dir.join("centre.db").display()))
    }

    /// Address of the footage store.
    pub fn storage_url(&self) -> String {
        self.storage
            .url
            .clone()
            .unwrap_or_else(|| format!("file://{}", self.data_dir.join("footage").display()))
    }

    /// The sites' time zone; UTC if the settings were not validated.
    pub fn time_zone(&self) -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::get(&self.zone).unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

impl Settings for ServerSettings {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |is_good: bool, key: &str, message: &str| {
            if !is_good {
                problems.push(Problem::new(key, message));
            }
        };
        let starts = |url: &Option<String>, allowed: &[&str]| {
            url.as_ref()
                .is_none_or(|u| allowed.iter().any(|a| u.starts_with(a) && u.len() > a.len()))
        };
        let public_url = Some(self.public_url.clone());
        check(
            starts(&public_url, &["http://", "https://"]),
            "public_url",
            "must start with https:// or http://",
        );
        check(
            starts(&self.database.url, &["postgres://", "sqlite://"]),
            "database.url",
            "must start with postgres:// or sqlite://",
        );
        check(
            starts(&self.storage.url, &["s3://", "file:///"]),
            "storage.url",
            "must start with s3:// or file:///",
        );
        check(
            jiff::tz::TimeZone::get(&self.zone).is_ok(),
            "zone",
            "must be a name of the IANA time zone database, e.g. Asia/Ho_Chi_Minh",
        );
        check(
            (10..=10_000).contains(&self.clock_tolerance_ms),
            "clock_tolerance_ms",
            "must be 10 to 10000",
        );
        let session = self.session;
        check(
            (5..=1440).contains(&session.idle_minutes),
            "session.idle_minutes",
            "must be 5 to 1440",
        );
        check(
            (1..=168).contains(&session.absolute_hours),
            "session.absolute_hours",
            "must be 1 to 168",
        );
        let [first, last] = self.live.udp_ports;
        check(
            first >= 1024 && last > first,
            "live.udp_ports",
            "must be [first, last], 1024 to 65535, first below last",
        );
        check(self.live.linger_s <= 300, "live.linger_s", "must be 0 to 300");
        let rules = self.interaction;
        check(
            (5..=1440).contains(&rules.forgotten_after_minutes),
            "interaction.forgotten_after_minutes",
            "must be 5 to 1440",
        );
        check(
            rules.rating_window_minutes <= 1440,
            "interaction.rating_window_minutes",
            "must be 0 to 1440",
        );
        check(
            rules.low_rating_percent <= 100,
            "interaction.low_rating_percent",
            "must be 0 to 100",
        );
        check(
            (1..=480).contains(&rules.long_service_minutes),
            "interaction.long_service_minutes",
            "must be 1 to 480",
        );
        check(
            (1..=480).contains(&rules.long_wait_minutes),
            "interaction.long_wait_minutes",
            "must be 1 to 480",
        );
        check(
            (1..=720).contains(&self.proof.close_after_minutes),
            "proof.close_after_minutes",
            "must be 1 to 720",
        );
        check(
            starts(&self.proof.timestamp_url, &["http://", "https://"]),
            "proof.timestamp_url",
            "must start with https:// or http://",
        );
        let export = self.export;
        for (value, allowed, key) in [
            (export.parallel, 1..=16, "export.parallel"),
            (export.max_hours, 1..=24, "export.max_hours"),
            (export.keep_hours, 1..=720, "export.keep_hours"),
            (export.quota_gb, 1..=100_000, "export.quota_gb"),
        ] {
            let message = format!("must be {} to {}", allowed.start(), allowed.end());
            check(allowed.contains(&value), key, &message);
        }
        for (i, pattern) in self.dossier.patterns.iter().enumerate() {
            let compiled = regex::Regex::new(pattern).map(drop).map_err(|e| e.to_string());
            check(
                compiled.is_ok(),
                &format!("dossier.patterns[{i}]"),
                "must be a regular expression",
            );
        }
        problems
    }
}
