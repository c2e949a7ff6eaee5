//! How picture and sound do: rules over decoded looks, alerts, and a signed report for each counter and day.
//!
//! `frame`, `scene`, `picture`, `sound`, `spell`, `service` and `day` are pure: looks and times come as arguments.
//! [`crate::capture`] decodes; [`keep`] judges, raises alerts and writes reports.

mod day;
mod frame;
mod keep;
mod picture;
mod read_back;
mod report;
mod scene;
mod service;
mod sound;
mod spell;

use archive::ids::StreamId;

pub use frame::Frame;
pub use keep::{ClockSeen, Watching, keep};
pub use picture::{Change, Condition, PICTURE_FAULTS, PictureWatch};
pub use scene::Scene;
pub use sound::{SOUND_FAULTS, SoundMeasure, SoundWatch};
pub use spell::Turn;

/// What one look at a stream gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// A picture.
    Picture(Frame),
    /// A window of sound.
    Sound(SoundMeasure),
    /// Sound comes, but was not listened to.
    SoundComes,
    /// Sound is set up and pictures come, but no sound.
    NoSound,
}

/// A look at a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// Which stream.
    pub stream: StreamId,
    /// When, on the monotonic clock.
    pub at_us: i64,
    /// What.
    pub look: Look,
}
