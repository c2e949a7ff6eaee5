//! One digest over all that the centre receipted on a day, to be published where nobody can take it back.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{PublicKey, SealError, Signed, merkle, signed::Purpose};
use crate::segment::Digest;

/// What the centre signs under [`Purpose::Day`] once a business day is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayRoot {
    /// The business date in the sites' zone.
    pub date: Date,
    /// How many receipts the tree has.
    pub count: u64,
    /// Root over [`receipt_leaf`] of each receipt, by ascending `receipt_id`.
    pub root: Digest,
    /// Hash of the signed statement of the day before that has one; `None` for the first.
    pub previous: Option<Digest>,
}

/// Leaf of a receipt: its text, a line feed, its signature.
pub fn receipt_leaf(receipt: &Signed) -> Digest {
    merkle::leaf_hash(format!("{}\n{}", receipt.text, receipt.signature).as_bytes())
}

/// That a receipt is one of a day's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayProof {
    /// The signed [`DayRoot`].
    pub day: Signed,
    /// Position of the receipt among the day's, from 0.
    pub index: u64,
    /// From its sibling upwards.
    pub path: Vec<Digest>,
    /// An RFC 3161 time-stamp token (DER in Base64) over the SHA-256 of the signed statement, if the day was stamped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

impl DayProof {
    /// The day whose root holds the receipt.
    ///
    /// # Errors
    /// [`SealError::Signature`] if the centre did not sign the root or the path does not lead to it.
    pub fn verify(&self, receipt: &Signed, centre: &PublicKey) -> Result<DayRoot, SealError> {
        let day: DayRoot = self.day.open(Purpose::Day, centre)?;
        let index = usize::try_from(self.index).map_err(|_| SealError::Signature)?;
        let count = usize::try_from(day.count).map_err(|_| SealError::Signature)?;
        match merkle::root_by_path(receipt_leaf(receipt), index, count, &self.path) {
            Some(root) if root == day.root => Ok(day),
            _ => Err(SealError::Signature),
        }
    }
}
