//! Interactions (*lượt giao dịch*): one person served at one counter, derived from counter events.
//!
//! **Invariant**: [`derive`] is a pure function of the *set* of events. Order and duplication of its
//! input change nothing, so interactions can be rebuilt from stored events at any time, and a late
//! event revises exactly what it bears on; [`diff`] names what changed.
//!
//! Feed it the events of one site, usually one business date with the evening before.

mod bindings;
mod complete;
mod derive;
mod finish;
mod machine;
mod order;
mod revision;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::dossier::{DossierCode, DossierPatterns, Warning};
use crate::event::{CounterEvent, EventType};
use crate::ids::{CounterId, InteractionId, SiteId, TicketKey};
use crate::time::{DurationUs, WallTime};

pub use derive::{current, derive, forget_overdue};
pub use revision::{FieldChange, Revision, RevisionKind, diff};

/// A counter event with the moment it was received.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteEvent {
    /// The event.
    pub event: CounterEvent,
    /// When the recorder or the server got it; of duplicates the earliest counts.
    pub received: WallTime,
}

/// What names an event: its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventKey {
    /// Who reported.
    pub source: String,
    /// Unique within `source`.
    pub id: String,
}

impl From<&CounterEvent> for EventKey {
    fn from(event: &CounterEvent) -> Self {
        Self {
            source: event.source.clone(),
            id: event.id.clone(),
        }
    }
}

/// How events are read. All lengths in microseconds.
#[derive(Debug, Clone)]
pub struct InteractionSettings {
    /// A ticket's interaction of which nothing was heard for so long is forgotten; default 60 min.
    pub forgotten_after_us: DurationUs,
    /// The same for an interaction on hold; default 4 h.
    pub held_forgotten_after_us: DurationUs,
    /// The same for an interaction without a ticket, which no event ever finishes; default 10 min.
    pub ticketless_forgotten_after_us: DurationUs,
    /// A scan belongs to an interaction that ended, or whose service starts, at most so far away; default 60 s.
    pub scan_window_us: DurationUs,
    /// A rating without a ticket belongs to an interaction of its counter that ended at most so long ago; default 10 min.
    pub rating_window_us: DurationUs,
    /// A rating without a ticket belongs to the previous interaction while service of the next is not older; default 60 s.
    pub rating_grace_us: DurationUs,
    /// A device's time may be so far ahead of its receipt; beyond it the receipt counts. Default 2 min.
    pub clock_tolerance_us: DurationUs,
    /// Footage shown before an interaction; default 10 s.
    pub footage_lead_us: DurationUs,
    /// Footage shown after an interaction; default 15 s.
    pub footage_tail_us: DurationUs,
    /// What a dossier code looks like.
    pub dossier_patterns: DossierPatterns,
}

impl Default for InteractionSettings {
    fn default() -> Self {
        const SECOND: DurationUs = 1_000_000;
        const MINUTE: DurationUs = 60 * SECOND;
        Self {
            forgotten_after_us: 60 * MINUTE,
            held_forgotten_after_us: 240 * MINUTE,
            ticketless_forgotten_after_us: 10 * MINUTE,
            scan_window_us: MINUTE,
            rating_window_us: 10 * MINUTE,
            rating_grace_us: MINUTE,
            clock_tolerance_us: 2 * MINUTE,
            footage_lead_us: 10 * SECOND,
            footage_tail_us: 15 * SECOND,
            dossier_patterns: DossierPatterns::default(),
        }
    }
}

macro_rules! named_states {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name as JSON and the database carry it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named_states!(
    /// Where an interaction stands. The first three are open, the others final.
    InteractionState {
        /// Called, service not started.
        Called = "called",
        /// Being served.
        Serving = "serving",
        /// Put on hold; the counter may serve others.
        Held = "held",
        /// Service ended in order.
        Finished = "finished",
        /// Nobody came.
        NoShow = "no_show",
        /// The ticket was withdrawn.
        Cancelled = "cancelled",
        /// Sent to, or taken over by, another counter.
        Transferred = "transferred",
        /// Closed by the next call, the counter's closing, or because nothing more was heard.
        Abandoned = "abandoned",
    }
);

impl InteractionState {
    /// Whether more may come.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Called | Self::Serving | Self::Held)
    }
}

named_states!(
    /// What closed an interaction.
    ClosedBy {
        /// `ticket.finished`.
        FinishEvent = "finish_event",
        /// Another ticket was called or served at the counter.
        NextCall = "next_call",
        /// `ticket.no_show`.
        NoShow = "no_show",
        /// `ticket.cancelled`.
        Cancellation = "cancellation",
        /// `ticket.transferred`, or the ticket appeared at another counter.
        Transfer = "transfer",
        /// `counter.closed`.
        CounterClosed = "counter_closed",
        /// Nothing more was heard.
        Timeout = "timeout",
    }
);

named_states!(
    /// Who says that a dossier was handled.
    Provenance {
        /// A barcode was read at the counter.
        Scan = "scan",
        /// The kiosk that issued the ticket.
        Kiosk = "kiosk",
        /// Somebody or some other program entered it.
        Manual = "manual",
    }
);

