//! Live pictures to the server over WebRTC (WHIP), while it says that somebody watches.
//!
//! Everything here reads from a stream's [`LiveTap`], whose queue drops what is not read in time:
//! the recording never waits for a viewer.

mod packetize;
mod peer;
mod publication;
mod whip;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use std::time::Duration;

use archive::ids::StreamId;
use archive::time::Clock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::capture::LiveTap;
use crate::uplink::{Link, LiveCommand, LiveEnded};
use publication::Publication;
use whip::Whip;

/// At the end of the recorder, publications may take so long to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// The word for a picture that browsers do not play live, in [`LiveEnded`].
pub const CODEC_NOT_PLAYABLE: &str = "codec_not_playable";

/// Why a publication ended.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// No keyframe came, or the stream is not captured any more.
    #[error("no picture came from the stream")]
    NoPicture,
    /// H.265 and others.
    #[error("browsers do not play this codec live")]
    CodecNotPlayable,
    /// The server refused because nobody watches or the session is over.
    #[error("the server does not want this stream now")]
    NotWanted,
    /// The server answered something else.
    #[error("server: {0}")]
    Server(String),
    /// The HTTP call failed.
    #[error("cannot reach the server: {0}")]
    Http(#[from] reqwest::Error),
    /// No local address.
    #[error("no way to the server: {0}")]
    Socket(#[source] std::io::Error),
    /// WebRTC itself.
    #[error("cannot {step}: {source}")]
    Peer {
        /// What was tried.
        step: &'static str,
        /// What it said.
        source: webrtc::error::Error,
    },
    /// The media did not get through, or not any more.
    #[error("the media connection is lost")]
    ConnectionLost,
}

/// What publishing needs.
pub struct Live {
    /// Where each stream's samples come from.
    pub taps: BTreeMap<StreamId, Arc<LiveTap>>,
    /// Address that media leaves from; `None`: the one that the way to the server starts at.
    pub bind: Option<IpAddr>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What the server is told.
    pub ended: mpsc::Sender<LiveEnded>,
}

/// Does what the server wants until `commands` or the recorder ends.
pub async fn run(live: Live, mut commands: mpsc::Receiver<LiveCommand>, shutdown: CancellationToken) {
    let mut running: HashMap<StreamId, CancellationToken> = HashMap::new();
    // Aborts what is left when this ends.
    let mut publications = JoinSet::new();
    loop {
        let command = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = publications.join_next() => continue,
            command = commands.recv() => match command {
                Some(command) => command,
                None => break,
            },
        };
        match command {
            LiveCommand::Start { stream, link } => {
                if running.get(&stream).is_some_and(|ending| !ending.is_cancelled()) {
                    continue;
                }
                let ending = CancellationToken::new();
                if let Some(publication) = live.publication(&stream, link, ending.clone()) {
                    running.insert(stream, ending);
                    publications.spawn(keep_publishing(publication, live.ended.clone()));
                }
            }
            LiveCommand::Stop { stream } => {
                if let Some(ending) = running.remove(&stream) {
                    ending.cancel();
                }
            }
            LiveCommand::Keyframe { stream } => {
                if let Some(tap) = live.taps.get(&stream) {
                    tap.request_keyframe();
                }
            }
            LiveCommand::StopAll => running.drain().for_each(|(_, ending)| ending.cancel()),
        }
    }
    running.values().for_each(CancellationToken::cancel);
    let rest = async { while publications.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYE, rest).await;
}

impl Live {
    fn publication(&self, stream: &StreamId, link: Link, ending: CancellationToken) -> Option<Publication> {
        let Some(tap) = self.taps.get(stream) else {
            // A full queue means that the session is stuck; the server has its own deadline.
            let _ = self.ended.try_send(LiveEnded {
                stream: stream.clone(),
                reason: "there is no such stream".into(),
            });
            return None;
        };
        Some(Publication {
            stream: stream.clone(),
            tap: Arc::clone(tap),
            whip: Whip { link },
            bind: self.bind,
            clock: Arc::clone(&self.clock),
            ending,
        })
    }
}

/// Publishes until told otherwise, again where it fails; cancels `ending` when it gives up.
async fn keep_publishing(publication: Publication, ended: mpsc::Sender<LiveEnded>) {
    let stream = publication.stream.clone();
    let mut backoff = Backoff::default();
    loop {
        let error = match publication.publish().await {
            Ok(()) => return,
            Err(error) => error,
        };
        if publication.ending.is_cancelled() {
            return;
        }
        tracing::warn!(%stream, %error, "live publication ended");
        match error {
            LiveError::CodecNotPlayable => {
                publication.ending.cancel();
                let reason = CODEC_NOT_PLAYABLE.into();
                let _ = ended.try_send(LiveEnded { stream, reason });
                return;
            }
            LiveError::NotWanted => {
                publication.ending.cancel();
                return;
            }
            _ => {}
        }
        let wait = backoff.after_failure(rand::random());
        tokio::select! {
            () = publication.ending.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
