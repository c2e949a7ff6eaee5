//! What strangers say of chains, receipts and films against any bytes.
#![no_main]

use archive::seal::export::ExportProof;
use archive::seal::{ChainEntry, History, Receipt, Signed, leaf, merkle};
use archive::segment::Digest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut history = History::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(signed) = serde_json::from_slice::<Signed>(line) {
            let _ = signed.read_unverified::<Receipt>();
            if let Ok(entry) = signed.read_unverified::<ChainEntry>() {
                // A fault is an answer like another; the history goes on.
                let _ = history.take(&entry);
            }
        }
        if let Ok(proof) = serde_json::from_slice::<ExportProof>(line) {
            for segment in &proof.segments {
                let leaves = leaf::leaves(segment.init_size_bytes, segment.init_sha256, &segment.fragments);
                for told in history.segments.values() {
                    assert_eq!(
                        told.sealed.check_leaves(&leaves).is_ok(),
                        merkle::root(&leaves) == told.sealed.root && leaves.len() == told.sealed.leaf_count()
                    );
                }
            }
            for given in &proof.receipts {
                let _ = given.day.as_ref().map(|day| day.verify(&given.receipt, &proof.centre_key));
            }
        }
    }
    let hashes: Vec<Digest> = bytes.chunks(40).map(merkle::leaf_hash).collect();
    if let Some(last) = hashes.len().checked_sub(1) {
        let path = merkle::path(&hashes, last);
        assert_eq!(
            merkle::root_by_path(hashes[last], last, hashes.len(), &path),
            Some(merkle::root(&hashes))
        );
    }
});
