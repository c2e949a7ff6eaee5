//! The encoded samples of one mount, handed to every client that plays it.
//!
//! A source encodes or reads once; each client has a pipeline of its own that only packetises. So many clients
//! cost little, and no media is shared between clients (shared media answers 503 when several connect at once).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::prelude::*;

/// Which track a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// The samples of one mount while they are made, and the clients that want them.
#[derive(Debug)]
pub struct Feed {
    video_caps: gst::Caps,
    audio_caps: Option<gst::Caps>,
    subscribers: Mutex<Vec<Subscriber>>,
    next_subscriber: AtomicU64,
    frames_sent: AtomicU64,
    last_frame: AtomicU64,
}

#[derive(Debug)]
struct Subscriber {
    id: u64,
    video: gst::glib::WeakRef<gst_app::AppSrc>,
    audio: Option<gst::glib::WeakRef<gst_app::AppSrc>>,
    has_keyframe: bool,
}

impl Feed {
    /// A feed whose tracks have these formats.
    pub fn new(video_caps: gst::Caps, audio_caps: Option<gst::Caps>) -> Self {
        Self {
            video_caps,
            audio_caps,
            subscribers: Mutex::default(),
            next_subscriber: AtomicU64::new(1),
            frames_sent: AtomicU64::new(0),
            last_frame: AtomicU64::new(0),
        }
    }

    /// Format of the pictures.
    pub fn video_caps(&self) -> &gst::Caps {
        &self.video_caps
    }

    /// Format of the sound, if there is any.
    pub fn audio_caps(&self) -> Option<&gst::Caps> {
        self.audio_caps.as_ref()
    }

    /// Adds a client, from the next keyframe on.
    pub fn subscribe(&self, video: &gst_app::AppSrc, audio: Option<&gst_app::AppSrc>) -> u64 {
        let id = self.next_subscriber.fetch_add(1, Ordering::Relaxed);
        video.set_caps(Some(&self.video_caps));
        if let Some(audio) = audio {
            audio.set_caps(self.audio_caps.as_ref());
        }
        let (video, audio) = (video.downgrade(), audio.map(ObjectExt::downgrade));
        self.lock().push(Subscriber {
            id,
            video,
            audio,
            has_keyframe: false,
        });
        id
    }

    /// Removes a client.
    pub fn unsubscribe(&self, id: u64) {
        self.lock().retain(|s| s.id != id);
    }

    /// How many clients are there.
    pub fn clients(&self) -> usize {
        self.lock().len()
    }

    /// Frames handed to clients so far, each client counted.
    pub fn frames_sent(&self) -> u64 {
        self.frames_sent.load(Ordering::Relaxed)
    }

    /// Number of the last frame that was made.
    pub fn last_frame(&self) -> u64 {
        self.last_frame.load(Ordering::Relaxed)
    }

    /// Records that frame `number` was made.
    pub fn set_last_frame(&self, number: u64) {
        self.last_frame.store(number, Ordering::Relaxed);
    }

    /// Hands a sample that was taken at `captured` on the system clock to every client.
    pub fn publish(&self, track: Track, sample: &gst::Buffer, captured: gst::ClockTime) {
        let is_keyframe = !sample.flags().contains(gst::BufferFlags::DELTA_UNIT);
        self.lock().retain_mut(|subscriber| {
            let source = match track {
                Track::Video => Some(&subscriber.video),
                Track::Audio => subscriber.audio.as_ref(),
            };
            let Some(source) = source else { return true };
            let Some(source) = source.upgrade() else {
                return false;
            };
            subscriber.has_keyframe |= track == Track::Video && is_keyframe;
            if track == Track::Audio || subscriber.has_keyframe {
                let is_sent = send(&source, sample, captured);
                if track == Track::Video {
                    // Before the client's pipeline runs nothing is sent, so its first sample is yet to come.
                    subscriber.has_keyframe &= is_sent;
                    self.frames_sent.fetch_add(u64::from(is_sent), Ordering::Relaxed);
                }
            }
            true
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn send(source: &gst_app::AppSrc, sample: &gst::Buffer, captured: gst::ClockTime) -> bool {
    if source.current_state() != gst::State::Playing {
        return false;
    }
    let Some(pts) = source.base_time().and_then(|base| captured.checked_sub(base)) else {
        return false;
    };
    let mut buffer = sample.copy();
    let writable = buffer.make_mut();
    writable.set_pts(pts);
    writable.set_dts(None);
    source.push_buffer(buffer).is_ok()
}
