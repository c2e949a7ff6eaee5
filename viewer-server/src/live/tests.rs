//! A publisher and viewers in one process, over real sockets of the loopback.

use std::sync::atomic::{AtomicBool, Ordering};

use archive::time::SystemClock;
use bytes::Bytes;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters};
use tokio::sync::mpsc;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemoteEvent;
use webrtc::peer_connection::{RTCPeerConnectionState, RTCSessionDescription};

use super::*;

const DEADLINE: Duration = Duration::from_secs(15);
const FRAMES_PER_GOP: u32 = 25;
const PACKETS_PER_FRAME: u8 = 4;

fn h264() -> Format {
    Format {
        payload_type: 96,
        fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".into(),
    }
}

fn opus() -> Format {
    Format {
        payload_type: 111,
        fmtp: "minptime=10;useinbandfec=1".into(),
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("in time: {what}"))
}

struct Bench {
    hub: LiveHub,
    commands: mpsc::Receiver<ToRecorder>,
    is_offline: Arc<AtomicBool>,
    stream: StreamId,
}

impl Bench {
    fn new(linger_s: u32) -> Self {
        let (tx, commands) = mpsc::channel(16);
        let is_offline = Arc::new(AtomicBool::new(false));
        let offline = Arc::clone(&is_offline);
        let edge = EdgeCommands::new(move |_, command| {
            let (tx, offline) = (tx.clone(), Arc::clone(&offline));
            async move {
                if offline.load(Ordering::SeqCst) {
                    return Err(Offline);
                }
                tx.send(command).await.map_err(|_| Offline)
            }
        });
        // Each test has its own ports, so that parallel ones do not race for one.
        let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let first = probe.local_addr().unwrap().port().min(65_000);
        let settings = LiveSettings {
            bind: [127, 0, 0, 1].into(),
            udp_ports: [first, first + 50],
            public_ips: Vec::new(),
            linger_s,
        };
        Self {
            hub: LiveHub::new(&settings, settings.bind, edge, Arc::new(SystemClock)),
            commands,
            is_offline,
            stream: "q01.front.main".parse().unwrap(),
        }
    }

    async fn command(&mut self) -> ToRecorder {
        within("a command", self.commands.recv()).await.unwrap()
    }

    /// A first viewer, whose wish makes the recorder publish.
    async fn first_viewer(&mut self) -> (Viewer, Publisher) {
        let (hub, stream) = (self.hub.clone(), self.stream.clone());
        let viewer = tokio::spawn(async move { Viewer::watch(&hub, &stream).await });
        assert_eq!(
            self.command().await,
            ToRecorder::LiveStart {
                stream: self.stream.clone()
            }
        );
        let publisher = Publisher::publish(&self.hub, &self.stream).await;
        (within("an answer", viewer).await.unwrap(), publisher)
    }
}

async fn peer() -> Peer {
    let ports = MediaPorts::new([127, 0, 0, 1].into(), [127, 0, 0, 1].into(), [20_000, 39_999]);
    for _ in 0..rand::random::<u8>() {
        ports.free();
    }
    Peer::open(Side::Viewer, &ports, &h264(), Some(&opus()))
        .await
        .unwrap()
}

async fn offer(peer: &mut Peer) -> String {
    let offer = peer.connection.create_offer(None).await.unwrap();
    peer.connection.set_local_description(offer).await.unwrap();
    within("candidates", peer.gathered()).await;
    peer.connection.local_description().await.unwrap().sdp
}

async fn answered(peer: &Peer, answer: String) {
    let answer = RTCSessionDescription::answer(answer).unwrap();
    peer.connection.set_remote_description(answer).await.unwrap();
}

/// Publishes numbered frames of four packets, 200 a second, a keyframe each 25.
struct Publisher {
    task: tokio::task::JoinHandle<()>,
}

