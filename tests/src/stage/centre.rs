//! A centre in a folder: settings, places, people, and the server program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::programs::{Program, Signal, binary, free_port};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A centre; its server runs between [`Centre::start`] and [`Centre::stop`].
#[derive(Debug)]
pub struct Centre {
    dir: PathBuf,
    address: String,
    port: u16,
    environment: Vec<(String, String)>,
    program: Option<Program>,
}

impl Centre {
    /// Writes the settings of a centre on a free port; `more` is added to the settings file.
    ///
    /// # Errors
    /// If the folder can't be written or the database not be made.
    pub fn create(dir: &Path, more: &str) -> anyhow::Result<Self> {
        Self::create_on_port(dir, free_port(), more)
    }

    /// As [`Centre::create`], reached by another address of this machine.
    ///
    /// # Errors
    /// As [`Centre::create`].
    pub fn create_at(address: &str, dir: &Path, more: &str) -> anyhow::Result<Self> {
        Self::create_with(address, dir, free_port(), more)
    }

    /// As [`Centre::create`], on a port of one's choice.
    ///
    /// # Errors
    /// As [`Centre::create`].
    pub fn create_on_port(dir: &Path, port: u16, more: &str) -> anyhow::Result<Self> {
        Self::create_with("127.0.0.1", dir, port, more)
    }

    fn create_with(address: &str, dir: &Path, port: u16, more: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let settings = format!(
            "public_url = \"http://{address}:{port}\"\nlisten = \"{address}:{port}\"\ndata_dir = {:?}\n\
             [live]\nbind = \"127.0.0.1\"\n{more}\n",
            dir.join("data"),
        );
        std::fs::write(dir.join("server.toml"), settings)?;
        let centre = Self {
            dir,
            address: address.to_owned(),
            port,
            environment: Vec::new(),
            program: None,
        };
        centre.command(&["migrate"], "")?;
        Ok(centre)
    }

    /// Adds a unit, below `parent` if given.
    ///
    /// # Errors
    /// If the server program refuses it.
    pub fn add_unit(&self, unit: &str, name: &str, parent: Option<&str>) -> anyhow::Result<()> {
        let mut arguments = vec!["unit", "add", unit, "--name", name];
        arguments.extend(parent.into_iter().flat_map(|parent| ["--parent", parent]));
        self.command(&arguments, "").map(drop)
    }

    /// Adds a site.
    ///
    /// # Errors
    /// If the server program refuses it.
    pub fn add_site(&self, site: &str, unit: &str, name: &str) -> anyhow::Result<()> {
        self.command(&["site", "add", site, "--unit", unit, "--name", name], "")
            .map(drop)
    }

    /// Adds a person.
    ///
    /// # Errors
    /// If the server program refuses it.
    pub fn add_user(&self, name: &str, role: &str, unit: &str, password: &str) -> anyhow::Result<()> {
        self.command(&["user", "add", name, "--role", role, "--unit", unit], password)
            .map(drop)
    }

    /// Makes a token that may post events.
    ///
    /// # Errors
    /// If the server program refuses it.
    pub fn add_events_token(&self) -> anyhow::Result<String> {
        self.command(&["token", "add", "--scope", "events:write"], "")
    }

    /// Makes a code that enrols one recorder.
    ///
    /// # Errors
    /// If the server program refuses it.
    pub fn enrol_code(&self, site: &str) -> anyhow::Result<String> {
        self.command(&["recorder", "enrol-code", "--site", site], "")
    }

    /// Runs a command of the server program and gives the last word of its output.
    ///
    /// # Errors
    /// If it does not exit with 0.
    pub fn command(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut child = Command::new(binary("minhquay-server"))
            .args(arguments)
            .arg("--config")
            .arg(self.settings())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("minhquay-server can't be started")?;
        child
            .stdin
            .take()
            .context("standard input is piped")?
            .write_all(format!("{input}\n").as_bytes())?;
        let output = child.wait_with_output()?;
        anyhow::ensure!(
            output.status.success(),
            "minhquay-server {}: {}\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr),
        );
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.split_whitespace().next_back().unwrap_or_default().to_owned())
    }

    /// What the program finds in its environment from its next start on.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(binary("minhquay-server"));
        command.arg("serve").arg("--config").arg(self.settings());
        command.envs(self.environment.iter().cloned());
        if let Some(page) = page() {
            command.arg("--ui-dir").arg(page);
        }
        let mut program = Program::spawn("minhquay-server", command, &self.dir)?;
        program.wait_for_http(&format!("{}/readyz", self.url()), READY_WITHIN)?;
        self.program = Some(program);
        Ok(())
    }

    /// Stops the server in order.
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

    /// The server process, if it runs.
    pub fn program(&mut self) -> Option<&mut Program> {
        self.program.as_mut()
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.address, self.port)
    }

    /// The settings file.
    pub fn settings(&self) -> PathBuf {
        self.dir.join("server.toml")
    }

    /// Folder of the database and the footage.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Folder of the footage.
    pub fn footage_dir(&self) -> PathBuf {
        self.data_dir().join("footage")
    }
}

/// The built page, `None` when it was not built.
fn page() -> Option<PathBuf> {
    let dir = std::env::var_os("MINHQUAY_UI_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../web-viewer/dist"),
        PathBuf::from,
    );
    dir.join("index.html")
        .exists()
        .then(|| dir.canonicalize().unwrap_or(dir))
}
