//! The fMP4 reader and the index coding against any bytes: as a whole file, behind a good init segment, as a box.
#![no_main]

use std::sync::LazyLock;

use archive::fmp4::{self, Init, fragment_rows, fragment_samples, index, next_fragment, read_init, read_prft, scan_segment};
use archive::segment::gop_ranges;
use libfuzzer_sys::fuzz_target;

static INIT: LazyLock<Init> = LazyLock::new(|| {
    let file = include_bytes!("../../fixtures/isofmp4mux-h264-aac.mp4");
    read_init(file).expect("the fixture is whole")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(scan) = scan_segment(bytes) {
        assert!(scan.usable_bytes <= bytes.len() as u64);
        let mut at = scan.init.size_bytes;
        for fragment in &scan.fragments {
            assert_eq!(fragment.offset_bytes, at);
            at = fragment.end_bytes();
        }
        assert_eq!(at, scan.usable_bytes);
        let again = scan_segment(&bytes[..at as usize]).expect("the init segment is whole");
        assert_eq!(again.fragments, scan.fragments);
        let gops = gop_ranges(&fragment_rows(bytes, &scan, 3_600_000_000_000));
        assert_eq!(index::decode(&index::encode(&gops)), Ok(gops));
    }
    match next_fragment(bytes, 0, &INIT) {
        Ok(Some(fragment)) => assert!(fragment.end_bytes() <= bytes.len() as u64),
        Err(fmp4::Fmp4Error::Incomplete { needed_bytes, .. }) => assert!(needed_bytes > bytes.len() as u64),
        Ok(None) | Err(_) => {}
    }
    if let Ok(samples) = fragment_samples(bytes, 0, &INIT) {
        assert!(samples.iter().all(|sample| sample.bytes(bytes, 0).is_some()));
    }
    if let Ok(gops) = index::decode(bytes) {
        assert_eq!(index::encode(&gops), bytes);
    }
    let _ = read_prft(bytes);
});
