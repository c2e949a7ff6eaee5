//! The centre: catalogue, search, playback, live and the page.

pub mod access;
pub mod centre;
pub mod commands;
pub mod db;
pub mod edge;
pub mod export;
pub mod http;
pub mod ingest;
pub mod live;
pub mod places;
pub mod playback;
pub mod proof;
pub mod search;
pub mod serve;
mod service;
pub mod storage;
pub mod supervision;
pub mod words;
