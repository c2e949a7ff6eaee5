//! Live pictures: WHIP in from the recorder (RFC 9725), fan-out, WHEP out to browsers.
//!
//! The only room of the server that knows webrtc. A recorder publishes a stream while somebody
//! watches and for a while after; each viewer gets the newest GOP at once and then what comes.
//!
//! Locks: a stream's state and the tables of [`LiveHub`] are leaves; none is taken under another.

mod error;
mod feedback;
mod gop;
mod ingest;
mod pace;
mod packet;
mod peer;
mod ports;
mod reorder;
mod rewrite;
mod runtime;
mod sdp;
mod stream;
mod viewer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use archive::ids::StreamId;
use archive::time::Clock;
use archive::uplink::ToRecorder;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use site_config::server::LiveSettings;
use tokio_util::sync::CancellationToken;
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateInit};

pub use error::LiveError;
use ingest::Ingest;
use packet::Kind;
use peer::{Peer, Side};
use ports::MediaPorts;
use sdp::Format;
use stream::{LiveStream, Publication};
use viewer::{Output, Viewer};

/// How long a first viewer waits for the recorder's publication.
const PUBLICATION_DEADLINE: Duration = Duration::from_secs(5);

/// What a recorder says of a stream that browsers cannot play live.
pub const CODEC_NOT_PLAYABLE: &str = "codec_not_playable";

/// The recorder of a stream has no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recorder is not connected")]
pub struct Offline;

type CommandSent = Pin<Box<dyn Future<Output = Result<(), Offline>> + Send>>;

/// The way to the recorder of a stream.
#[derive(Clone)]
pub struct EdgeCommands(Arc<dyn Fn(StreamId, ToRecorder) -> CommandSent + Send + Sync>);

impl EdgeCommands {
    /// Wraps whatever finds the session of a stream's recorder.
    pub fn new<F, S>(send: F) -> Self
    where
        F: Fn(StreamId, ToRecorder) -> S + Send + Sync + 'static,
        S: Future<Output = Result<(), Offline>> + Send + 'static,
    {
        Self(Arc::new(move |stream, command| Box::pin(send(stream, command))))
    }

    /// Sends a command to the recorder of a stream.
    ///
    /// # Errors
    /// [`Offline`] if it has no session.
    pub async fn send(&self, stream: &StreamId, command: ToRecorder) -> Result<(), Offline> {
        (self.0)(stream.clone(), command).await
    }
}

/// An answered offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Name of the session for the `Location`; not guessable.
    pub session: String,
    /// The answer, with all candidates.
    pub sdp: String,
}

/// All live streams of this server.
#[derive(Clone)]
pub struct LiveHub(Arc<Hub>);

struct Hub {
    public_ips: Vec<IpAddr>,
    linger: Duration,
    ports: MediaPorts,
    edge: EdgeCommands,
    clock: Arc<dyn Clock>,
    streams: Mutex<HashMap<StreamId, Arc<LiveStream>>>,
    sessions: Mutex<HashMap<String, Session>>,
}

struct Session {
    viewer_key: String,
    connection: Arc<dyn PeerConnection>,
    ending: CancellationToken,
}

