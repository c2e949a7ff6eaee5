//! Why there is nothing to see: every missing second is a row with a cause.

use serde::{Deserialize, Serialize};

use crate::ids::StreamId;
use crate::time::{BootTime, WallTime};

/// Why a stream was not recorded for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// The camera did not answer, or its connection broke.
    CameraOffline,
    /// The camera kept its connection but sent no pictures.
    CameraSilent,
    /// The camera sent what could not be recorded.
    CameraFaulty,
    /// The recorder was not running: it was stopped in order.
    RecorderStopped,
    /// The recorder was not running: it was killed or lost power.
    RecorderDown,
    /// The disk was full.
    DiskFull,
    /// The disk failed to take a write.
    DiskFailed,
    /// The machine's clock was set.
    ClockStep,
    /// A rule paused the recording.
    PausedByRule,
    /// The tracks of the stream changed, so a new run had to start.
    TracksChanged,
}

/// A stretch of wall time in which a stream was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// A UUIDv7 made by the recorder; a later report with the same id replaces the earlier.
    pub gap_id: uuid::Uuid,
    /// Which stream.
    pub stream: StreamId,
    /// Where the recording ends.
    pub start: WallTime,
    /// Where it goes on; `None` while it has not.
    pub end: Option<WallTime>,
    /// `start` on the clock that is never set, if the recorder told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_boot: Option<BootTime>,
    /// `end` on the clock that is never set, if the recorder told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_boot: Option<BootTime>,
    /// Why.
    pub cause: GapCause,
    /// What the recorder saw, e.g. the error of the connection; never personal data.
    pub detail: String,
}
