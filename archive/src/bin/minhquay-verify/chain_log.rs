//! A stream's chain as it lies on a recorder's disk: one signed entry a line.

use std::path::Path;

use archive::ids::StreamId;
use archive::seal::signed::Purpose;
use archive::seal::{ChainBody, ChainEntry, ChainHead, ChainReader, History, PublicKey, Signed};
use archive::segment::Digest;
use archive::time::WallTime;

use crate::Unreadable;
use crate::report::Report;

/// A chain that was read and checked.
pub struct ReadChain {
    /// Whose.
    pub stream: StreamId,
    /// The key of its first entry.
    pub key: Option<PublicKey>,
    /// What it tells.
    pub history: History,
    /// The hash of each entry; entry 1 first.
    pub hashes: Vec<Digest>,
    /// When, by the recorder's clock, the newest entry was written.
    pub newest: Option<WallTime>,
    head: ChainHead,
}

impl ReadChain {
    /// Reads and checks signed entries from the first on.
    pub fn new(
        stream: StreamId,
        entries: impl Iterator<Item = Result<Signed, String>>,
        report: &mut Report,
    ) -> Self {
        let mut chain = Self {
            stream,
            key: None,
            history: History::default(),
            hashes: Vec::new(),
            newest: None,
            head: ChainHead::default(),
        };
        for entry in entries {
            if !chain.take(entry, report) {
                break;
            }
        }
        if chain.hashes.is_empty() {
            report.finding(&chain.stream, "its chain has no entry");
        }
        chain
    }

    /// Takes an entry; false if nothing behind it can be believed.
    fn take(&mut self, entry: Result<Signed, String>, report: &mut Report) -> bool {
        let place = format!("{}, entry {}", self.stream, self.head.number + 1);
        let signed = match entry {
            Ok(signed) => signed,
            Err(reason) => {
                report.finding(place, reason);
                return false;
            }
        };
        let key = match self.key {
            Some(key) => key,
            None => match opening_key(&signed) {
                Some(key) => key,
                None => {
                    report.finding(place, "the chain does not begin with its recorder's key");
                    return false;
                }
            },
        };
        let mut reader = ChainReader::new(self.stream.clone(), key, self.head);
        match reader.next(&signed) {
            Ok(entry) => {
                self.key = Some(key);
                self.head = reader.head();
                self.hashes.push(signed.hash(Purpose::Chain));
                self.newest = Some(entry.at);
                if let Err(fault) = self.history.take(&entry) {
                    report.finding(&place, fault.reason);
                }
                true
            }
            Err(fault) => {
                report.finding(place, fault);
                false
            }
        }
    }

    /// How many entries hold.
    pub fn entries(&self) -> u64 {
        self.head.number
    }
}

fn opening_key(signed: &Signed) -> Option<PublicKey> {
    match signed.read_unverified::<ChainEntry>().ok()?.body {
        ChainBody::Opened { key, .. } => Some(key),
        _ => None,
    }
}

/// The lines of a log, each a [`Signed`]; a line without its line feed at the end is a torn write.
pub fn read_lines(path: &Path) -> Result<Vec<Result<Signed, String>>, Unreadable> {
    let bytes = std::fs::read(path).map_err(|e| Unreadable::new(path, e))?;
    let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    let last = lines.pop().unwrap_or_default();
    let mut entries: Vec<Result<Signed, String>> = lines
        .into_iter()
        .map(|line| serde_json::from_slice(line).map_err(|e| format!("the line can't be read: {e}")))
        .collect();
    if !last.is_empty() {
        entries.push(Err("the last line is torn".to_owned()));
    }
    Ok(entries)
}
