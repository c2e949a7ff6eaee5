//! Fake cameras in one process.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Place;
use crate::programs::{Program, free_port};

/// To read its files and start its encoders may take a while on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Fake cameras, one a mount.
#[derive(Debug)]
pub struct Cameras {
    program: Program,
    rtsp_port: u16,
    control_url: String,
    client: reqwest::Client,
}

impl Cameras {
    /// Starts cameras from `NAME=SOURCE[,KEY=VALUE...]` and waits until they answer.
    ///
    /// # Errors
    /// If the program does not get ready.
    pub fn start(dir: &Path, mounts: &[&str]) -> anyhow::Result<Self> {
        Self::start_at(&Place::here(), dir, mounts)
    }

    /// As [`Cameras::start`], in another place; there, only programs of the same place reach them.
    ///
    /// # Errors
    /// As [`Cameras::start`].
    pub fn start_at(place: &Place, dir: &Path, mounts: &[&str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (rtsp_port, control_port) = (free_port(), free_port());
        let mut arguments = vec![
            "--listen".to_owned(),
            format!("127.0.0.1:{rtsp_port}"),
            "--control".to_owned(),
            format!("127.0.0.1:{control_port}"),
        ];
        for mount in mounts {
            arguments.extend(["--mount".to_owned(), (*mount).to_owned()]);
        }
        let mut command = place.command("fake-camera");
        command.args(&arguments);
        let mut program = Program::spawn("fake-camera", command, dir)?;
        program.wait_for_line("Control: ", READY_WITHIN)?;
        Ok(Self {
            program,
            rtsp_port,
            control_url: format!("http://127.0.0.1:{control_port}"),
            client: crate::programs::http_client(),
        })
    }

    /// Address of a mount.
    pub fn url(&self, mount: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{mount}", self.rtsp_port)
    }

    /// Where a mount takes commands, for programs that give their own.
    pub fn control_url(&self, mount: &str) -> String {
        format!("{}/mounts/{mount}", self.control_url)
    }

    /// Switches a fault on, e.g. `{"fault": "hang"}`.
    ///
    /// # Errors
    /// If the camera refuses it.
    pub async fn fault(&self, mount: &str, fault: Value) -> anyhow::Result<()> {
        self.command(reqwest::Method::POST, &format!("{mount}/fault"), fault)
            .await
    }

    /// Switches all faults of a mount off.
    ///
    /// # Errors
    /// If there is no such mount.
    pub async fn clear(&self, mount: &str) -> anyhow::Result<()> {
        self.command(reqwest::Method::POST, &format!("{mount}/clear"), Value::Null)
            .await
    }

    /// Gives a mount another content.
    ///
    /// # Errors
    /// If the camera refuses it.
    pub async fn reconfigure(&self, mount: &str, spec: Value) -> anyhow::Result<()> {
        self.command(reqwest::Method::PUT, mount, spec).await
    }

    async fn command(&self, method: reqwest::Method, path: &str, body: Value) -> anyhow::Result<()> {
        let url = format!("{}/mounts/{path}", self.control_url);
        let answer = self.client.request(method, url).json(&body).send().await?;
        anyhow::ensure!(
            answer.status().is_success(),
            "{path} {body}: {}",
            answer.text().await?
        );
        Ok(())
    }

    /// The process, for its log and for signals.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}
