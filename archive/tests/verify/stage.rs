//! A recorder's disk and an exported film, made of real media by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use archive::fmp4::{fragment_rows, read_init, scan_segment};
use archive::gap::{Gap, GapCause};
use archive::ids::{RunId, SegmentKey, StreamId};
use archive::seal::export::{ExportProof, ExportedSegment, ReceiptProof, proof_box};
use archive::seal::signed::Purpose;
use archive::seal::{
    ChainBody, ChainHead, DayRoot, PublicKey, Receipt, SealedSegment, Signed, day, merkle, pictures,
};
use archive::segment::{Digest, SegmentManifest};
use archive::time::{Anchor, ClockState, MediaTime, WallTime};
use base64::Engine as _;
use ed25519_dalek::SigningKey;

pub const STREAM: &str = "q01.front.main";
const FILM: &[u8] = include_bytes!("../../fixtures/isofmp4mux-h264-aac.mp4");
const OTHER_FILM: &[u8] = include_bytes!("../../fixtures/isofmp4mux-h264-bframes-opus.mp4");
const START: WallTime = WallTime(1_763_863_200_000_000);

pub fn recorder_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

pub fn centre_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

/// A disk with one stream: two segments of a run, a gap, one of another run, one that was deleted by rule.
pub struct Disk {
    pub dir: tempfile::TempDir,
    pub chain: Vec<Signed>,
    manifests: Vec<(u64, SegmentManifest)>,
    receipt: Signed,
}

struct Maker {
    root: PathBuf,
    head: ChainHead,
    chain: Vec<Signed>,
    manifests: Vec<(u64, SegmentManifest)>,
}

pub fn run(number: u8) -> RunId {
    RunId::from_uuid(uuid::Uuid::from_bytes([number; 16]))
}

fn anchor(media: i64) -> Anchor {
    Anchor {
        media: MediaTime(media),
        wall: START + media,
        clock_state: ClockState::Synchronized,
        boot: None,
    }
}

impl Maker {
    fn say(&mut self, body: ChainBody) {
        let stream: StreamId = STREAM.parse().unwrap();
        let (_, signed) = self.head.append(&recorder_key(), &stream, START, body);
        self.chain.push(signed);
    }

    fn start_run(&mut self, number: u8, film: &[u8]) {
        self.say(ChainBody::RunStarted {
            run: run(number),
            tracks: read_init(film).unwrap().tracks(),
            anchor: anchor(0),
        });
    }

    /// Stores some fragments of a film as a segment and seals it.
    fn record(&mut self, sequence: u64, number: u8, film: &[u8], fragments: std::ops::Range<usize>) {
        let scan = scan_segment(film).unwrap();
        let init = &film[..scan.init.size_bytes as usize];
        let from = scan.fragments[fragments.start].offset_bytes as usize;
        let to = scan.fragments[fragments.end - 1].end_bytes() as usize;
        let bytes = [init, &film[from..to]].concat();
        let scan = scan_segment(&bytes).unwrap();
        let manifest = SegmentManifest {
            key: SegmentKey {
                stream: STREAM.parse().unwrap(),
                sequence,
            },
            run: run(number),
            size_bytes: bytes.len() as u64,
            init_size_bytes: init.len() as u64,
            sha256: Digest::of(&bytes),
            tracks: scan.init.tracks(),
            fragments: fragment_rows(&bytes, &scan, 0),
        };
        let walls = (
            START + manifest.start().as_micros(),
            START + manifest.end().as_micros(),
        );
        let sealed = SealedSegment::new(&manifest, Digest::of(init), walls, vec![anchor(sequence as i64)]);
        let folder = self.root.join(STREAM).join("0");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{sequence}.mp4")), &bytes).unwrap();
        self.say(ChainBody::Segment(sealed));
        self.manifests.push((self.head.number, manifest));
    }
}

/// Where a film's second GOP begins.
pub fn second_gop(film: &[u8]) -> usize {
    let scan = scan_segment(film).unwrap();
    let rows = fragment_rows(film, &scan, 0);
    1 + rows[1..].iter().position(|row| row.is_keyframe).unwrap()
}

fn fragment_count(film: &[u8]) -> usize {
    scan_segment(film).unwrap().fragments.len()
}

