//! The real programs, started by tests: each in a folder of its own, its output in a log file, killed on drop.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use archive::time::{Clock, SystemClock};

pub use rustix::process::Signal;

const POLL: Duration = Duration::from_millis(20);
const LOG_TAIL_BYTES: usize = 4_000;

/// What a program did not do.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started, or its log not be read.
    #[error("{program}: {source}")]
    Io {
        /// Which program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended while something was expected of it.
    #[error("{program} ended with {status} before {expected}; end of its log:\n{log}")]
    Ended {
        /// Which program.
        program: String,
        /// How.
        status: ExitStatus,
        /// What was waited for.
        expected: String,
        /// The last of what it said.
        log: String,
    },
    /// It took too long.
    #[error("{program}: no {expected} within {deadline:?}; end of its log:\n{log}")]
    TooLate {
        /// Which program.
        program: String,
        /// What was waited for.
        expected: String,
        /// How long.
        deadline: Duration,
        /// The last of what it said.
        log: String,
    },
}

/// A program at work; killed when dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where this start's output begins in the log, which goes on over restarts.
    log_start: u64,
}

/// Path of a program of this workspace: beside the test's own build, or in `MINHQUAY_BIN_DIR`.
pub fn binary(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("MINHQUAY_BIN_DIR") {
        return PathBuf::from(dir).join(name);
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let mut dir = own.parent().expect("a file is in a folder");
    if dir.ends_with("deps") {
        dir = dir.parent().expect("deps is in a folder");
    }
    dir.join(name)
}

/// A TCP port that was free on 127.0.0.1 a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback interface has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// Asks `condition` again and again until it gives something, `None` after `deadline`.
pub fn until<T>(deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end_us = SystemClock.monotonic_us() + deadline.as_micros() as i64;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if SystemClock.monotonic_us() >= end_us {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// A client for HTTP and HTTPS; installs the process's TLS provider first.
pub fn http_client() -> reqwest::Client {
    // It is an error only if one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()
        .expect("plain settings are valid")
}

/// Body of `GET url` (plain HTTP), `None` if nobody answers 200.
pub fn http_text(url: &str) -> Option<String> {
    let answer = http_answer(url)?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    (head.get(9..12)? == "200").then(|| body.to_owned())
}

fn http_answer(url: &str) -> Option<String> {
    let (host, path) = url.strip_prefix("http://")?.split_once('/')?;
    let mut stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    // HTTP/1.0 keeps the answer in one piece.
    write!(
        stream,
        "GET /{path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Status of `GET http://127.0.0.1:PORT/PATH`, `None` if nobody answers; `url` must be plain HTTP.
pub fn http_status(url: &str) -> Option<u16> {
    http_answer(url)?.get(9..12)?.parse().ok()
}

impl Program {
    /// Starts a program of this workspace in `dir`; its output is appended to `dir/NAME.log`.
    ///
    /// # Errors
    /// [`ProgramError::Io`].
    pub fn start<S: AsRef<OsStr>>(name: &str, arguments: &[S], dir: &Path) -> Result<Self, ProgramError> {
        let mut command = Command::new(binary(name));
        command.args(arguments);
        Self::spawn(name, command, dir)
    }

    /// Starts any command in `dir`; its output is appended to `dir/NAME.log`.
    ///
    /// # Errors
    /// [`ProgramError::Io`].
    pub fn spawn(name: &str, mut command: Command, dir: &Path) -> Result<Self, ProgramError> {
        let failed = |source| ProgramError::Io {
            program: name.to_owned(),
            source,
        };
        let log = dir.join(format!("{name}.log"));
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(failed)?;
        let log_start = output.metadata().map_err(failed)?.len();
        let errors = output.try_clone().map_err(failed)?;
        let child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            log_start,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said since this start.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.log_start as usize..).unwrap_or_default()).into_owned()
    }

    /// Waits for a whole line of the log that contains `text` and gives the line.
    ///
    /// # Errors
    /// [`ProgramError`] if the program ends or the deadline passes before.
    pub fn wait_for_line(&mut self, text: &str, deadline: Duration) -> Result<String, ProgramError> {
        let find = |log: &str| {
            log.split_inclusive('\n')
                .find(|line| line.ends_with('\n') && line.contains(text))
                .map(|line| line.trim_end().to_owned())
        };
        self.wait_for(&format!("line with {text:?}"), deadline, |program| {
            find(&program.log())
        })
    }

    /// Waits until `GET url` (plain HTTP) answers 200.
    ///
    /// # Errors
    /// [`ProgramError`] if the program ends or the deadline passes before.
    pub fn wait_for_http(&mut self, url: &str, deadline: Duration) -> Result<(), ProgramError> {
        self.wait_for(&format!("200 from {url}"), deadline, |_| {
            (http_status(url) == Some(200)).then_some(())
        })
    }

    /// Waits until `condition` gives something; `expected` names it in errors.
    ///
    /// # Errors
    /// [`ProgramError`] if the program ends or the deadline passes before.
    pub fn wait_for<T>(
        &mut self,
        expected: &str,
        deadline: Duration,
        mut condition: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, ProgramError> {
        let found = until(deadline, || {
            // Ended first, asked second: what it did just before its end counts.
            let ended = self.child.try_wait().ok().flatten();
            match (condition(self), ended) {
                (Some(value), _) => Some(Ok(value)),
                (None, Some(status)) => Some(Err(status)),
                (None, None) => None,
            }
        });
        let (program, expected, log) = (self.name.clone(), expected.to_owned(), self.log_tail());
        match found {
            Some(Ok(value)) => Ok(value),
            Some(Err(status)) => Err(ProgramError::Ended {
                program,
                status,
                expected,
                log,
            }),
            None => Err(ProgramError::TooLate {
                program,
                expected,
                deadline,
                log,
            }),
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// [`ProgramError::Io`] if the program has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), ProgramError> {
        let failed = |e: rustix::io::Errno| ProgramError::Io {
            program: self.name.clone(),
            source: e.into(),
        };
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(id.expect("a child's id is a positive number"), signal).map_err(failed)
    }

    /// Makes sure that it is still at work.
    ///
    /// # Errors
    /// [`ProgramError::Ended`].
    pub fn check_running(&mut self) -> Result<(), ProgramError> {
        match self.child.try_wait().ok().flatten() {
            None => Ok(()),
            Some(status) => Err(ProgramError::Ended {
                program: self.name.clone(),
                status,
                expected: "it was stopped".to_owned(),
                log: self.log_tail(),
            }),
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// [`ProgramError::TooLate`].
    pub fn wait_exit(&mut self, deadline: Duration) -> Result<ExitStatus, ProgramError> {
        until(deadline, || self.child.try_wait().ok().flatten()).ok_or_else(|| ProgramError::TooLate {
            program: self.name.clone(),
            expected: "end".to_owned(),
            deadline,
            log: self.log_tail(),
        })
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The last of what it has said.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let mut from = log.len().saturating_sub(LOG_TAIL_BYTES);
        while !log.is_char_boundary(from) {
            from += 1;
        }
        log[from..].to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Program::spawn("sh", command, dir).unwrap()
    }

    #[test]
    fn finds_a_line_and_keeps_it_apart_from_an_earlier_start() {
        let dir = tempfile::tempdir().unwrap();
        let deadline = Duration::from_secs(10);
        let mut first = shell("echo Ready: one; exec sleep 60", dir.path());
        assert_eq!(first.wait_for_line("Ready", deadline).unwrap(), "Ready: one");
        first.signal(Signal::TERM).unwrap();
        assert!(!first.wait_exit(deadline).unwrap().success());
        let mut second = shell("echo Ready: two; exec sleep 60", dir.path());
        assert_eq!(second.wait_for_line("Ready", deadline).unwrap(), "Ready: two");
    }

    #[test]
    fn says_what_an_ended_program_said_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut program = shell("echo no disk; exit 3", dir.path());
        let error = program
            .wait_for_line("Ready", Duration::from_secs(10))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("no disk"),
            "{error}"
        );
    }

    #[test]
    fn is_gone_after_drop() {
        let dir = tempfile::tempdir().unwrap();
        let program = shell("exec sleep 60", dir.path());
        let proc_dir = PathBuf::from(format!("/proc/{}", program.id()));
        assert!(proc_dir.exists());
        drop(program);
        assert!(!proc_dir.exists());
    }
}
