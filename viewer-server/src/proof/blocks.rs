//! A day's tree in blocks, so that neither closing a day nor a path in it needs all receipts in memory. Pure.
//!
//! A tree of RFC 6962 splits at powers of two; so over blocks whose length is one, the last perhaps shorter, the root
//! is the root over the blocks' roots.

use archive::seal::merkle;
use archive::segment::Digest;

/// Receipts of one block; a power of two.
pub const BLOCK: usize = 1024;

/// The path of a leaf, from the leaves of its block and the roots of all blocks.
pub(super) fn path(leaves: &[Digest], rank: usize, blocks: &[Digest], block: usize) -> Vec<Digest> {
    let mut path = merkle::path(leaves, rank);
    path.extend(merkle::path(blocks, block));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn blocks_give_the_tree_that_the_whole_gives(count in 1usize..300, at in 0usize..300, log in 0u32..6) {
            let size = 1usize << log;
            let leaves: Vec<_> = (0..count).map(|i| merkle::leaf_hash(&i.to_be_bytes())).collect();
            let blocks: Vec<_> = leaves.chunks(size).map(merkle::root).collect();
            proptest::prop_assert_eq!(merkle::root(&blocks), merkle::root(&leaves));
            let index = at % count;
            let of_block = leaves.chunks(size).nth(index / size).unwrap();
            let found = path(of_block, index % size, &blocks, index / size);
            proptest::prop_assert_eq!(found, merkle::path(&leaves, index));
        }
    }
}