named_states!(
    /// Why a dossier is linked as surely as it is.
    LinkReason {
        /// The report names the interaction's ticket.
        TicketNamed = "ticket_named",
        /// Read while the interaction was served.
        DuringService = "during_service",
        /// Read after the call; no start of service is known.
        AfterCall = "after_call",
        /// Read while the interaction was on hold and nobody else was served.
        OnHold = "on_hold",
        /// Read shortly after the end.
        AfterEnd = "after_end",
        /// Read shortly before service started without a call.
        BeforeStart = "before_start",
        /// Read while no ticket was served: the scan is the interaction.
        NoTicket = "no_ticket",
    }
);

/// A dossier handled in an interaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DossierLink {
    /// The code, normalised.
    pub code: DossierCode,
    /// Who says so.
    pub provenance: Provenance,
    /// How sure the link is, 0 to 100.
    pub confidence: u8,
    /// Why it is that sure.
    pub reason: LinkReason,
    /// When it was first reported.
    pub at: WallTime,
    /// What is odd about the code.
    pub warnings: Vec<Warning>,
}

/// The citizen's rating.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// Within `scale`.
    pub score: f64,
    /// Worst and best score.
    pub scale: [f64; 2],
    /// The score from 0 (worst) to 100 (best).
    pub percent: f64,
    /// Why it was given, as the source names it.
    pub reasons: Vec<String>,
    /// When.
    pub given: WallTime,
}

/// Who served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Officer {
    /// Staff code.
    pub code: String,
    /// Name, if any source told it.
    pub name: Option<String>,
}

named_states!(
    /// What makes the binding of an interaction less sure.
    Doubt {
        /// No call was reported.
        CallMissing = "call_missing",
        /// No start of service was reported.
        StartMissing = "start_missing",
        /// It is closed, but no event said so.
        FinishMissing = "finish_missing",
        /// It was served, but no dossier was read.
        ScanMissing = "scan_missing",
        /// No ticket.
        TicketMissing = "ticket_missing",
        /// The ticket appeared at another counter without `ticket.transferred`.
        TransferMissing = "transfer_missing",
        /// A device's clock was ahead; the time of receipt was taken.
        ClockAhead = "clock_ahead",
        /// The end was reported after the counter had gone on to the next.
        FinishLate = "finish_late",
    }
);

/// How sure the binding of events to an interaction is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confidence {
    /// 0 to 100.
    pub percent: u8,
    /// What lowers it, each once, in the order of [`Doubt`].
    pub doubts: Vec<Doubt>,
}

/// A stretch in which the person was served: holds cut it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServingSpan {
    /// When service started or went on.
    pub start: WallTime,
    /// When it paused or ended; `None` while it lasts.
    pub end: Option<WallTime>,
}

/// An event that an interaction was made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventRef {
    /// When it counts to have happened: device time, unless that lies ahead of receipt.
    pub at: WallTime,
    /// What happened.
    pub event_type: EventType,
    /// Its key.
    pub key: EventKey,
}

/// What to play for an interaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FootageBounds {
    /// From the first call or start, with a lead.
    pub start: WallTime,
    /// To the end, with a tail; `None` while open.
    pub end: Option<WallTime>,
}

/// One person served at one counter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interaction {
    /// The same at each derivation: SHA-256 over site, date, ticket, counter and visit.
    pub interaction_id: InteractionId,
    /// The site.
    pub site: SiteId,
    /// The counter.
    pub counter: CounterId,
    /// The ticket; `None` if a scan alone tells of it.
    pub ticket: Option<TicketKey>,
    /// The interaction of the same ticket before this one, e.g. at the counter that transferred it.
    pub predecessor: Option<InteractionId>,
    /// Where it was sent, if it was.
    pub transferred_to: Option<CounterId>,
    /// Where it stands.
    pub state: InteractionState,
    /// The procedure, as last reported.
    pub procedure: Option<String>,
    /// Who served: by the events, else by the sign-in at the counter.
    pub officer: Option<Officer>,
    /// When the number was taken; not an arrival.
    pub issued: Option<WallTime>,
    /// When it was first called here.
    pub called: Option<WallTime>,
    /// How often it was called again.
    pub recalls: u32,
    /// When service first started.
    pub started: Option<WallTime>,
    /// When it ended, however it did: for [`ClosedBy::Timeout`] the latest it can have. `None` while open.
    pub finished: Option<WallTime>,
    /// What closed it; `None` while open.
    pub closed_by: Option<ClosedBy>,
    /// While open: when it counts as forgotten if nothing more is heard.
    pub open_until: Option<WallTime>,
    /// When it was served, ascending. Spans of one counter never overlap.
    pub served: Vec<ServingSpan>,
    /// The citizen's rating.
    pub rating: Option<Rating>,
    /// Dossiers, each code once, by time and code.
    pub dossiers: Vec<DossierLink>,
    /// How sure all this is.
    pub confidence: Confidence,
    /// What to play.
    pub footage: FootageBounds,
    /// The events it was made from, by time.
    pub events: Vec<EventRef>,
}

impl Interaction {
    /// When it began at the counter: its call, else its start of service, else its first sign there.
    pub fn began(&self) -> WallTime {
        let first = self
            .events
            .iter()
            .find(|e| e.event_type != EventType::TicketIssued)
            .map_or(self.footage.start, |e| e.at);
        [self.called, self.started]
            .into_iter()
            .flatten()
            .fold(first, WallTime::min)
    }
}
