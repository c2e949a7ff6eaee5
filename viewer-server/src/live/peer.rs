//! A peer connection with the codecs, sockets and interceptors that live uses.

use std::sync::Arc;
use std::time::Duration;

use rtc::interceptor::{Registry, Slot};
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use tokio::sync::{mpsc, watch};
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder, configure_nack,
};

use super::error::LiveError;
use super::feedback::{Feedback, FeedbackTap};
use super::packet::Kind;
use super::ports::MediaPorts;
use super::runtime::MediaRuntime;
use super::sdp::Format;

const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
const FAILED_AFTER: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const GATHER_DEADLINE: Duration = Duration::from_secs(3);

/// Who is on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Publisher,
    Viewer,
}

impl Side {
    /// The DTLS client knows last that the handshake is over: the side that sends media must be it, or
    /// its first packets, those of a keyframe, come before the other side can read them.
    fn our_role(self) -> RTCDtlsRole {
        match self {
            Self::Publisher => RTCDtlsRole::Server,
            Self::Viewer => RTCDtlsRole::Client,
        }
    }
}

/// A peer connection and what it tells.
pub(super) struct Peer {
    pub(super) connection: Arc<dyn PeerConnection>,
    pub(super) state: watch::Receiver<RTCPeerConnectionState>,
    pub(super) tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
    pub(super) feedback: mpsc::Receiver<Feedback>,
    is_gathered: watch::Receiver<bool>,
}

struct Events {
    state: watch::Sender<RTCPeerConnectionState>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
    is_gathered: watch::Sender<bool>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.is_gathered
            .send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let _ = self.tracks.try_send(track);
    }
}

impl Peer {
    /// Opens sockets; only the given formats will be negotiated.
    pub(super) async fn open(
        side: Side,
        ports: &MediaPorts,
        h264: &Format,
        opus: Option<&Format>,
    ) -> Result<Self, LiveError> {
        let failed = |step| move |source| LiveError::Peer { step, source };
        let mut engine = MediaEngine::default();
        engine
            .register_codec(parameters(Kind::Video, h264), RtpCodecKind::Video)
            .map_err(failed("register H.264"))?;
        if let Some(opus) = opus {
            engine
                .register_codec(parameters(Kind::Audio, opus), RtpCodecKind::Audio)
                .map_err(failed("register Opus"))?;
        }
        let (feedback_tx, feedback) = mpsc::channel(32);
        // No sender reports of webrtc's own: they would name the time of sending, not of capture.
        let registry = configure_nack(Registry::new(), &mut engine)
            .with(
                Slot::ReceiverReport,
                rtc::interceptor::ReceiverReportBuilder::new().build(),
            )
            .with(Slot::from(14_000), FeedbackTap::new(feedback_tx));
        let settings = SettingEngineBuilder::new()
            .with_ice_timeouts(Some(DISCONNECTED_AFTER), Some(FAILED_AFTER), Some(KEEP_ALIVE))
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(true)
            .with_answering_dtls_role(side.our_role())
            .build();
        let (state_tx, state) = watch::channel(RTCPeerConnectionState::New);
        let (tracks_tx, tracks) = mpsc::channel(4);
        let (gathered_tx, is_gathered) = watch::channel(false);
        let events = Events {
            state: state_tx,
            tracks: tracks_tx,
            is_gathered: gathered_tx,
        };
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(events))
            .with_runtime(Arc::new(MediaRuntime))
            .with_udp_addrs(ports.free().ok_or(LiveError::NoFreePort)?)
            .build()
            .await
            .map_err(failed("open a peer connection"))?;
        Ok(Self {
            connection: Arc::new(connection),
            state,
            tracks,
            feedback,
            is_gathered,
        })
    }

    /// Answers an offer that was set before, with all candidates in the answer.
    pub(super) async fn answer(&mut self) -> Result<String, LiveError> {
        let failed = |step| move |source| LiveError::Peer { step, source };
        let answer = self
            .connection
            .create_answer(None)
            .await
            .map_err(failed("create an answer"))?;
        self.connection
            .set_local_description(answer)
            .await
            .map_err(failed("set the answer"))?;
        // Only host candidates are gathered, which takes no time; the deadline guards against a dead driver.
        let _ = tokio::time::timeout(GATHER_DEADLINE, self.gathered()).await;
        let answer = self.connection.local_description().await;
        Ok(answer.map(|description| description.sdp).unwrap_or_default())
    }

    /// Waits until all candidates are known.
    pub(super) async fn gathered(&mut self) {
        let _ = self.is_gathered.wait_for(|is_gathered| *is_gathered).await;
    }

    /// Takes the other side's offer.
    pub(super) async fn offered(&self, offer: &str) -> Result<(), LiveError> {
        let offer = RTCSessionDescription::offer(offer.to_owned()).map_err(|_| LiveError::UnusableOffer {
            problem: "is not a session description",
        })?;
        self.connection
            .set_remote_description(offer)
            .await
            .map_err(|error| {
                tracing::debug!(%error, "offer refused");
                LiveError::UnusableOffer {
                    problem: "cannot be taken",
                }
            })
    }
}

/// The codec as negotiated, for tracks and transceivers.
pub(super) fn codec(kind: Kind, format: &Format) -> RTCRtpCodec {
    let (mime_type, channels) = match kind {
        Kind::Video => ("video/H264", 0),
        Kind::Audio => ("audio/opus", 2),
    };
    RTCRtpCodec {
        mime_type: mime_type.into(),
        clock_rate: kind.clock_rate(),
        channels,
        sdp_fmtp_line: format.fmtp.clone(),
        rtcp_feedback: Vec::new(),
    }
}

fn parameters(kind: Kind, format: &Format) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: codec(kind, format),
        payload_type: format.payload_type,
    }
}
