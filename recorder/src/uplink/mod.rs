//! The line to the centre: enrolment, session, facts, uploads. The recording never waits for any of it.

mod budget;
mod clock;
mod enrol;
mod plan;
mod receipts;
mod session;
mod transfer;
mod upload;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use archive::ids::{SiteId, StreamId};
use archive::time::Clock;
use archive::uplink::StreamDescription;
use futures::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::capture::Health;
use crate::index::{Index, IndexError};
use crate::record::{Ledger, Volume, WriteError};

pub use budget::Hours;
pub use enrol::{EnrolError, Identity, enrol, ensure_key, public_key};
#[cfg(test)]
pub(crate) use plan::{SetAside, choose};

/// An open session: what HTTP calls to the centre need.
#[derive(Debug, Clone)]
pub struct Link {
    /// `https://host`, without a slash at the end.
    pub url: String,
    /// Bearer token of the session.
    pub token: String,
    /// The client, with its timeouts.
    pub client: reqwest::Client,
}

impl Link {
    /// Address of a call below `/api/v1/edge`.
    pub fn edge(&self, path: &str) -> String {
        format!("{}/api/v1/edge/{path}", self.url)
    }
}

/// What the centre wants of live pictures.
#[derive(Debug, Clone)]
pub enum LiveCommand {
    /// Publish a stream by WHIP at [`Link::edge`]`("streams/{stream}/whip")`.
    Start {
        /// Which.
        stream: StreamId,
        /// Where to.
        link: Link,
    },
    /// Stop publishing it.
    Stop {
        /// Which.
        stream: StreamId,
    },
    /// Ask the camera for a keyframe.
    Keyframe {
        /// Which.
        stream: StreamId,
    },
    /// The session is gone: stop publishing everything.
    StopAll,
}

/// Live of a stream could not be started or ended by itself.
#[derive(Debug, Clone)]
pub struct LiveEnded {
    /// Which stream.
    pub stream: StreamId,
    /// Why, for the log.
    pub reason: String,
}

/// What went wrong between recorder and centre; tried again later.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// The socket failed.
    #[error("session: {0}")]
    Socket(Box<tokio_tungstenite::tungstenite::Error>),
    /// The centre says no.
    #[error("the centre refuses this recorder: {0}")]
    Refused(String),
    /// The centre says what was not expected.
    #[error("session: {0}")]
    Protocol(String),
    /// Nothing was heard for too long.
    #[error("session: nothing was heard for {0} s")]
    Silent(u64),
    /// An HTTP call failed.
    #[error("upload: {0}")]
    Http(#[from] reqwest::Error),
    /// An HTTP call was answered with an unexpected status.
    #[error("upload of {segment}: {status} {body}")]
    Status {
        /// Which segment.
        segment: archive::ids::SegmentKey,
        /// The status.
        status: u16,
        /// The start of the answer.
        body: String,
    },
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A loss could not be told.
    #[error(transparent)]
    Ledger(#[from] WriteError),
    /// A fault of this program; the next try may do better.
    #[error("the uplink itself failed")]
    Panicked,
}

/// Turns a panic into an error, so that the line to the centre comes back by itself.
async fn surviving<T>(attempt: impl Future<Output = Result<T, UplinkError>>) -> Result<T, UplinkError> {
    let outcome = AssertUnwindSafe(attempt).catch_unwind().await;
    outcome.unwrap_or_else(|_| {
        metrics::counter!("recorder_panics_total", "room" => "uplink").increment(1);
        Err(UplinkError::Panicked)
    })
}

impl From<tokio_tungstenite::tungstenite::Error> for UplinkError {
    fn from(e: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::Socket(Box::new(e))
    }
}

/// Everything that the uplink needs.
pub struct Uplink {
    /// `https://host`.
    pub url: String,
    /// Who this recorder is.
    pub identity: Identity,
    /// The site served.
    pub site: SiteId,
    /// The streams set up.
    pub streams: Vec<StreamDescription>,
    /// Folder of the recordings.
    pub recordings: PathBuf,
    /// The index.
    pub index: Index,
    /// What footage may take of the line.
    pub hours: Hours,
    /// The disk of the recordings.
    pub volume: Volume,
    /// Where losses are told.
    pub ledger: Ledger,
    /// How the streams do.
    pub health: BTreeMap<StreamId, Arc<Health>>,
    /// Seconds until only footage that must stay would be left on the disk, if ever.
    pub disk_left_s: watch::Receiver<Option<u64>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the difference of the clocks is noted.
    pub clock_seen: Arc<crate::health::ClockSeen>,
    /// Where live commands go.
    pub live: mpsc::Sender<LiveCommand>,
    /// Ends it.
    pub shutdown: CancellationToken,
}

/// Keeps a session with the centre and uploads what is sealed, until shutdown.
pub async fn run(uplink: Uplink, live_ended: mpsc::Receiver<LiveEnded>) {
    let (link, links) = watch::channel(None);
    let uplink = Arc::new(uplink);
    tokio::join!(
        session::keep(uplink.clone(), link, live_ended),
        upload::keep(uplink.clone(), links)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_attempt_only() {
        assert!(matches!(surviving(async { Ok(1) }).await, Ok(1)));
        let failed = surviving::<()>(async { panic!("as a fault of the program would") }).await;
        assert!(matches!(failed, Err(UplinkError::Panicked)));
    }
}
