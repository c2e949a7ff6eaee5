//! A clock that is never set, and moments told by it beside the wall clock.

use serde::{Deserialize, Serialize};

use super::{Anchor, Clock, WallTime};

/// A moment since a machine was started: no time service and no operator ever moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootTime {
    /// Which start of the machine; moments of different boots can't be compared.
    pub boot: uuid::Uuid,
    /// Microseconds since then, time asleep counted in.
    pub us: i64,
}

/// One moment as both clocks of a recorder show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock.
    pub wall: WallTime,
    /// By the clock that is never set.
    pub boot: Option<BootTime>,
}

/// Reading two clocks takes less than this, unless the program is interrupted in between.
const AT_ONCE_US: i64 = 200;

impl Moment {
    /// Looks at both clocks at once.
    pub fn now(clock: &dyn Clock) -> Self {
        let look = || {
            let before_us = clock.monotonic_us();
            let moment = Self {
                wall: clock.wall(),
                boot: clock.boot(),
            };
            (clock.monotonic_us() - before_us, moment)
        };
        let mut best = look();
        for _ in 0..3 {
            if best.0 <= AT_ONCE_US {
                break;
            }
            let again = look();
            if again.0 < best.0 {
                best = again;
            }
        }
        best.1
    }
}

impl From<WallTime> for Moment {
    fn from(wall: WallTime) -> Self {
        Self { wall, boot: None }
    }
}

/// A wall time of a run on the clock that is never set, by the last of its anchors that lies before.
pub fn boot_at(anchors: &[Anchor], wall: WallTime) -> Option<BootTime> {
    let told = |anchor: &&Anchor| anchor.boot.is_some();
    let anchor = anchors
        .iter()
        .rev()
        .filter(told)
        .find(|anchor| anchor.wall <= wall)
        .or_else(|| anchors.iter().find(told))?;
    let boot = anchor.boot?;
    Some(BootTime {
        us: boot.us.saturating_add(wall - anchor.wall),
        ..boot
    })
}
