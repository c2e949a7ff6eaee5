//! The proof pattern: pictures that carry their number and wall time, with a flash and a beep at each full second.
//!
//! [`picture`] and [`sound`] draw and read one frame and one stretch of sound; [`reader`] reads whole
//! recordings, so that a test can prove which frames are there, when they were taken and how far the sound is
//! from the picture.

pub mod picture;
pub mod reader;
pub mod sound;

pub use picture::Mark;
pub use reader::{ProofFrame, ProofReading, ReadError, read_proof};
