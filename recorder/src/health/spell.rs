//! When a fault begins and ends: held long enough before it counts, away long enough before it is over.

/// How long and how often a fault must be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Seen without a contrary look for so long, in microseconds.
    pub raise_us: i64,
    /// And at least so many times.
    pub raise_looks: u32,
    /// Not seen for so long.
    pub clear_us: i64,
    /// And at least so many times.
    pub clear_looks: u32,
    /// After its end it must be seen for twice as long, for this while.
    pub cool_down_us: i64,
}

/// A pause between two looks that is longer proves nothing of the time in between.
const LONGEST_PAUSE_US: i64 = 20_000_000;

/// A fault that began or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is there; first seen at this time.
    Began(i64),
    /// It is over; last seen before this time.
    Ended(i64),
}

/// One fault of one stream over time.
#[derive(Debug, Clone, Default)]
pub struct Spell {
    is_open: bool,
    /// Since when, and how often, it was seen (or, while open, not seen).
    turning: Option<(i64, u32)>,
    last_us: Option<i64>,
    ended_us: Option<i64>,
}

impl Spell {
    /// A fault that was there when the program ended.
    pub fn open() -> Self {
        Self {
            is_open: true,
            ..Self::default()
        }
    }

    /// Whether it counts as there.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether it may begin or end soon: worth looking more often.
    pub fn is_turning(&self) -> bool {
        self.turning.is_some()
    }

    /// Takes a look at a time; `None` if the look could not tell.
    pub fn look(&mut self, at_us: i64, is_seen: Option<bool>, patience: &Patience) -> Option<Turn> {
        if self
            .last_us
            .is_some_and(|last| !(0..=LONGEST_PAUSE_US).contains(&(at_us - last)))
        {
            self.turning = None;
        }
        self.last_us = Some(at_us);
        let is_seen = is_seen?;
        if is_seen == self.is_open {
            self.turning = None;
            return None;
        }
        let (since_us, looks) = self
            .turning
            .map_or((at_us, 1), |(since, looks)| (since, looks + 1));
        self.turning = Some((since_us, looks));
        let is_tired = self
            .ended_us
            .is_some_and(|ended| (0..patience.cool_down_us).contains(&(at_us - ended)));
        let (least_us, least_looks) = match (self.is_open, is_tired) {
            (true, _) => (patience.clear_us, patience.clear_looks),
            (false, false) => (patience.raise_us, patience.raise_looks),
            (false, true) => (2 * patience.raise_us, patience.raise_looks),
        };
        if at_us - since_us < least_us || looks < least_looks {
            return None;
        }
        self.turning = None;
        self.is_open = !self.is_open;
        if self.is_open {
            Some(Turn::Began(since_us))
        } else {
            self.ended_us = Some(at_us);
            Some(Turn::Ended(since_us))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        raise_us: 10,
        raise_looks: 3,
        clear_us: 5,
        clear_looks: 2,
        cool_down_us: 100,
    };

    fn turns(looks: &[(i64, Option<bool>)]) -> Vec<Turn> {
        let mut spell = Spell::default();
        looks
            .iter()
            .filter_map(|(at, seen)| spell.look(*at, *seen, &PATIENCE))
            .collect()
    }

    #[test]
    fn begins_after_its_time_and_ends_after_its_time() {
        let seen = |at| (at, Some(true));
        let not = |at| (at, Some(false));
        assert_eq!(turns(&[seen(0), seen(9)]), []);
        // Long enough, but seen only twice.
        assert_eq!(turns(&[seen(0), seen(12)]), []);
        assert_eq!(turns(&[seen(0), seen(5), not(7), seen(9), seen(12)]), []);
        assert_eq!(
            turns(&[
                seen(0),
                seen(5),
                (7, None),
                seen(10),
                not(11),
                seen(12),
                not(20),
                not(25)
            ]),
            [Turn::Began(0), Turn::Ended(20)]
        );
    }

    #[test]
    fn comes_back_only_after_twice_the_time() {
        let mut looks: Vec<_> = (0..=2).map(|i| (i * 5, Some(true))).collect();
        looks.extend([(12, Some(false)), (17, Some(false))]);
        looks.extend((4..=7).map(|i| (i * 5, Some(true))));
        assert_eq!(turns(&looks), [Turn::Began(0), Turn::Ended(12)]);
        looks.push((40, Some(true)));
        assert_eq!(turns(&looks).last(), Some(&Turn::Began(20)));
    }

    #[test]
    fn a_long_pause_proves_nothing() {
        let second = 1_000_000;
        let looks = [0, 1, 30].map(|at| (at * second, Some(true)));
        assert_eq!(turns(&looks), []);
    }
}
