//! The recorder's clocks against the centre's, compared at each heartbeat.

use archive::time::{BestOfRecent, BootTime, Clock, Exchange, Moment, Sighting, WallTime};
use archive::uplink::{ClockOffset, ClockSource};

use crate::index::{ClockSeen, Index};

/// What the heartbeats of this program have told so far; outlives sessions.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    best: BestOfRecent,
    offset: Option<ClockOffset>,
}

/// The answer to a heartbeat.
pub(super) struct Answer {
    pub sent: Option<BootTime>,
    pub server_received: WallTime,
    pub server_sent: WallTime,
}

impl Comparison {
    /// How far the wall clock is off, if that is known; for the next heartbeat.
    pub fn offset(&self) -> Option<ClockOffset> {
        self.offset
    }

    /// Takes an answer in. What tells something new is kept at this end and becomes a fact for the other.
    pub async fn take(&mut self, answer: &Answer, clock: &dyn Clock, index: &Index) {
        let now = Moment::now(clock);
        let (Some(sent), Some(boot)) = (answer.sent, now.boot) else {
            return;
        };
        let exchange = Exchange {
            sent_us: sent.us,
            server_received: answer.server_received,
            server_sent: answer.server_sent,
            received_us: boot.us,
        };
        let Some(sighting) = exchange.sighting().filter(|_| sent.boot == boot.boot) else {
            metrics::counter!("recorder_clock_exchanges_unusable_total").increment(1);
            return;
        };
        let best = self.best.add(sighting);
        let offset = ClockOffset {
            offset_us: now
                .wall
                .0
                .saturating_sub(boot.us)
                .saturating_sub(best.offset_us()),
            round_trip_us: 2 * best.uncertainty_us,
        };
        self.offset = Some(offset);
        metrics::gauge!("recorder_clock_offset_seconds").set(offset.offset_us as f64 / 1e6);
        metrics::gauge!("recorder_clock_round_trip_seconds").set(offset.round_trip_us as f64 / 1e6);
        if self.best.is_news(best) {
            self.tell(best, &now, boot.boot, index).await;
        }
    }

    async fn tell(&mut self, best: Sighting, now: &Moment, boot: uuid::Uuid, index: &Index) {
        let elapsed_us = now.boot.map_or(0, |b| b.us - best.boot_us);
        let seen = ClockSeen {
            boot: BootTime {
                boot,
                us: best.boot_us,
            },
            truth: best.wall,
            wall: now.wall - elapsed_us,
            round_trip_us: 2 * best.uncertainty_us,
            source: ClockSource::Server,
        };
        let stored = index.put_sighting(&seen).await;
        if let Err(error) = stored {
            tracing::warn!(%error, "a comparison with the centre's clock could not be kept");
            self.best = BestOfRecent::default();
        }
    }
}
