//! One pipeline from start to end, and the watch over it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use archive::gap::GapCause;
use archive::ids::RunId;
use futures::StreamExt as _;
use gst::prelude::*;
use tokio::sync::mpsc;

use super::graph::{self, Graph};
use super::mux::{Flow, TrackKind};
use super::{CaptureContext, CaptureEvent, Captured};

/// How often the watch looks.
const TICK: Duration = Duration::from_millis(250);
/// Connection, description and first picture must come within this.
const FIRST_PICTURE_US: i64 = 15_000_000;
/// Without a picture for so long the camera counts as silent.
const SILENCE_US: i64 = 5_000_000;
/// What came in within this time still comes.
const STILL_COMES_US: i64 = 2_000_000;
/// Pictures that come in must come out as fragments within this; more than [`SOUND_DEADLINE_US`], since the muxer
/// waits for sound.
const OUTPUT_US: i64 = 10_000_000;
/// A change of state that takes longer hangs.
const STATE_WITHIN: Duration = Duration::from_secs(6);
/// Announced sound that stays away for so long is given up; less than [`SILENCE_US`], since the muxer waits for it.
const SOUND_DEADLINE_US: i64 = 3_000_000;
/// Sound that was given up and comes back starts a new run, but not more often than this.
const SOUND_RETRY_US: i64 = 60_000_000;
/// Whether sound comes is told so often.
const SOUND_NOTED_US: i64 = 3_000_000;
/// Between two anchors.
const ANCHOR_US: i64 = 10_000_000;
/// The wall clock moved so much against the monotonic one between two looks: it was set.
const STEP_US: i64 = 500_000;
/// Over so long the smallest delay of the pictures is taken to find jumps.
const DELAY_WINDOW_US: i64 = 2_000_000;
/// Pictures that come so much earlier than they may: a jump. Later by ten times as much: a jump back.
const CAMERA_STEP_MS: i64 = 300;

/// How a session ended.
#[derive(Debug)]
pub(super) struct SessionEnd {
    pub run: Option<RunId>,
    pub cause: GapCause,
    pub detail: String,
    /// The pipeline could not be stopped: it holds its threads and its memory.
    pub is_hung: bool,
}

/// Captures until something ends it.
pub(super) async fn run(context: &CaptureContext) -> SessionEnd {
    let (ends, mut ended) = mpsc::channel(1);
    let flow = Arc::new(Flow::new(
        context.clock.clone(),
        context.health.clone(),
        context.tap.clone(),
        context.examiner.clone(),
        ends,
    ));
    let building = {
        let (context, flow) = (context.clone(), flow.clone());
        tokio::task::spawn_blocking(move || graph::build(&context, &flow)).await
    };
    let mut graph = match building {
        Ok(Ok(graph)) => graph,
        Ok(Err(error)) => return fault(error.to_string()),
        Err(panic) => return fault(format!("building the pipeline failed: {panic}")),
    };
    let stop_on_drop = StopOnDrop(Some(graph.pipeline.clone()));
    let (cause, detail) = match set_state(&graph.pipeline, gst::State::Playing).await {
        Ok(()) => watch(context, &graph, &flow, &mut ended).await,
        Err(detail) => (GapCause::CameraFaulty, detail),
    };
    finish(&mut graph).await;
    context.tap.detach();
    context.examiner.detach();
    let run = graph.sink.current().map(|c| c.run);
    let stopped = set_state(&graph.pipeline, gst::State::Null).await;
    // One that hangs is still being stopped: asking it twice would only take another thread.
    stop_on_drop.disarm();
    let is_hung = stopped.is_err();
    if let Err(error) = stopped {
        metrics::counter!("recorder_pipelines_hung_total", "stream" => context.stream.to_string())
            .increment(1);
        tracing::error!(stream = %context.stream, error, "a pipeline can't be stopped; its threads are left behind");
    }
    SessionEnd {
        run,
        cause,
        detail,
        is_hung,
    }
}

fn fault(detail: String) -> SessionEnd {
    SessionEnd {
        run: None,
        cause: GapCause::CameraFaulty,
        detail,
        is_hung: false,
    }
}

/// A pipeline that is dropped while it plays would leave its threads behind.
struct StopOnDrop(Option<gst::Pipeline>);

impl StopOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(pipeline) = self.0.take() {
            pipeline.call_async(|pipeline| {
                let _ = pipeline.set_state(gst::State::Null);
            });
        }
    }
}

async fn set_state(pipeline: &gst::Pipeline, state: gst::State) -> Result<(), String> {
    let pipeline = pipeline.clone();
    let (changed, is_changed) = tokio::sync::oneshot::channel();
    // A thread of its own: one that hangs must not be missing among those that the whole program shares.
    std::thread::Builder::new()
        .name("set-state".to_owned())
        .spawn(move || {
            // Nobody waits any more for one that came too late.
            let _ = changed.send(pipeline.set_state(state));
        })
        .map_err(|e| format!("no thread to bring the pipeline to {state:?}: {e}"))?;
    match tokio::time::timeout(STATE_WITHIN, is_changed).await {
        Ok(Ok(Ok(_))) => Ok(()),
        Ok(Ok(Err(_))) => Err(format!("the pipeline does not go to {state:?}")),
        Ok(Err(_)) => Err(format!("the pipeline fell over going to {state:?}")),
        Err(_) => Err(format!("the pipeline hangs going to {state:?}")),
    }
}

