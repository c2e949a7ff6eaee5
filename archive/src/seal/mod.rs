//! What makes a recording provable: digests in a Merkle tree, a chain per stream, signatures, receipts.
//!
//! Everything that is signed is a line of JSON text that is kept and sent as it was signed: nobody writes it anew, so
//! no rule about spaces or the order of keys is needed to check it. `docs/proof.md` describes the format for others.

pub mod chain;
pub mod day;
pub mod export;
pub mod history;
pub mod leaf;
pub mod merkle;
pub mod pictures;
pub mod receipt;
pub mod segment;
pub mod signed;

pub use chain::{ChainBody, ChainEntry, ChainFault, ChainHead, ChainReader};
pub use day::DayRoot;
pub use history::{History, HistoryFault, ToldRun, ToldSegment};
pub use receipt::Receipt;
pub use segment::SealedSegment;
pub use signed::{PublicKey, SealError, Signed};
