//! The words and the recording format that recorder and server share.
//!
//! Nothing here does I/O, knows tokio or speaks SQL; time and randomness come in as arguments.
#![warn(missing_docs)]

pub mod alert;
pub mod dossier;
pub mod event;
pub mod fmp4;
pub mod fold;
pub mod gap;
pub mod health;
pub mod ids;
pub mod interaction;
pub mod seal;
pub mod search_query;
pub mod segment;
pub mod time;
pub mod timeline;
pub mod uplink;
