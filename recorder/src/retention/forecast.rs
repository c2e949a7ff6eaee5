//! How long the disk lasts: until only footage that must stay would be left on it. Pure.

/// Footage that must stay and keeps coming.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// At the present rate.
    pub bytes_per_s: f64,
    /// It need not stay for longer; `None`: for ever.
    pub keeps_s: Option<f64>,
}

/// What the forecast goes by.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outlook {
    /// Bytes for footage that must stay: what is free above the reserve, and what could go.
    pub room_bytes: u64,
    /// What comes.
    pub flows: Vec<Flow>,
    /// Seconds from now at which footage of today expires, and its bytes.
    pub leaving: Vec<(f64, u64)>,
}

impl Outlook {
    /// Seconds until the room is used up; `None` if it never is, at these rates.
    pub fn seconds_left(&self) -> Option<u64> {
        // Points at which the rate or the stock changes.
        let mut turns: Vec<(f64, Turn)> = self
            .leaving
            .iter()
            .map(|(at_s, bytes)| (at_s.max(0.0), Turn::Leaves(*bytes as f64)))
            .collect();
        turns.extend(self.flows.iter().filter_map(|flow| {
            // From then on as much leaves as comes.
            Some((flow.keeps_s?.max(0.0), Turn::Steadies(flow.bytes_per_s)))
        }));
        turns.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut rate: f64 = self.flows.iter().map(|flow| flow.bytes_per_s).sum();
        let mut room = self.room_bytes as f64;
        let mut now_s = 0.0;
        for (at_s, turn) in turns {
            let used = rate * (at_s - now_s);
            if used > room {
                break;
            }
            room -= used;
            now_s = at_s;
            match turn {
                Turn::Leaves(bytes) => room += bytes,
                Turn::Steadies(bytes_per_s) => rate -= bytes_per_s,
            }
        }
        // Less than a byte a second is what is left of subtracting rates.
        (rate >= 1.0).then(|| (now_s + room / rate) as u64)
    }
}

enum Turn {
    Leaves(f64),
    Steadies(f64),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow(bytes_per_s: f64, keeps_s: Option<f64>) -> Flow {
        Flow { bytes_per_s, keeps_s }
    }

    #[test]
    fn tells_when_the_room_is_used_up() {
        let outlook = Outlook {
            room_bytes: 1_000,
            flows: vec![flow(10.0, None)],
            leaving: Vec::new(),
        };
        assert_eq!(outlook.seconds_left(), Some(100));
        let nothing_comes = Outlook {
            flows: Vec::new(),
            ..outlook
        };
        assert_eq!(nothing_comes.seconds_left(), None);
    }

    #[test]
    fn a_disk_that_holds_a_whole_retention_lasts_for_ever() {
        let enough = Outlook {
            room_bytes: 1_001,
            flows: vec![flow(10.0, Some(100.0))],
            leaving: Vec::new(),
        };
        assert_eq!(enough.seconds_left(), None);
        let short = Outlook {
            room_bytes: 999,
            ..enough
        };
        assert_eq!(short.seconds_left(), Some(99));
    }

    #[test]
    fn what_expires_makes_room() {
        let outlook = Outlook {
            room_bytes: 100,
            flows: vec![flow(10.0, None)],
            leaving: vec![(5.0, 200), (1_000.0, 500)],
        };
        assert_eq!(outlook.seconds_left(), Some(30));
    }

    proptest! {
        #[test]
        fn agrees_with_going_second_by_second(
            room_bytes in 0u64..5_000,
            flows in proptest::collection::vec((1u32..20, proptest::option::of(1u32..200)), 0..4),
            leaving in proptest::collection::vec((0u32..200, 0u64..500), 0..5),
        ) {
            let outlook = Outlook {
                room_bytes,
                flows: flows.iter().map(|(rate, keeps)| flow(f64::from(*rate), keeps.map(f64::from))).collect(),
                leaving: leaving.iter().map(|(at, bytes)| (f64::from(*at), *bytes)).collect(),
            };
            let mut room = room_bytes as i64;
            let mut full_at = None;
            for second in 0u32..6_000 {
                room += leaving.iter().filter(|(at, _)| *at == second).map(|(_, b)| *b as i64).sum::<i64>();
                room -= flows.iter().filter(|(_, keeps)| keeps.is_none_or(|k| k > second))
                    .map(|(rate, _)| i64::from(*rate)).sum::<i64>();
                if room < 0 {
                    full_at = Some(u64::from(second));
                    break;
                }
            }
            match (outlook.seconds_left(), full_at) {
                (Some(told), Some(seen)) => prop_assert!(told.abs_diff(seen) <= 1, "{told} {seen}"),
                (told, seen) => prop_assert_eq!(told, seen),
            }
        }
    }
}
