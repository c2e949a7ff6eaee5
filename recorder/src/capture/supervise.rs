//! Sessions of a stream, one after another, for as long as the recorder runs.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use archive::gap::GapCause;
use futures::FutureExt as _;

use super::session::{self, SessionEnd};
use super::{CaptureContext, CaptureEvent, Captured};
use crate::backoff::Backoff;

/// A session that lasted so long was a success: the next failure waits only briefly.
const SUCCESS_US: i64 = 20_000_000;

/// A clock that is set more often than this is waited for like a fault.
const STEPS_APART_US: i64 = 2_000_000;

/// Captures a stream until shutdown. Never gives up, whatever a camera or a panic does.
pub async fn supervise(context: CaptureContext) {
    let mut backoff = Backoff::default();
    let mut hung = Hung::default();
    loop {
        context.health.sessions.fetch_add(1, Relaxed);
        let started_us = context.clock.monotonic_us();
        let end = AssertUnwindSafe(session::run(&context))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| SessionEnd {
                run: None,
                cause: GapCause::CameraFaulty,
                detail: "the capture itself failed".to_owned(),
                is_hung: false,
            });
        let lasted_us = context.clock.monotonic_us() - started_us;
        let is_stop = end.cause == GapCause::RecorderStopped;
        if !is_stop {
            context.health.set_fault(Some(end.cause));
            tracing::warn!(stream = %context.stream, cause = ?end.cause, detail = end.detail, "capture ended");
        }
        metrics::counter!("recorder_capture_ended_total",
            "stream" => context.stream.to_string(), "cause" => format!("{:?}", end.cause))
        .increment(1);
        let is_hung = end.is_hung;
        let quick = matches!(end.cause, GapCause::TracksChanged);
        // No fault of the camera, however often it happens.
        let is_step = end.cause == GapCause::ClockStep && lasted_us > STEPS_APART_US;
        report(&context, end).await;
        if is_stop || context.shutdown.is_cancelled() {
            return;
        }
        if lasted_us > SUCCESS_US {
            backoff.reset();
        }
        let delay = if is_hung {
            hung.next_delay()
        } else if is_step || (quick && lasted_us > SUCCESS_US) {
            Duration::ZERO
        } else {
            backoff.after_failure(rand::random())
        };
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = context.shutdown.cancelled() => return,
        }
    }
}

/// Pipelines that could not be stopped: each leaves threads behind, so there may be ever fewer in a time.
#[derive(Default)]
struct Hung {
    count: u32,
}

impl Hung {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(3600);

    fn next_delay(&mut self) -> Duration {
        let delay = Self::FIRST.saturating_mul(4u32.saturating_pow(self.count));
        self.count += 1;
        delay.min(Self::LONGEST)
    }
}

/// Unlike a fragment, the end of a session must reach the writer: it makes the gap.
async fn report(context: &CaptureContext, end: SessionEnd) {
    let captured = Captured {
        stream: context.stream.clone(),
        event: CaptureEvent::Ended {
            run: end.run,
            cause: end.cause,
            detail: end.detail,
        },
    };
    // Fails only if the writer is gone, at the end of the program.
    let _ = context.output.send(captured).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use archive::ids::StreamId;
    use archive::time::SystemClock;
    use site_config::recorder::Source;
    use tokio::sync::{mpsc, watch};
    use tokio_util::sync::CancellationToken;

    use super::super::Examiner;
    use super::*;

    #[test]
    fn pipelines_that_hang_are_tried_ever_more_rarely() {
        let mut hung = Hung::default();
        let delays: Vec<u64> = (0..8).map(|_| hung.next_delay().as_secs()).collect();
        assert_eq!(delays, [1, 4, 16, 64, 256, 1024, 3600, 3600]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pipeline_that_hangs_is_left_behind_explained_and_begun_anew() {
        super::super::init().unwrap();
        let stream: StreamId = "q01.front.main".parse().unwrap();
        let (output, mut captured) = mpsc::channel(1024);
        let (_ask, requests) = watch::channel(None);
        let shutdown = CancellationToken::new();
        let examiner = Examiner::idle(stream.clone());
        let context = CaptureContext {
            stream,
            source: Source::Test,
            clock: Arc::new(SystemClock),
            output,
            requests,
            tap: Arc::default(),
            examiner: examiner.clone(),
            health: Arc::default(),
            shutdown: shutdown.clone(),
        };
        let capture = tokio::spawn(supervise(context));
        let mut next = async || {
            let next = tokio::time::timeout(Duration::from_secs(40), captured.recv()).await;
            next.expect("the capture hangs too")
                .expect("the capture goes on")
                .event
        };
        while !matches!(next().await, CaptureEvent::Fragment { .. }) {}
        // The thread that brings the pictures to the muxer stops in the midst of one.
        let (release, stall) = std::sync::mpsc::sync_channel(0);
        *examiner.stall.lock().unwrap() = Some(stall);
        let end = loop {
            if let CaptureEvent::Ended { cause, detail, .. } = next().await {
                break (cause, detail);
            }
        };
        assert_eq!(end.0, GapCause::CameraFaulty);
        assert!(end.1.contains("it hangs"), "{}", end.1);
        while !matches!(next().await, CaptureEvent::RunStarted { .. }) {}
        while !matches!(next().await, CaptureEvent::Fragment { .. }) {}
        drop(release);
        shutdown.cancel();
        capture.await.unwrap();
    }
}
