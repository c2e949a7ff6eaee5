//! The parser of counter events against any bytes.
#![no_main]

use archive::event::CounterEvent;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(event) = CounterEvent::parse(bytes) else {
        return;
    };
    let value: serde_json::Value = serde_json::from_slice(bytes).expect("an event can be stored");
    let same = CounterEvent::from_value(&value).expect("parsed before");
    assert_eq!((same.id, same.source), (event.id.clone(), event.source.clone()));
    if let Some(percent) = event.rating_percent() {
        assert!(percent.is_finite());
    }
});
