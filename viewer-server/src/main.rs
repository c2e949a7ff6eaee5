//! `minhquay-server`: the centre.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use archive::ids::{SiteId, UnitId};
use archive::time::SystemClock;
use clap::{Args, Parser, Subcommand};
use site_config::server::ServerSettings;
use tokio::signal::unix::{SignalKind, signal};
use viewer_server::access::{Grant, Role};
use viewer_server::centre::Centre;
use viewer_server::{commands, http, serve};

/// `EX_CONFIG` of sysexits.h.
const BAD_CONFIGURATION: u8 = 78;

/// What is logged unless `RUST_LOG` says otherwise; WebRTC's libraries tell every step of every handshake.
const DEFAULT_LOG: &str =
    "info,sqlx=warn,webrtc=error,rtc=error,rtc_ice=error,rtc_dtls=error,rtc_interceptor=error";

#[derive(Parser)]
#[command(
    name = "minhquay-server",
    version,
    about = "Records of public service counters: the centre"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Config {
    /// The settings file.
    #[arg(long)]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the service.
    Serve {
        #[command(flatten)]
        config: Config,
        /// Folder of the built page; without it the one inside the program.
        #[arg(long)]
        ui_dir: Option<PathBuf>,
    },
    /// Brings the database up to date.
    Migrate {
        #[command(flatten)]
        config: Config,
    },
    /// Compares the catalogue, the footage and the chains with each other; changes nothing.
    Check {
        #[command(flatten)]
        config: Config,
    },
    /// People.
    #[command(subcommand)]
    User(UserCommand),
    /// Units of the administration.
    #[command(subcommand)]
    Unit(UnitCommand),
    /// Sites of units.
    #[command(subcommand)]
    Site(SiteCommand),
    /// Recorders of sites.
    #[command(subcommand)]
    Recorder(RecorderCommand),
    /// Tokens of integrators.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Prints the OpenAPI document.
    Openapi,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Adds a person, or gives one a new password and a role; the password comes on standard input.
    Add {
        name: String,
        #[arg(long)]
        role: Role,
        #[arg(long)]
        unit: UnitId,
        /// For people; the user name if absent.
        #[arg(long)]
        display_name: Option<String>,
        #[command(flatten)]
        config: Config,
    },
}

#[derive(Subcommand)]
enum UnitCommand {
    /// Adds a unit, or renames and moves it.
    Add {
        id: UnitId,
        #[arg(long)]
        name: String,
        #[arg(long)]
        parent: Option<UnitId>,
        #[command(flatten)]
        config: Config,
    },
}

#[derive(Subcommand)]
enum SiteCommand {
    /// Adds a site, or renames and moves it.
    Add {
        id: SiteId,
        #[arg(long)]
        unit: UnitId,
        #[arg(long)]
        name: String,
        #[command(flatten)]
        config: Config,
    },
}

#[derive(Subcommand)]
enum RecorderCommand {
    /// Prints a code that enrols one recorder within a day.
    EnrolCode {
        #[arg(long)]
        site: SiteId,
        #[command(flatten)]
        config: Config,
    },
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Prints a new token, this once.
    Add {
        #[arg(long, value_parser = ["events:write"])]
        scope: String,
        #[command(flatten)]
        config: Config,
    },
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_LOG.into()),
        )
        .init();
    // It is an error only if one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "minhquay-server: {error:#}");
            match error.downcast_ref::<site_config::ConfigError>() {
                Some(_) => ExitCode::from(BAD_CONFIGURATION),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn load(config: &Config) -> anyhow::Result<ServerSettings> {
    Ok(site_config::load(&config.config)?)
}

#[tokio::main]
async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let clock = SystemClock;
    match command {
        Command::Serve { config, ui_dir } => serve_until_signal(load(&config)?, ui_dir).await?,
        Command::Migrate { config } => commands::open(&load(&config)?).await?.close().await,
        Command::Check { config } => {
            let settings = load(&config)?;
            let checked = commands::check(&commands::open(&settings).await?, &settings).await?;
            for fault in &checked.faults {
                say(fault)?;
            }
            say(&checked.to_string())?;
            return Ok(if checked.faults.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::User(UserCommand::Add {
            name,
            role,
            unit,
            display_name,
            config,
        }) => {
            let db = commands::open(&load(&config)?).await?;
            let mut password = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut password)
                .context("the password is read from standard input")?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            let grant = Grant { role, unit };
            commands::add_user(&db, &clock, &name, display_name.as_deref(), &grant, password).await?;
        }
        Command::Unit(UnitCommand::Add {
            id,
            name,
            parent,
            config,
        }) => {
            let db = commands::open(&load(&config)?).await?;
            commands::add_unit(&db, &clock, &id, &name, parent.as_ref()).await?;
        }
        Command::Site(SiteCommand::Add {
            id,
            unit,
            name,
            config,
        }) => {
            let db = commands::open(&load(&config)?).await?;
            commands::add_site(&db, &id, &unit, &name).await?;
        }
        Command::Recorder(RecorderCommand::EnrolCode { site, config }) => {
            let db = commands::open(&load(&config)?).await?;
            say(&commands::enrol_code(&db, &clock, &site).await?.code)?;
        }
        Command::Token(TokenCommand::Add { scope, config }) => {
            let db = commands::open(&load(&config)?).await?;
            say(&commands::add_token(&db, &clock, &scope).await?)?;
        }
        Command::Openapi => say(&http::openapi())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve_until_signal(settings: ServerSettings, ui_dir: Option<PathBuf>) -> anyhow::Result<()> {
    let centre = Centre::open(settings, Arc::new(SystemClock)).await?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let shutdown = centre.shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        shutdown.cancel();
    });
    let listen = centre.settings.listen;
    serve::serve(centre, ui_dir)
        .await
        .with_context(|| format!("listen {listen}"))
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}
