//! One stream's publication and its viewers' queues.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use archive::ids::StreamId;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::gop::GopCache;
use super::packet::{Kind, LiveItem, MediaPacket, Report};
use super::sdp::ProfileLevel;

/// Packets that a viewer may be behind: a second of 10 Mbit/s. Further behind, it waits for a keyframe.
const QUEUE_PACKETS: usize = 1024;

/// Keyframes are asked for at most this often, in microseconds.
const KEYFRAME_EVERY_US: i64 = 2_000_000;

/// Where a stream's publication stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Publication {
    None,
    Starting,
    Ready { profile: Option<ProfileLevel> },
    Refused { reason: String },
}

/// One stream. Its lock is held for the time of a fan-out and never across an await.
pub(super) struct LiveStream {
    pub(super) id: StreamId,
    state: Mutex<State>,
    publication: watch::Sender<Publication>,
}

#[derive(Default)]
struct State {
    viewers: usize,
    /// Grows with each viewer's coming and going, so that a lingering end knows that it is stale.
    interest: u64,
    /// Number of the newest publication.
    number: u64,
    ending: Option<CancellationToken>,
    gop: GopCache,
    queues: HashMap<u64, Queue>,
    next_queue: u64,
    keyframe_asked_us: Option<i64>,
}

struct Queue {
    items: mpsc::Sender<LiveItem>,
    /// Nothing of the picture until the next keyframe.
    is_waiting: bool,
}

/// A viewer's place in the fan-out.
pub(super) struct Place {
    pub(super) id: u64,
    /// What comes before the queue.
    pub(super) start: Vec<LiveItem>,
    pub(super) items: mpsc::Receiver<LiveItem>,
}