impl Disk {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let volume = uuid::Uuid::from_bytes([9; 16]);
        let json = format!("{{\"volume\":\"{volume}\"}}");
        std::fs::write(dir.path().join("volume.json"), json).unwrap();
        let mut maker = Maker {
            root: dir.path().to_owned(),
            head: ChainHead::default(),
            chain: Vec::new(),
            manifests: Vec::new(),
        };
        maker.say(ChainBody::Opened {
            key: PublicKey::from(&recorder_key()),
            volume,
        });
        maker.say(ChainBody::Settings {
            software: "1".to_owned(),
            settings: [("source".to_owned(), "rtsp://camera/1".to_owned())].into(),
        });
        maker.start_run(1, FILM);
        let split = second_gop(FILM);
        maker.record(1, 1, FILM, 0..split);
        maker.record(2, 1, FILM, split..fragment_count(FILM));
        maker.say(ChainBody::Gap {
            gap: Gap {
                gap_id: uuid::Uuid::from_bytes([3; 16]),
                stream: STREAM.parse().unwrap(),
                start: START + 2_000_000,
                end: Some(START + 3_000_000),
                start_boot: None,
                end_boot: None,
                cause: GapCause::CameraOffline,
                detail: "the camera did not answer".to_owned(),
            },
        });
        maker.start_run(2, OTHER_FILM);
        maker.record(3, 2, OTHER_FILM, 0..fragment_count(OTHER_FILM));
        let head = maker.head;
        let receipt = receipt(&head);
        let folder = dir.path().join(STREAM);
        write_log(&folder.join("receipts.log"), std::slice::from_ref(&receipt));
        let disk = Self {
            dir,
            chain: maker.chain,
            manifests: maker.manifests,
            receipt,
        };
        disk.write_chain();
        disk
    }

    pub fn write_chain(&self) {
        write_log(&self.path().join(STREAM).join("chain.log"), &self.chain);
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn segment(&self, sequence: u64) -> PathBuf {
        self.path().join(STREAM).join(format!("0/{sequence}.mp4"))
    }

    /// An exported film of the first run, from its second fragment-bearing keyframe on or as a whole.
    pub fn export(&self) -> Vec<u8> {
        let centre = centre_key();
        let mut film = Vec::new();
        let mut segments = Vec::new();
        for (entry, manifest) in &self.manifests[..2] {
            let bytes = std::fs::read(self.segment(manifest.key.sequence)).unwrap();
            let (init, media) = bytes.split_at(manifest.init_size_bytes as usize);
            if film.is_empty() {
                film.extend_from_slice(init);
            }
            film.extend_from_slice(media);
            let tracks = read_init(init).unwrap();
            let digests: Vec<u8> = manifest
                .fragments
                .iter()
                .flat_map(|f| {
                    let from = f.offset_bytes as usize;
                    pictures::digests(&bytes[from..from + f.size_bytes as usize], &tracks).unwrap()
                })
                .collect();
            segments.push(ExportedSegment {
                entry: *entry,
                init_size_bytes: manifest.init_size_bytes,
                init_sha256: Digest::of(init),
                fragments: manifest.fragments.clone(),
                first: 0,
                count: manifest.fragments.len() as u64,
                pictures: base64::engine::general_purpose::STANDARD.encode(digests),
            });
        }
        let leaves = [merkle::leaf_hash(b"another"), day::receipt_leaf(&self.receipt)];
        let day = DayRoot {
            date: jiff::civil::date(2025, 11, 23),
            count: 2,
            root: merkle::root(&leaves),
            previous: None,
        };
        let proof = ExportProof {
            version: 1,
            export_id: uuid::Uuid::nil(),
            exported: START + 60_000_000,
            site: "ba-dinh".parse().unwrap(),
            counter: "q01".parse().unwrap(),
            counter_name: "Quầy 01".to_owned(),
            stream: STREAM.parse().unwrap(),
            run: run(1),
            recorder: "rec-1".parse().unwrap(),
            recorder_key: PublicKey::from(&recorder_key()),
            centre_key: PublicKey::from(&centre),
            asked_from: START,
            asked_to: START + 2_000_000,
            chain: self.chain[self.manifests[0].0 as usize - 1..].to_vec(),
            receipts: vec![ReceiptProof {
                receipt: self.receipt.clone(),
                day: Some(day::DayProof {
                    day: Signed::new(Purpose::Day, &centre, &day),
                    index: 1,
                    path: merkle::path(&leaves, 1),
                    timestamp: None,
                }),
            }],
            segments,
        };
        film.extend(proof_box(&Signed::new(Purpose::Export, &centre, &proof)).unwrap());
        film
    }
}

fn receipt(head: &ChainHead) -> Signed {
    let receipt = Receipt {
        receipt_id: uuid::Uuid::from_bytes([5; 16]),
        recorder: "rec-1".parse().unwrap(),
        recorder_key: PublicKey::from(&recorder_key()),
        stream: STREAM.parse().unwrap(),
        number: head.number,
        head: head.hash,
        received: START + 4_000_000,
    };
    Signed::new(Purpose::Receipt, &centre_key(), &receipt)
}

fn write_log(path: &Path, entries: &[Signed]) {
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| serde_json::to_string(entry).unwrap() + "\n")
        .collect();
    std::fs::write(path, lines.concat()).unwrap();
}

/// Runs the verifier with both keys; its exit code and what it says.
pub fn verify(path: &Path, more: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_minhquay-verify"))
        .arg(path)
        .args(["--recorder-key", &PublicKey::from(&recorder_key()).to_string()])
        .args(["--centre-key", &PublicKey::from(&centre_key()).to_string()])
        .args(more)
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}
