//! The real programs together: fake camera, recorder and centre on this machine, judged by the proof pattern.

mod commands;
mod crash;
mod faults;
mod outage;
mod proof;
mod site;
