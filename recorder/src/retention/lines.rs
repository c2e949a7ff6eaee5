//! How much of the disk may be used: the water marks.

use site_config::retention::RetentionSettings;

use crate::disk::Space;

/// Free bytes at which something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// With less free, footage goes.
    pub high_free_bytes: u64,
    /// So much is free when enough has gone.
    pub low_free_bytes: u64,
    /// With less free, nothing is recorded: the index, its journal and the chains must still find room.
    pub reserve_bytes: u64,
}

impl Lines {
    /// The lines of a disk.
    pub fn new(settings: &RetentionSettings, space: Space) -> Self {
        let free_at = |used_percent: u8| {
            let share = u128::from(space.total_bytes) * u128::from(100 - used_percent.min(100)) / 100;
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        let high_free_bytes = free_at(settings.high_percent);
        Self {
            high_free_bytes,
            low_free_bytes: free_at(settings.low_percent),
            // On a small disk the other half is the time that deletion has.
            reserve_bytes: (u64::from(settings.reserve_mb) * 1024 * 1024).min(high_free_bytes / 2),
        }
    }

    /// How much must go.
    pub fn need_bytes(&self, space: Space) -> u64 {
        if space.free_bytes < self.high_free_bytes {
            self.low_free_bytes.saturating_sub(space.free_bytes)
        } else {
            0
        }
    }

    /// Whether there is room to record; what stopped goes on only above the high mark, so that it does not flap.
    pub fn has_room(&self, space: Space, has_stopped: bool) -> bool {
        if has_stopped {
            space.free_bytes >= self.high_free_bytes
        } else {
            space.free_bytes >= self.reserve_bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(free_bytes: u64) -> Space {
        Space {
            free_bytes,
            total_bytes: 1_000 << 20,
        }
    }

    #[test]
    fn evicts_from_the_high_mark_to_the_low_one_and_stops_at_the_reserve() {
        let settings = RetentionSettings {
            high_percent: 90,
            low_percent: 80,
            reserve_mb: 20,
            ..RetentionSettings::default()
        };
        let lines = Lines::new(&settings, space(0));
        assert_eq!(lines.need_bytes(space(100 << 20)), 0);
        assert_eq!(lines.need_bytes(space(99 << 20)), 101 << 20);
        assert!(lines.has_room(space(20 << 20), false));
        assert!(!lines.has_room(space((20 << 20) - 1), false));
        assert!(!lines.has_room(space(99 << 20), true));
        assert!(lines.has_room(space(100 << 20), true));
    }

    #[test]
    fn on_a_small_disk_half_of_what_the_high_mark_leaves_is_the_reserve() {
        let lines = Lines::new(&RetentionSettings::default(), space(0));
        assert_eq!(lines.reserve_bytes, lines.high_free_bytes / 2);
    }
}
