//! Faults that a test or demonstration switches on by command.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use serde::{Deserialize, Serialize};

use super::room::{PictureFault, SoundFault};

/// One fault, as the control port takes it: `{"fault": "loss", "percent": 5}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Every TCP connection to the mount is closed, once.
    DropConnection,
    /// Nothing is sent any more, but connections stay.
    Hang,
    /// New connections get 404 for a while.
    Refuse {
        /// For how long.
        seconds: u32,
    },
    /// A share of the RTP packets is dropped.
    Loss {
        /// 0 to 100.
        percent: f64,
    },
    /// A share of the RTP packets has its payload overwritten at random places.
    Garbage {
        /// 0 to 100.
        percent: f64,
    },
    /// RTP times of those connected now jump, once.
    PtsJump {
        /// Forward, or back if negative.
        seconds: i32,
    },
    /// Those connected now see another SSRC on every track from now on.
    SsrcChange,
    /// Sound is announced but not sent.
    AudioAbsent,
    /// The picture is spoilt before it is encoded; only a mount of `room:` shows it.
    Picture {
        /// How.
        what: PictureFault,
    },
    /// The sound is spoilt before it is encoded; only a mount of `room:` gives it.
    Sound {
        /// How.
        what: SoundFault,
    },
    /// The wall clock in RTCP sender reports is wrong.
    ClockOff {
        /// Ahead, or behind if negative.
        seconds: i32,
    },
}

/// What is switched on; also what `GET /mounts` shows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ActiveFaults {
    /// See [`Fault::Hang`].
    pub hang: bool,
    /// See [`Fault::AudioAbsent`].
    pub audio_absent: bool,
    /// See [`Fault::Loss`].
    pub loss_percent: f64,
    /// See [`Fault::Garbage`].
    pub garbage_percent: f64,
    /// See [`Fault::Picture`].
    pub picture: Option<PictureFault>,
    /// See [`Fault::Sound`].
    pub sound: Option<SoundFault>,
    /// See [`Fault::ClockOff`].
    pub clock_off_seconds: i32,
    /// Sum of all jumps since the camera started; a connection sees those since its own start.
    pub pts_jump_seconds: i32,
    /// How often the SSRC changed since the camera started.
    pub ssrc_changes: u32,
    #[serde(skip)]
    refused_until: Option<gst::ClockTime>,
}

/// The faults of one mount. Its lock is a leaf: nothing else is locked while it is held.
#[derive(Debug, Default)]
pub struct Faults(Mutex<ActiveFaults>);

impl Faults {
    /// Switches a fault on. [`Fault::DropConnection`] is an act, not a state: the caller does it.
    pub fn apply(&self, fault: Fault) {
        let mut active = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match fault {
            Fault::DropConnection => {}
            Fault::Hang => active.hang = true,
            Fault::Refuse { seconds } => {
                active.refused_until = Some(now() + gst::ClockTime::from_seconds(u64::from(seconds)));
            }
            Fault::Loss { percent } => active.loss_percent = percent.clamp(0.0, 100.0),
            Fault::Garbage { percent } => active.garbage_percent = percent.clamp(0.0, 100.0),
            Fault::PtsJump { seconds } => active.pts_jump_seconds += seconds,
            Fault::SsrcChange => active.ssrc_changes += 1,
            Fault::AudioAbsent => active.audio_absent = true,
            Fault::Picture { what } => active.picture = Some(what),
            Fault::Sound { what } => active.sound = Some(what),
            Fault::ClockOff { seconds } => active.clock_off_seconds = seconds,
        }
    }

    /// Switches every lasting fault off. Jumps that happened stay: to take them back would be another jump.
    pub fn clear(&self) {
        let mut active = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *active = ActiveFaults {
            pts_jump_seconds: active.pts_jump_seconds,
            ssrc_changes: active.ssrc_changes,
            ..ActiveFaults::default()
        };
    }

    /// What is on now.
    pub fn active(&self) -> ActiveFaults {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether new connections are refused now.
    pub fn is_refusing(&self) -> bool {
        self.active().refused_until.is_some_and(|until| now() < until)
    }
}

fn now() -> gst::ClockTime {
    gst::SystemClock::obtain().time()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_commands_as_documented() {
        let read = |text| serde_json::from_str::<Fault>(text).ok();
        assert_eq!(
            read(r#"{"fault":"loss","percent":5}"#),
            Some(Fault::Loss { percent: 5.0 })
        );
        assert_eq!(
            read(r#"{"fault":"pts_jump","seconds":-30}"#),
            Some(Fault::PtsJump { seconds: -30 })
        );
        assert_eq!(
            read(r#"{"fault":"drop_connection"}"#),
            Some(Fault::DropConnection)
        );
        assert_eq!(
            read(r#"{"fault":"picture","what":"lights_off"}"#),
            Some(Fault::Picture {
                what: PictureFault::LightsOff
            })
        );
        assert_eq!(read(r#"{"fault":"loss"}"#), None);
        assert_eq!(read(r#"{"fault":"meteor"}"#), None);
    }
}
