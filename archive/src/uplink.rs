//! Messages between recorder and server over their WebSocket, as JSON texts tagged by `type`.
//!
//! The recorder opens the socket. The server says [`ToRecorder::Challenge`], the recorder answers
//! [`ToServer::Hello`] with a signature over [`challenge_bytes`], the server says
//! [`ToRecorder::Welcome`] or [`ToRecorder::Refused`]. After that each side sends when it likes.
//! Facts are numbered by the recorder without holes and acknowledged by the server once stored; orders are numbered
//! by the server and acknowledged by the recorder in the same way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::gap::Gap;
use crate::ids::{CounterId, RecorderId, RunId, SegmentKey, SiteId, StreamId};
use crate::seal::{ChainHead, Signed};
use crate::segment::Track;
use crate::time::{Anchor, BootTime, DurationUs, WallTime};

/// Version of these messages; both sides must speak the same.
pub const PROTOCOL: u32 = 1;

/// Largest message that either side reads, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Most facts that one message carries.
pub const MAX_FACTS: usize = 500;

/// Most orders that one message carries.
pub const MAX_ORDERS: usize = 500;

/// What the recorder signs to prove its key: a fixed label, its name, and the server's nonce.
pub fn challenge_bytes(recorder: &RecorderId, nonce: &str) -> Vec<u8> {
    format!("minhquay-session-v1\n{recorder}\n{nonce}").into_bytes()
}

/// A stream as the recorder is set up to record it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDescription {
    /// Which stream.
    pub stream: StreamId,
    /// Name of the counter for people, e.g. `Quầy 01`.
    pub counter_name: String,
    /// Whether it has a sound track set up.
    pub has_audio: bool,
}

/// How a stream does right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHealth {
    /// Age of the last sample received, in milliseconds; `None` if none came since the start.
    pub last_sample_age_ms: Option<u64>,
    /// Sequence number of the newest sealed segment, 0 if none.
    pub newest_sequence: u64,
    /// Sealed segments that the server does not have yet.
    pub pending_segments: u64,
    /// Why nothing is recorded now, if so.
    pub fault: Option<crate::gap::GapCause>,
}

/// Whose word on the time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockSource {
    /// The server's own clock.
    #[default]
    Server,
    /// The recorder's wall clock, since a time service steers it: counts where the server was never heard.
    TimeService,
}

/// How far a recorder's wall clock is off, as it measured itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// The recorder's wall clock minus the server's.
    pub offset_us: DurationUs,
    /// Round trip of the exchange that it was measured by: the offset is true to half of it.
    pub round_trip_us: DurationUs,
}

/// From the recorder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToServer {
    /// Who speaks, proven by a signature.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The name given at enrolment.
        recorder: RecorderId,
        /// Ed25519 over [`challenge_bytes`], 128 hexadecimal digits.
        signature: String,
        /// Version of the program.
        software: String,
        /// The site served.
        site: SiteId,
        /// All streams set up.
        streams: Vec<StreamDescription>,
        /// Number of the last order stored; the server goes on behind it.
        #[serde(default)]
        orders_through: u64,
    },
    /// Every 10 s.
    Heartbeat {
        /// The recorder's wall clock.
        wall: WallTime,
        /// Free bytes on the disk of the recordings.
        disk_free_bytes: u64,
        /// Size of that disk.
        disk_total_bytes: u64,
        /// Facts not acknowledged yet.
        pending_facts: u64,
        /// Each stream's state.
        streams: BTreeMap<StreamId, StreamHealth>,
        /// Where each stream's chain ends.
        #[serde(default)]
        chain_heads: BTreeMap<StreamId, ChainHead>,
        /// Seconds until only footage that must stay would remain on the disk, at the present rate; `None` if never.
        #[serde(default)]
        disk_left_s: Option<u64>,
        /// When this was sent, on the clock that is never set; the answer repeats it.
        #[serde(default)]
        sent: Option<BootTime>,
        /// How far the recorder's wall clock is off, by the exchanges before this.
        #[serde(default)]
        clock: Option<ClockOffset>,
    },
    /// All orders up to this number are stored.
    OrdersStored {
        /// The number.
        through: u64,
    },
    /// Facts in order; the first has number `first`.
    Facts {
        /// Number of the first.
        first: u64,
        /// At most [`MAX_FACTS`].
        facts: Vec<Fact>,
    },
    /// Live could not be started, or ended by itself.
    LiveEnded {
        /// Which stream.
        stream: StreamId,
        /// Why, for the log.
        reason: String,
    },
}

