//! The reader of any MP4, with tables or fragments, against any bytes.
#![no_main]

use archive::fmp4::read_movie;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(movie) = read_movie(bytes) {
        assert!(movie.samples.len() <= bytes.len());
        for sample in &movie.samples {
            if let Some(found) = sample.bytes(bytes, 0) {
                assert_eq!(found.len(), sample.size_bytes as usize);
            }
        }
    }
});
