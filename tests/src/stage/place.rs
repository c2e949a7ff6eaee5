//! Where a program runs: on this machine, or in a network namespace beside it.

use std::process::Command;

use crate::programs::binary;

/// An address and, if it is not this process's own, a network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The address by which tests reach the program.
    pub address: String,
    /// The network namespace's name.
    pub namespace: Option<String>,
}

impl Place {
    /// The loopback interface of this machine.
    pub fn here() -> Self {
        Self {
            address: "127.0.0.1".to_owned(),
            namespace: None,
        }
    }

    /// A command that runs a program of this workspace there.
    pub fn command(&self, program: &str) -> Command {
        match &self.namespace {
            None => Command::new(binary(program)),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(binary(program));
                command
            }
        }
    }
}
