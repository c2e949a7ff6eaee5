//! A stream's history as its recorder tells it, each entry bound to the one before.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use super::PublicKey;
use super::segment::SealedSegment;
use super::signed::{Purpose, SealError, Signed};
use crate::gap::Gap;
use crate::ids::{RunId, StreamId};
use crate::segment::{Digest, Track};
use crate::time::{Anchor, WallTime};

/// One entry of a chain; signed under [`Purpose::Chain`] by the recorder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainEntry {
    /// Whose chain.
    pub stream: StreamId,
    /// 1, 2, 3 and so on without holes.
    pub number: u64,
    /// Hash of the entry before; all zeros before the first.
    pub previous: Digest,
    /// The recorder's wall clock when it wrote this.
    pub at: WallTime,
    /// What happened.
    pub body: ChainBody,
}

/// What an entry tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ChainBody {
    /// The chain begins. Always the first entry, and only that.
    Opened {
        /// The recorder's key, which signs all entries.
        key: PublicKey,
        /// UUID of the disk.
        volume: uuid::Uuid,
    },
    /// How the stream is set up from here on.
    Settings {
        /// Version of the program.
        software: String,
        /// Each setting that bears on the recording, without secrets.
        settings: BTreeMap<String, String>,
    },
    /// A run began.
    RunStarted {
        /// Which.
        run: RunId,
        /// Its tracks.
        tracks: Vec<Track>,
        /// Its first anchor.
        anchor: Anchor,
    },
    /// A segment was sealed.
    Segment(SealedSegment),
    /// A gap began, changed or ended; the newest entry of a gap counts.
    Gap {
        /// The gap.
        gap: Gap,
    },
    /// A sealed segment was deleted by a rule. This is its tombstone.
    Deleted {
        /// Which.
        sequence: u64,
        /// Digest of the file that was deleted.
        sha256: Digest,
        /// Why.
        reason: String,
        /// The retention class that it was in.
        class: String,
    },
    /// A segment that was begun, or was sealed, can't be read any more.
    Lost {
        /// Which.
        sequence: u64,
        /// Why.
        reason: String,
    },
    /// What lies before could not be read whole: the log or the disk was damaged.
    Resumed {
        /// What was found.
        reason: String,
    },
}

/// Where a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// Number of the last entry, 0 if there is none.
    pub number: u64,
    /// Its hash, all zeros if there is none.
    pub hash: Digest,
}

impl Default for ChainHead {
    fn default() -> Self {
        Self {
            number: 0,
            hash: Digest([0; 32]),
        }
    }
}

impl ChainHead {
    /// Writes and signs the entry that follows, and moves on to it.
    pub fn append(
        &mut self,
        key: &SigningKey,
        stream: &StreamId,
        at: WallTime,
        body: ChainBody,
    ) -> (ChainEntry, Signed) {
        let entry = ChainEntry {
            stream: stream.clone(),
            number: self.number + 1,
            previous: self.hash,
            at,
            body,
        };
        let signed = Signed::new(Purpose::Chain, key, &entry);
        *self = Self {
            number: entry.number,
            hash: signed.hash(Purpose::Chain),
        };
        (entry, signed)
    }
}

/// Why a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// An entry is not signed by the chain's key, or can't be read.
    #[error("entry {number}: {source}")]
    Entry {
        /// The number that was expected.
        number: u64,
        /// What is wrong.
        source: SealError,
    },
    /// An entry does not follow the one before.
    #[error("entry {number} does not follow the entry before it: {reason}")]
    Order {
        /// The number that was expected.
        number: u64,
        /// What differs.
        reason: &'static str,
    },
    /// The chain does not begin with an opening by its key.
    #[error("the chain does not begin with its recorder's key")]
    Opening,
}

/// Reads a chain entry by entry and refuses the first that does not hold.
#[derive(Debug, Clone)]
pub struct ChainReader {
    stream: StreamId,
    key: PublicKey,
    head: ChainHead,
}

impl ChainReader {
    /// Reads a stream's chain from behind `head`; the default head is the beginning.
    pub fn new(stream: StreamId, key: PublicKey, head: ChainHead) -> Self {
        Self { stream, key, head }
    }

    /// Where it has come.
    pub fn head(&self) -> ChainHead {
        self.head
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`ChainFault`]; the reader stays where it was.
    pub fn next(&mut self, signed: &Signed) -> Result<ChainEntry, ChainFault> {
        let number = self.head.number + 1;
        let order = |reason| Err(ChainFault::Order { number, reason });
        let entry: ChainEntry = signed
            .open(Purpose::Chain, &self.key)
            .map_err(|source| ChainFault::Entry { number, source })?;
        if entry.stream != self.stream {
            return order("it is of another stream");
        }
        if entry.number != number {
            return order("its number is another");
        }
        if entry.previous != self.head.hash {
            return order("it names another entry as the one before");
        }
        match &entry.body {
            ChainBody::Opened { key, .. } if number == 1 && *key == self.key => {}
            ChainBody::Opened { .. } => return Err(ChainFault::Opening),
            _ if number == 1 => return Err(ChainFault::Opening),
            _ => {}
        }
        self.head = ChainHead {
            number,
            hash: signed.hash(Purpose::Chain),
        };
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn stream() -> StreamId {
        "q01.front.main".parse().unwrap()
    }

    fn chain() -> Vec<Signed> {
        let mut head = ChainHead::default();
        let bodies = [
            ChainBody::Opened {
                key: PublicKey::from(&key()),
                volume: uuid::Uuid::nil(),
            },
            ChainBody::Settings {
                software: "1".to_owned(),
                settings: BTreeMap::new(),
            },
            ChainBody::Lost {
                sequence: 1,
                reason: "its file is gone".to_owned(),
            },
        ];
        bodies
            .into_iter()
            .map(|body| head.append(&key(), &stream(), WallTime(5), body).1)
            .collect()
    }

    fn read(entries: &[Signed]) -> Result<ChainHead, ChainFault> {
        let mut reader = ChainReader::new(stream(), PublicKey::from(&key()), ChainHead::default());
        for entry in entries {
            reader.next(entry)?;
        }
        Ok(reader.head())
    }

    #[test]
    fn reads_what_was_appended() {
        let entries = chain();
        let head = read(&entries).unwrap();
        assert_eq!((head.number, head.hash), (3, entries[2].hash(Purpose::Chain)));
    }

    #[test]
    fn finds_an_entry_left_out_moved_or_of_another_key() {
        let entries = chain();
        let without: Vec<_> = [&entries[0], &entries[2]].map(Clone::clone).to_vec();
        assert!(matches!(read(&without), Err(ChainFault::Order { number: 2, .. })));
        let beheaded = &entries[1..];
        assert!(matches!(read(beheaded), Err(ChainFault::Order { number: 1, .. })));
        let mut forged = entries.clone();
        let statement: ChainEntry = forged[2].read_unverified().unwrap();
        forged[2] = Signed::new(Purpose::Chain, &SigningKey::from_bytes(&[8; 32]), &statement);
        assert!(matches!(read(&forged), Err(ChainFault::Entry { number: 3, .. })));
    }

    #[test]
    fn finds_a_change_of_any_character() {
        let entries = chain();
        for at in 0..entries[1].text.len() {
            let mut changed = entries.clone();
            let mut text = changed[1].text.clone().into_bytes();
            text[at] ^= 1;
            let Ok(text) = String::from_utf8(text) else {
                continue;
            };
            changed[1].text = text;
            assert!(read(&changed).is_err(), "byte {at}");
        }
    }
}