impl Publisher {
    async fn publish(hub: &LiveHub, stream: &StreamId) -> Self {
        let mut peer = peer().await;
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(77),
                ..Default::default()
            },
            codec: peer::codec(Kind::Video, &h264()),
            ..Default::default()
        };
        let track = MediaStreamTrack::new(
            "s".into(),
            "v".into(),
            "v".into(),
            RtpCodecKind::Video,
            vec![encoding],
        );
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        peer.connection
            .add_track(Arc::clone(&track) as Arc<dyn TrackLocal>)
            .await
            .unwrap();
        let offer = offer(&mut peer).await;
        answered(&peer, hub.publish(stream, &offer).await.unwrap()).await;
        let task = tokio::spawn(async move {
            let connected = peer
                .state
                .wait_for(|state| *state == RTCPeerConnectionState::Connected);
            within("publisher connected", connected).await.unwrap();
            let mut sequence_number = 65_000;
            for frame in 0_u32.. {
                let report = rtc::rtcp::sender_report::SenderReport {
                    ssrc: 77,
                    ntp_time: u64::from(frame) << 32,
                    rtp_time: frame * 450,
                    ..Default::default()
                };
                if frame % FRAMES_PER_GOP == 0 && track.write_rtcp(vec![Box::new(report)]).await.is_err() {
                    return;
                }
                for part in 0..PACKETS_PER_FRAME {
                    sequence_number = u16::wrapping_add(sequence_number, 1);
                    let header = rtp::header::Header {
                        version: 2,
                        marker: part + 1 == PACKETS_PER_FRAME,
                        payload_type: 96,
                        sequence_number,
                        timestamp: frame * 450,
                        ssrc: 77,
                        ..Default::default()
                    };
                    let payload = payload(frame, part);
                    if track.write_rtp(rtp::Packet { header, payload }).await.is_err() {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { task }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn payload(frame: u32, part: u8) -> Bytes {
    let is_key = frame.is_multiple_of(FRAMES_PER_GOP) && part == 0;
    let mut payload = vec![if is_key { 0x65 } else { 0x41 }];
    payload.extend(frame.to_be_bytes());
    payload.push(part);
    payload.resize(900, 0);
    payload.into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Received {
    sequence_number: u16,
    timestamp: u32,
    frame: u32,
    part: u8,
}

struct Viewer {
    session: String,
    peer: Peer,
    packets: mpsc::Receiver<Received>,
}

impl Viewer {
    async fn watch(hub: &LiveHub, stream: &StreamId) -> Self {
        let mut peer = peer().await;
        let offer = viewer_offer(&mut peer).await;
        let Answered { session, sdp } = hub.watch(stream, "key", &offer).await.unwrap();
        assert!(
            sdp.contains("typ host") && sdp.contains("H264/90000") && !sdp.contains("VP8"),
            "{sdp}"
        );
        answered(&peer, sdp).await;
        let (tx, packets) = mpsc::channel(4096);
        let track = within("a video track", async {
            loop {
                let track = peer.tracks.recv().await.unwrap();
                if track.kind().await == RtpCodecKind::Video {
                    return track;
                }
            }
        })
        .await;
        tokio::spawn(async move {
            let mut reorder = reorder::Reorder::default();
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    reorder.push(packet.header.sequence_number, 0, packet);
                }
                while let Some((_, packet)) = reorder.pop(0) {
                    let received = Received {
                        sequence_number: packet.header.sequence_number,
                        timestamp: packet.header.timestamp,
                        frame: u32::from_be_bytes(packet.payload[1..5].try_into().unwrap()),
                        part: packet.payload[5],
                    };
                    if tx.send(received).await.is_err() {
                        return;
                    }
                }
            }
        });
        Self {
            session,
            peer,
            packets,
        }
    }

    async fn take(&mut self, count: usize) -> Vec<Received> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let packet = within("a packet", self.packets.recv()).await;
            taken.push(packet.unwrap());
        }
        taken
    }
}

async fn viewer_offer(peer: &mut Peer) -> String {
    for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
        let receive = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Recvonly,
            ..Default::default()
        };
        peer.connection
            .add_transceiver_from_kind(kind, Some(receive))
            .await
            .unwrap();
    }
    offer(peer).await
}

