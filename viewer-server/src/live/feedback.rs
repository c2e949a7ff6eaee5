//! Reads the RTCP that concerns us: keyframe requests of viewers, sender reports of publishers.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::mpsc;

/// What the other side told us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feedback {
    KeyframeWanted,
    Report { ssrc: u32, ntp: u64, timestamp: u32 },
}

/// An interceptor that copies what we want to know into a queue and changes nothing.
pub(super) struct FeedbackTap {
    queue: mpsc::Sender<Feedback>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl FeedbackTap {
    /// When `queue` is full the newest feedback is dropped: it repeats.
    pub(super) fn new(queue: mpsc::Sender<Feedback>) -> Self {
        Self {
            queue,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for FeedbackTap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(reports) = &packet.message.packet {
            for report in reports {
                let any = report.as_any();
                let feedback = if any.is::<PictureLossIndication>() || any.is::<FullIntraRequest>() {
                    Feedback::KeyframeWanted
                } else if let Some(report) = any.downcast_ref::<SenderReport>() {
                    Feedback::Report {
                        ssrc: report.ssrc,
                        ntp: report.ntp_time,
                        timestamp: report.rtp_time,
                    }
                } else {
                    continue;
                };
                let _ = self.queue.try_send(feedback);
            }
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for FeedbackTap {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
