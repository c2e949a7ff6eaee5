//! What whole-system tests stand on: a fake camera with faults by command, a proof pattern that shows
//! afterwards which frames and sounds were kept, real-looking material, and the handling of the real programs.

pub mod camera;
pub mod material;
pub mod programs;
pub mod proof;
pub mod queue;
pub mod stage;
