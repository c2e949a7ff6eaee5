//! Typed settings of recorder and server: a TOML file is read whole, then validated whole, before anything opens.
#![warn(missing_docs)]

pub mod health;
mod load;
pub mod recorder;
pub mod retention;
pub mod server;
pub mod upload;

pub use load::{ConfigError, Problem, Settings, load, parse};
