//! A sealed segment as its chain tells of it.

use serde::{Deserialize, Serialize};

use super::{leaf, merkle};
use crate::ids::RunId;
use crate::segment::{Digest, SegmentManifest};
use crate::time::{Anchor, MediaTime, WallTime};

/// Bytes of each leaf's hash that an entry repeats.
const PREFIX_BYTES: usize = 4;

/// A segment as its recorder sealed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSegment {
    /// Number of the file in its stream.
    pub sequence: u64,
    /// The run that it is part of.
    pub run: RunId,
    /// Length of the file.
    pub size_bytes: u64,
    /// Length of the init segment at its start.
    pub init_size_bytes: u64,
    /// Digest of the init segment.
    pub init_sha256: Digest,
    /// Digest of the file.
    pub sha256: Digest,
    /// Merkle root over [`leaf::leaves`].
    pub root: Digest,
    /// The first four bytes of each leaf's hash, in hexadecimal: they prove nothing, but tell which fragment differs.
    pub leaf_prefixes: String,
    /// Position of its first picture in the run.
    pub start: MediaTime,
    /// Position behind its last picture.
    pub end: MediaTime,
    /// Wall time of `start` by the anchors known when it was sealed.
    pub start_wall: WallTime,
    /// Wall time of `end` by the anchors known when it was sealed.
    pub end_wall: WallTime,
    /// Anchors of the run that no entry told of before.
    pub anchors: Vec<Anchor>,
}

impl SealedSegment {
    /// Seals a segment. The wall times are those of the manifest's start and end.
    pub fn new(
        manifest: &SegmentManifest,
        init_sha256: Digest,
        (start_wall, end_wall): (WallTime, WallTime),
        anchors: Vec<Anchor>,
    ) -> Self {
        let leaves = leaf::leaves(manifest.init_size_bytes, init_sha256, &manifest.fragments);
        Self {
            sequence: manifest.key.sequence,
            run: manifest.run.clone(),
            size_bytes: manifest.size_bytes,
            init_size_bytes: manifest.init_size_bytes,
            init_sha256,
            sha256: manifest.sha256,
            root: merkle::root(&leaves),
            leaf_prefixes: prefixes(&leaves),
            start: manifest.start(),
            end: manifest.end(),
            start_wall,
            end_wall,
            anchors,
        }
    }

    /// Whether these leaves are those that were sealed.
    ///
    /// # Errors
    /// The index of the first leaf that differs.
    pub fn check_leaves(&self, leaves: &[Digest]) -> Result<(), usize> {
        if merkle::root(leaves) == self.root && leaves.len() == self.leaf_count() {
            return Ok(());
        }
        let found = prefixes(leaves);
        let sealed = self.leaf_prefixes.as_bytes().chunks(2 * PREFIX_BYTES);
        let differing = found
            .as_bytes()
            .chunks(2 * PREFIX_BYTES)
            .zip(sealed)
            .position(|(found, sealed)| found != sealed);
        Err(differing.unwrap_or(leaves.len().min(self.leaf_count())))
    }

    /// How many leaves were sealed: the init segment and each fragment.
    pub fn leaf_count(&self) -> usize {
        self.leaf_prefixes.len() / (2 * PREFIX_BYTES)
    }
}

fn prefixes(leaves: &[Digest]) -> String {
    leaves
        .iter()
        .map(|leaf| hex::encode(&leaf.0[..PREFIX_BYTES]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Fragment;

    fn manifest(fragments: i64) -> SegmentManifest {
        SegmentManifest {
            key: crate::ids::SegmentKey {
                stream: "q01.front.main".parse().unwrap(),
                sequence: 7,
            },
            run: uuid::Uuid::nil().to_string().parse().unwrap(),
            size_bytes: 100,
            init_size_bytes: 10,
            sha256: Digest::of(b"file"),
            tracks: Vec::new(),
            fragments: (0..fragments)
                .map(|i| Fragment {
                    offset_bytes: 10 + i as u64,
                    size_bytes: 1,
                    start: MediaTime(i),
                    duration_us: 1,
                    is_keyframe: i == 0,
                    sha256: Digest::of(&i.to_be_bytes()),
                })
                .collect(),
        }
    }

    #[test]
    fn names_the_first_leaf_that_differs() {
        let init = Digest::of(b"init");
        let whole = manifest(9);
        let sealed = SealedSegment::new(&whole, init, (WallTime(0), WallTime(9)), Vec::new());
        let leaves = |m: &SegmentManifest| leaf::leaves(10, init, &m.fragments);
        assert_eq!(sealed.check_leaves(&leaves(&whole)), Ok(()));
        let mut changed = whole.clone();
        changed.fragments[4].duration_us += 1;
        changed.fragments[6].duration_us += 1;
        assert_eq!(sealed.check_leaves(&leaves(&changed)), Err(5));
        assert_eq!(sealed.check_leaves(&leaves(&manifest(8))), Err(9));
        assert_eq!(sealed.check_leaves(&leaves(&manifest(10))), Err(10));
    }
}
