//! The writer, its chains and its salvage, on fragments that the real muxer made.

mod chain;
mod repair;
mod rotation;
mod salvage;
mod stage;
