//! `minhquay-recorder`: records the counters of one site.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use recorder::{capture, check, health, uplink};
use site_config::recorder::RecorderSettings;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// `EX_CONFIG` of sysexits.
const BAD_CONFIG: u8 = 78;

/// What is logged unless `RUST_LOG` says otherwise; WebRTC's libraries tell every step of every handshake.
const DEFAULT_LOG: &str =
    "info,retina=error,webrtc=error,rtc=error,rtc_ice=error,rtc_dtls=error,rtc_interceptor=error";

#[derive(Parser)]
#[command(version, about = "Records picture and sound of the counters of one site")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
struct Config {
    /// The settings file.
    #[arg(long, default_value = "/etc/minhquay/recorder.toml")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Records until SIGTERM or SIGINT.
    Run {
        #[command(flatten)]
        config: Config,
    },
    /// Makes this recorder known to the centre.
    Enrol {
        /// `https://host` of the centre.
        #[arg(long)]
        server: String,
        /// The one-time code.
        #[arg(long)]
        code: String,
        #[command(flatten)]
        config: Config,
    },
    /// Compares index, chains and files; changes nothing unless told to repair.
    Check {
        /// Makes a lost or damaged index anew from the disk of the recordings; the recorder must not be running.
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Shows the tracks of a camera and what would be recorded of them.
    Probe {
        /// `rtsp://host/path`, may hold user and password.
        url: String,
        /// User name at the camera.
        #[arg(long, requires = "password_file")]
        username: Option<String>,
        /// File with the password at the camera.
        #[arg(long, requires = "username")]
        password_file: Option<PathBuf>,
    },
    /// Looks at recorded files for faults of picture and sound, as at a camera.
    Examine {
        /// MP4 or Matroska with H.264 or H.265.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The counter did not serve: darkness is no fault.
        #[arg(long)]
        closed: bool,
    },
    /// Lists the cameras and microphones of this machine as the settings name them.
    Devices,
}

fn main() -> ExitCode {
    recorder::memory::keep_small();
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_LOG.into()),
        )
        .with_writer(std::io::stderr)
        .init();
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a TLS provider is installed already");
    }
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| anyhow::anyhow!("the runtime does not start: {e}"))
        .and_then(|runtime| {
            let outcome = runtime.block_on(perform(arguments.command));
            // A hanging camera may hold a blocking thread; the files are sealed by now.
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            outcome
        });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            // Each error tells its source itself.
            eprintln!("minhquay-recorder: {error}");
            let is_config = error.downcast_ref::<site_config::ConfigError>().is_some();
            ExitCode::from(if is_config { BAD_CONFIG } else { 1 })
        }
    }
}

fn load(config: &Config) -> anyhow::Result<RecorderSettings> {
    Ok(site_config::load(&config.config)?)
}

async fn perform(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { config } => {
            let settings = load(&config)?;
            let shutdown = CancellationToken::new();
            stop_on_signal(shutdown.clone())?;
            recorder::run(settings, Arc::new(recorder::MachineClock::new()), shutdown).await?;
        }
        Command::Enrol { server, code, config } => {
            let settings = load(&config)?;
            let recorder = uplink::enrol(&server, &code, &settings.site, &settings.data_dir).await?;
            println!("{recorder}");
        }
        Command::Check { repair, config } => {
            let settings = load(&config)?;
            if repair {
                let repaired =
                    recorder::repair::repair(&settings, Arc::new(recorder::MachineClock::new())).await?;
                match repaired.was_wrong {
                    Some(fault) => println!("made the index anew: {fault}"),
                    None => println!("the index is sound"),
                }
                println!("{} events taken up from the journal", repaired.events);
            }
            let report = check::check(&settings).await?;
            for fault in &report.faults {
                println!("{fault}");
            }
            println!(
                "{} segments, {} entries of chains, {} faults",
                report.segments,
                report.entries,
                report.faults.len()
            );
            return Ok(ExitCode::from(u8::from(!report.faults.is_empty())));
        }
        Command::Probe {
            url,
            username,
            password_file,
        } => {
            capture::init()?;
            let password = password_file.as_deref().map(read_password).transpose()?;
            let credentials = username.as_deref().zip(password.as_deref());
            let report = capture::probe(&url, credentials).await?;
            for track in &report.tracks {
                println!("{track}");
            }
            anyhow::ensure!(report.has_picture, "no picture that could be recorded");
        }
        Command::Examine { files, closed } => {
            capture::init()?;
            for file in files {
                print_report(&file, &capture::examine_file(&file, !closed)?);
            }
        }
        Command::Devices => {
            capture::init()?;
            for line in capture::devices()? {
                println!("{line}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_report(file: &Path, report: &capture::FileReport) {
    for (at_us, change) in &report.changes {
        let kind = serde_json::to_value(change.kind).unwrap_or_default();
        let turn = match change.turn {
            health::Turn::Began(_) => "began",
            health::Turn::Ended(_) => "ended",
        };
        let at_s = *at_us as f64 / 1e6;
        println!(
            "{at_s:.1} s: {} {turn}: {}",
            kind.as_str().unwrap_or_default(),
            change.detail
        );
    }
    println!(
        "{}: {} pictures and {} windows of sound were looked at",
        file.display(),
        report.pictures,
        report.sounds
    );
}

fn read_password(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: growing segments are sealed");
        shutdown.cancel();
    });
    Ok(())
}
