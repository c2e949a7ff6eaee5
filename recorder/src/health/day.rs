//! What was seen of one counter in one day, counted look by look.

use std::collections::BTreeMap;

use archive::alert::AlertKind;
use archive::health::{ClockDay, FaultDay, ReadBack, StreamDay};
use archive::ids::StreamId;
use archive::time::WallTime;
use serde::{Deserialize, Serialize};

/// Between two looks that are farther apart nothing counts as looked at.
const LONGEST_PAUSE_US: i64 = 15_000_000;

/// Picture or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// The picture.
    Picture,
    /// The sound.
    Sound,
}

/// A day so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Since when it is watched.
    pub from: WallTime,
    streams: BTreeMap<StreamId, Counted>,
    /// The clock.
    pub clock: ClockDay,
    /// Least free bytes on the disk.
    pub disk_free_bytes: Option<u64>,
    /// The newest segment that was read back.
    pub read_back: Option<ReadBack>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    picture_us: i64,
    sound_us: i64,
    faults: BTreeMap<String, Fault>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fault {
    kind: AlertKind,
    us: i64,
    times: u32,
    detail: String,
}

impl Day {
    /// A day that is watched from now on.
    pub fn new(from: WallTime, streams: impl IntoIterator<Item = StreamId>) -> Self {
        Self {
            from,
            streams: streams
                .into_iter()
                .map(|stream| (stream, Counted::default()))
                .collect(),
            clock: ClockDay::default(),
            disk_free_bytes: None,
            read_back: None,
        }
    }

    /// A look came so long after the one before, with these faults there.
    pub fn looked(
        &mut self,
        stream: &StreamId,
        sense: Sense,
        passed_us: i64,
        faults: impl Iterator<Item = AlertKind>,
    ) {
        if !(0..=LONGEST_PAUSE_US).contains(&passed_us) {
            return;
        }
        let counted = self.streams.entry(stream.clone()).or_default();
        match sense {
            Sense::Picture => counted.picture_us += passed_us,
            Sense::Sound => counted.sound_us += passed_us,
        }
        for kind in faults {
            counted.fault(kind).us += passed_us;
        }
    }

    /// A fault began; it had been there for so long before it counted.
    pub fn began(&mut self, stream: &StreamId, kind: AlertKind, before_us: i64, detail: &str) {
        let fault = self.streams.entry(stream.clone()).or_default().fault(kind);
        fault.times += 1;
        fault.us += before_us.clamp(0, 60_000_000);
        detail.clone_into(&mut fault.detail);
    }

    /// The clock differs by so much from the centre's.
    pub fn clock_differs(&mut self, offset_us: i64) {
        let clock = &mut self.clock;
        clock.offset_min_us = Some(
            clock
                .offset_min_us
                .map_or(offset_us, |least| least.min(offset_us)),
        );
        clock.offset_max_us = Some(clock.offset_max_us.map_or(offset_us, |most| most.max(offset_us)));
    }

    /// So much is free on the disk.
    pub fn disk_is_free(&mut self, bytes: u64) {
        self.disk_free_bytes = Some(self.disk_free_bytes.map_or(bytes, |least| least.min(bytes)));
    }

    /// The streams for the report; their gaps are filled in by who knows them.
    pub fn streams(&self) -> Vec<StreamDay> {
        let seconds = |us: i64| u64::try_from(us / 1_000_000).unwrap_or(0);
        let fault = |fault: &Fault| FaultDay {
            kind: fault.kind,
            seconds: seconds(fault.us),
            times: fault.times,
            detail: fault.detail.clone(),
        };
        let stream = |(stream, counted): (&StreamId, &Counted)| StreamDay {
            stream: stream.clone(),
            picture_s: seconds(counted.picture_us),
            sound_s: seconds(counted.sound_us),
            gap_s: 0,
            faults: counted.faults.values().map(fault).collect(),
        };
        self.streams.iter().map(stream).collect()
    }
}

impl Counted {
    fn fault(&mut self, kind: AlertKind) -> &mut Fault {
        self.faults.entry(format!("{kind:?}")).or_insert_with(|| Fault {
            kind,
            us: 0,
            times: 0,
            detail: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_was_looked_at_and_how_long_each_fault_lasted() {
        let stream: StreamId = "q01.front.main".parse().unwrap();
        let mut day = Day::new(WallTime(0), [stream.clone()]);
        let black = AlertKind::PictureBlack;
        for _ in 0..10 {
            day.looked(&stream, Sense::Picture, 1_000_000, std::iter::empty());
        }
        day.began(&stream, black, 8_000_000, "luma 16");
        for _ in 0..5 {
            day.looked(&stream, Sense::Picture, 1_000_000, std::iter::once(black));
        }
        // The recorder was away for an hour: nobody looked.
        day.looked(&stream, Sense::Picture, 3_600_000_000, std::iter::once(black));
        day.looked(&stream, Sense::Sound, 5_000_000, std::iter::empty());
        let restored: Day = serde_json::from_str(&serde_json::to_string(&day).unwrap()).unwrap();
        assert_eq!(restored, day);
        let fault = FaultDay {
            kind: black,
            seconds: 13,
            times: 1,
            detail: "luma 16".to_owned(),
        };
        let expected = StreamDay {
            stream,
            picture_s: 15,
            sound_s: 5,
            gap_s: 0,
            faults: vec![fault],
        };
        assert_eq!(day.streams(), [expected]);
    }
}
