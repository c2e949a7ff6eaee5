//! An exported film with its proof inside.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use archive::fmp4::{Init, read_init};
use archive::ids::StreamId;
use archive::seal::export::{ExportProof, ExportedSegment, PROOF_BOX};
use archive::seal::signed::Purpose;
use archive::seal::{
    ChainBody, ChainEntry, ChainHead, ChainReader, Receipt, SealedSegment, Signed, leaf, pictures,
};
use archive::segment::Digest;
use base64::Engine as _;

use crate::Unreadable;
use crate::keys::Keys;
use crate::report::{Report, Verdict};

/// Header of a box that has a `usertype`.
const UUID_HEADER_BYTES: u64 = 24;

/// Checks a file.
pub fn verify(path: &Path, keys: &Keys) -> Result<Report, Unreadable> {
    let failed = |e: io::Error| Unreadable::new(path, e);
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    check(&mut file, size, keys).map_err(failed)
}

/// Checks an opened file of `size` bytes.
pub fn check(file: &mut File, size: u64, keys: &Keys) -> io::Result<Report> {
    let mut report = Report::default();
    let Some((media_bytes, signed)) = find_proof(file, size)? else {
        report.finding("file", "there is no proof in it, or what holds it is damaged");
        report.note("a copy can be compared with the exported file: --original FILE");
        report.conclude(Verdict::Unproven);
        return Ok(report);
    };
    let proof = match read_proof(&signed, keys, &mut report) {
        Ok(proof) => proof,
        Err(reason) => {
            report.finding("proof", reason);
            return Ok(report);
        }
    };
    let entries = read_chain(&proof, &mut report);
    let Some(sealed) = match_segments(&proof, &entries, &mut report) else {
        return Ok(report);
    };
    check_receipts(&proof, &entries, &mut report);
    check_media(file, media_bytes, &proof, &mut report)?;
    tell(&proof, &sealed, &entries, &mut report);
    Ok(report)
}

