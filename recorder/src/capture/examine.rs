//! Looks at picture and sound for their health: a keyframe now and then, a second of sound now and then.
//!
//! The capture's threads only hand over references to buffers that pass anyway, and only if there is room; one thread
//! of low priority decodes for all streams. If it falls behind, looks are dropped and counted.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use archive::ids::StreamId;
use tokio::sync::mpsc;

use super::CaptureError;
use super::decode::Decoder;
use super::sampler::Sampler;
use crate::health::{Look, Looked, SoundMeasure};

/// Sound that stayed away for so long counts as absent.
const ABSENT_US: i64 = 4_000_000;
/// Looks that wait to be decoded, for each stream.
const WAITING_A_STREAM: usize = 3;
/// Looks that wait to be judged, for each stream.
const JUDGED_A_STREAM: usize = 8;
/// How nice the decoding thread is to all others.
const NICENESS: i32 = 10;

/// What one stream is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// Its picture.
    pub picture: bool,
    /// Its sound.
    pub sound: bool,
}

/// What waits to be decoded.
struct Task {
    stream: StreamId,
    at_us: i64,
    caps: gst::Caps,
    /// A keyframe, or packets of sound in order.
    buffers: Vec<gst::Buffer>,
    is_sound: bool,
}

/// Where one stream's capture hands over what is to be looked at. It outlives the sessions of the capture.
pub struct Examiner {
    stream: StreamId,
    examined: Examined,
    tasks: std::sync::mpsc::SyncSender<Task>,
    looks: mpsc::Sender<Looked>,
    /// Something may be wrong, so looks should come sooner.
    is_in_doubt: AtomicBool,
    sampler: Mutex<Sampler>,
    /// A test's element that hangs, once, until the sender is dropped.
    #[cfg(test)]
    pub(super) stall: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl std::fmt::Debug for Examiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examiner")
            .field("stream", &self.stream)
            .field("examined", &self.examined)
            .finish_non_exhaustive()
    }
}

/// Starts the thread that decodes; gives one examiner a stream and what they see. The thread ends with the examiners.
///
/// # Errors
/// If the thread does not start.
pub fn examiners(
    streams: Vec<(StreamId, Examined)>,
) -> Result<(Vec<Arc<Examiner>>, mpsc::Receiver<Looked>), CaptureError> {
    let count = streams.len().max(1);
    let (tasks, waiting) = std::sync::mpsc::sync_channel(WAITING_A_STREAM * count);
    let (looks, looked) = mpsc::channel(JUDGED_A_STREAM * count);
    let own_looks = looks.clone();
    std::thread::Builder::new()
        .name("examine".to_owned())
        .spawn(move || decode_all(&waiting, &own_looks))
        .map_err(|e| CaptureError::Start(e.to_string()))?;
    let examiners = streams.into_iter().map(|(stream, examined)| {
        Arc::new(Examiner {
            stream,
            examined,
            tasks: tasks.clone(),
            looks: looks.clone(),
            is_in_doubt: AtomicBool::new(false),
            sampler: Mutex::default(),
            #[cfg(test)]
            stall: Mutex::default(),
        })
    });
    Ok((examiners.collect(), looked))
}

impl Examiner {
    /// An examiner that looks at nothing.
    pub fn idle(stream: StreamId) -> Arc<Self> {
        let nothing = Examined {
            picture: false,
            sound: false,
        };
        Arc::new(Self {
            stream,
            examined: nothing,
            tasks: std::sync::mpsc::sync_channel(0).0,
            looks: mpsc::channel(1).0,
            is_in_doubt: AtomicBool::new(false),
            sampler: Mutex::default(),
            #[cfg(test)]
            stall: Mutex::default(),
        })
    }

    /// Which stream it looks at.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// Whether looks should come as often as they may.
    pub fn set_in_doubt(&self, is_in_doubt: bool) {
        self.is_in_doubt.store(is_in_doubt, Relaxed);
    }

