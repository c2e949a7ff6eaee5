//! The WebRTC half of publishing: a peer connection that offers picture and sound.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::interceptor::{Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sansio::Protocol;
use tokio::sync::{Notify, watch};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder, configure_nack,
};

use super::LiveError;
use crate::capture::SampleKind;

const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
const FAILED_AFTER: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const GATHER_DEADLINE: Duration = Duration::from_secs(3);

const VIDEO_PAYLOAD_TYPE: u8 = 96;
const AUDIO_PAYLOAD_TYPE: u8 = 111;

/// A track to send on.
pub(super) struct Output {
    pub(super) track: Arc<TrackLocalStaticRTP>,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
}

/// A connection that sends one picture and one sound track.
pub(super) struct Peer {
    pub(super) connection: Arc<dyn PeerConnection>,
    pub(super) video: Output,
    pub(super) audio: Output,
    pub(super) state: watch::Receiver<RTCPeerConnectionState>,
    /// The server lost packets for good and wants a keyframe.
    pub(super) keyframe_wanted: Arc<Notify>,
    is_gathered: watch::Receiver<bool>,
}

struct Events {
    state: watch::Sender<RTCPeerConnectionState>,
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
}

fn failed(step: &'static str) -> impl Fn(webrtc::error::Error) -> LiveError {
    move |source| LiveError::Peer { step, source }
}

impl Peer {
    /// Opens a socket on `local` and makes the tracks. `profile_level_id` is that of the picture.
    pub(super) async fn open(
        local: IpAddr,
        profile_level_id: &str,
        ssrcs: [u32; 2],
    ) -> Result<Self, LiveError> {
        let video = codec(
            "video/H264",
            90_000,
            0,
            format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile_level_id}"),
        );
        let audio = codec("audio/opus", 48_000, 2, "minptime=10;useinbandfec=1".into());
        let mut engine = MediaEngine::default();
        for (codec, payload_type, kind) in [
            (&video, VIDEO_PAYLOAD_TYPE, RtpCodecKind::Video),
            (&audio, AUDIO_PAYLOAD_TYPE, RtpCodecKind::Audio),
        ] {
            let parameters = RTCRtpCodecParameters {
                rtp_codec: codec.clone(),
                payload_type,
            };
            engine
                .register_codec(parameters, kind)
                .map_err(failed("register a codec"))?;
        }
        let keyframe_wanted = Arc::new(Notify::new());
        // No sender reports of webrtc's own: they would name the time of sending, not of capture.
        let registry = configure_nack(Registry::new(), &mut engine).with(
            Slot::from(14_000),
            KeyframeRequests::new(Arc::clone(&keyframe_wanted)),
        );
        let settings = SettingEngineBuilder::new()
            .with_ice_timeouts(Some(DISCONNECTED_AFTER), Some(FAILED_AFTER), Some(KEEP_ALIVE))
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(true)
            .build();
        let (state_tx, state) = watch::channel(RTCPeerConnectionState::New);
        let (gathered_tx, is_gathered) = watch::channel(false);
        let connection: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_media_engine(engine)
                .with_setting_engine(settings)
                .with_interceptor_registry(registry)
                .with_handler(Arc::new(Events {
                    state: state_tx,
                    is_gathered: gathered_tx,
                }))
                .with_udp_addrs(vec![SocketAddr::new(local, 0)])
                .build()
                .await
                .map_err(failed("open a peer connection"))?,
        );
        let [video_ssrc, audio_ssrc] = ssrcs;
        let video = add(&connection, SampleKind::Video, video, video_ssrc).await?;
        let audio = add(&connection, SampleKind::Audio, audio, audio_ssrc).await?;
        Ok(Self {
            connection,
            video,
            audio,
            state,
            keyframe_wanted,
            is_gathered,
        })
    }

    /// The offer, with all candidates.
    pub(super) async fn offer(&mut self) -> Result<String, LiveError> {
        let offer = self
            .connection
            .create_offer(None)
            .await
            .map_err(failed("create an offer"))?;
        self.connection
            .set_local_description(offer)
            .await
            .map_err(failed("set the offer"))?;
        let gathered = self.is_gathered.wait_for(|is_gathered| *is_gathered);
        let _ = tokio::time::timeout(GATHER_DEADLINE, gathered).await;
        let offer = self.connection.local_description().await;
        Ok(offer.map(|description| description.sdp).unwrap_or_default())
    }

    /// Takes the server's answer.
    pub(super) async fn answered(&self, answer: String) -> Result<(), LiveError> {
        let answer = RTCSessionDescription::answer(answer).map_err(failed("read the answer"))?;
        self.connection
            .set_remote_description(answer)
            .await
            .map_err(failed("take the answer"))
    }

    /// The track of a kind.
    pub(super) fn output(&self, kind: SampleKind) -> &Output {
        match kind {
            SampleKind::Video => &self.video,
            SampleKind::Audio => &self.audio,
        }
    }
}

fn codec(mime_type: &str, clock_rate: u32, channels: u16, sdp_fmtp_line: String) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: mime_type.into(),
        clock_rate,
        channels,
        sdp_fmtp_line,
        rtcp_feedback: Vec::new(),
    }
}

async fn add(
    connection: &Arc<dyn PeerConnection>,
    kind: SampleKind,
    codec: RTCRtpCodec,
    ssrc: u32,
) -> Result<Output, LiveError> {
    let (name, rtc_kind, payload_type) = match kind {
        SampleKind::Video => ("video", RtpCodecKind::Video, VIDEO_PAYLOAD_TYPE),
        SampleKind::Audio => ("audio", RtpCodecKind::Audio, AUDIO_PAYLOAD_TYPE),
    };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            ..Default::default()
        },
        codec,
        ..Default::default()
    };
    let track = MediaStreamTrack::new(
        "live".into(),
        name.into(),
        name.into(),
        rtc_kind,
        vec![encoding.clone()],
    );
    let track = Arc::new(TrackLocalStaticRTP::new(track));
    let send = RTCRtpTransceiverInit {
        direction: RTCRtpTransceiverDirection::Sendonly,
        send_encodings: vec![encoding],
        ..Default::default()
    };
    connection
        .add_transceiver_from_track(Arc::clone(&track) as Arc<dyn TrackLocal>, Some(send))
        .await
        .map_err(failed("add a track"))?;
    Ok(Output {
        track,
        ssrc,
        payload_type,
    })
}

/// An interceptor that notes keyframe requests and changes nothing.
struct KeyframeRequests {
    wanted: Arc<Notify>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl KeyframeRequests {
    fn new(wanted: Arc<Notify>) -> Self {
        Self {
            wanted,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for KeyframeRequests {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = rtc::shared::error::Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Self::Error> {
        if let Packet::Rtcp(reports) = &packet.message.packet
            && reports
                .iter()
                .any(|report| report.as_any().is::<PictureLossIndication>())
        {
            self.wanted.notify_one();
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Self::Error> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for KeyframeRequests {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