/// The length of what lies before the proof's box, and the proof.
pub fn find_proof(file: &mut File, size: u64) -> io::Result<Option<(u64, Signed)>> {
    let mut at = 0;
    while at + 8 <= size {
        let mut header = [0; 24];
        file.seek(SeekFrom::Start(at))?;
        let length = read_up_to(file, &mut header)?;
        let mut box_size = u64::from(u32::from_be_bytes([header[0], header[1], header[2], header[3]]));
        if box_size == 1 {
            let mut large = [0; 8];
            large.copy_from_slice(&header[8..16]);
            box_size = u64::from_be_bytes(large);
        }
        if box_size < 8 || at.checked_add(box_size).is_none_or(|end| end > size) {
            return Ok(None);
        }
        if length == 24 && header[4..8] == *b"uuid" && header[8..] == PROOF_BOX {
            if at + box_size != size || box_size > u64::from(u32::MAX) {
                return Ok(None);
            }
            let mut payload = Vec::new();
            file.take(box_size - UUID_HEADER_BYTES)
                .read_to_end(&mut payload)?;
            return Ok(serde_json::from_slice(&payload).ok().map(|signed| (at, signed)));
        }
        at += box_size;
    }
    Ok(None)
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

fn read_proof(signed: &Signed, keys: &Keys, report: &mut Report) -> Result<ExportProof, String> {
    let claimed: ExportProof = signed.read_unverified().map_err(|e| e.to_string())?;
    if claimed.version != 1 {
        return Err(format!(
            "version {} is not known to this program",
            claimed.version
        ));
    }
    keys.check_centre(&claimed.centre_key, report);
    keys.check_recorder(&claimed.recorder_key, report);
    signed
        .verify(Purpose::Export, &claimed.centre_key)
        .map_err(|e| e.to_string())?;
    Ok(claimed)
}

type Entries = BTreeMap<u64, (ChainEntry, Digest)>;

/// The entries of the chain that hold, by number.
fn read_chain(proof: &ExportProof, report: &mut Report) -> Entries {
    let mut entries = Entries::new();
    let first = proof
        .chain
        .first()
        .and_then(|signed| signed.read_unverified::<ChainEntry>().ok());
    let Some(first) = first else {
        report.finding("chain", "it is empty or can't be read");
        return entries;
    };
    // The piece starts somewhere in the chain; what came before is bound by the hash that its first entry names.
    let head = match first.number {
        0 | 1 => ChainHead::default(),
        number => ChainHead {
            number: number - 1,
            hash: first.previous,
        },
    };
    let mut reader = ChainReader::new(proof.stream.clone(), proof.recorder_key, head);
    for signed in &proof.chain {
        match reader.next(signed) {
            Ok(entry) => {
                entries.insert(entry.number, (entry, signed.hash(Purpose::Chain)));
            }
            Err(fault) => {
                report.finding("chain", fault);
                break;
            }
        }
    }
    entries
}

/// What the chain says of each segment in the file; `None` if it says something else than the proof.
fn match_segments(proof: &ExportProof, entries: &Entries, report: &mut Report) -> Option<Vec<SealedSegment>> {
    let mut sealed: Vec<SealedSegment> = Vec::new();
    let mut is_sound = !proof.segments.is_empty();
    let last = proof.segments.len().saturating_sub(1);
    for (number, segment) in proof.segments.iter().enumerate() {
        let place = format!("segment {} in the file", number + 1);
        let Some((
            ChainEntry {
                body: ChainBody::Segment(told),
                ..
            },
            _,
        )) = entries.get(&segment.entry)
        else {
            report.finding(place, "the chain has no such entry");
            return None;
        };
        if let Err(reason) = match_segment(proof, segment, told, (number == 0, number == last)) {
            report.finding(&place, reason);
            is_sound = false;
        }
        if let Some(before) = sealed.last() {
            let between = entries.range(proof.segments[number - 1].entry + 1..segment.entry);
            let skipped = between
                .clone()
                .any(|(_, (entry, _))| matches!(entry.body, ChainBody::Segment(_)));
            if skipped || told.sequence <= before.sequence || (told.start - before.end).abs() > 1_000 {
                report.finding(&place, "something between it and the one before is cut out");
                is_sound = false;
            }
        }
        sealed.push(told.clone());
    }
    if proof.segments.is_empty() {
        report.finding("proof", "it names no segment");
    }
    is_sound.then_some(sealed)
}

fn match_segment(
    proof: &ExportProof,
    segment: &ExportedSegment,
    told: &SealedSegment,
    (is_first, is_last): (bool, bool),
) -> Result<(), String> {
    if told.run != proof.run {
        return Err("it is part of another run".to_owned());
    }
    let leaves = leaf::leaves(segment.init_size_bytes, segment.init_sha256, &segment.fragments);
    if segment.init_size_bytes != told.init_size_bytes || told.check_leaves(&leaves).is_err() {
        return Err("its fragments are not those that were sealed".to_owned());
    }
    let end = segment.first.checked_add(segment.count);
    let total = segment.fragments.len() as u64;
    if segment.count == 0 || end.is_none_or(|end| end > total) {
        return Err("it names fragments that it does not have".to_owned());
    }
    if (!is_first && segment.first != 0) || (!is_last && end != Some(total)) {
        return Err("fragments inside the film are cut out".to_owned());
    }
    Ok(())
}

fn check_receipts(proof: &ExportProof, entries: &Entries, report: &mut Report) {
    let last = proof.segments.last().map_or(0, |segment| segment.entry);
    let mut seen: Option<Receipt> = None;
    for (given, number) in proof.receipts.iter().zip(1..) {
        let place = format!("receipt {number}");
        let receipt: Receipt = match given.receipt.open(Purpose::Receipt, &proof.centre_key) {
            Ok(receipt) => receipt,
            Err(error) => {
                report.finding(place, error);
                continue;
            }
        };
        let is_for_this = receipt.stream == proof.stream
            && receipt.recorder == proof.recorder
            && receipt.recorder_key == proof.recorder_key
            && entries
                .get(&receipt.number)
                .is_some_and(|(_, hash)| *hash == receipt.head);
        if !is_for_this {
            report.finding(place, "it is for another chain");
            continue;
        }
        match &given.day {
            Some(day) => match day.verify(&given.receipt, &proof.centre_key) {
                Ok(root) => report.fact(
                    "in the published root of",
                    format!("{} ({}, {} receipts)", root.date, root.root, root.count),
                ),
                Err(_) => report.finding(&place, "it is not among the receipts of the day it names"),
            },
            None => report.note("the day's root was not published yet when the film was exported"),
        }
        if receipt.number >= last && seen.as_ref().is_none_or(|s| receipt.received < s.received) {
            seen = Some(receipt);
        }
    }
    match seen {
        Some(receipt) => report.fact("seen by the centre at", receipt.received),
        None => report.finding("receipts", "none of the centre's covers the whole film"),
    }
}

/// Compares the media with the fragments that were sealed.
fn check_media(
    file: &mut File,
    media_bytes: u64,
    proof: &ExportProof,
    report: &mut Report,
) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = io::BufReader::new(file.take(media_bytes));
    let Some(first) = proof.segments.first() else {
        return Ok(());
    };
    let bytes = read_exactly(&mut reader, first.init_size_bytes)?;
    if Digest::of(&bytes) != first.init_sha256 {
        report.finding("media", "the init segment differs");
        return Ok(());
    }
    let Ok(init) = read_init(&bytes) else {
        report.finding("media", "the init segment can't be read");
        return Ok(());
    };
    let mut before = 0;
    let mut started = None;
    for segment in &proof.segments {
        if segment.init_sha256 != first.init_sha256 {
            report.finding("media", "the tracks change within the film");
            return Ok(());
        }
        let digests = base64::engine::general_purpose::STANDARD
            .decode(&segment.pictures)
            .unwrap_or_default();
        let mut digests = digests.chunks(pictures::PICTURE_DIGEST_BYTES);
        let (from, count) = (segment.first as usize, segment.count as usize);
        for fragment in segment.fragments.iter().skip(from).take(count) {
            let start = *started.get_or_insert(fragment.start);
            let bytes = read_exactly(&mut reader, fragment.size_bytes)?;
            if Digest::of(&bytes) != fragment.sha256 {
                let at_s = (fragment.start - start) as f64 / 1e6;
                let picture = differing(&bytes, &init, &mut digests);
                let which = match picture {
                    Some(index) => {
                        format!("the first picture that differs is picture {}", before + index + 1)
                    }
                    None => format!("all up to picture {before} is as recorded, what follows differs"),
                };
                report.finding(
                    "media",
                    format!("{which}, in the fragment {at_s:.3} s from the start"),
                );
                return Ok(());
            }
            let pictures =
                pictures::digests(&bytes, &init).map_or(0, |d| d.len() / pictures::PICTURE_DIGEST_BYTES);
            before += pictures;
            for _ in 0..pictures {
                digests.next();
            }
        }
    }
    let mut more = [0; 1];
    if reader.read(&mut more)? > 0 {
        report.finding("media", "there are bytes behind the last fragment");
    }
    report.fact("pictures", before);
    Ok(())
}

