//! `minhquay-verify`: says whether recordings are what a recorder recorded, without a network and without trust.
//!
//! It needs what is checked and, to know whose word it is, the two public keys or their fingerprints.

mod centre;
mod chain_log;
mod copy;
mod database;
mod disk;
mod export;
mod index;
mod keys;
mod media;
mod package;

mod receipts;
mod report;
mod samples;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use keys::{ExpectedKey, Keys};
use report::{Report, Verdict};

#[derive(Parser)]
#[command(
    name = "minhquay-verify",
    version,
    about = "Checks an exported file or package, a recorder's disk, one segment, or a database, offline",
    after_help = "Exit codes: 0 proven, 1 tampered or unproven, 2 unreadable"
)]
struct Arguments {
    /// An exported MP4 or ZIP, a recorder's folder of recordings, a segment in it, recorder.db or centre.db.
    path: PathBuf,
    /// The recorder's public key, or its fingerprint as printed on paper; may be given several times.
    #[arg(long = "recorder-key", value_name = "KEY")]
    recorder_keys: Vec<ExpectedKey>,
    /// The centre's public key, or its fingerprint as printed on paper.
    #[arg(long, value_name = "KEY")]
    centre_key: Option<ExpectedKey>,
    /// The exported file that PATH is said to be a copy of: tells a re-muxed copy from a re-encoded one.
    #[arg(long, value_name = "FILE")]
    original: Option<PathBuf>,
    /// The folder of recordings that a recorder.db belongs to. Default: `recordings` beside it.
    #[arg(long, value_name = "FOLDER")]
    recordings: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What could not be read, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct Unreadable {
    path: PathBuf,
    reason: String,
}

impl Unreadable {
    fn new(path: &Path, reason: impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match verify(&arguments) {
        Ok(report) => {
            if arguments.json {
                println!("{}", report.to_json());
            } else {
                print!("{report}");
            }
            ExitCode::from(u8::from(report.verdict() != Verdict::Proven))
        }
        Err(error) => {
            if arguments.json {
                let json = serde_json::json!({ "verdict": "unreadable", "reason": error.to_string() });
                println!("{json}");
            } else {
                eprintln!("minhquay-verify: {error}");
            }
            ExitCode::from(2)
        }
    }
}

fn verify(arguments: &Arguments) -> Result<Report, Unreadable> {
    let path = &arguments.path;
    let keys = Keys {
        recorders: arguments.recorder_keys.clone(),
        centre: arguments.centre_key.clone(),
    };
    if let Some(original) = &arguments.original {
        return copy::verify(path, original, &keys);
    }
    let metadata = std::fs::metadata(path).map_err(|e| Unreadable::new(path, e))?;
    if metadata.is_dir() {
        return disk::verify(path, &keys);
    }
    let mut head = [0; 16];
    let read = media::read_at_most(path, &mut head)?;
    match &head[..read] {
        head if head.starts_with(b"SQLite format 3\0") => {
            database::verify(path, arguments.recordings.as_deref(), &keys)
        }
        head if head.starts_with(b"PK") => package::verify(path, &keys),
        head if head.get(4..8) == Some(b"ftyp") && disk::is_segment(path) => {
            disk::verify_segment(path, &keys)
        }
        _ => export::verify(path, &keys),
    }
}
