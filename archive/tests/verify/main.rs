//! The offline verifier as a program: what it proves, and what it finds.

mod disks;
mod films;
mod stage;