/// Writes what the muxer still holds, so that an orderly end or a lost camera costs no picture that came.
async fn finish(graph: &mut Graph) {
    if graph.sink.current().is_none() {
        return;
    }
    let drained = async {
        match &mut graph.client {
            Some(client) => client.stop().await,
            None => {
                let mux = graph.mux.clone();
                let _ = tokio::task::spawn_blocking(move || mux.finish()).await;
            }
        }
        graph.sink.drained.notified().await;
    };
    if tokio::time::timeout(Duration::from_secs(2), drained)
        .await
        .is_err()
    {
        tracing::warn!("the muxer did not give its last samples in time");
    }
}

struct Watch<'a> {
    context: &'a CaptureContext,
    graph: &'a Graph,
    flow: &'a Arc<Flow>,
    started_us: i64,
    anchored_us: i64,
    /// When announced sound was given up.
    sound_given_up_us: Option<i64>,
    sound_noted_us: i64,
    /// Wall minus monotonic time at the last look.
    offset_us: i64,
    delay_checked_us: i64,
}

async fn watch(
    context: &CaptureContext,
    graph: &Graph,
    flow: &Arc<Flow>,
    ended: &mut mpsc::Receiver<(GapCause, String)>,
) -> (GapCause, String) {
    let Some(bus) = graph.pipeline.bus() else {
        return (GapCause::CameraFaulty, "the pipeline has no bus".to_owned());
    };
    let mut messages = bus.stream_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut requests = context.requests.clone();
    let now = context.clock.monotonic_us();
    let mut watch = Watch {
        context,
        graph,
        flow,
        started_us: now,
        anchored_us: now,
        sound_given_up_us: None,
        sound_noted_us: now,
        offset_us: context.clock.wall().0 - now,
        delay_checked_us: now,
    };
    loop {
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => {
                return (GapCause::RecorderStopped, "the recorder was stopped".to_owned());
            }
            Some(end) = ended.recv() => return end,
            Some(message) = messages.next() => {
                // A cause that our own probes found says more than the error that follows from it.
                if let Ok(end) = ended.try_recv() {
                    return end;
                }
                match message.view() {
                    gst::MessageView::Error(error) => return classify(error),
                    _ => return (GapCause::CameraOffline, "the camera ended the stream".to_owned()),
                }
            }
            Ok(()) = requests.changed() => {
                let request = requests.borrow_and_update().clone();
                if let (Some(request), Some(current)) = (request, graph.sink.current())
                    && request.run == current.run
                {
                    return (request.cause, request.detail);
                }
            }
            _ = tick.tick() => {
                if let Some(end) = watch.look().await {
                    return end;
                }
            }
        }
    }
}

impl Watch<'_> {
    async fn look(&mut self) -> Option<(GapCause, String)> {
        self.context.tap.rest();
        let now = self.context.clock.monotonic_us();
        let offset_us = self.context.clock.wall().0 - now;
        let step_us = offset_us - self.offset_us;
        self.offset_us = offset_us;
        if step_us.abs() > STEP_US {
            let step_s = step_us as f64 / 1e6;
            return Some((
                GapCause::ClockStep,
                format!("the machine's clock was set by {step_s:+.1} s"),
            ));
        }
        let first_video_us = self.flow.first_video_us.load(Relaxed);
        if first_video_us == 0 {
            return self.without_picture(now);
        }
        if let Some(end) = self.check_sound(now, first_video_us).await {
            return Some(end);
        }
        let age_us = now - self.context.health.last_sample_us.load(Relaxed);
        if age_us > SILENCE_US {
            let age_s = age_us / 1_000_000;
            // What the camera still sends is stuck in between.
            return Some(if now - self.flow.received_us.load(Relaxed) < STILL_COMES_US {
                (
                    GapCause::CameraFaulty,
                    format!(
                        "the camera sends pictures, but the pipeline has given none for {age_s} s: it hangs"
                    ),
                )
            } else {
                (
                    GapCause::CameraSilent,
                    format!("the camera sent no picture for {age_s} s"),
                )
            });
        }
        let given_us = self.flow.fragment_us.load(Relaxed).max(first_video_us);
        if now - given_us > OUTPUT_US {
            let age_s = (now - given_us) / 1_000_000;
            return Some((
                GapCause::CameraFaulty,
                format!("pictures come, but the muxer has given nothing for {age_s} s: it hangs"),
            ));
        }
        if let Some(end) = self.check_camera_clock(now) {
            return Some(end);
        }
        self.anchor(now)
    }

    /// Pictures that come before their own time, or ever later, mean that the camera set its clock.
    fn check_camera_clock(&mut self, now: i64) -> Option<(GapCause, String)> {
        if now - self.delay_checked_us < DELAY_WINDOW_US {
            return None;
        }
        self.delay_checked_us = now;
        let recent_ns = self.flow.delay.take_recent_ns()?;
        let current = self.graph.sink.current()?;
        if now - self.flow.first_video_us.load(Relaxed) < 2 * DELAY_WINDOW_US {
            return None;
        }
        let change_ms = (recent_ns - current.delay_ns) / 1_000_000;
        (!(-CAMERA_STEP_MS..=10 * CAMERA_STEP_MS).contains(&change_ms)).then(|| {
            (
                GapCause::TracksChanged,
                format!("the camera's clock jumped by {:+.1} s", -change_ms as f64 / 1e3),
            )
        })
    }

    fn without_picture(&self, now: i64) -> Option<(GapCause, String)> {
        if now - self.started_us <= FIRST_PICTURE_US {
            return None;
        }
        Some(if self.flow.is_established.load(Relaxed) {
            (
                GapCause::CameraSilent,
                "the camera answered but sent no picture for 15 s".to_owned(),
            )
        } else {
            (
                GapCause::CameraOffline,
                "the camera did not answer for 15 s".to_owned(),
            )
        })
    }
}

