//! A counter's proof of health of a day: what was looked at, what was wrong and for how long, signed by the recorder.

use serde::{Deserialize, Serialize};

use crate::alert::AlertKind;
use crate::ids::{CounterId, RecorderId, StreamId};
use crate::time::WallTime;

/// One counter's day, under [`crate::seal::signed::Purpose::Health`]. A later report of the same day replaces the earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// Who says it; absent before its enrolment.
    pub recorder: Option<RecorderId>,
    /// Of which counter.
    pub counter: CounterId,
    /// The day, in `zone`.
    pub date: jiff::civil::Date,
    /// IANA name of the site's time zone.
    pub zone: String,
    /// What lies before was not looked at, by this recorder and this program.
    pub from: WallTime,
    /// Until when this report goes.
    pub to: WallTime,
    /// Whether the day is over.
    pub is_final: bool,
    /// Version of the recorder's program.
    pub software: String,
    /// Each stream of the counter.
    pub streams: Vec<StreamDay>,
    /// The recorder's clock.
    pub clock: ClockDay,
    /// Least free bytes on the disk of the recordings.
    pub disk_free_bytes: Option<u64>,
    /// The last stored segment of the day that was read back from the recorder's disk.
    pub read_back: Option<ReadBack>,
}

/// How a stream did over a day. Seconds are rounded down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDay {
    /// Which.
    pub stream: StreamId,
    /// Seconds over which its picture was looked at.
    pub picture_s: u64,
    /// Seconds over which its sound was listened to.
    pub sound_s: u64,
    /// Seconds that are not recorded.
    pub gap_s: u64,
    /// What was wrong.
    pub faults: Vec<FaultDay>,
}

/// One fault of a stream over a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultDay {
    /// Which.
    pub kind: AlertKind,
    /// For how long in all.
    pub seconds: u64,
    /// How often it began.
    pub times: u32,
    /// What was measured when it last began.
    pub detail: String,
}

/// The recorder's clock over a day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockDay {
    /// Least difference from the centre's clock, in microseconds; absent without a line to it.
    pub offset_min_us: Option<i64>,
    /// Greatest difference.
    pub offset_max_us: Option<i64>,
    /// Seconds during which nothing steered the clock or it showed what cannot be.
    pub unsynchronized_s: u64,
}

/// A stored segment that was read from the disk again and compared with its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBack {
    /// When.
    pub at: WallTime,
    /// `stream/sequence`.
    pub segment: String,
    /// Whether it is what was recorded.
    pub is_whole: bool,
    /// What was found.
    pub detail: String,
}
