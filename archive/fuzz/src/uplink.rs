//! The messages between recorder and server against any bytes, and the clocks built from what they claim.
#![no_main]

use archive::time::{Anchor, MediaTime, RunClock, WallTime};
use archive::uplink::{Fact, ToRecorder, ToServer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = serde_json::from_slice::<ToRecorder>(bytes) {
        let text = serde_json::to_string(&message).expect("was JSON before");
        assert_eq!(
            serde_json::from_str::<ToRecorder>(&text).expect("written by us"),
            message
        );
    }
    let Ok(message) = serde_json::from_slice::<ToServer>(bytes) else {
        return;
    };
    let text = serde_json::to_string(&message).expect("was JSON before");
    serde_json::from_str::<ToServer>(&text).expect("written by us");
    if let ToServer::Facts { facts, .. } = message {
        let anchors: Vec<Anchor> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::RunStarted { anchor, .. } | Fact::Anchored { anchor, .. } => Some(*anchor),
                _ => None,
            })
            .collect();
        let clock = RunClock::new(&anchors);
        for anchor in &anchors {
            let wall = clock.wall(anchor.media).expect("there is an anchor");
            clock.media(wall).expect("there is an anchor");
            assert!(clock.wall(anchor.media + 1_000_000) >= Some(wall));
        }
        for far in [i64::MIN, -1, 0, 1, i64::MAX] {
            clock.wall(MediaTime(far));
            clock.media(WallTime(far));
        }
    }
});