    /// A picture passes. `caps` are those of the pad.
    pub(super) fn offer_picture(&self, caps: &gst::Caps, buffer: &gst::Buffer, now_us: i64) {
        #[cfg(test)]
        {
            let stall = self.stall.lock().unwrap_or_else(PoisonError::into_inner).take();
            // The sender says nothing; it is dropped.
            let _ = stall.map(|stall| stall.recv());
        }
        if !self.examined.picture || buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
            return;
        }
        let is_in_doubt = self.is_in_doubt.load(Relaxed);
        if !self.sampler().is_picture_due(caps, now_us, is_in_doubt) {
            return;
        }
        self.hand_over(caps, vec![buffer.clone()], now_us, false);
    }

    /// Sound passes. `caps` are those of the pad.
    pub(super) fn offer_sound(&self, caps: &gst::CapsRef, buffer: &gst::Buffer, now_us: i64) {
        if !self.examined.sound {
            return;
        }
        let is_in_doubt = self.is_in_doubt.load(Relaxed);
        let window = self.sampler().add_sound(caps, buffer, now_us, is_in_doubt);
        if let Some((caps, buffers)) = window {
            self.hand_over(&caps, buffers, now_us, true);
        }
    }

    /// How the sound of the source comes, while pictures come: `age_us` since the last of it. Told now and then.
    pub(super) fn note_sound(&self, age_us: i64, now_us: i64) {
        if !self.examined.sound {
            return;
        }
        let look = if age_us > ABSENT_US {
            Look::NoSound
        } else {
            Look::SoundComes
        };
        self.tell(look, now_us);
    }

    /// A session is over: what it left is not looked at.
    pub(super) fn detach(&self) {
        self.sampler().forget_sound();
    }

    fn sampler(&self) -> std::sync::MutexGuard<'_, Sampler> {
        self.sampler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(&self, caps: &gst::CapsRef, buffers: Vec<gst::Buffer>, at_us: i64, is_sound: bool) {
        let task = Task {
            stream: self.stream.clone(),
            at_us,
            caps: caps.to_owned(),
            buffers,
            is_sound,
        };
        if self.tasks.try_send(task).is_err() {
            count_dropped(&self.stream);
        }
    }

    fn tell(&self, look: Look, at_us: i64) {
        let looked = Looked {
            stream: self.stream.clone(),
            at_us,
            look,
        };
        if self.looks.try_send(looked).is_err() {
            count_dropped(&self.stream);
        }
    }
}

fn count_dropped(stream: &StreamId) {
    metrics::counter!("recorder_health_looks_dropped_total", "stream" => stream.to_string()).increment(1);
}

/// Decodes what was chosen, each with a decoder of its own: one that waits for the next look would hold the memory of
/// many pictures.
#[derive(Default)]
pub(super) struct Decoders {
    /// Tracks that can't be decoded, told of once.
    told: HashSet<(String, bool)>,
}

impl Decoders {
    /// Decodes a keyframe or a window of sound.
    pub fn look(
        &mut self,
        stream: &str,
        caps: &gst::Caps,
        buffers: Vec<gst::Buffer>,
        is_sound: bool,
    ) -> Option<Look> {
        let key = (stream.to_owned(), is_sound);
        let looked = Decoder::new(caps).and_then(|mut decoder| {
            if is_sound {
                let heard = decoder.sound(buffers)?;
                Ok(heard.map(|(samples, rate_hz)| {
                    SoundMeasure::of(&samples, rate_hz).map_or(Look::SoundComes, Look::Sound)
                }))
            } else {
                Ok(decoder.picture(buffers)?.map(Look::Picture))
            }
        });
        match looked {
            Ok(look) => {
                self.told.remove(&key);
                look
            }
            Err(error) => {
                metrics::counter!("recorder_health_undecodable_total", "stream" => key.0.clone())
                    .increment(1);
                if self.told.insert(key) {
                    tracing::warn!(stream, %error, "can't be looked at");
                }
                None
            }
        }
    }
}

fn decode_all(waiting: &std::sync::mpsc::Receiver<Task>, looks: &mpsc::Sender<Looked>) {
    // On Linux a thread has a niceness of its own.
    let own = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(own), NICENESS) {
        tracing::debug!(%error, "the examining thread keeps its priority");
    }
    let mut decoders = Decoders::default();
    while let Ok(task) = waiting.recv() {
        let Task {
            stream,
            at_us,
            caps,
            buffers,
            is_sound,
        } = task;
        let Some(look) = decoders.look(stream.as_str(), &caps, buffers, is_sound) else {
            continue;
        };
        let looked = Looked { stream, at_us, look };
        if let Err(mpsc::error::TrySendError::Full(looked)) = looks.try_send(looked) {
            count_dropped(&looked.stream);
        }
    }
}