impl LiveStream {
    pub(super) fn new(id: StreamId) -> Self {
        Self {
            id,
            state: Mutex::default(),
            publication: watch::channel(Publication::None).0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody wants to see this stream.
    pub(super) fn enter(&self) {
        let mut state = self.state();
        state.viewers += 1;
        state.interest += 1;
    }

    /// One less; the number of the interest if that was the last.
    pub(super) fn leave(&self) -> Option<u64> {
        let mut state = self.state();
        state.viewers = state.viewers.saturating_sub(1);
        state.interest += 1;
        (state.viewers == 0).then_some(state.interest)
    }

    /// Whether somebody watches, or did a moment ago.
    pub(super) fn is_wanted(&self) -> bool {
        self.state().viewers > 0 || *self.publication.borrow() != Publication::None
    }

    /// Whether somebody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.state().viewers > 0
    }

    /// Ends the publication if nothing changed since the last viewer left.
    pub(super) fn end_if_idle(&self, interest: u64) -> bool {
        let mut state = self.state();
        let is_idle = state.viewers == 0 && state.interest == interest;
        if is_idle {
            if let Some(ending) = state.ending.take() {
                ending.cancel();
            }
            state.gop.clear();
            self.publication.send_replace(Publication::None);
        }
        is_idle
    }

    /// Follows the publication.
    pub(super) fn publication(&self) -> watch::Receiver<Publication> {
        self.publication.subscribe()
    }

    /// Notes that the recorder is being asked; nothing if it publishes already.
    pub(super) fn starting(&self) -> bool {
        self.publication.send_if_modified(|publication| {
            let is_ready = matches!(publication, Publication::Ready { .. });
            if !is_ready {
                *publication = Publication::Starting;
            }
            !is_ready
        })
    }

    /// Notes that the recorder cannot publish.
    pub(super) fn refused(&self, reason: String) {
        self.publication.send_replace(Publication::Refused { reason });
    }

    /// A publication takes over; the one before is told to end. Its number.
    pub(super) fn begin(&self, profile: Option<ProfileLevel>, ending: CancellationToken) -> u64 {
        let mut state = self.state();
        if let Some(before) = state.ending.replace(ending) {
            before.cancel();
        }
        state.number += 1;
        state.gop.clear();
        for queue in state.queues.values_mut() {
            queue.is_waiting = true;
        }
        self.publication.send_replace(Publication::Ready { profile });
        state.number
    }

    /// A publication ended by itself.
    pub(super) fn end(&self, number: u64) {
        let mut state = self.state();
        if state.number == number && state.ending.take().is_some() {
            state.gop.clear();
            let next = if state.viewers > 0 {
                Publication::Starting
            } else {
                Publication::None
            };
            self.publication.send_replace(next);
        }
    }

    /// Ends a publication at the publisher's wish: this one, or whichever there is.
    pub(super) fn cancel(&self) -> bool {
        self.state()
            .ending
            .as_ref()
            .inspect(|ending| ending.cancel())
            .is_some()
    }

    /// Gives a packet to every viewer; `None` once another publication took over, else packets dropped.
    pub(super) fn fan_out(&self, packet: &MediaPacket) -> Option<u64> {
        let mut state = self.state();
        if state.number != packet.publication {
            return None;
        }
        state.gop.push(packet);
        let mut dropped = 0;
        for queue in state.queues.values_mut() {
            let item = match (packet.kind, queue.is_waiting, packet.starts_gop) {
                (Kind::Audio, ..) | (Kind::Video, false, _) => LiveItem::Packet(packet.clone()),
                (Kind::Video, true, true) => LiveItem::Resume(packet.clone()),
                (Kind::Video, true, false) => {
                    dropped += 1;
                    continue;
                }
            };
            let is_sent = queue.items.try_send(item).is_ok();
            dropped += u64::from(!is_sent);
            if packet.kind == Kind::Video {
                queue.is_waiting = !is_sent;
            }
        }
        Some(dropped)
    }

    /// Gives a sender report to every viewer.
    pub(super) fn report(&self, report: Report) {
        let mut state = self.state();
        if state.number == report.publication {
            state.gop.report(report);
            for queue in state.queues.values() {
                // A full queue misses one of many.
                let _ = queue.items.try_send(LiveItem::Report(report));
            }
        }
    }

    /// Joins the fan-out with the newest GOP in hand.
    pub(super) fn join(&self) -> Place {
        let mut state = self.state();
        let (tx, items) = mpsc::channel(QUEUE_PACKETS);
        let id = state.next_queue;
        state.next_queue += 1;
        let is_waiting = !state.gop.has_keyframe();
        state.queues.insert(
            id,
            Queue {
                items: tx,
                is_waiting,
            },
        );
        Place {
            id,
            start: state.gop.start(),
            items,
        }
    }

    /// Leaves the fan-out.
    pub(super) fn part(&self, id: u64) {
        self.state().queues.remove(&id);
    }

    /// Whether a keyframe may be asked for now.
    pub(super) fn may_ask_keyframe(&self, now_us: i64) -> bool {
        let mut state = self.state();
        let is_due = state
            .keyframe_asked_us
            .is_none_or(|asked| now_us - asked >= KEYFRAME_EVERY_US);
        if is_due {
            state.keyframe_asked_us = Some(now_us);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::packet;
    use super::*;

    fn stream() -> LiveStream {
        let stream = LiveStream::new("q01.front.main".parse().unwrap());
        assert_eq!(stream.begin(None, CancellationToken::new()), 1);
        stream
    }

    fn sequences(place: &mut Place) -> Vec<(bool, u64)> {
        let mut queued: Vec<_> = place.start.drain(..).collect();
        queued.extend(std::iter::from_fn(|| place.items.try_recv().ok()));
        let number = |item: &LiveItem| match item {
            LiveItem::Packet(p) => Some((false, p.sequence)),
            LiveItem::Resume(p) => Some((true, p.sequence)),
            LiveItem::Report(_) => None,
        };
        queued.iter().filter_map(number).collect()
    }

    #[test]
    fn a_late_viewer_starts_at_the_keyframe_without_seam() {
        let stream = stream();
        for sequence in 1..=4 {
            stream.fan_out(&packet(sequence, 0, sequence == 2)).unwrap();
        }
        let mut place = stream.join();
        stream.fan_out(&packet(5, 0, false)).unwrap();
        assert_eq!(
            sequences(&mut place),
            [(false, 2), (false, 3), (false, 4), (false, 5)]
        );
    }

    #[test]
    fn a_slow_viewer_resumes_at_a_keyframe_and_others_are_not_held_up() {
        let stream = stream();
        let mut slow = stream.join();
        stream.fan_out(&packet(0, 0, true)).unwrap();
        let count = QUEUE_PACKETS as u64;
        for sequence in 1..count {
            assert_eq!(stream.fan_out(&packet(sequence, 0, false)), Some(0));
        }
        assert_eq!(stream.fan_out(&packet(count, 0, false)), Some(1));
        let mut quick = stream.join();
        assert_eq!(sequences(&mut quick).len(), QUEUE_PACKETS + 1);
        assert_eq!(sequences(&mut slow).len(), QUEUE_PACKETS);
        assert_eq!(stream.fan_out(&packet(count + 1, 0, false)), Some(1));
        stream.fan_out(&packet(count + 2, 0, true)).unwrap();
        assert_eq!(sequences(&mut slow), [(true, count + 2)]);
        assert_eq!(sequences(&mut quick), [(false, count + 1), (false, count + 2)]);
    }

    #[test]
    fn a_new_publication_ends_the_old_and_viewers_wait_for_its_keyframe() {
        let stream = stream();
        let mut place = stream.join();
        stream.fan_out(&packet(1, 0, true)).unwrap();
        let ending = CancellationToken::new();
        assert_eq!(stream.begin(None, ending.clone()), 2);
        assert_eq!(stream.fan_out(&packet(2, 0, false)), None);
        let next = |sequence, starts| MediaPacket {
            publication: 2,
            ..packet(sequence, 0, starts)
        };
        stream.fan_out(&next(70, false)).unwrap();
        stream.fan_out(&next(71, true)).unwrap();
        assert_eq!(sequences(&mut place), [(true, 1), (true, 71)]);
        stream.begin(None, CancellationToken::new());
        assert!(ending.is_cancelled());
    }

    #[test]
    fn an_idle_end_is_void_once_somebody_came_back() {
        let stream = stream();
        stream.enter();
        let stale = stream.leave().unwrap();
        stream.enter();
        assert!(!stream.end_if_idle(stale));
        let last = stream.leave().unwrap();
        assert!(stream.end_if_idle(last));
        assert_eq!(*stream.publication().borrow(), Publication::None);
    }

    #[test]
    fn keyframes_are_asked_for_at_most_every_two_seconds() {
        let stream = stream();
        assert!(stream.may_ask_keyframe(0));
        assert!(!stream.may_ask_keyframe(1_999_999));
        assert!(stream.may_ask_keyframe(2_000_000));
    }
}
