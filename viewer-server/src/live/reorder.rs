//! Puts RTP packets back in order and waits a while for retransmissions.

use std::collections::BTreeMap;

/// Longest that a hole is waited for, in microseconds: several round trips of a national line.
const PATIENCE_US: i64 = 250_000;

/// Most packets held back behind a hole.
const MAX_WAITING: usize = 1024;

/// The packets of one track behind a hole.
#[derive(Debug)]
pub(super) struct Reorder<T> {
    next: Option<u64>,
    waiting: BTreeMap<u64, (i64, T)>,
    lost: u64,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Self {
            next: None,
            waiting: BTreeMap::new(),
            lost: 0,
        }
    }
}

impl<T> Reorder<T> {
    /// Takes a packet as it arrived; late ones and copies are dropped.
    pub(super) fn push(&mut self, sequence: u16, now_us: i64, item: T) {
        // Starting one lap up keeps early reordered packets above zero.
        let reference = self.next.unwrap_or(u64::from(sequence) + 0x1_0000);
        let extended = unwrap_sequence(reference, sequence);
        if self.next.is_none() {
            self.next = Some(extended);
        }
        if extended >= reference {
            self.waiting.entry(extended).or_insert((now_us, item));
        }
    }

    /// The next packet in order, or the one behind a hole that was waited for long enough.
    pub(super) fn pop(&mut self, now_us: i64) -> Option<(u64, T)> {
        let next = self.next?;
        let entry = self.waiting.first_entry()?;
        let sequence = *entry.key();
        let is_due = entry.get().0.saturating_add(PATIENCE_US) <= now_us;
        if sequence != next && !is_due && self.waiting.len() <= MAX_WAITING {
            return None;
        }
        let (sequence, (_, item)) = self.waiting.pop_first()?;
        self.lost += sequence - next;
        self.next = Some(sequence + 1);
        Some((sequence, item))
    }

    /// When the packet behind a hole goes on without it.
    pub(super) fn due_us(&self) -> Option<i64> {
        self.waiting
            .first_key_value()
            .map(|(_, (at, _))| at.saturating_add(PATIENCE_US))
    }

    /// Packets given up since the last call.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

/// The extended number nearest to `reference` whose low 16 bits are `sequence`.
fn unwrap_sequence(reference: u64, sequence: u16) -> u64 {
    let distance = sequence.wrapping_sub(reference as u16) as i16;
    reference.saturating_add_signed(i64::from(distance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(reorder: &mut Reorder<u16>, now_us: i64) -> Vec<u16> {
        std::iter::from_fn(|| reorder.pop(now_us).map(|(_, item)| item)).collect()
    }

    #[test]
    fn gives_packets_in_order_across_the_wrap() {
        let mut reorder = Reorder::default();
        for sequence in [65_534, 65_535, 1, 0, 2] {
            reorder.push(sequence, 0, sequence);
        }
        assert_eq!(drain(&mut reorder, 0), [65_534, 65_535, 0, 1, 2]);
        assert_eq!(reorder.take_lost(), 0);
    }

    #[test]
    fn waits_for_a_hole_then_counts_it_lost() {
        let mut reorder = Reorder::default();
        reorder.push(10, 0, 10);
        reorder.push(13, 5, 13);
        assert_eq!(drain(&mut reorder, 100), [10]);
        assert_eq!(reorder.due_us(), Some(5 + PATIENCE_US));
        assert_eq!(drain(&mut reorder, 5 + PATIENCE_US), [13]);
        assert_eq!(reorder.take_lost(), 2);
        reorder.push(11, 300_000, 11);
        assert_eq!(drain(&mut reorder, 900_000), [] as [u16; 0]);
    }

    #[test]
    fn holds_a_bounded_number_of_packets() {
        let mut reorder = Reorder::default();
        reorder.push(0, 0, 0);
        reorder.pop(0);
        for sequence in 2..=u16::try_from(MAX_WAITING).unwrap() + 2 {
            reorder.push(sequence, 0, sequence);
        }
        assert_eq!(reorder.pop(0).map(|(_, item)| item), Some(2));
    }

    #[test]
    fn drops_copies() {
        let mut reorder = Reorder::default();
        for sequence in [4, 4, 5, 5, 4] {
            reorder.push(sequence, 0, sequence);
        }
        assert_eq!(drain(&mut reorder, 0), [4, 5]);
    }
}
