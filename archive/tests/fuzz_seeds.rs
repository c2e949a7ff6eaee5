//! The fuzz seeds are read as what they stand for, so that fuzzing starts from valid input.

use std::path::PathBuf;

use archive::event::CounterEvent;
use archive::fmp4::{index, read_movie, read_prft, scan_segment};
use archive::seal::export::ExportProof;
use archive::seal::{ChainEntry, Signed};
use archive::uplink::{ToRecorder, ToServer};

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let files = std::fs::read_dir(&folder).expect("the seeds are committed");
    let paths: Vec<_> = files
        .map(|file| file.expect("a folder that is read").path())
        .collect();
    assert!(!paths.is_empty(), "{folder:?}");
    paths
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).expect("a seed is a file")))
        .collect()
}

#[test]
fn fmp4_seeds_are_files_fragments_and_an_index() {
    for (path, bytes) in seeds("fmp4") {
        match path.file_name().unwrap().to_str().unwrap() {
            "index" => assert_eq!(index::decode(&bytes).unwrap().len(), 2),
            "prft" | "prft-and-fragment" => assert_eq!(read_prft(&bytes).unwrap().track_id, 1),
            "fragment" => assert_eq!(bytes[4..8], *b"styp"),
            _ => assert!(!scan_segment(&bytes).unwrap().fragments.is_empty(), "{path:?}"),
        }
    }
}

#[test]
fn event_seeds_are_events() {
    for (path, bytes) in seeds("event") {
        CounterEvent::parse(&bytes).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    }
}

#[test]
fn uplink_seeds_are_messages_of_one_side() {
    for (path, bytes) in seeds("uplink") {
        let to_server = serde_json::from_slice::<ToServer>(&bytes);
        let to_recorder = serde_json::from_slice::<ToRecorder>(&bytes);
        assert!(
            to_server.is_ok() != to_recorder.is_ok(),
            "{path:?}: {to_server:?} {to_recorder:?}"
        );
    }
}

#[test]
fn movie_seeds_list_their_samples_in_fragments_and_in_tables() {
    for (path, bytes) in seeds("movie") {
        assert!(read_movie(&bytes).unwrap().samples.len() > 20, "{path:?}");
    }
}

#[test]
fn seal_seeds_are_a_chain_and_what_a_film_says_of_itself() {
    for (path, bytes) in seeds("seal") {
        match path.file_name().unwrap().to_str().unwrap() {
            "film" => drop(serde_json::from_slice::<ExportProof>(&bytes).unwrap()),
            _ => {
                for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                    let signed: Signed = serde_json::from_slice(line).unwrap();
                    signed.read_unverified::<ChainEntry>().unwrap();
                }
            }
        }
    }
}
