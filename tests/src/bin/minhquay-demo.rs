//! The demonstration: two sites, four counters, simulated cameras and a simulated queue, on one machine.
//!
//! Prints `account: ROLE USERNAME PASSWORD` for each role, `token: events:write TOKEN`, then `Ready: URL`. Ends all that
//! it started on Ctrl-C or SIGTERM. What it made stays in the data folder and is found there the next time.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use rand::Rng;
use serde::{Deserialize, Serialize};
use system_tests::material;
use system_tests::programs::http_client;
use system_tests::queue::{EventPoster, OFFICERS, SimulatedCounter, serve};
use system_tests::stage::{Cameras, Centre, Edge, StreamSource};
use tokio::signal::unix::{SignalKind, signal};

/// Recordings are cut short so that what just happened can be played soon.
const SEGMENT_S: u32 = 12;

#[derive(Parser)]
#[command(about = "The whole service with simulated cameras and a simulated queue")]
struct Arguments {
    /// Port of the page.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Folder of everything that the demonstration keeps.
    #[arg(long, default_value = "demo-data")]
    data_dir: PathBuf,
    /// How many times faster than life the queue moves.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
}

struct Place {
    site: &'static str,
    site_name: &'static str,
    unit: &'static str,
    unit_name: &'static str,
    agency: &'static str,
    counters: [&'static str; 2],
}

const PLACES: [Place; 2] = [
    Place {
        site: "ba-dinh",
        site_name: "Bộ phận một cửa Ba Đình",
        unit: "phuong-ba-dinh",
        unit_name: "Phường Ba Đình",
        agency: "H26.17.05",
        counters: ["ba-dinh-q01", "ba-dinh-q02"],
    },
    Place {
        site: "tay-ho",
        site_name: "Bộ phận một cửa Tây Hồ",
        unit: "phuong-tay-ho",
        unit_name: "Phường Tây Hồ",
        agency: "H26.18.02",
        counters: ["tay-ho-q01", "tay-ho-q02"],
    },
];

const SERIES: [&str; 4] = ["A", "B", "C", "D"];

/// What people and programs sign in with; made at random the first time.
#[derive(Serialize, Deserialize)]
struct Secrets {
    accounts: Vec<Account>,
    token: String,
}

#[derive(Serialize, Deserialize)]
struct Account {
    role: String,
    username: String,
    password: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter("warn")
        .init();
    let arguments = Arguments::parse();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = demonstrate(&arguments) => result,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    }
}

/// Starts everything and never returns in order; dropping it ends everything.
async fn demonstrate(arguments: &Arguments) -> anyhow::Result<()> {
    let dir = &arguments.data_dir;
    std::fs::create_dir_all(dir).with_context(|| format!("{} can't be made", dir.display()))?;
    let dir = dir.canonicalize()?;
    say("Making the videos of four counters (once, about a minute) ...");
    let material = {
        let dir = dir.join("material");
        tokio::task::spawn_blocking(move || material::make(&dir)).await??
    };
    let mounts: Vec<_> = (1..=material::COUNTERS)
        .flat_map(|n| {
            [
                (format!("counter-{n}-main"), material.main(n)),
                (format!("counter-{n}-sub"), material.sub(n)),
            ]
        })
        .map(|(name, file)| format!("{name}=file:{}", file.display()))
        .collect();
    say("Starting cameras, centre and recorders ...");
    let cameras = Cameras::start(
        &dir.join("cameras"),
        &mounts.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    if !dir.join("secrets.json").exists() {
        // Whatever is there was left half made.
        for half_made in ["centre".to_owned()]
            .into_iter()
            .chain(PLACES.map(|p| format!("recorder-{}", p.site)))
        {
            let _ = std::fs::remove_dir_all(dir.join(half_made));
        }
    }
    let mut centre = Centre::create_on_port(&dir.join("centre"), arguments.port, "")?;
    let secrets = secrets(&dir, &centre)?;
    centre.start()?;
    let edges = edges(&dir, &centre, &cameras)?;

    let poster = EventPoster {
        url: centre.url(),
        token: secrets.token.clone(),
        client: http_client(),
    };
    for (index, counter) in simulated_counters().into_iter().enumerate() {
        let first_wait = Duration::from_secs(1 + 4 * index as u64);
        tokio::spawn(serve(
            counter,
            poster.clone(),
            rand::random(),
            first_wait,
            arguments.speed,
        ));
    }
    for Account {
        role,
        username,
        password,
    } in &secrets.accounts
    {
        say(&format!("account: {role} {username} {password}"));
    }
    say(&format!("token: events:write {}", secrets.token));
    say(&format!("Ready: {}", centre.url()));
    watch(centre, edges, cameras).await
}

/// Waits until a program ends, which none should.
async fn watch(mut centre: Centre, mut edges: Vec<Edge>, mut cameras: Cameras) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let programs = edges.iter_mut().filter_map(Edge::program).chain(centre.program());
        for program in programs.chain([cameras.program()]) {
            program.check_running()?;
        }
    }
}

