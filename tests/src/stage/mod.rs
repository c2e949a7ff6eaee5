//! The whole service on one machine, of the real programs: a centre, recorders and cameras, each in its own folder.

mod cameras;
mod centre;
mod edge;
mod place;
mod wire;

pub use cameras::Cameras;
pub use centre::Centre;
pub use edge::{Edge, StreamSource};
pub use place::Place;
pub use wire::{Fault, Wire};
