//! A recorder in a folder: settings, enrolment, and the recorder program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Place;
use crate::programs::{Program, Signal, binary, free_port};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A stream of a counter and the addresses of its camera.
#[derive(Debug, Clone)]
pub struct StreamSource {
    /// The counter's id.
    pub counter: String,
    /// Its name for people.
    pub name: String,
    /// The viewpoint.
    pub viewpoint: String,
    /// RTSP address of the full picture.
    pub main: String,
    /// RTSP address of the small picture.
    pub sub: Option<String>,
}

impl StreamSource {
    /// The viewpoint `front` of a counter, full picture only.
    pub fn front(counter: &str, main: String) -> Self {
        let name = format!(
            "Quầy {}",
            counter.rsplit_once('q').map_or(counter, |(_, number)| number)
        );
        Self {
            counter: counter.to_owned(),
            name,
            viewpoint: "front".to_owned(),
            main,
            sub: None,
        }
    }
}

/// A recorder; its program runs between [`Edge::start`] and [`Edge::stop`] or [`Edge::kill`].
#[derive(Debug)]
pub struct Edge {
    dir: PathBuf,
    place: Place,
    port: u16,
    token: String,
    environment: Vec<(String, String)>,
    program: Option<Program>,
}

impl Edge {
    /// Writes the settings of a recorder. `more` is added at the end of the settings file.
    ///
    /// # Errors
    /// If the folder can't be written.
    pub fn create(
        dir: &Path,
        site: &str,
        server: Option<&str>,
        segment_s: u32,
        streams: &[StreamSource],
        more: &str,
    ) -> anyhow::Result<Self> {
        Self::create_at(Place::here(), dir, site, server, segment_s, streams, more)
    }

    /// As [`Edge::create`], in another place.
    ///
    /// # Errors
    /// As [`Edge::create`].
    pub fn create_at(
        place: Place,
        dir: &Path,
        site: &str,
        server: Option<&str>,
        segment_s: u32,
        streams: &[StreamSource],
        more: &str,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let port = free_port();
        let token = uuid::Uuid::now_v7().simple().to_string();
        std::fs::write(dir.join("events.token"), &token)?;
        let mut text = format!(
            "site = {site:?}\ndata_dir = {:?}\nlisten = \"{}:{port}\"\nevents_token_file = {:?}\n\
             [segment]\nduration_s = {segment_s}\n",
            dir.join("data"),
            place.address,
            dir.join("events.token"),
        );
        if let Some(url) = server {
            writeln!(text, "[server]\nurl = {url:?}\nlive_bind = \"127.0.0.1\"")?;
        }
        let mut counter = "";
        for stream in streams {
            if counter != stream.counter {
                writeln!(
                    text,
                    "[[counter]]\nid = {:?}\nname = {:?}",
                    stream.counter, stream.name
                )?;
                counter = &stream.counter;
            }
            writeln!(text, "[[counter.stream]]\nviewpoint = {:?}", stream.viewpoint)?;
            let sources = [("main", Some(&stream.main)), ("sub", stream.sub.as_ref())];
            for (quality, url) in sources
                .into_iter()
                .filter_map(|(quality, url)| Some((quality, url?)))
            {
                writeln!(text, "[counter.stream.{quality}]\nkind = \"rtsp\"\nurl = {url:?}")?;
            }
        }
        text.push_str(more);
        std::fs::write(dir.join("recorder.toml"), text)?;
        Ok(Self {
            dir,
            place,
            port,
            token,
            environment: Vec::new(),
            program: None,
        })
    }

    /// Enrols the recorder with a one-time code.
    ///
    /// # Errors
    /// If the recorder program does not exit with 0.
    pub fn enrol(&self, server: &str, code: &str) -> anyhow::Result<()> {
        let output = Command::new(binary("minhquay-recorder"))
            .args(["enrol", "--server", server, "--code", code, "--config"])
            .arg(self.settings())
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(
            output.status.success(),
            "minhquay-recorder enrol: {}\n{text}",
            output.status
        );
        Ok(())
    }

    /// What the program finds in its environment from its next start on.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Starts the recorder and waits until it is ready.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let mut command = self.place.command("minhquay-recorder");
        command.arg("run").arg("--config").arg(self.settings());
        command.envs(self.environment.iter().cloned());
        let mut program = Program::spawn("minhquay-recorder", command, &self.dir)?;
        program.wait_for_http(&format!("{}/healthz", self.url()), READY_WITHIN)?;
        self.program = Some(program);
        Ok(())
    }

    /// Stops the recorder in order.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut program) = self.program.take() {
            program.signal(Signal::TERM)?;
            program.wait_exit(Duration::from_secs(30))?;
        }
        Ok(())
    }

    /// Kills the recorder as a power cut would end it, but for what the kernel still holds.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// The recorder process, if it runs.
    pub fn program(&mut self) -> Option<&mut Program> {
        self.program.as_mut()
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.place.address, self.port)
    }

    /// The token that the recorder's own `POST /events` asks for.
    pub fn events_token(&self) -> &str {
        &self.token
    }

    /// The settings file.
    pub fn settings(&self) -> PathBuf {
        self.dir.join("recorder.toml")
    }

    /// Folder of the index.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Folder of the recordings.
    pub fn recordings_dir(&self) -> PathBuf {
        self.data_dir().join("recordings")
    }
}
