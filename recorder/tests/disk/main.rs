//! The recorder program against its disk: power cuts, faults, a full disk, another disk in its place.

#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

mod disk;
mod faults;
mod power_cut;
mod recording;
mod trace;
