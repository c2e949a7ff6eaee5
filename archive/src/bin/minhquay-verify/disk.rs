//! A recorder's folder of recordings: every chain, every file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use archive::ids::StreamId;
use archive::seal::PublicKey;

use crate::Unreadable;
use crate::chain_log::{ReadChain, read_lines};
use crate::keys::Keys;
use crate::media::check_segment;
use crate::receipts;
use crate::report::{Report, Verdict};

/// Files of a stream's folder beside its chain.
const LOGS: [&str; 2] = ["chain.log", "receipts.log"];

/// Checks a folder of recordings, or a data folder with `recordings` in it.
pub fn verify(path: &Path, keys: &Keys) -> Result<Report, Unreadable> {
    let inner = path.join("recordings");
    let is_data_dir = !path.join("volume.json").exists() && inner.join("volume.json").exists();
    let root = if is_data_dir { inner } else { path.to_owned() };
    let mut report = Report::default();
    let chains = read_disk(&root, keys, &mut report)?;
    let database = path.join("recorder.db");
    if is_data_dir && database.exists() {
        crate::index::check(&database, &chains, &mut report)?;
    }
    Ok(report)
}

/// Checks everything in a folder of recordings and gives its chains.
pub fn read_disk(root: &Path, keys: &Keys, report: &mut Report) -> Result<Vec<ReadChain>, Unreadable> {
    let volume = read_volume(root, report)?;
    let centre = centre_key(root, keys, report);
    let mut chains = Vec::new();
    let mut recorder: Option<PublicKey> = None;
    for folder in sorted(root)? {
        if !folder.is_dir() {
            continue;
        }
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Ok(stream) = name.parse::<StreamId>() else {
            continue;
        };
        let log = folder.join(LOGS[0]);
        if !log.exists() {
            report.finding(&stream, "it has recordings but no chain");
            continue;
        }
        let chain = ReadChain::new(stream, read_lines(&log)?.into_iter(), report);
        if let Some(key) = chain.key {
            match recorder {
                None => recorder = Some(key),
                Some(first) if first != key => {
                    report.finding(
                        &chain.stream,
                        "its chain is signed by another key than the others'",
                    );
                }
                Some(_) => {}
            }
        }
        if chain.history.volume.is_some() && chain.history.volume != volume {
            report.finding(&chain.stream, "its chain began on another disk");
        }
        check_files(&folder, &chain, report)?;
        tell(&chain, report);
        let log = folder.join(LOGS[1]);
        let lines = if log.exists() {
            read_lines(&log)?
        } else {
            Vec::new()
        };
        receipts::check(&chain, lines.into_iter(), centre.as_ref(), report);
        chains.push(chain);
    }
    match recorder {
        Some(key) => keys.check_recorder(&key, report),
        None => {
            report.finding(root.display(), "there is no chain on it");
            report.conclude(Verdict::Unproven);
        }
    }
    Ok(chains)
}

fn read_volume(root: &Path, report: &mut Report) -> Result<Option<uuid::Uuid>, Unreadable> {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Volume {
        volume: uuid::Uuid,
    }
    let file = root.join("volume.json");
    let text = std::fs::read(&file).map_err(|e| Unreadable::new(&file, e))?;
    match serde_json::from_slice::<Volume>(&text) {
        Ok(read) => {
            report.fact("disk", read.volume);
            // Another way to write the same is a change that somebody made.
            if serde_json::to_vec(&read).ok().as_deref() != Some(text.trim_ascii_end()) {
                report.finding("volume.json", "it is not written as a recorder writes it");
            }
            Ok(Some(read.volume))
        }
        Err(error) => {
            report.finding("volume.json", error);
            Ok(None)
        }
    }
}

/// The centre's key: as given, or as the recorder keeps it since its enrolment.
fn centre_key(root: &Path, keys: &Keys, report: &mut Report) -> Option<PublicKey> {
    #[derive(serde::Deserialize)]
    struct Enrolment {
        server_key: PublicKey,
    }
    let kept = || {
        let text = std::fs::read(root.parent()?.join("enrolment.json")).ok()?;
        Some(serde_json::from_slice::<Enrolment>(&text).ok()?.server_key)
    };
    let key = keys.centre_key().or_else(kept)?;
    keys.check_centre(&key, report);
    Some(key)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let failed = |e: std::io::Error| Unreadable::new(folder, e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        found.push(entry.map_err(failed)?.path());
    }
    found.sort();
    Ok(found)
}

