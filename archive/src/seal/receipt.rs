//! The centre's word that it had seen a chain up to an entry, and when.

use serde::{Deserialize, Serialize};

use crate::ids::{RecorderId, StreamId};
use crate::segment::Digest;
use crate::time::WallTime;

/// What the centre signs under [`super::signed::Purpose::Receipt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// A UUIDv7 by the centre.
    pub receipt_id: uuid::Uuid,
    /// Whose chain.
    pub recorder: RecorderId,
    /// The key that the recorder enrolled.
    pub recorder_key: super::PublicKey,
    /// Which stream's chain.
    pub stream: StreamId,
    /// The newest entry seen. All before it are bound by its hash.
    pub number: u64,
    /// Its hash.
    pub head: Digest,
    /// When, by the centre's clock.
    pub received: WallTime,
}
