//! This machine's clocks, and what the kernel says about them.

use std::sync::Arc;
use std::time::Duration;

use archive::time::{BootTime, Clock, ClockState, DurationUs, Moment, SystemClock, WallTime};
use archive::uplink::ClockSource;
use tokio_util::sync::CancellationToken;

use crate::index::{ClockSeen, Index, IndexError};

/// The clocks of the machine that the recorder runs on.
#[derive(Debug, Clone, Copy)]
pub struct MachineClock {
    /// Which start of the machine this is, if the kernel says so.
    boot: Option<uuid::Uuid>,
}

impl MachineClock {
    /// Asks the kernel once which start of the machine this is.
    pub fn new() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let boot = boot.ok().and_then(|id| id.trim().parse().ok());
        if boot.is_none() {
            tracing::warn!("the kernel does not name its boot: a wrong clock can't be corrected afterwards");
        }
        Self { boot }
    }
}

impl Default for MachineClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MachineClock {
    fn wall(&self) -> WallTime {
        SystemClock.wall()
    }

    fn monotonic_us(&self) -> i64 {
        SystemClock.monotonic_us()
    }

    fn boot(&self) -> Option<BootTime> {
        let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Some(BootTime {
            boot: self.boot?,
            us: since.tv_sec * 1_000_000 + since.tv_nsec / 1_000,
        })
    }
}

/// 2020-01-01: no recorder ran before.
const EARLIEST: WallTime = WallTime(1_577_836_800_000_000);

/// How far the machine's wall clock is to be believed now.
pub fn clock_state(now: WallTime) -> ClockState {
    if now < EARLIEST {
        ClockState::Impossible
    } else if is_steered() {
        ClockState::Synchronized
    } else {
        ClockState::Unsynchronized
    }
}

/// `adjtimex` gives `TIME_ERROR` while no time service steers the clock.
#[allow(unsafe_code)]
fn is_steered() -> bool {
    // SAFETY: an all-zero `timex` is valid: `modes` 0 asks and changes nothing; the kernel only writes into it.
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut timex)
    };
    (0..libc::TIME_ERROR).contains(&state)
}

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// A clock that moved by more than this against the one that is never set was set.
const STEP_US: DurationUs = 500_000;
/// What a steered clock may be off; services over the Internet keep it well within.
const STEERED_TO_US: DurationUs = 100_000;

/// Tells, once a boot and after each step, what time it is by a time service: so that also a recorder that never
/// heard the centre in this boot can be put right.
pub async fn watch(index: Index, clock: Arc<dyn Clock>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watch = SteeringWatch::default();
    // Up to here all segments lie where the true time puts them.
    let mut placed_us = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let now = Moment::now(&*clock);
        let state = clock_state(now.wall);
        metrics::gauge!("recorder_clock_synchronized")
            .set(f64::from(u8::from(state == ClockState::Synchronized)));
        if let Some(seen) = watch.look(now, state)
            && let Err(error) = index.put_sighting(&seen).await
        {
            tracing::warn!(%error, "what the time service says could not be kept");
            watch = SteeringWatch::default();
        }
        if let Some(boot) = now.boot
            && let Err(error) = place(&index, boot.boot, &mut placed_us).await
        {
            tracing::warn!(%error, "segments could not be placed by the true time");
        }
    }
}

/// Moves segments to where the newest sighting puts them, if there is a new one.
async fn place(index: &Index, boot: uuid::Uuid, placed_us: &mut Option<i64>) -> Result<(), IndexError> {
    let newest_us = index.newest_sighting_us(boot).await?;
    if newest_us == *placed_us {
        return Ok(());
    }
    let moved = index
        .replace_segments(boot, placed_us.unwrap_or(i64::MIN))
        .await?;
    if moved > 0 {
        tracing::info!(moved, "segments of a wrong clock have their true times");
    }
    *placed_us = newest_us;
    Ok(())
}

/// Notices when a time service has set the clock.
#[derive(Debug, Default)]
struct SteeringWatch {
    /// Wall minus boot time when the clock was steered at the last look.
    steered_us: Option<i64>,
    told_us: Option<i64>,
}

impl SteeringWatch {
    /// What to tell, if the clock has been steered since the last look and that is news.
    fn look(&mut self, now: Moment, state: ClockState) -> Option<ClockSeen> {
        let boot = now.boot?;
        let offset_us = now.wall.0.saturating_sub(boot.us);
        let is_near = |other: Option<i64>| other.is_some_and(|us| (offset_us - us).abs() < STEP_US);
        if state != ClockState::Synchronized {
            self.steered_us = None;
            return None;
        }
        // Twice in a row, since a service may say that it steers a moment before it sets.
        let is_settled = is_near(self.steered_us);
        self.steered_us = Some(offset_us);
        if !is_settled || is_near(self.told_us) {
            return None;
        }
        self.told_us = Some(offset_us);
        Some(ClockSeen {
            boot,
            truth: now.wall,
            wall: now.wall,
            round_trip_us: 2 * STEERED_TO_US,
            source: ClockSource::TimeService,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot_s: i64, offset_s: i64) -> Moment {
        Moment {
            wall: WallTime((boot_s + offset_s) * 1_000_000),
            boot: Some(BootTime {
                boot: uuid::Uuid::from_u128(1),
                us: boot_s * 1_000_000,
            }),
        }
    }

    #[test]
    fn tells_the_time_once_a_service_has_settled_and_again_after_a_step() {
        use ClockState::{Impossible, Synchronized};
        let mut watch = SteeringWatch::default();
        let mut look =
            |boot_s, offset_s, state| watch.look(at(boot_s, offset_s), state).map(|seen| seen.truth.0);
        assert_eq!(look(10, 0, Impossible), None);
        assert_eq!(look(20, 0, Synchronized), None);
        assert_eq!(look(30, 1_700_000_000, Synchronized), None);
        assert_eq!(look(40, 1_700_000_000, Synchronized), Some(1_700_000_040_000_000));
        assert_eq!(look(50, 1_700_000_000, Synchronized), None);
        assert_eq!(look(60, 1_700_003_600, Synchronized), None);
        assert_eq!(look(70, 1_700_003_600, Synchronized), Some(1_700_003_670_000_000));
    }

    #[test]
    fn the_machine_names_its_boot_and_counts_from_it() {
        let clock = MachineClock::new();
        let (first, second) = (clock.boot().unwrap(), clock.boot().unwrap());
        assert_eq!(first.boot, second.boot);
        assert!(second.us >= first.us && first.us > 0);
    }
}