/// Compares a stream's files with its chain.
fn check_files(folder: &Path, chain: &ReadChain, report: &mut Report) -> Result<(), Unreadable> {
    let mut found = BTreeSet::new();
    for sub in sorted(folder)?.into_iter().filter(|path| path.is_dir()) {
        for file in sorted(&sub)? {
            let place = file
                .strip_prefix(folder.parent().unwrap_or(folder))
                .unwrap_or(&file);
            let sequence = sequence_of(&file);
            let Some(sequence) = sequence.filter(|s| segment_path(folder, *s) == file) else {
                // What a repair set aside is kept and told of, but proves nothing.
                report.note(format!("{} is no segment", place.display()));
                continue;
            };
            found.insert(sequence);
            match chain.history.segments.get(&sequence) {
                Some(told) if told.gone.is_some() => {
                    report.note(format!("{} has a tombstone but is still there", place.display()));
                }
                Some(told) => {
                    let bytes = std::fs::read(&file).map_err(|e| Unreadable::new(&file, e))?;
                    if let Err(reason) = check_segment(&bytes, &told.sealed) {
                        report.finding(place.display(), reason);
                    }
                }
                None if chain.history.lost.contains(&sequence) => {}
                None if chain.history.segments.keys().all(|sealed| *sealed < sequence) => {
                    report.note(format!("{} is not sealed yet", place.display()));
                }
                None => report.finding(place.display(), "the chain does not know it"),
            }
        }
    }
    for (sequence, told) in &chain.history.segments {
        if told.gone.is_none() && !found.contains(sequence) {
            let reason = "it was sealed and has no tombstone, but its file is not there";
            report.finding(format!("{}/{sequence}", chain.stream), reason);
        }
    }
    Ok(())
}

fn sequence_of(file: &Path) -> Option<u64> {
    let stem = file.file_stem()?.to_str()?;
    (file.extension()? == "mp4").then(|| stem.parse().ok())?
}

fn segment_path(folder: &Path, sequence: u64) -> PathBuf {
    folder
        .join((sequence / 1000).to_string())
        .join(format!("{sequence}.mp4"))
}

fn tell(chain: &ReadChain, report: &mut Report) {
    let history = &chain.history;
    let kept = history.segments.values().filter(|told| told.gone.is_none());
    let (first, last) = (kept.clone().next(), kept.clone().next_back());
    let span = match (first, last) {
        (Some(first), Some(last)) => {
            format!(", {} to {}", first.sealed.start_wall, last.sealed.end_wall)
        }
        _ => String::new(),
    };
    report.fact(
        chain.stream.as_str(),
        format!(
            "{} segments{span}; {} deleted by rule, {} lost, {} gaps, {} entries",
            kept.count(),
            history
                .segments
                .values()
                .filter(|told| told.gone.is_some())
                .count(),
            history.lost.len(),
            history.gaps.len(),
            chain.entries()
        ),
    );
    for reason in &history.resumptions {
        report.note(format!(
            "{}: the recorder says that its chain was resumed: {reason}",
            chain.stream
        ));
    }
}

/// Whether a file lies where a recorder puts a segment, with its stream's chain above it.
pub fn is_segment(path: &Path) -> bool {
    folder_of(path).is_some_and(|folder| folder.join(LOGS[0]).exists())
}

fn folder_of(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    sequence_of(&path)?;
    Some(path.parent()?.parent()?.to_owned())
}

/// Checks one segment by the chain above it.
pub fn verify_segment(path: &Path, keys: &Keys) -> Result<Report, Unreadable> {
    let folder = folder_of(path).ok_or_else(|| Unreadable::new(path, "no chain lies above it"))?;
    let name = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let stream: StreamId = name.parse().map_err(|e| Unreadable::new(&folder, e))?;
    let sequence = sequence_of(path).ok_or_else(|| Unreadable::new(path, "its name is no number"))?;
    let mut report = Report::default();
    let chain = ReadChain::new(
        stream,
        read_lines(&folder.join(LOGS[0]))?.into_iter(),
        &mut report,
    );
    if let Some(key) = &chain.key {
        keys.check_recorder(key, &mut report);
    }
    let place = format!("{}/{sequence}", chain.stream);
    match chain.history.segments.get(&sequence) {
        Some(told) => {
            let bytes = std::fs::read(path).map_err(|e| Unreadable::new(path, e))?;
            report.fact("recorded from", told.sealed.start_wall);
            report.fact("recorded to", told.sealed.end_wall);
            report.fact("sealed by entry", told.entry);
            if let Err(reason) = check_segment(&bytes, &told.sealed) {
                report.finding(place, reason);
            }
        }
        None => {
            report.finding(place, "the chain does not know it, or it is not sealed yet");
            report.conclude(Verdict::Unproven);
        }
    }
    let root = folder.parent().unwrap_or(&folder);
    let centre = centre_key(root, keys, &mut report);
    let log = folder.join(LOGS[1]);
    let lines = if log.exists() {
        read_lines(&log)?
    } else {
        Vec::new()
    };
    receipts::check(&chain, lines.into_iter(), centre.as_ref(), &mut report);
    Ok(report)
}
