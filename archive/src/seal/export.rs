//! What an exported file carries so that a stranger can check it.
//!
//! The file is the init segment and whole fragments, byte for byte as they were recorded, and behind them one `uuid`
//! box (ISO/IEC 14496-12 §4.2) whose payload is a [`Signed`] [`ExportProof`] as JSON, signed by the centre under
//! [`super::signed::Purpose::Export`].

use serde::{Deserialize, Serialize};

use super::day::DayProof;
use super::{PublicKey, Signed};
use crate::ids::{CounterId, RecorderId, RunId, SiteId, StreamId};
use crate::segment::{Digest, Fragment};
use crate::time::WallTime;

/// `usertype` of the box: 5d0c2f6e-2b0e-4b5a-9a41-6d696e687175.
pub const PROOF_BOX: [u8; 16] = [
    0x5d, 0x0c, 0x2f, 0x6e, 0x2b, 0x0e, 0x4b, 0x5a, 0x9a, 0x41, 0x6d, 0x69, 0x6e, 0x68, 0x71, 0x75,
];

/// Everything that is needed to check an exported file, but the two public keys' fingerprints on paper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportProof {
    /// 1.
    pub version: u32,
    /// Which export.
    pub export_id: uuid::Uuid,
    /// When the centre made it.
    pub exported: WallTime,
    /// The site of the counter.
    pub site: SiteId,
    /// The counter.
    pub counter: CounterId,
    /// Its name for people.
    pub counter_name: String,
    /// Which stream.
    pub stream: StreamId,
    /// The run that the file is part of.
    pub run: RunId,
    /// The recorder.
    pub recorder: RecorderId,
    /// Its key.
    pub recorder_key: PublicKey,
    /// The centre's key.
    pub centre_key: PublicKey,
    /// From when footage was asked for.
    pub asked_from: WallTime,
    /// Until when.
    pub asked_to: WallTime,
    /// The segments in the file, in order.
    pub segments: Vec<ExportedSegment>,
    /// The chain from the first segment's entry to the receipted head, without holes.
    pub chain: Vec<Signed>,
    /// The centre's receipts for entries of `chain`; one of them at or behind the last segment's entry.
    pub receipts: Vec<ReceiptProof>,
}

/// The fragments of one segment that are in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedSegment {
    /// Number of the chain's entry that seals the segment.
    pub entry: u64,
    /// Length of its init segment.
    pub init_size_bytes: u64,
    /// Digest of its init segment.
    pub init_sha256: Digest,
    /// All fragments of the segment, as the leaves name them.
    pub fragments: Vec<Fragment>,
    /// Index of the first fragment that is in the file.
    pub first: u64,
    /// How many are in the file.
    pub count: u64,
    /// [`super::pictures::digests`] of those, one behind the other, in Base64: names the picture that differs.
    pub pictures: String,
}

/// A receipt and, once its day is over, its place in the day's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptProof {
    /// The signed [`super::Receipt`].
    pub receipt: Signed,
    /// Where it is in the day's root, if the day was closed when the export was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<DayProof>,
}

/// The `uuid` box that ends an exported file.
///
/// # Errors
/// If the proof is larger than a box can be (4 GiB).
pub fn proof_box(proof: &Signed) -> Result<Vec<u8>, std::num::TryFromIntError> {
    let payload = serde_json::to_vec(proof).expect("two texts are JSON");
    let size = u32::try_from(payload.len() + 24)?;
    let mut bytes = Vec::with_capacity(payload.len() + 24);
    bytes.extend_from_slice(&size.to_be_bytes());
    bytes.extend_from_slice(b"uuid");
    bytes.extend_from_slice(&PROOF_BOX);
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}
