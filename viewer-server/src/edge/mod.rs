//! The side towards the recorders: enrolment, sessions, facts and footage coming in.
//!
//! A recorder may be hostile or broken: all it sends is bounded and checked, and it can only tell of
//! streams that it records itself.

mod abandoned;
mod arriving;
mod enrol;
mod fetches;
mod manifest;
mod orders;
mod pieces;
mod session;
mod sessions;
mod upload;

pub use arriving::Arriving;
pub use enrol::{EnrolError, Enrolled, NewCode, enrol, new_code};
pub use fetches::FetchProgress;
pub use manifest::{InvalidManifest, check_manifest};
pub use session::serve;
pub use sessions::{RecorderSessions, RecorderStatus, StreamStatus};
pub use upload::{UploadError, UploadState, Uploads};
