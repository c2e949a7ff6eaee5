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

/// Captures a stream until shutdown. Never gives up, whatever a camera or a panic does.
pub async fn supervise(context: CaptureContext) {
    let mut backoff = Backoff::default();
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
        let quick = matches!(end.cause, GapCause::TracksChanged | GapCause::ClockStep);
        report(&context, end).await;
        if is_stop || context.shutdown.is_cancelled() {
            return;
        }
        if lasted_us > SUCCESS_US {
            backoff.reset();
        }
        let delay = if quick && lasted_us > SUCCESS_US {
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