/// Index of the first picture of a changed fragment that differs; `None` if its pictures can't be told apart any more.
fn differing<'a>(bytes: &[u8], init: &Init, recorded: &mut impl Iterator<Item = &'a [u8]>) -> Option<usize> {
    let found = pictures::digests(bytes, init).ok()?;
    found
        .chunks(pictures::PICTURE_DIGEST_BYTES)
        .position(|picture| recorded.next() != Some(picture))
}

fn read_exactly(reader: &mut impl Read, size_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(size_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn tell(proof: &ExportProof, sealed: &[SealedSegment], entries: &Entries, report: &mut Report) {
    let stream: &StreamId = &proof.stream;
    report.fact(
        "recorded by",
        format!("recorder {} at site {}", proof.recorder, proof.site),
    );
    report.fact(
        "counter",
        format!("{} ({}), stream {stream}", proof.counter_name, proof.counter),
    );
    report.fact("exported", format!("{} as {}", proof.exported, proof.export_id));
    report.fact("asked for", format!("{} to {}", proof.asked_from, proof.asked_to));
    if let (Some(first), Some(last), Some(from), Some(to)) = (
        sealed.first(),
        sealed.last(),
        proof.segments.first(),
        proof.segments.last(),
    ) {
        let start = from
            .fragments
            .get(from.first as usize)
            .map_or(first.start, |f| f.start);
        let end = usize::try_from(to.first + to.count)
            .ok()
            .and_then(|n| to.fragments.get(n.wrapping_sub(1)));
        let end = end.map_or(last.end, |f| f.start + f.duration_us);
        let start_wall = first.start_wall + (start - first.start);
        let end_wall = last.end_wall + (end - last.end);
        report.fact(
            "recorded from",
            format!("{start_wall}, as the recorder had it when it sealed"),
        );
        report.fact(
            "recorded to",
            format!("{end_wall}, as the recorder had it when it sealed"),
        );
    }
    report.fact(
        "cut inside",
        "nothing: every fragment from the first to the last is there",
    );
    if let Some((entry, _)) = entries.values().next_back() {
        report.fact(
            "sealed by the recorder until",
            format!("{} by its clock", entry.at),
        );
    }
}
