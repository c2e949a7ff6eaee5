//! The record of a real recorder's writes, made by `write_trace.c`, with the test's own marks between them.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file was made.
    Create,
    /// A folder was made.
    Folder,
    /// Bytes were written.
    Write,
    /// A file got another length.
    Cut,
    /// A file or a folder was synced.
    Sync,
    /// A name was given to what had another.
    Rename,
    /// What had a name got a second one.
    Link,
    /// A name was removed.
    Remove,
    /// The test notes what was acknowledged.
    Mark,
}

/// One step.
#[derive(Debug)]
pub struct Step {
    pub kind: Kind,
    /// Below the traced folder; empty for the folder itself.
    pub path: String,
    /// Offset of a write, length of a cut.
    pub number: u64,
    /// What was written, the second name, or the mark.
    pub data: Vec<u8>,
}

/// Reads a whole trace.
pub fn read(file: &Path) -> Vec<Step> {
    let bytes = std::fs::read(file).unwrap();
    let mut rest = &bytes[..];
    let mut steps = Vec::new();
    while let Some((head, behind)) = rest.split_at_checked(17) {
        let length = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap()) as usize;
        let (path, behind) = behind.split_at(length(9));
        let (data, behind) = behind.split_at(length(13));
        rest = behind;
        let path = String::from_utf8(path.to_vec()).unwrap();
        let kind = match head[0] {
            b'C' => Kind::Create,
            b'M' => Kind::Folder,
            b'W' => Kind::Write,
            b'T' => Kind::Cut,
            b'S' => Kind::Sync,
            b'R' => Kind::Rename,
            b'L' => Kind::Link,
            b'U' => Kind::Remove,
            b'K' => Kind::Mark,
            other => panic!(
                "{path}: the replayer does not know {} {}",
                other as char,
                String::from_utf8_lossy(data)
            ),
        };
        steps.push(Step {
            kind,
            path,
            number: u64::from_le_bytes(head[1..9].try_into().unwrap()),
            data: data.to_vec(),
        });
    }
    assert!(rest.is_empty(), "the trace ends within a step");
    steps
}

/// Compiles the shim; gives the library.
pub fn build_shim(dir: &Path) -> PathBuf {
    let library = dir.join("write_trace.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/disk/write_trace.c");
    let output = Command::new("cc")
        .args(["-O1", "-Wall", "-shared", "-fPIC", source, "-o"])
        .arg(&library)
        .args(["-ldl", "-lpthread"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    library
}

/// The test's own hand on a trace.
pub struct Marker(File);

impl Marker {
    pub fn open(trace: &Path) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(trace);
        Self(file.unwrap())
    }

    /// Notes what was acknowledged by now.
    pub fn mark(&mut self, text: &str) {
        let mut record = vec![b'K'];
        record.extend(0_u64.to_le_bytes());
        record.extend(0_u32.to_le_bytes());
        record.extend((text.len() as u32).to_le_bytes());
        record.extend(text.as_bytes());
        self.between_steps(|file| file.write_all(&record).unwrap());
    }

    /// Does something while no step is under way.
    pub fn between_steps(&mut self, act: impl FnOnce(&mut File)) {
        flock(&self.0, FlockOperation::LockExclusive).unwrap();
        act(&mut self.0);
        flock(&self.0, FlockOperation::Unlock).unwrap();
    }
}
