//! Something at the edge that a person should mend: what, since when, until when.

use serde::{Deserialize, Serialize};

use crate::ids::StreamId;
use crate::time::WallTime;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// The lens is covered: nothing but blur and one colour.
    LensCovered,
    /// The picture is black.
    PictureBlack,
    /// The picture stands still though pictures come.
    PictureFrozen,
    /// The picture has lost its sharpness.
    PictureDefocused,
    /// The camera looks elsewhere than it did.
    SceneMoved,
    /// The microphone gives exact silence.
    SoundDead,
    /// The sound is cut off at full scale.
    SoundClipped,
    /// Nothing but mains hum.
    SoundHum,
    /// Sound is set up but none comes.
    SoundAbsent,
    /// The recorder's clock is off.
    ClockOff,
    /// The disk gets full: only holds would remain.
    DiskForecast,
    /// The disk is below its reserve.
    DiskLow,
    /// The disk fails.
    DiskFailed,
    /// Footage could not be retrieved through the whole path.
    RetrievalFailed,
    /// Uploads fall behind.
    BacklogGrows,
}

impl AlertKind {
    /// The name in messages, metrics and databases.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LensCovered => "lens_covered",
            Self::PictureBlack => "picture_black",
            Self::PictureFrozen => "picture_frozen",
            Self::PictureDefocused => "picture_defocused",
            Self::SceneMoved => "scene_moved",
            Self::SoundDead => "sound_dead",
            Self::SoundClipped => "sound_clipped",
            Self::SoundHum => "sound_hum",
            Self::SoundAbsent => "sound_absent",
            Self::ClockOff => "clock_off",
            Self::DiskForecast => "disk_forecast",
            Self::DiskLow => "disk_low",
            Self::DiskFailed => "disk_failed",
            Self::RetrievalFailed => "retrieval_failed",
            Self::BacklogGrows => "backlog_grows",
        }
    }
}

/// An alert; a later report with the same id replaces the earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// A UUIDv7 made by the recorder.
    pub alert_id: uuid::Uuid,
    /// What is wrong.
    pub kind: AlertKind,
    /// With which stream; `None` for the recorder as a whole.
    pub stream: Option<StreamId>,
    /// Since when.
    pub start: WallTime,
    /// Until when; `None` while it lasts.
    pub end: Option<WallTime>,
    /// What was measured, with units; never personal data.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_messages() {
        let kinds: [AlertKind; 15] = [
            AlertKind::LensCovered,
            AlertKind::PictureBlack,
            AlertKind::PictureFrozen,
            AlertKind::PictureDefocused,
            AlertKind::SceneMoved,
            AlertKind::SoundDead,
            AlertKind::SoundClipped,
            AlertKind::SoundHum,
            AlertKind::SoundAbsent,
            AlertKind::ClockOff,
            AlertKind::DiskForecast,
            AlertKind::DiskLow,
            AlertKind::DiskFailed,
            AlertKind::RetrievalFailed,
            AlertKind::BacklogGrows,
        ];
        for kind in kinds {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