impl LiveHub {
    /// `listen` is the address of the HTTP service: where it is loopback, media is offered there too.
    pub fn new(settings: &LiveSettings, listen: IpAddr, edge: EdgeCommands, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Hub {
            public_ips: settings.public_ips.clone(),
            linger: Duration::from_secs(settings.linger_s.into()),
            ports: MediaPorts::new(settings.bind, listen, settings.udp_ports),
            edge,
            clock,
            streams: Mutex::default(),
            sessions: Mutex::default(),
        }))
    }

    /// Answers a viewer's offer (WHEP). `viewer_key` names the person's login, for [`Self::close_sessions_of`].
    ///
    /// # Errors
    /// See [`LiveError`]; the picture may take up to five seconds to be refused.
    pub async fn watch(
        &self,
        stream: &StreamId,
        viewer_key: &str,
        offer: &str,
    ) -> Result<Answered, LiveError> {
        if sdp::choose_h264(offer, None).is_none() {
            return Err(LiveError::UnusableOffer {
                problem: "has no H.264 with packetization-mode 1",
            });
        }
        let interest = Interest::new(self, self.stream(stream));
        let profile = self.published(&interest.stream).await?;
        let h264 = sdp::choose_h264(offer, profile).ok_or(LiveError::UnusableOffer {
            problem: "has no H.264 with packetization-mode 1",
        })?;
        let opus = sdp::formats(offer, "opus").into_iter().next();
        let mut peer = Peer::open(Side::Viewer, &self.0.ports, &h264, opus.as_ref()).await?;
        let negotiated = negotiate_viewer(&mut peer, offer, &h264, opus.as_ref()).await;
        let (sdp, video, audio) = match negotiated {
            Ok(negotiated) => negotiated,
            Err(error) => {
                let _ = peer.connection.close().await;
                return Err(error);
            }
        };
        let session = format!("{:032x}", rand::random::<u128>());
        let ending = CancellationToken::new();
        self.sessions().insert(
            session.clone(),
            Session {
                viewer_key: viewer_key.to_owned(),
                connection: Arc::clone(&peer.connection),
                ending: ending.clone(),
            },
        );
        let viewer = Viewer {
            hub: self.clone(),
            interest,
            session: session.clone(),
            video,
            audio,
            ending,
        };
        tokio::spawn(viewer.run(peer));
        Ok(Answered {
            session,
            sdp: sdp::with_public_candidates(&sdp, &self.0.public_ips),
        })
    }

    /// Takes candidates that a viewer sends after its offer.
    ///
    /// # Errors
    /// [`LiveError::UnknownSession`] if the session is over or not this viewer's.
    pub async fn patch(&self, session: &str, viewer_key: &str, fragment: &str) -> Result<(), LiveError> {
        let connection = match self.sessions().get(session) {
            Some(found) if found.viewer_key == viewer_key => Arc::clone(&found.connection),
            _ => return Err(LiveError::UnknownSession),
        };
        for trickled in sdp::trickled(fragment) {
            let candidate = RTCIceCandidateInit {
                candidate: trickled.candidate,
                sdp_mid: trickled.mid,
                ..Default::default()
            };
            connection
                .add_ice_candidate(candidate)
                .await
                .map_err(|_| LiveError::UnusableOffer {
                    problem: "has a candidate that cannot be read",
                })?;
        }
        Ok(())
    }

    /// Ends a viewer's session.
    ///
    /// # Errors
    /// [`LiveError::UnknownSession`] if the session is over or not this viewer's.
    pub fn close(&self, session: &str, viewer_key: &str) -> Result<(), LiveError> {
        match self.sessions().get(session) {
            Some(found) if found.viewer_key == viewer_key => found.ending.cancel(),
            _ => return Err(LiveError::UnknownSession),
        }
        Ok(())
    }

    /// Ends all sessions of one login, when its rights are withdrawn. How many there were.
    pub fn close_sessions_of(&self, viewer_key: &str) -> usize {
        let sessions = self.sessions();
        let of_viewer = sessions
            .values()
            .filter(|session| session.viewer_key == viewer_key);
        of_viewer.inspect(|session| session.ending.cancel()).count()
    }

    /// Ends everything, when the server stops.
    pub fn close_all(&self) {
        self.sessions()
            .values()
            .for_each(|session| session.ending.cancel());
        self.streams().values().for_each(|stream| {
            stream.cancel();
        });
    }

    /// Answers a recorder's offer (WHIP); a publication before it ends, its viewers stay.
    ///
    /// # Errors
    /// [`LiveError::NotWanted`] if nobody watches; others see [`LiveError`].
    pub async fn publish(&self, stream: &StreamId, offer: &str) -> Result<String, LiveError> {
        let stream = self.stream(stream);
        if !stream.is_wanted() {
            return Err(LiveError::NotWanted {
                stream: stream.id.clone(),
            });
        }
        let Some(h264) = sdp::choose_h264(offer, None) else {
            stream.refused(CODEC_NOT_PLAYABLE.into());
            return Err(LiveError::CodecNotPlayable {
                stream: stream.id.clone(),
            });
        };
        let opus = sdp::formats(offer, "opus").into_iter().next();
        let mut peer = Peer::open(Side::Publisher, &self.0.ports, &h264, opus.as_ref()).await?;
        let sdp = match negotiate_publisher(&mut peer, offer, opus.as_ref()).await {
            Ok(sdp) => sdp,
            Err(error) => {
                let _ = peer.connection.close().await;
                return Err(error);
            }
        };
        let ending = CancellationToken::new();
        let number = stream.begin(h264.profile_level(), ending.clone());
        tracing::info!(stream = %stream.id, publication = number, "publication began");
        let ingest = Ingest {
            hub: self.clone(),
            stream,
            number,
            ending,
        };
        tokio::spawn(ingest.run(peer));
        Ok(sdp::with_public_candidates(&sdp, &self.0.public_ips))
    }

    /// Ends a stream's publication at the recorder's wish (WHIP `DELETE`).
    ///
    /// # Errors
    /// [`LiveError::UnknownSession`] if there is none.
    pub fn unpublish(&self, stream: &StreamId) -> Result<(), LiveError> {
        if self.stream(stream).cancel() {
            Ok(())
        } else {
            Err(LiveError::UnknownSession)
        }
    }

    /// The recorder says that live could not start, or ended: [`archive::uplink::ToServer::LiveEnded`].
    pub fn live_ended(&self, stream: &StreamId, reason: &str) {
        let stream = self.stream(stream);
        stream.cancel();
        stream.refused(reason.to_owned());
    }

    /// A recorder's session began: asks again for those of its streams that somebody watches.
    pub async fn recorder_connected(&self, streams: &[StreamId]) {
        for stream in streams {
            let is_watched = self
                .streams()
                .get(stream)
                .is_some_and(|stream| stream.is_watched());
            if is_watched {
                let _ = self
                    .0
                    .edge
                    .send(
                        stream,
                        ToRecorder::LiveStart {
                            stream: stream.clone(),
                        },
                    )
                    .await;
            }
        }
    }

    /// How many viewers are connected or connecting.
    pub fn viewers(&self) -> usize {
        self.sessions().len()
    }

    async fn published(&self, stream: &LiveStream) -> Result<Option<sdp::ProfileLevel>, LiveError> {
        let mut publication = stream.publication();
        if stream.starting() {
            let start = ToRecorder::LiveStart {
                stream: stream.id.clone(),
            };
            let offline = |Offline| LiveError::StreamOffline {
                stream: stream.id.clone(),
            };
            self.0.edge.send(&stream.id, start).await.map_err(offline)?;
        }
        let decided =
            publication.wait_for(|p| matches!(p, Publication::Ready { .. } | Publication::Refused { .. }));
        let decided = tokio::time::timeout(PUBLICATION_DEADLINE, decided).await;
        match decided.map(|decided| decided.map(|p| p.clone())) {
            Ok(Ok(Publication::Ready { profile })) => Ok(profile),
            Ok(Ok(Publication::Refused { reason })) if reason == CODEC_NOT_PLAYABLE => {
                Err(LiveError::CodecNotPlayable {
                    stream: stream.id.clone(),
                })
            }
            Ok(Ok(Publication::Refused { reason })) => Err(LiveError::Refused {
                stream: stream.id.clone(),
                reason,
            }),
            _ => Err(LiveError::NotPublished {
                stream: stream.id.clone(),
                waited_ms: PUBLICATION_DEADLINE.as_millis() as u64,
            }),
        }
    }

    fn ask_keyframe(&self, stream: &Arc<LiveStream>) {
        if stream.may_ask_keyframe(self.now_us()) {
            let (hub, stream) = (self.clone(), stream.id.clone());
            tokio::spawn(async move {
                let _ = hub
                    .0
                    .edge
                    .send(
                        &stream,
                        ToRecorder::LiveKeyframe {
                            stream: stream.clone(),
                        },
                    )
                    .await;
            });
        }
    }

    fn linger(&self, stream: Arc<LiveStream>, interest: u64) {
        // Outside a runtime the program is ending and nobody is left to tell.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let hub = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(hub.0.linger).await;
            if stream.end_if_idle(interest) {
                let stop = ToRecorder::LiveStop {
                    stream: stream.id.clone(),
                };
                let _ = hub.0.edge.send(&stream.id, stop).await;
            }
        });
    }

    fn now_us(&self) -> i64 {
        self.0.clock.monotonic_us()
    }

    fn forget(&self, session: &str) {
        self.sessions().remove(session);
    }

    fn stream(&self, id: &StreamId) -> Arc<LiveStream> {
        let mut streams = self.streams();
        let stream = streams
            .entry(id.clone())
            .or_insert_with(|| Arc::new(LiveStream::new(id.clone())));
        Arc::clone(stream)
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<LiveStream>>> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody's wish to see a stream; the last to be dropped lets the publication end.
struct Interest {
    hub: LiveHub,
    stream: Arc<LiveStream>,
}

impl Interest {
    fn new(hub: &LiveHub, stream: Arc<LiveStream>) -> Self {
        stream.enter();
        Self {
            hub: hub.clone(),
            stream,
        }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        if let Some(interest) = self.stream.leave() {
            self.hub.linger(Arc::clone(&self.stream), interest);
        }
    }
}

async fn negotiate_viewer(
    peer: &mut Peer,
    offer: &str,
    h264: &Format,
    opus: Option<&Format>,
) -> Result<(String, Output, Option<Output>), LiveError> {
    let video = Output::add(peer, Kind::Video, h264).await?;
    // Also where the publication has no sound now: one that takes over may have.
    let audio = match opus {
        Some(opus) => Some(Output::add(peer, Kind::Audio, opus).await?),
        None => None,
    };
    peer.offered(offer).await?;
    Ok((peer.answer().await?, video, audio))
}

async fn negotiate_publisher(
    peer: &mut Peer,
    offer: &str,
    opus: Option<&Format>,
) -> Result<String, LiveError> {
    let kinds = [Some(RtpCodecKind::Video), opus.map(|_| RtpCodecKind::Audio)];
    for kind in kinds.into_iter().flatten() {
        let receive = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Recvonly,
            ..Default::default()
        };
        peer.connection
            .add_transceiver_from_kind(kind, Some(receive))
            .await
            .map_err(|source| LiveError::Peer {
                step: "expect a track",
                source,
            })?;
    }
    peer.offered(offer).await?;
    peer.answer().await
}
