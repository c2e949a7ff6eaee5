//! The real programs together: fake camera, recorder and centre on this machine, judged by the proof pattern.

#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

mod browser;
mod clock;
mod commands;
mod crash;
mod disk;
mod export;
mod faults;
mod health;
mod inputs;
mod network;
mod outage;
mod packages;
mod proof;
mod service;
mod site;
mod tamper;
