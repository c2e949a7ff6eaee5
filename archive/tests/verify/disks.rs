//! A recorder's disk and one segment of it.

use archive::seal::Signed;
use archive::seal::signed::Purpose;
use rand::{Rng, SeedableRng};

use crate::stage::{Disk, STREAM, centre_key, verify};

#[test]
fn proves_a_disk_as_it_was_recorded() {
    let disk = Disk::new();
    let (code, text) = verify(disk.path(), &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("3 segments") && text.contains("1 gaps"), "{text}");
    assert!(text.contains("seen by the centre"), "{text}");
}

#[test]
fn finds_a_change_of_any_byte_of_a_disk() {
    let disk = Disk::new();
    let mut random = rand::rngs::StdRng::seed_from_u64(20_261_123);
    let files = ["chain.log", "receipts.log", "0/1.mp4", "0/2.mp4", "0/3.mp4"];
    for round in 0..200 {
        let file = disk.path().join(STREAM).join(files[round % files.len()]);
        let whole = std::fs::read(&file).unwrap();
        let mut changed = whole.clone();
        let at = random.random_range(0..whole.len());
        changed[at] ^= 1 << random.random_range(0..8);
        std::fs::write(&file, &changed).unwrap();
        let (code, text) = verify(disk.path(), &[]);
        assert_eq!(code, 1, "byte {at} of {}: {text}", file.display());
        std::fs::write(&file, &whole).unwrap();
    }
    assert_eq!(verify(disk.path(), &[]).0, 0);
}

#[test]
fn finds_a_file_taken_away_and_one_put_there() {
    let disk = Disk::new();
    let taken = std::fs::read(disk.segment(2)).unwrap();
    std::fs::remove_file(disk.segment(2)).unwrap();
    let (code, text) = verify(disk.path(), &[]);
    assert_eq!(code, 1);
    assert!(text.contains("its file is not there"), "{text}");
    std::fs::write(disk.segment(2), &taken).unwrap();
    std::fs::write(disk.path().join(STREAM).join("0/0.mp4"), &taken).unwrap();
    let (code, text) = verify(disk.path(), &[]);
    assert_eq!(code, 1);
    assert!(text.contains("the chain does not know it"), "{text}");
}

#[test]
fn finds_a_chain_cut_at_its_end_by_the_centres_receipt() {
    let mut disk = Disk::new();
    disk.chain.pop();
    std::fs::remove_file(disk.segment(3)).unwrap();
    disk.write_chain();
    let (code, text) = verify(disk.path(), &[]);
    assert_eq!(code, 1);
    assert!(text.contains("but the chain ends at"), "{text}");
}

#[test]
fn finds_a_history_written_anew_by_whoever_stole_the_recorders_key() {
    let mut disk = Disk::new();
    // The thief signs another gap with the stolen key and everything behind it anew.
    let first = disk.chain[0].clone();
    let mut head = archive::seal::ChainHead {
        number: 1,
        hash: first.hash(Purpose::Chain),
    };
    let mut forged = vec![first];
    for signed in &disk.chain[1..] {
        let entry: archive::seal::ChainEntry = signed.read_unverified().unwrap();
        let mut body = entry.body;
        if let archive::seal::ChainBody::Gap { gap } = &mut body {
            gap.detail = "nothing".to_owned();
        }
        let stream = entry.stream;
        forged.push(
            head.append(&crate::stage::recorder_key(), &stream, entry.at, body)
                .1,
        );
    }
    disk.chain = forged;
    disk.write_chain();
    let (code, text) = verify(disk.path(), &[]);
    assert_eq!(code, 1);
    assert!(text.contains("the centre saw another entry"), "{text}");
}

#[test]
fn a_forged_receipt_and_another_key_are_found() {
    let disk = Disk::new();
    let forged = Signed::new(Purpose::Receipt, &crate::stage::recorder_key(), &"x");
    let line = serde_json::to_string(&forged).unwrap() + "\n";
    std::fs::write(disk.path().join(STREAM).join("receipts.log"), line).unwrap();
    assert_eq!(verify(disk.path(), &[]).0, 1);

    let disk = Disk::new();
    let other = archive::seal::PublicKey::from(&centre_key()).to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_minhquay-verify"))
        .arg(disk.path())
        .args(["--recorder-key", &other])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn one_segment_is_checked_by_the_chain_above_it_and_its_first_other_picture_named() {
    let disk = Disk::new();
    let file = disk.segment(2);
    let (code, text) = verify(&file, &[]);
    assert_eq!(code, 0, "{text}");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (code, text) = verify(&file, &[]);
    assert_eq!(code, 1);
    assert!(
        text.contains("the first picture that differs is picture"),
        "{text}"
    );
    // The other segment is not touched by it.
    assert_eq!(verify(&disk.segment(1), &[]).0, 0);
}

#[test]
fn what_is_no_disk_is_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(verify(dir.path(), &[]).0, 2);
    assert_eq!(verify(&dir.path().join("absent"), &[]).0, 2);
}
