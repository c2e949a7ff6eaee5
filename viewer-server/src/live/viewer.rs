//! A viewer: its tracks and the task that feeds them.

use std::sync::Arc;
use std::time::Duration;

use rtc::media_stream::MediaStreamTrack;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use tokio_util::sync::CancellationToken;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::RTCPeerConnectionState;

use super::error::LiveError;
use super::feedback::Feedback;
use super::ingest::is_over;
use super::pace::Pacer;
use super::packet::{Kind, LiveItem};
use super::peer::{Peer, codec};
use super::rewrite::Rewriter;
use super::sdp::Format;
use super::stream::{LiveStream, Place};
use super::{Interest, LiveHub};

const CONNECT_DEADLINE: Duration = Duration::from_secs(15);

/// One track to a viewer.
pub(super) struct Output {
    track: Arc<TrackLocalStaticRTP>,
    rewriter: Rewriter,
}

impl Output {
    /// Adds a track to a peer connection that has not been offered anything yet.
    pub(super) async fn add(peer: &Peer, kind: Kind, format: &Format) -> Result<Self, LiveError> {
        let (name, rtc_kind) = match kind {
            Kind::Video => ("video", RtpCodecKind::Video),
            Kind::Audio => ("audio", RtpCodecKind::Audio),
        };
        let ssrc = rand::random::<u32>().max(1);
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..Default::default()
            },
            codec: codec(kind, format),
            ..Default::default()
        };
        // One media stream for both tracks: browsers play in step only what shares one.
        let track = MediaStreamTrack::new("live".into(), name.into(), name.into(), rtc_kind, vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        peer.connection
            .add_track(Arc::clone(&track) as Arc<dyn TrackLocal>)
            .await
            .map_err(|source| LiveError::Peer {
                step: "add a track",
                source,
            })?;
        Ok(Self {
            track,
            rewriter: Rewriter::new(kind, ssrc, format.payload_type),
        })
    }

    async fn send(&mut self, item: &LiveItem, now_us: i64) -> webrtc::error::Result<()> {
        if let LiveItem::Report(report) = item {
            return match self.rewriter.report(report) {
                Some(report) => self.send_report(report).await,
                None => Ok(()),
            };
        }
        match self.rewriter.packet(item, now_us) {
            Some(packet) => self.track.write_rtp(packet).await,
            None => Ok(()),
        }
    }

    async fn send_report(&self, report: SenderReport) -> webrtc::error::Result<()> {
        self.track.write_rtcp(vec![Box::new(report)]).await
    }
}

/// A viewer's connection and what feeds it.
pub(super) struct Viewer {
    pub(super) hub: LiveHub,
    pub(super) interest: Interest,
    pub(super) session: String,
    pub(super) video: Output,
    pub(super) audio: Option<Output>,
    pub(super) ending: CancellationToken,
}

impl Viewer {
    /// Runs until either side ends it.
    pub(super) async fn run(mut self, mut peer: Peer) {
        metrics::gauge!("minhquay_live_viewers").increment(1.0);
        let ending = self.ending.clone();
        let reason = tokio::select! {
            () = ending.cancelled() => "closed",
            reason = self.play(&mut peer) => reason,
        };
        tracing::info!(stream = %self.interest.stream.id, reason, "live session ended");
        let _ = peer.connection.close().await;
        self.hub.forget(&self.session);
        metrics::gauge!("minhquay_live_viewers").decrement(1.0);
    }

    async fn play(&mut self, peer: &mut Peer) -> &'static str {
        let connected = peer
            .state
            .wait_for(|state| *state == RTCPeerConnectionState::Connected);
        match tokio::time::timeout(CONNECT_DEADLINE, connected).await {
            Ok(Ok(_)) => {}
            _ => return "not connected in time",
        }
        let stream = Arc::clone(&self.interest.stream);
        let hub = self.hub.clone();
        let mut place = stream.join();
        let reason = tokio::select! {
            () = watch_peer(&hub, &stream, peer) => "connection lost",
            () = self.feed(&mut place) => "connection closed",
        };
        stream.part(place.id);
        reason
    }

    async fn feed(&mut self, place: &mut Place) {
        let mut pacer = Pacer::default();
        let mut start = std::mem::take(&mut place.start).into_iter();
        loop {
            let item = match start.next() {
                Some(item) => item,
                None => match place.items.recv().await {
                    Some(item) => item,
                    None => return,
                },
            };
            if let LiveItem::Packet(packet) | LiveItem::Resume(packet) = &item
                && let Some(delay) = pacer.delay(packet.payload.len(), self.hub.now_us())
            {
                tokio::time::sleep(delay).await;
            }
            let output = match item.kind() {
                Kind::Video => Some(&mut self.video),
                Kind::Audio => self.audio.as_mut(),
            };
            if let Some(output) = output
                && output.send(&item, self.hub.now_us()).await.is_err()
            {
                return;
            }
        }
    }
}

/// Passes keyframe requests on; returns when the connection will not come back.
async fn watch_peer(hub: &LiveHub, stream: &Arc<LiveStream>, peer: &mut Peer) {
    loop {
        tokio::select! {
            Some(feedback) = peer.feedback.recv() => {
                if feedback == Feedback::KeyframeWanted {
                    hub.ask_keyframe(stream);
                }
            }
            changed = peer.state.changed() => {
                let state = *peer.state.borrow();
                if changed.is_err() || is_over(state) {
                    return;
                }
            }
        }
    }
}
