//! The edge: captures, records, indexes and uploads the streams of one site.

mod backoff;
pub mod capture;
mod clock;
mod files;
pub mod index;