fn edges(dir: &Path, centre: &Centre, cameras: &Cameras) -> anyhow::Result<Vec<Edge>> {
    let mut camera = 0;
    let mut edges = Vec::new();
    for place in &PLACES {
        let streams: Vec<_> = place
            .counters
            .iter()
            .map(|counter| {
                camera += 1;
                StreamSource {
                    sub: Some(cameras.url(&format!("counter-{camera}-sub"))),
                    ..StreamSource::front(counter, cameras.url(&format!("counter-{camera}-main")))
                }
            })
            .collect();
        let edge_dir = dir.join(format!("recorder-{}", place.site));
        let is_enrolled = edge_dir.join("enrolled").exists();
        let mut edge = Edge::create(
            &edge_dir,
            place.site,
            Some(&centre.url()),
            SEGMENT_S,
            &streams,
            "",
        )?;
        if !is_enrolled {
            edge.enrol(&centre.url(), &centre.enrol_code(place.site)?)?;
            std::fs::write(edge_dir.join("enrolled"), "")?;
        }
        edge.start()?;
        edges.push(edge);
    }
    Ok(edges)
}

fn simulated_counters() -> Vec<SimulatedCounter> {
    let counters = PLACES
        .iter()
        .flat_map(|place| place.counters.map(|counter| (place.agency, counter)));
    counters
        .zip(SERIES)
        .zip(OFFICERS)
        .map(|(((agency, counter), series), officer)| SimulatedCounter {
            counter: counter.to_owned(),
            series,
            agency,
            officer,
        })
        .collect()
}

/// Places, accounts and token: made the first time, read from the data folder afterwards.
fn secrets(dir: &Path, centre: &Centre) -> anyhow::Result<Secrets> {
    let file = dir.join("secrets.json");
    if file.exists() {
        return Ok(serde_json::from_slice(&std::fs::read(&file)?)?);
    }
    centre.add_unit("ha-noi", "Hà Nội", None)?;
    for place in &PLACES {
        centre.add_unit(place.unit, place.unit_name, Some("ha-noi"))?;
        centre.add_site(place.site, place.unit, place.site_name)?;
    }
    let people = [
        ("leader", "lanhdao"),
        ("complaint_handler", "khieunai"),
        ("auditor", "danhgia"),
        ("administrator", "quantri"),
    ];
    let mut accounts = Vec::new();
    for (role, username) in people {
        let password: String = rand::rng()
            .sample_iter(rand::distr::Alphanumeric)
            .take(16)
            .map(char::from)
            .collect();
        centre.add_user(username, role, "ha-noi", &password)?;
        accounts.push(Account {
            role: role.to_owned(),
            username: username.to_owned(),
            password,
        });
    }
    let secrets = Secrets {
        accounts,
        token: centre.add_events_token()?,
    };
    let mut written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)?;
    written.write_all(&serde_json::to_vec_pretty(&secrets)?)?;
    Ok(secrets)
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    // A closed pipe at the other end is no reason to stop the service.
    let _ = writeln!(output, "{line}");
    let _ = output.flush();
}
