//! Sealed segments go up piece by piece; before each piece it is asked anew which segment it is of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use archive::time::DurationUs;
use tokio::sync::watch;

use super::budget::{Bucket, Hours, Rate, piece_bytes};
use super::plan::{FRESH_US, SetAside, choose};
use super::transfer::{Sent, Transfer};
use super::{Link, Uplink, UplinkError, surviving};
use crate::backoff::Backoff;
use crate::index::{PendingSegment, Urgency};

/// Without any change the outbox is looked at so often.
const IDLE_US: DurationUs = 10_000_000;
/// A segment that the centre refuses is tried again so much later.
const REFUSED_US: DurationUs = 10_000_000;
/// Facts that waited go first, because marks come of them; but for no longer than this.
const FACTS_FIRST_US: DurationUs = 30_000_000;
const FACTS_LOOK_US: DurationUs = 200_000;
/// A budget may change while a piece waits for it.
const LONGEST_WAIT_US: DurationUs = 1_000_000;
/// Segments whose upload goes on without asking the centre how far it has come.
const MOST_TRANSFERS: usize = 16;
/// Most candidates of a kind that are looked at.
const MOST_CANDIDATES: usize = 200;

/// Uploads while there is a session, until shutdown.
pub(super) async fn keep(uplink: Arc<Uplink>, mut links: watch::Receiver<Option<Link>>) {
    let mut changes = uplink.index.subscribe();
    let mut backoff = Backoff::default();
    let mut uploader = Uploader::new(&uplink);
    loop {
        let link = links.borrow_and_update().clone();
        changes.mark_unchanged();
        let delay_us = match link {
            Some(link) => tokio::select! {
                outcome = surviving(uploader.step(&uplink, &link)) => match outcome {
                    Ok(Step::Sent) => {
                        backoff.reset();
                        continue;
                    }
                    Ok(Step::Wait(us)) => {
                        tokio::select! {
                            () = sleep_us(us) => {}
                            Ok(()) = links.changed() => {}
                            () = uplink.shutdown.cancelled() => return,
                        }
                        continue;
                    }
                    Ok(Step::Idle(us)) => us,
                    Err(error) => {
                        uploader.transfers.clear();
                        let delay = backoff.after_failure(rand::random());
                        metrics::counter!("recorder_upload_failures_total").increment(1);
                        tracing::warn!(%error, retry_ms = delay.as_millis(), "an upload failed");
                        // New segments don't hasten what fails.
                        tokio::select! {
                            () = tokio::time::sleep(delay) => {}
                            () = uplink.shutdown.cancelled() => return,
                        }
                        continue;
                    }
                },
                Ok(()) = links.changed() => {
                    uploader.transfers.clear();
                    continue;
                }
                () = uplink.shutdown.cancelled() => return,
            },
            None => IDLE_US,
        };
        tokio::select! {
            () = sleep_us(delay_us) => {}
            Ok(()) = changes.changed() => {}
            Ok(()) = links.changed() => {}
            () = uplink.shutdown.cancelled() => return,
        }
    }
}

async fn sleep_us(us: DurationUs) {
    tokio::time::sleep(Duration::from_micros(u64::try_from(us).unwrap_or(0))).await;
}

/// What a step came to.
#[derive(Debug)]
enum Step {
    /// A piece went up, or a segment was found not to: look for the next.
    Sent,
    /// Nothing may go up for so long.
    Wait(DurationUs),
    /// Nothing is to do for so long unless something changes.
    Idle(DurationUs),
}

struct Uploader {
    hours: Hours,
    bucket: Bucket,
    /// How fast the last pieces went.
    line: Option<Rate>,
    aside: SetAside,
    /// Uploads under way in this session, by the segment's row.
    transfers: BTreeMap<i64, Transfer>,
    /// The session whose waiting facts went first, by its token, and since when it is open.
    session: Option<(String, i64)>,
    are_facts_first: bool,
}

impl Uploader {
    fn new(uplink: &Uplink) -> Self {
        Self {
            hours: uplink.hours.clone(),
            bucket: Bucket::default(),
            line: None,
            aside: SetAside::default(),
            transfers: BTreeMap::new(),
            session: None,
            are_facts_first: false,
        }
    }

