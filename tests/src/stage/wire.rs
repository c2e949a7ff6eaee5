//! A network namespace for a site, and a wire from it to this machine that can be cut, made lossy and thin.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::Place;

/// What is wrong with a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every packet is lost, and nobody is told.
    Cut,
    /// So many of a hundred packets are lost in each direction.
    Loss(u32),
    /// So many kilobits a second go through in each direction.
    Thin(u32),
}

/// A namespace with two wires: one for the traffic that is tested, one for the test's own questions.
#[derive(Debug)]
pub struct Wire {
    namespace: String,
    /// The third number of the wires' addresses.
    net: u8,
}

impl Wire {
    /// Makes namespace and wires; the error says what was refused.
    ///
    /// # Errors
    /// Without the right to make network namespaces.
    pub fn lay() -> anyhow::Result<Self> {
        let id = std::process::id();
        let net = u8::try_from(1 + id % 250).context("it is at most 250")?;
        let wire = Self {
            namespace: format!("mq{id}"),
            net,
        };
        let ns = wire.namespace.as_str();
        run("ip", &["netns", "add", ns])?;
        run("ip", &["-n", ns, "link", "set", "lo", "up"])?;
        for (kind, prefix) in [("w", "10.97"), ("t", "10.98")] {
            let (near, far) = (format!("mq{kind}{id}"), format!("mq{kind}{id}e"));
            run(
                "ip",
                &[
                    "link", "add", &near, "type", "veth", "peer", "name", &far, "netns", ns,
                ],
            )?;
            run(
                "ip",
                &["addr", "add", &format!("{prefix}.{net}.1/24"), "dev", &near],
            )?;
            run(
                "ip",
                &[
                    "-n",
                    ns,
                    "addr",
                    "add",
                    &format!("{prefix}.{net}.2/24"),
                    "dev",
                    &far,
                ],
            )?;
            run("ip", &["link", "set", &near, "up"])?;
            run("ip", &["-n", ns, "link", "set", &far, "up"])?;
        }
        Ok(wire)
    }

    /// The site's end, by the wire that is never spoilt.
    pub fn site(&self) -> Place {
        Place {
            address: format!("10.98.{}.2", self.net),
            namespace: Some(self.namespace.clone()),
        }
    }

    /// This machine's end of the wire that is spoilt.
    pub fn centre(&self) -> Place {
        Place {
            address: format!("10.97.{}.1", self.net),
            namespace: None,
        }
    }

    fn far(&self) -> String {
        format!("mqw{}e", std::process::id())
    }

    /// Spoils the wire, instead of what spoilt it before.
    ///
    /// # Errors
    /// If `nft` or `tc` refuses it.
    pub fn spoil(&self, fault: Fault) -> anyhow::Result<()> {
        let (ns, far) = (self.namespace.as_str(), self.far());
        let near = far.trim_end_matches('e').to_owned();
        let verdict = match fault {
            Fault::Cut => "drop".to_owned(),
            Fault::Loss(percent) => format!("numgen random mod 100 < {percent} drop"),
            Fault::None | Fault::Thin(_) => "accept".to_owned(),
        };
        let rules = format!(
            "table inet wire\ndelete table inet wire\ntable inet wire {{\n\
             chain into {{ type filter hook input priority 0; iifname \"{far}\" {verdict}; }}\n\
             chain out {{ type filter hook output priority 0; oifname \"{far}\" {verdict}; }}\n}}\n"
        );
        feed("ip", &["netns", "exec", ns, "nft", "-f", "-"], &rules)?;
        for (command, prefix, device) in [
            ("ip", &["netns", "exec", ns, "tc"][..], &far),
            ("tc", &[][..], &near),
        ] {
            let tc = |rest: &[&str]| {
                let arguments: Vec<&str> = prefix.iter().copied().chain(rest.iter().copied()).collect();
                run(command, &arguments)
            };
            // It is an error only if there is none.
            let _ = tc(&["qdisc", "del", "dev", device, "root"]);
            if let Fault::Thin(kbit) = fault {
                let rate = format!("{kbit}kbit");
                tc(&[
                    "qdisc", "add", "dev", device, "root", "tbf", "rate", &rate, "burst", "16kb", "latency",
                    "400ms",
                ])?;
            }
        }
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The wires go with it.
        let _ = run("ip", &["netns", "del", &self.namespace]);
    }
}

fn run(command: &str, arguments: &[&str]) -> anyhow::Result<()> {
    feed(command, arguments, "")
}

fn feed(command: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let mut child = Command::new(command)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command} can't be started"))?;
    child
        .stdin
        .take()
        .context("standard input is piped")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    anyhow::ensure!(
        output.status.success(),
        "{command} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