/// From the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToRecorder {
    /// First message of all.
    Challenge {
        /// Random text, used once.
        nonce: String,
        /// The server's wall clock.
        wall: WallTime,
    },
    /// The recorder is who it says.
    Welcome {
        /// Bearer token for the HTTP calls of this session.
        session_token: String,
        /// Number of the last fact stored; the recorder goes on behind it.
        facts_through: u64,
    },
    /// The recorder may not speak; the socket closes.
    Refused {
        /// Why, in English, for the recorder's log.
        reason: String,
    },
    /// All facts up to this number are stored.
    FactsStored {
        /// The number.
        through: u64,
    },
    /// Orders in order; the first has number `first`.
    Orders {
        /// Number of the first.
        first: u64,
        /// At most [`MAX_ORDERS`].
        orders: Vec<Order>,
    },
    /// The server's word that it has seen chains; each is a signed [`crate::seal::Receipt`].
    Receipts {
        /// The receipts.
        receipts: Vec<Signed>,
    },
    /// Answers a heartbeat.
    HeartbeatSeen {
        /// The server's wall clock when it sent this.
        wall: WallTime,
        /// The server's wall clock when the heartbeat came.
        #[serde(default)]
        received: Option<WallTime>,
        /// What the heartbeat said of its sending.
        #[serde(default)]
        sent: Option<BootTime>,
    },
    /// Somebody watches: publish by WHIP at `/api/v1/edge/streams/{stream}/whip`.
    LiveStart {
        /// Which stream.
        stream: StreamId,
    },
    /// Nobody watches any more.
    LiveStop {
        /// Which stream.
        stream: StreamId,
    },
    /// A viewer needs a keyframe.
    LiveKeyframe {
        /// Which stream.
        stream: StreamId,
    },
}

/// Something that happened at the edge and must reach the server exactly once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// A counter event as it came in at the recorder.
    Event {
        /// When the recorder got it.
        received: WallTime,
        /// `received` on the clock that is never set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        received_boot: Option<BootTime>,
        /// The CloudEvents JSON as it came.
        event: serde_json::Value,
    },
    /// The recorder compared its clocks with the server's. With it everything that was timed in the same boot can be
    /// put right, whatever the wall clock showed.
    ClockMeasured {
        /// The moment, on the clock that is never set.
        boot: BootTime,
        /// The server's wall clock at that moment.
        server_wall: WallTime,
        /// The recorder's wall clock at that moment.
        wall: WallTime,
        /// Round trip of the exchange: `server_wall` is true to half of it.
        round_trip_us: DurationUs,
        /// Whose clock `server_wall` is.
        #[serde(default)]
        source: ClockSource,
    },
    /// A run began.
    RunStarted {
        /// Which run.
        run: RunId,
        /// Of which stream.
        stream: StreamId,
        /// Its tracks.
        tracks: Vec<Track>,
        /// Its first anchor.
        anchor: Anchor,
    },
    /// Another look at the clock during a run.
    Anchored {
        /// Which run.
        run: RunId,
        /// What was seen.
        anchor: Anchor,
    },
    /// A run ended, in order or not.
    RunEnded {
        /// Which run.
        run: RunId,
    },
    /// A gap began or ended; the newest report of a gap counts.
    GapSeen {
        /// The gap.
        gap: Gap,
    },
    /// A segment was deleted at the edge before the server had it.
    SegmentLost {
        /// Which.
        key: SegmentKey,
        /// Why.
        reason: String,
    },
    /// A stream's chain grew.
    Chained {
        /// Which stream.
        stream: StreamId,
        /// Number of the entry.
        number: u64,
        /// The signed [`crate::seal::ChainEntry`].
        entry: Signed,
    },
    /// An alert began, changed or ended; the newest report of an alert counts.
    AlertSeen {
        /// The alert.
        alert: Alert,
    },
    /// A counter's day was examined.
    HealthReported {
        /// Signed under [`crate::seal::signed::Purpose::Health`].
        report: Signed,
    },
}

/// Something that the server wants of a recorder and that must reach it exactly once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Footage of a counter is of worth: it is kept longer, and goes up before other footage.
    Mark {
        /// The mark; one with the same id replaces the earlier.
        mark: Mark,
    },
    /// A mark is void.
    Unmark {
        /// Its id.
        mark_id: String,
    },
    /// Somebody waits for footage: it goes up before all else, whatever the stream's policy.
    Fetch {
        /// A UUID by the server.
        request: uuid::Uuid,
        /// Which stream.
        stream: StreamId,
        /// From when.
        from: WallTime,
        /// Until when.
        to: WallTime,
    },
    /// Nobody waits for it any more.
    FetchCancelled {
        /// The request.
        request: uuid::Uuid,
    },
}

/// Why footage is of worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// Somebody was served.
    Interaction,
    /// It must not be deleted.
    Hold,
}

/// A stretch of a counter's footage that is of worth, in all its streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The interaction's or the hold's id.
    pub mark_id: String,
    /// Why.
    pub kind: MarkKind,
    /// Which counter.
    pub counter: CounterId,
    /// From when.
    pub from: WallTime,
    /// Until when; `None` while it goes on.
    pub to: Option<WallTime>,
}
