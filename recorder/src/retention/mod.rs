//! How long footage stays: what goes, when, and what happens when there is no room.
//!
//! **Invariant**: a hold is looked at within the transaction that deletes, and each deletion leaves a tombstone and an
//! entry of the chain.

mod forecast;
mod keeper;
mod lines;
mod outlook;
mod policy;
mod trust;

pub use keeper::Keeper;
pub use lines::Lines;
pub use policy::{Candidate, Class, EARLIEST, Reason, Rules};