/// Checks that every packet of every frame is there, in order.
fn assert_whole(packets: &[Received]) {
    for pair in packets.windows(2) {
        let [before, after] = pair else { unreachable!() };
        let expected = Received {
            sequence_number: before.sequence_number.wrapping_add(1),
            timestamp: if before.part + 1 == PACKETS_PER_FRAME {
                before.timestamp + 450
            } else {
                before.timestamp
            },
            frame: before.frame + u32::from(before.part + 1 == PACKETS_PER_FRAME),
            part: (before.part + 1) % PACKETS_PER_FRAME,
        };
        assert_eq!(*after, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_start_at_a_keyframe_and_lose_nothing() {
    let mut bench = Bench::new(60);
    let (mut first, _publisher) = bench.first_viewer().await;
    let packets = first.take(800).await;
    assert_eq!((packets[0].frame, packets[0].part), (0, 0));
    assert_whole(&packets);
    let mut second = Viewer::watch(&bench.hub, &bench.stream).await;
    let packets = second.take(600).await;
    assert_eq!((packets[0].frame % FRAMES_PER_GOP, packets[0].part), (0, 0));
    assert!(packets[0].frame > 0);
    assert_whole(&packets);
    assert_whole(&first.take(400).await);
    assert_eq!(bench.hub.viewers(), 2);
    assert!(bench.commands.try_recv().is_err(), "one publication serves both");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_stay_when_the_recorder_publishes_again() {
    let mut bench = Bench::new(60);
    let (mut viewer, publisher) = bench.first_viewer().await;
    let before = viewer.take(200).await;
    drop(publisher);
    let _again = Publisher::publish(&bench.hub, &bench.stream).await;
    let mut last = before[199];
    let first = loop {
        let packet = viewer.take(1).await[0];
        if packet.frame < last.frame {
            break packet;
        }
        last = packet;
    };
    assert_eq!((first.frame, first.part), (0, 0));
    assert_eq!(first.sequence_number, last.sequence_number.wrapping_add(1));
    assert!(first.timestamp > last.timestamp);
    assert_whole(&viewer.take(200).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_viewer_ends_the_publication() {
    let mut bench = Bench::new(1);
    let (mut viewer, _publisher) = bench.first_viewer().await;
    viewer.take(10).await;
    assert!(matches!(
        bench.hub.close(&viewer.session, "another"),
        Err(LiveError::UnknownSession)
    ));
    bench.hub.close(&viewer.session, "key").unwrap();
    assert_eq!(
        bench.command().await,
        ToRecorder::LiveStop {
            stream: bench.stream.clone()
        }
    );
    assert_eq!(bench.hub.viewers(), 0);
    let mut late = peer().await;
    let offer = viewer_offer(&mut late).await;
    let refused = bench.hub.publish(&bench.stream, &offer).await;
    assert!(matches!(refused, Err(LiveError::NotWanted { .. })), "{refused:?}");
    drop(viewer.peer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_comes_back_in_time_keeps_the_publication() {
    let mut bench = Bench::new(60);
    let (mut viewer, _publisher) = bench.first_viewer().await;
    viewer.take(10).await;
    assert_eq!(bench.hub.close_sessions_of("key"), 1);
    let mut again = Viewer::watch(&bench.hub, &bench.stream).await;
    assert_whole(&again.take(100).await);
    assert!(bench.commands.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn says_at_once_what_cannot_be_watched() {
    let mut bench = Bench::new(60);
    let offer = viewer_offer(&mut peer().await).await;
    bench.is_offline.store(true, Ordering::SeqCst);
    let refused = bench.hub.watch(&bench.stream, "key", &offer).await;
    assert!(
        matches!(refused, Err(LiveError::StreamOffline { .. })),
        "{refused:?}"
    );
    bench.is_offline.store(false, Ordering::SeqCst);
    let hub = bench.hub.clone();
    let stream = bench.stream.clone();
    let refusing = async {
        bench.command().await;
        hub.live_ended(&stream, CODEC_NOT_PLAYABLE);
    };
    let (refused, ()) = tokio::join!(hub.watch(&stream, "key", &offer), refusing);
    assert!(
        matches!(refused, Err(LiveError::CodecNotPlayable { .. })),
        "{refused:?}"
    );
    let refused = hub.watch(&stream, "key", "v=0\r\n").await;
    assert!(
        matches!(refused, Err(LiveError::UnusableOffer { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_share_the_publishers_clock() {
    let mut bench = Bench::new(60);
    let (mut viewer, _publisher) = bench.first_viewer().await;
    viewer.take(10).await;
    let report = within("a sender report", async {
        loop {
            if let feedback::Feedback::Report { ntp, timestamp, .. } =
                viewer.peer.feedback.recv().await.unwrap()
            {
                return (ntp >> 32, timestamp);
            }
        }
    })
    .await;
    assert_eq!(report.0 * 450, u64::from(report.1));
}