    async fn step(&mut self, uplink: &Uplink, link: &Link) -> Result<Step, UplinkError> {
        let now_us = uplink.clock.monotonic_us();
        if self
            .session
            .as_ref()
            .is_none_or(|(token, _)| *token != link.token)
        {
            self.session = Some((link.token.clone(), now_us));
            self.are_facts_first = true;
            self.transfers.clear();
        }
        let budget = self.hours.rate_at(uplink.clock.wall());
        let most_bytes = piece_bytes(self.line, budget);
        let wait_us = self.bucket.wait_us(now_us, budget, most_bytes);
        if wait_us > 0 {
            return Ok(Step::Wait(wait_us.min(LONGEST_WAIT_US)));
        }
        let most = (self.aside.count(now_us) + 2).min(MOST_CANDIDATES);
        let candidates = uplink
            .index
            .upload_candidates(uplink.clock.wall(), FRESH_US, most as u32)
            .await?;
        let Some(segment) = choose(&candidates, &self.aside) else {
            uplink.index.end_fetches(uplink.clock.wall()).await?;
            let next_us = self.aside.next_us().map_or(IDLE_US, |at| at - now_us);
            return Ok(Step::Idle(next_us.clamp(0, IDLE_US)));
        };
        if self.must_wait_for_facts(uplink, segment, now_us).await? {
            return Ok(Step::Wait(FACTS_LOOK_US));
        }
        match self.send(uplink, link, segment, most_bytes).await {
            Ok(()) => Ok(Step::Sent),
            // Nobody is there, or the session is over: the others would fail as well.
            Err(
                error @ (UplinkError::Http(_)
                | UplinkError::Index(_)
                | UplinkError::Status {
                    status: 401 | 503, ..
                }),
            ) => Err(error),
            // It must not hold up the others.
            Err(error) => {
                metrics::counter!("recorder_upload_failures_total").increment(1);
                tracing::warn!(%error, segment = %segment.key, "a segment does not go up");
                self.transfers.remove(&segment.segment_id);
                self.aside
                    .put(segment.segment_id, uplink.clock.monotonic_us() + REFUSED_US);
                Ok(Step::Sent)
            }
        }
    }

    async fn must_wait_for_facts(
        &mut self,
        uplink: &Uplink,
        segment: &PendingSegment,
        now_us: i64,
    ) -> Result<bool, UplinkError> {
        let is_awaited = matches!(segment.urgency, Urgency::Fetched { .. });
        if !self.are_facts_first || is_awaited {
            return Ok(false);
        }
        let opened_us = self.session.as_ref().map_or(now_us, |(_, opened)| *opened);
        self.are_facts_first = now_us - opened_us < FACTS_FIRST_US && uplink.index.pending_facts().await? > 0;
        Ok(self.are_facts_first)
    }

    async fn send(
        &mut self,
        uplink: &Uplink,
        link: &Link,
        segment: &PendingSegment,
        most_bytes: u64,
    ) -> Result<(), UplinkError> {
        let segment_id = segment.segment_id;
        if !self.transfers.contains_key(&segment_id) {
            if self.transfers.len() >= MOST_TRANSFERS {
                self.transfers.pop_first();
            }
            let begun = Transfer::begin(uplink, link, segment).await?;
            self.bucket.take(begun.asked_bytes);
            match begun.transfer {
                Some(transfer) => self.transfers.insert(segment_id, transfer),
                None => return acknowledged(uplink, segment).await,
            };
        }
        let Some(transfer) = self.transfers.get_mut(&segment_id) else {
            return Ok(());
        };
        let began_us = uplink.clock.monotonic_us();
        let sent = transfer.send_piece(uplink, link, segment, most_bytes).await?;
        match sent {
            Sent::Piece { bytes } | Sent::Last { bytes } => {
                self.bucket.take(bytes);
                // A short last piece tells little of the line.
                if bytes >= most_bytes / 2 {
                    let measured = Rate::measured(bytes, uplink.clock.monotonic_us() - began_us);
                    self.line = Some(self.line.map_or(measured, |line| Rate((line.0 + measured.0) / 2)));
                }
                metrics::counter!("recorder_upload_bytes_total").increment(bytes);
            }
            Sent::Nothing | Sent::Lost => {}
        }
        match sent {
            Sent::Piece { .. } | Sent::Nothing => Ok(()),
            Sent::Last { .. } => {
                self.transfers.remove(&segment_id);
                acknowledged(uplink, segment).await
            }
            Sent::Lost => {
                self.transfers.remove(&segment_id);
                Ok(())
            }
        }
    }
}

async fn acknowledged(uplink: &Uplink, segment: &PendingSegment) -> Result<(), UplinkError> {
    uplink
        .index
        .set_state(segment.segment_id, &["sealed", "uploading"], "acknowledged")
        .await?;
    let urgency = match segment.urgency {
        Urgency::Fetched { .. } => "fetched",
        Urgency::Marked => "marked",
        Urgency::Fresh => "fresh",
        Urgency::Backfill => "backfill",
    };
    metrics::counter!("recorder_segments_uploaded_total",
        "stream" => segment.key.stream.to_string(), "urgency" => urgency)
    .increment(1);
    Ok(())
}
