//! A fake RTSP camera with faults by command, for tests and the demonstration.
//!
//! ```text
//! fake-camera --listen 127.0.0.1:8554 --control 127.0.0.1:8555 \
//!     --mount cam1=proof \
//!     --mount cam2=proof,codec=h265,audio=pcmu,size=640x360,fps=25,bitrate=600,gop=50,b-frames=2 \
//!     --mount cam3=file:DIR/counter-1.main.mp4 \
//!     --mount cam4=room:DIR/counter-1.sub.mp4,size=320x180,fps=12
//! fake-camera --user viewer --password secret --mounts mounts.json
//! fake-camera material --dir DIR
//! ```
//!
//! Prints `Ready: rtsp://HOST:PORT/NAME` for each mount and `Control: http://HOST:PORT` when everything runs; port 0
//! takes a free one. `mounts.json` is an object of mounts by name:
//! `{"cam1": {"source": "proof", "audio": "opus"}, "cam2": {"source": {"file": "a.mp4"}}}`.
//!
//! The control port takes
//! `POST /mounts/cam1/fault` with `{"fault": "drop_connection"}`, `hang`, `refuse` (`seconds`), `loss` (`percent`),
//! `garbage` (`percent`), `pts_jump` (`seconds`), `ssrc_change`, `audio_absent`, `clock_off` (`seconds`); a mount of
//! `room:` also `picture` (`what`: `cover`, `black`, `freeze`, `defocus`, `move`, `lights_off`, `empty`) and `sound`
//! (`what`: `dead`, `clip`, `hum`);
//! `POST /mounts/cam1/clear`; `PUT /mounts/cam1` with a mount as in `mounts.json`, shown from the next connection on;
//! `GET /mounts`.
//!
//! `material` makes `counter-1.main.mp4` to `counter-4.main.mp4` (1280x720, 25 frames a second, people and
//! Vietnamese speech) and the small `counter-1.sub.mp4` to `counter-4.sub.mp4` (640x360, 12 frames a second) once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use system_tests::camera::{FakeCamera, MountSpec, Settings, router};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    about = "A fake RTSP camera with faults by command",
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where RTSP listens.
    #[arg(long, default_value = "127.0.0.1:8554")]
    listen: SocketAddr,
    /// Where the control port listens; without it there is none.
    #[arg(long)]
    control: Option<SocketAddr>,
    /// A mount, NAME=proof or NAME=file:PATH with options; may be given many times.
    #[arg(long, value_name = "NAME=SOURCE[,KEY=VALUE...]", value_parser = named_mount)]
    mount: Vec<(String, MountSpec)>,
    /// A JSON file of mounts by name.
    #[arg(long)]
    mounts: Option<PathBuf>,
    /// The name that clients must give.
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// The password that clients must give.
    #[arg(long, requires = "user")]
    password: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the videos of people with speech, unless they are there.
    Material {
        /// Where to.
        #[arg(long)]
        dir: PathBuf,
    },
}

fn named_mount(text: &str) -> Result<(String, MountSpec), String> {
    let (name, spec) = text.split_once('=').ok_or("expected NAME=SOURCE")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!(
            "{name:?} is not a name: letters, digits, '-', '_' and '.'"
        ));
    }
    Ok((
        name.to_owned(),
        spec.parse()
            .map_err(|e: system_tests::camera::InvalidSpec| e.to_string())?,
    ))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    if let Some(Command::Material { dir }) = arguments.command {
        for path in system_tests::material::make(&dir)?.paths() {
            println!("{}", path.display());
        }
        return Ok(());
    }
    let mut mounts = arguments.mount;
    if let Some(path) = &arguments.mounts {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let named: BTreeMap<String, MountSpec> =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        mounts.extend(named);
    }
    anyhow::ensure!(!mounts.is_empty(), "no mount: give --mount or --mounts");
    let names: Vec<_> = mounts.iter().map(|(name, _)| name.clone()).collect();
    let settings = Settings {
        listen: arguments.listen,
        credentials: arguments.user.zip(arguments.password),
        mounts,
    };
    let camera = Arc::new(tokio::task::spawn_blocking(|| FakeCamera::start(settings)).await??);
    for name in names {
        println!("Ready: {}", camera.url(&name));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let serve = async {
        let Some(address) = arguments.control else {
            return std::future::pending().await;
        };
        let listener = tokio::net::TcpListener::bind(address).await?;
        println!("Control: http://{}", listener.local_addr()?);
        axum::serve(listener, router(camera.clone())).await
    };
    tokio::select! {
        result = serve => result.context("control port"),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