impl Watch<'_> {
    /// The muxer waits for every track, so sound that stays away must not hold up the picture.
    async fn check_sound(&mut self, now: i64, first_video_us: i64) -> Option<(GapCause, String)> {
        self.graph.mux.pad(TrackKind::Audio)?;
        let source_us = self.flow.audio_source_us.load(Relaxed);
        self.note_sound(now, source_us.max(first_video_us));
        if let Some(given_up_us) = self.sound_given_up_us {
            let is_back = source_us > given_up_us && now - source_us < SOUND_DEADLINE_US;
            return (is_back && now - given_up_us > SOUND_RETRY_US)
                .then(|| (GapCause::TracksChanged, "the sound came back".to_owned()));
        }
        let last_us = self.flow.audio_us.load(Relaxed).max(first_video_us);
        if now - last_us > SOUND_DEADLINE_US {
            tracing::warn!(
                stream = %self.context.stream,
                "sound is announced but stays away; recording goes on without it"
            );
            metrics::counter!("recorder_sound_given_up_total", "stream" => self.context.stream.to_string())
                .increment(1);
            self.sound_given_up_us = Some(now);
            let mux = self.graph.mux.clone();
            // Not awaited: the watch must go on even if the muxer is busy.
            tokio::task::spawn_blocking(move || mux.give_up_audio());
        }
        None
    }

    /// Tells the watch over health whether sound comes, as long as pictures do.
    fn note_sound(&mut self, now: i64, last_us: i64) {
        let has_pictures = now - self.context.health.last_sample_us.load(Relaxed) < SOUND_NOTED_US;
        if has_pictures && now - self.sound_noted_us >= SOUND_NOTED_US {
            self.sound_noted_us = now;
            self.context.examiner.note_sound(now - last_us, now);
        }
    }

    fn anchor(&mut self, now: i64) -> Option<(GapCause, String)> {
        // The first anchor belongs to the start of the run, which is told a little after the first picture.
        let is_fresh = now - self.flow.first_video_us.load(Relaxed) < 2 * DELAY_WINDOW_US;
        if now - self.anchored_us < ANCHOR_US || is_fresh {
            return None;
        }
        self.anchored_us = now;
        let current = self.graph.sink.current()?;
        let delay_ns = self.flow.delay.take_for_anchor_ns().unwrap_or(current.delay_ns);
        self.graph.sink.note_delay(delay_ns);
        let anchor = current.anchor(&self.graph.pipeline, &*self.context.clock, delay_ns)?;
        let captured = Captured {
            stream: self.context.stream.clone(),
            event: CaptureEvent::Anchored {
                run: current.run,
                anchor,
            },
        };
        // An anchor more or less does no harm; the next comes in ten seconds.
        let _ = self.context.output.try_send(captured);
        None
    }
}

fn classify(error: &gst::message::Error) -> (GapCause, String) {
    let error_debug = error.debug();
    let error = error.error();
    let text = match error_debug.as_deref().and_then(innermost) {
        Some(inner) => format!("{error}: {inner}"),
        None => error.to_string(),
    };
    let cause = if error.kind::<gst::ResourceError>().is_some() {
        GapCause::CameraOffline
    } else {
        GapCause::CameraFaulty
    };
    (cause, text)
}

/// GStreamer's debug text ends with the most telling line; paths of its sources stand before it.
fn innermost(debug: &str) -> Option<&str> {
    let line = debug.lines().last()?.trim();
    (!line.is_empty() && !line.contains(".c(")).then_some(line)
}
