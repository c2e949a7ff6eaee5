//! The leaves of a segment's Merkle tree: the init segment, then each fragment in file order.

use super::merkle;
use crate::segment::{Digest, Fragment};

/// Leaf of the init segment: `"init"`, its length in bytes (u64, big-endian), its SHA-256.
pub fn init_leaf(size_bytes: u64, sha256: Digest) -> Digest {
    let mut leaf = Vec::with_capacity(44);
    leaf.extend_from_slice(b"init");
    leaf.extend_from_slice(&size_bytes.to_be_bytes());
    leaf.extend_from_slice(&sha256.0);
    merkle::leaf_hash(&leaf)
}

/// Leaf of a fragment: `"frag"`, offset and length in bytes, start and duration in microseconds (each 8 bytes,
/// big-endian), 1 if it starts with a keyframe else 0, its SHA-256.
pub fn fragment_leaf(fragment: &Fragment) -> Digest {
    let mut leaf = Vec::with_capacity(69);
    leaf.extend_from_slice(b"frag");
    leaf.extend_from_slice(&fragment.offset_bytes.to_be_bytes());
    leaf.extend_from_slice(&fragment.size_bytes.to_be_bytes());
    leaf.extend_from_slice(&fragment.start.0.to_be_bytes());
    leaf.extend_from_slice(&fragment.duration_us.to_be_bytes());
    leaf.push(u8::from(fragment.is_keyframe));
    leaf.extend_from_slice(&fragment.sha256.0);
    merkle::leaf_hash(&leaf)
}

/// The leaves of a whole segment.
pub fn leaves(init_size_bytes: u64, init_sha256: Digest, fragments: &[Fragment]) -> Vec<Digest> {
    std::iter::once(init_leaf(init_size_bytes, init_sha256))
        .chain(fragments.iter().map(fragment_leaf))
        .collect()
}

/// The root over the leaves of a whole segment.
pub fn segment_root(init_size_bytes: u64, init_sha256: Digest, fragments: &[Fragment]) -> Digest {
    merkle::root(&leaves(init_size_bytes, init_sha256, fragments))
}
