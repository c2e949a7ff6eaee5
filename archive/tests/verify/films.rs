//! Exported films and copies of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use archive::fmp4::scan_segment;
use archive::seal::PublicKey;

use crate::stage::{Disk, centre_key, recorder_key, verify};

fn written(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_stranger_learns_who_recorded_when_and_that_nothing_is_cut() {
    let disk = Disk::new();
    let film = written(disk.path(), "film.mp4", &disk.export());
    let (code, text) = verify(&film, &[]);
    assert_eq!(code, 0, "{text}");
    for told in [
        "recorder rec-1 at site ba-dinh",
        "Quầy 01",
        "recorded from: 2025-11-23T02:00:00.",
        "cut inside: nothing",
        "seen by the centre at: 2025-11-23T02:00:04.",
        "in the published root of: 2025-11-23",
        "PROVEN",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let (code, json) = verify(&film, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json["verdict"].as_str()), (0, Some("proven")));
}

#[test]
fn fingerprints_on_paper_are_enough() {
    let disk = Disk::new();
    let film = written(disk.path(), "film.mp4", &disk.export());
    let check = |recorder: &str, centre: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_minhquay-verify"))
            .arg(&film)
            .args(["--recorder-key", recorder, "--centre-key", centre])
            .output()
            .unwrap();
        output.status.code()
    };
    let recorder = PublicKey::from(&recorder_key()).fingerprint();
    let centre = PublicKey::from(&centre_key()).fingerprint();
    assert_eq!(check(&recorder, &centre), Some(0));
    assert_eq!(check(&centre, &centre), Some(1));
    assert_eq!(check(&recorder, &recorder), Some(1));
    assert_eq!(check("abc", &centre), Some(2));
}

#[test]
fn finds_a_change_of_every_byte_of_a_film_in_steps() {
    let disk = Disk::new();
    let whole = disk.export();
    for at in (0..whole.len()).step_by(whole.len() / 150) {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        let film = written(disk.path(), "film.mp4", &changed);
        let (code, text) = verify(&film, &[]);
        assert_eq!(code, 1, "byte {at}: {text}");
    }
}

#[test]
fn names_the_first_picture_that_differs() {
    let disk = Disk::new();
    let mut film = disk.export();
    let scan = scan_segment(&film).unwrap();
    // The last picture of the second fragment: its bytes end before the sound's, or at the end.
    let fragment = &scan.fragments[1];
    let leading = scan.init.leading_track().track.track_id;
    let (from, to) = (fragment.offset_bytes as usize, fragment.end_bytes() as usize);
    let samples =
        archive::fmp4::fragment_samples(&film[from..to], fragment.offset_bytes, &scan.init).unwrap();
    let pictures: Vec<_> = samples.iter().filter(|s| s.track_id == leading).collect();
    let last = pictures.last().unwrap();
    let before = scan.fragments[0].track(leading).unwrap().sample_count;
    film[last.offset_bytes as usize] ^= 1;
    let path = written(disk.path(), "film.mp4", &film);
    let (code, text) = verify(&path, &[]);
    assert_eq!(code, 1);
    let picture = before + pictures.len() as u64;
    assert!(
        text.contains(&format!("the first picture that differs is picture {picture},")),
        "{text}"
    );
}

#[test]
fn finds_fragments_cut_out_and_bytes_added() {
    let disk = Disk::new();
    let film = disk.export();
    let scan = scan_segment(&film).unwrap();
    let cut = &scan.fragments[1];
    let without = [
        &film[..cut.offset_bytes as usize],
        &film[cut.end_bytes() as usize..],
    ]
    .concat();
    assert_eq!(verify(&written(disk.path(), "cut.mp4", &without), &[]).0, 1);
    let more = [&film[..], &[0, 0, 0, 8][..], b"free"].concat();
    assert_eq!(verify(&written(disk.path(), "more.mp4", &more), &[]).0, 1);
    let end = scan.usable_bytes as usize;
    let (code, text) = verify(&written(disk.path(), "bare.mp4", &film[..end]), &[]);
    assert_eq!(code, 1);
    assert!(text.contains("UNPROVEN"), "{text}");
}

#[test]
fn tells_a_remuxed_copy_from_a_reencoded_and_from_an_altered_one() {
    let disk = Disk::new();
    let film = written(disk.path(), "film.mp4", &disk.export());
    let original = film.to_str().unwrap();
    let convert = |name: &str, arguments: &[&str]| {
        let copy = disk.path().join(name);
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i", original])
            .args(arguments)
            .arg(&copy)
            .status()
            .unwrap();
        assert!(status.success());
        copy
    };
    let remuxed = convert("remuxed.mp4", &["-c", "copy", "-movflags", "+faststart"]);
    let (code, text) = verify(&remuxed, &["--original", original]);
    assert_eq!(code, 1);
    assert!(text.contains("RE-MUXED"), "{text}");
    let reencoded = convert("reencoded.mp4", &["-c:v", "mpeg4", "-c:a", "copy"]);
    let (code, text) = verify(&reencoded, &["--original", original]);
    assert_eq!(code, 1);
    assert!(text.contains("RE-ENCODED"), "{text}");
    let mut altered = std::fs::read(&remuxed).unwrap();
    let movie = archive::fmp4::read_movie(&altered).unwrap();
    let third = movie.samples[2];
    altered[third.offset_bytes as usize + 5] ^= 1;
    let altered = written(disk.path(), "altered.mp4", &altered);
    let (code, text) = verify(&altered, &["--original", original]);
    assert_eq!(code, 1);
    assert!(
        text.contains("TAMPERED") && text.contains("is number 3"),
        "{text}"
    );
    let (code, text) = verify(&remuxed, &[]);
    assert_eq!(code, 1);
    assert!(text.contains("there is no proof in it"), "{text}");
    assert_eq!(verify(&film, &["--original", original]).0, 0);
}
