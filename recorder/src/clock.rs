//! What the kernel says about the wall clock.

use archive::time::{ClockState, WallTime};

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
