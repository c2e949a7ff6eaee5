//! A Merkle tree as RFC 6962 §2.1 builds it.

use sha2::{Digest as _, Sha256};

use crate::segment::Digest;

/// Hash of a leaf: SHA-256 of a zero byte and the leaf.
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest(Sha256::new_with_prefix([0]).chain_update(leaf).finalize().into())
}

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let hasher = Sha256::new_with_prefix([1]);
    Digest(
        hasher
            .chain_update(left.0)
            .chain_update(right.0)
            .finalize()
            .into(),
    )
}

/// The root over hashes of leaves; of none it is the SHA-256 of nothing.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// The largest power of two below `count`.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// The audit path of a leaf, from its sibling upwards (RFC 6962 §2.1.1).
pub fn path(leaves: &[Digest], index: usize) -> Vec<Digest> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    let mut path = if index < at {
        path(left, index)
    } else {
        path(right, index - at)
    };
    path.push(if index < at { root(right) } else { root(left) });
    path
}

/// The root that a leaf and its path lead to; `None` if the path has another length than such a leaf has.
pub fn root_by_path(leaf: Digest, index: usize, count: usize, path: &[Digest]) -> Option<Digest> {
    if index >= count {
        return None;
    }
    if count == 1 {
        return path.is_empty().then_some(leaf);
    }
    let (last, below) = path.split_last()?;
    let at = split(count);
    Some(if index < at {
        node_hash(&root_by_path(leaf, index, at, below)?, last)
    } else {
        node_hash(last, &root_by_path(leaf, index - at, count - at, below)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    /// Roots of the test vectors of the Certificate Transparency project (`merkle_tree_test`).
    #[test]
    fn gives_the_roots_of_certificate_transparency() {
        let inputs: Vec<Vec<u8>> = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ]
        .iter()
        .map(|text| hex::decode(text).unwrap())
        .collect();
        let hashes: Vec<_> = inputs.iter().map(|input| leaf_hash(input)).collect();
        assert_eq!(
            root(&[]).to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            root(&hashes[..1]).to_string(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(
            root(&hashes).to_string(),
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
        );
    }

    proptest::proptest! {
        #[test]
        fn every_leaf_leads_to_the_root_and_no_other_does(count in 1usize..200, at in 0usize..200, other in 0usize..200) {
            let all = leaves(count);
            let index = at % count;
            let steps = path(&all, index);
            proptest::prop_assert_eq!(root_by_path(all[index], index, count, &steps), Some(root(&all)));
            let other = other % count;
            if other != index {
                proptest::prop_assert_ne!(root_by_path(all[other], index, count, &steps), Some(root(&all)));
                proptest::prop_assert_ne!(root_by_path(all[index], other, count, &steps), Some(root(&all)));
            }
        }
    }
}
