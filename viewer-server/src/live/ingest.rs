//! A publication: what comes from the recorder, put in order and fanned out.

use std::collections::HashMap;
use std::time::Duration;

use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::RTCPeerConnectionState;

use std::sync::Arc;

use super::LiveHub;
use super::feedback::Feedback;
use super::packet::{KeyframeDetector, Kind, MediaPacket, Report};
use super::peer::Peer;
use super::reorder::Reorder;
use super::stream::LiveStream;

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// One publication of a stream.
pub(super) struct Ingest {
    pub(super) hub: LiveHub,
    pub(super) stream: Arc<LiveStream>,
    pub(super) number: u64,
    pub(super) ending: CancellationToken,
}

impl Ingest {
    /// Runs until the publisher goes away, another takes over or nobody watches any more.
    pub(super) async fn run(self, mut peer: Peer) {
        metrics::gauge!("minhquay_live_publications").increment(1.0);
        let reason = self.receive(&mut peer).await;
        tracing::info!(stream = %self.stream.id, publication = self.number, reason, "publication ended");
        let _ = peer.connection.close().await;
        self.stream.end(self.number);
        metrics::gauge!("minhquay_live_publications").decrement(1.0);
    }

    async fn receive(&self, peer: &mut Peer) -> &'static str {
        let connected = peer
            .state
            .wait_for(|state| *state == RTCPeerConnectionState::Connected);
        tokio::select! {
            () = self.ending.cancelled() => return "no longer wanted",
            connected = tokio::time::timeout(CONNECT_DEADLINE, connected) => match connected {
                Ok(Ok(_)) => {}
                _ => return "not connected in time",
            },
        }
        let mut kinds: HashMap<u32, Kind> = HashMap::new();
        let mut tracks = JoinSet::new();
        loop {
            tokio::select! {
                () = self.ending.cancelled() => return "no longer wanted",
                Some(track) = peer.tracks.recv() => {
                    let kind = match track.kind().await {
                        RtpCodecKind::Audio => Kind::Audio,
                        _ => Kind::Video,
                    };
                    kinds.extend(track.ssrcs().await.into_iter().map(|ssrc| (ssrc, kind)));
                    tracks.spawn(TrackIngest {
                        hub: self.hub.clone(),
                        stream: Arc::clone(&self.stream),
                        number: self.number,
                        kind,
                        keyframes: KeyframeDetector::default(),
                    }.run(track));
                }
                Some(feedback) = peer.feedback.recv() => {
                    if let Feedback::Report { ssrc, ntp, timestamp } = feedback
                        && let Some(&kind) = kinds.get(&ssrc)
                    {
                        self.stream.report(Report { kind, publication: self.number, ntp, timestamp });
                    }
                }
                changed = peer.state.changed() => {
                    let state = *peer.state.borrow();
                    if changed.is_err() || is_over(state) {
                        return "connection lost";
                    }
                }
            }
        }
    }
}

/// Whether a connection will not come back.
pub(super) fn is_over(state: RTCPeerConnectionState) -> bool {
    matches!(
        state,
        RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
    )
}

struct TrackIngest {
    hub: LiveHub,
    stream: Arc<LiveStream>,
    number: u64,
    kind: Kind,
    keyframes: KeyframeDetector,
}

impl TrackIngest {
    async fn run(mut self, track: Arc<dyn TrackRemote>) {
        let mut reorder = Reorder::default();
        loop {
            let event = match reorder.due_us() {
                None => track.poll().await,
                Some(due_us) => {
                    let left_us = due_us.saturating_sub(self.hub.now_us()).max(0).unsigned_abs();
                    match tokio::time::timeout(Duration::from_micros(left_us), track.poll()).await {
                        Ok(event) => event,
                        Err(_) => Some(TrackRemoteEvent::OnUnmute),
                    }
                }
            };
            let now_us = self.hub.now_us();
            match event {
                Some(TrackRemoteEvent::OnRtpPacket(packet)) => {
                    reorder.push(packet.header.sequence_number, now_us, packet);
                }
                None | Some(TrackRemoteEvent::OnEnded) => return,
                Some(_) => {}
            }
            while let Some((sequence, packet)) = reorder.pop(now_us) {
                if !self.forward(sequence, packet) {
                    return;
                }
            }
            let lost = reorder.take_lost();
            if lost > 0 {
                metrics::counter!("minhquay_live_packets_lost_total").increment(lost);
                if self.kind == Kind::Video {
                    self.hub.ask_keyframe(&self.stream);
                }
            }
        }
    }

    fn forward(&mut self, sequence: u64, packet: rtc::rtp::Packet) -> bool {
        let timestamp = packet.header.timestamp;
        let starts_gop = self.kind == Kind::Video && self.keyframes.starts_gop(timestamp, &packet.payload);
        let dropped = self.stream.fan_out(&MediaPacket {
            kind: self.kind,
            publication: self.number,
            sequence,
            timestamp,
            is_marked: packet.header.marker,
            starts_gop,
            payload: packet.payload,
        });
        if let Some(dropped @ 1..) = dropped {
            metrics::counter!("minhquay_live_packets_dropped_total").increment(dropped);
        }
        dropped.is_some()
    }
}
