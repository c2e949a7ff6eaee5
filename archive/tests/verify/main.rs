//! The offline verifier as a program: what it proves, and what it finds.

#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

mod disks;
mod films;
mod stage;
