//! What can go wrong with live.

use archive::ids::StreamId;

/// Why a live picture cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The stream's recorder has no session.
    #[error("the recorder of {stream} is not connected")]
    StreamOffline {
        /// Which stream.
        stream: StreamId,
    },
    /// The recorder did not publish in time.
    #[error("{stream} was not published within {waited_ms} ms")]
    NotPublished {
        /// Which stream.
        stream: StreamId,
        /// How long was waited.
        waited_ms: u64,
    },
    /// The recorder said that it cannot publish.
    #[error("{stream} cannot be shown live: {reason}")]
    Refused {
        /// Which stream.
        stream: StreamId,
        /// The recorder's words.
        reason: String,
    },
    /// H.265 and others that browsers do not take over WebRTC.
    #[error("the picture of {stream} is in a codec that browsers do not play live")]
    CodecNotPlayable {
        /// Which stream.
        stream: StreamId,
    },
    /// An offer that does not fit.
    #[error("the offer {problem}")]
    UnusableOffer {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A publication that nobody asked for.
    #[error("nobody watches {stream}")]
    NotWanted {
        /// Which stream.
        stream: StreamId,
    },
    /// The session is over or never was.
    #[error("no such live session")]
    UnknownSession,
    /// All ports are taken.
    #[error("no UDP port of live.udp_ports is free")]
    NoFreePort,
    /// WebRTC itself.
    #[error("cannot {step}: {source}")]
    Peer {
        /// What was tried.
        step: &'static str,
        /// What it said.
        source: webrtc::error::Error,
    },
}
