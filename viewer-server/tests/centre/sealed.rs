//! A recorder's chain, made by hand.

use std::collections::BTreeMap;

use archive::ids::StreamId;
use archive::seal::{ChainBody, ChainHead, PublicKey, SealedSegment, Signed};
use archive::segment::{Digest, SegmentManifest};
use archive::time::{MediaTime, WallTime};
use archive::uplink::Fact;
use ed25519_dalek::SigningKey;

use crate::stage::{MORNING, STREAM};

/// The chain of [`STREAM`] as its recorder keeps it.
#[derive(Clone)]
pub struct Chain {
    pub head: ChainHead,
    key: SigningKey,
    now: WallTime,
}

impl Chain {
    /// A chain with its opening and settings, and the facts that tell of them.
    pub fn open(key: &SigningKey, now: WallTime) -> (Self, Vec<Fact>) {
        let mut chain = Self {
            head: ChainHead::default(),
            key: key.clone(),
            now,
        };
        let opened = chain.append(ChainBody::Opened {
            key: PublicKey::from(key),
            volume: uuid::Uuid::nil(),
        });
        let settings = chain.append(ChainBody::Settings {
            software: "test".into(),
            settings: BTreeMap::new(),
        });
        (chain, vec![opened, settings])
    }

    pub fn stream() -> StreamId {
        STREAM.parse().unwrap()
    }

    /// Appends an entry; returns the fact that tells of it.
    pub fn append(&mut self, body: ChainBody) -> Fact {
        let (entry, signed) = self.head.append(&self.key, &Self::stream(), self.now, body);
        chained(entry.number, signed)
    }

    /// Seals a segment as it is.
    pub fn seal(&mut self, segment: &(SegmentManifest, Vec<u8>)) -> Fact {
        let body = ChainBody::Segment(seal(segment));
        self.append(body)
    }

    pub fn lost(&mut self, sequence: u64) -> Fact {
        self.append(ChainBody::Lost {
            sequence,
            reason: "its file is gone".into(),
        })
    }
}

pub fn chained(number: u64, entry: Signed) -> Fact {
    Fact::Chained {
        stream: Chain::stream(),
        number,
        entry,
    }
}

/// What a recorder says of a segment.
pub fn seal((manifest, bytes): &(SegmentManifest, Vec<u8>)) -> SealedSegment {
    let init = Digest::of(&bytes[..manifest.init_size_bytes as usize]);
    let wall = |media: MediaTime| MORNING + media.0;
    let walls = (wall(manifest.start()), wall(manifest.end()));
    SealedSegment::new(manifest, init, walls, Vec::new())
}
