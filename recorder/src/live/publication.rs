//! One publication: from the tap to the server, until somebody ends it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use archive::ids::StreamId;
use archive::time::Clock;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::peer_connection::RTCPeerConnectionState;

use super::LiveError;
use super::packetize::{Packetizer, Timeline, profile_level_id};
use super::peer::Peer;
use super::whip::Whip;
use crate::capture::{EncodedSample, LiveTap, SampleCodec, SampleKind};

const KEYFRAME_DEADLINE: Duration = Duration::from_secs(15);
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Packets sent in one go; then a pause, so that a keyframe does not overrun a small receive buffer.
const BURST_PACKETS: usize = 24;
const BURST_PAUSE: Duration = Duration::from_millis(2);

/// What a publication needs.
pub(super) struct Publication {
    pub(super) stream: StreamId,
    pub(super) tap: Arc<LiveTap>,
    pub(super) whip: Whip,
    pub(super) bind: Option<IpAddr>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ending: CancellationToken,
}

impl Publication {
    /// Publishes once; returns in order when the command to end comes.
    pub(super) async fn publish(&self) -> Result<(), LiveError> {
        let mut samples = Samples::subscribe(&self.tap);
        let local = match self.bind {
            Some(bind) => bind,
            None => self.whip.local_address().await?,
        };
        let profile = tokio::select! {
            () = self.ending.cancelled() => return Ok(()),
            profile = tokio::time::timeout(KEYFRAME_DEADLINE, samples.profile()) => {
                profile.map_err(|_| LiveError::NoPicture)??
            }
        };
        let ssrcs = [rand::random::<u32>() | 1, rand::random::<u32>() & !1];
        let mut peer = Peer::open(local, &profile, ssrcs).await?;
        let accepted = async {
            let offer = peer.offer().await?;
            let accepted = self.whip.offer(&self.stream, offer).await?;
            peer.answered(accepted.answer.clone()).await?;
            Ok::<_, LiveError>(accepted)
        };
        let accepted = tokio::select! {
            () = self.ending.cancelled() => Err(LiveError::NotWanted),
            accepted = accepted => accepted,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let _ = peer.connection.close().await;
                return Err(error);
            }
        };
        let mut state = peer.state.clone();
        let outcome = tokio::select! {
            () = self.ending.cancelled() => Ok(()),
            lost = lost(&mut state) => Err(lost),
            () = self.pass_keyframe_requests(&peer) => Ok(()),
            outcome = self.send(&peer, &mut samples) => outcome,
        };
        let _ = peer.connection.close().await;
        self.whip.delete(accepted).await;
        outcome
    }

    async fn pass_keyframe_requests(&self, peer: &Peer) {
        loop {
            peer.keyframe_wanted.notified().await;
            self.tap.request_keyframe();
        }
    }

    async fn send(&self, peer: &Peer, samples: &mut Samples) -> Result<(), LiveError> {
        let mut state = peer.state.clone();
        let connected = state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
        match tokio::time::timeout(CONNECT_DEADLINE, connected).await {
            Ok(Ok(_)) => tracing::info!(stream = %self.stream, "publishing live"),
            _ => return Err(LiveError::ConnectionLost),
        }
        let mut timeline = Timeline::default();
        let mut video = Packetizer::new(SampleKind::Video, peer.video.ssrc, peer.video.payload_type);
        let mut audio = Packetizer::new(SampleKind::Audio, peer.audio.ssrc, peer.audio.payload_type);
        let write = |source| LiveError::Peer { step: "send", source };
        loop {
            let sample = samples.next().await?;
            let time_us = timeline.time_us(sample.pts_us, self.clock.monotonic_us(), self.clock.wall().0);
            let packetizer = match sample.kind {
                SampleKind::Video => &mut video,
                SampleKind::Audio => &mut audio,
            };
            let output = peer.output(sample.kind);
            for (i, packet) in packetizer.packets(&sample, time_us).into_iter().enumerate() {
                if i > 0 && i % BURST_PACKETS == 0 {
                    tokio::time::sleep(BURST_PAUSE).await;
                }
                output.track.write_rtp(packet).await.map_err(write)?;
            }
            if let Some(report) = packetizer.report(&timeline, time_us) {
                output
                    .track
                    .write_rtcp(vec![Box::new(report)])
                    .await
                    .map_err(write)?;
            }
        }
    }
}

/// Waits until the connection will not come back.
async fn lost(state: &mut tokio::sync::watch::Receiver<RTCPeerConnectionState>) -> LiveError {
    let is_over = |state: &RTCPeerConnectionState| {
        matches!(
            state,
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
        )
    };
    let _ = state.wait_for(is_over).await;
    LiveError::ConnectionLost
}

/// The tap's samples, from a keyframe on.
struct Samples {
    /// Read before `receiver`.
    held: VecDeque<EncodedSample>,
    receiver: broadcast::Receiver<EncodedSample>,
    tap: Arc<LiveTap>,
    is_waiting: bool,
}

impl Samples {
    fn subscribe(tap: &Arc<LiveTap>) -> Self {
        let (held, receiver) = tap.subscribe();
        Self {
            held: held.into(),
            receiver,
            tap: Arc::clone(tap),
            is_waiting: true,
        }
    }

    /// The `profile-level-id` of the picture; its keyframe stays next.
    async fn profile(&mut self) -> Result<String, LiveError> {
        loop {
            let sample = self.next().await?;
            if sample.kind == SampleKind::Video
                && let Some(profile) = profile_level_id(&sample.data)
            {
                self.held.push_front(sample);
                return Ok(profile);
            }
        }
    }

    /// The next sample; pictures between a loss and the next keyframe are left out.
    async fn next(&mut self) -> Result<EncodedSample, LiveError> {
        loop {
            let sample = match self.held.pop_front() {
                Some(sample) => sample,
                None => match self.receiver.recv().await {
                    Ok(sample) => sample,
                    Err(RecvError::Closed) => return Err(LiveError::NoPicture),
                    Err(RecvError::Lagged(count)) => {
                        metrics::counter!("minhquay_live_samples_dropped_total").increment(count);
                        self.is_waiting = true;
                        self.tap.request_keyframe();
                        continue;
                    }
                },
            };
            match (sample.kind, sample.codec) {
                (SampleKind::Audio, _) => return Ok(sample),
                (SampleKind::Video, SampleCodec::H264) => {
                    if sample.is_keyframe {
                        self.is_waiting = false;
                    }
                    if !self.is_waiting {
                        return Ok(sample);
                    }
                    metrics::counter!("minhquay_live_samples_dropped_total").increment(1);
                }
                (SampleKind::Video, _) => return Err(LiveError::CodecNotPlayable),
            }
        }
    }
}
