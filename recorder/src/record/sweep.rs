//! Files that the index does not know: what a cut left of a deletion goes, what was recorded gets its row.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use archive::fmp4::{SegmentScan, scan_segment};
use archive::ids::{RunId, SegmentKey, StreamId};

use super::{Chains, Volume, WriteError, segment_path};
use crate::index::{Index, IndexError};

/// Brings files and rows together. Footage is never removed here, only what was deleted by a rule before.
///
/// # Errors
/// If the index can't be read or written.
pub async fn sweep(index: &Index, chains: &Chains) -> Result<(), WriteError> {
    for stream in index.known_streams().await? {
        let volume = chains.volume();
        let expected = index.sequences(&stream).await?;
        for sequence in files(&volume.root.join(stream.as_str())) {
            if expected.contains(&sequence) {
                continue;
            }
            let key = SegmentKey {
                stream: stream.clone(),
                sequence,
            };
            if let Err(error) = take_up(index, volume, &key).await? {
                tracing::error!(segment = %key, %error, "a file that the index does not know stays as it is");
            }
        }
    }
    Ok(())
}

/// The numbers of a stream's files.
fn files(folder: &Path) -> BTreeSet<u64> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries(folder)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .flat_map(|thousand| entries(&thousand.path()).collect::<Vec<_>>())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "mp4"))
        .filter_map(|path| path.file_stem()?.to_str()?.parse().ok())
        .collect()
}

async fn take_up(
    index: &Index,
    volume: &Volume,
    key: &SegmentKey,
) -> Result<Result<(), std::io::Error>, IndexError> {
    let path = segment_path(&volume.root, key);
    if let Some(tombstone) = index.tombstone(key).await? {
        if tombstone.awaits_removal {
            tracing::warn!(segment = %key, "a deletion that was cut off is finished");
            return Ok(std::fs::remove_file(&path));
        }
        // Lost, and what is left of it stays for whoever wants to look.
        return Ok(Ok(()));
    }
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Err(error)),
    };
    match scan_segment(&bytes) {
        Ok(scan) if !scan.fragments.is_empty() => match run_of(index, &key.stream, &scan).await? {
            Some(run) => {
                tracing::warn!(segment = %key, %run, "a recording that the index does not know gets its row");
                index.open_segment(key, &run, scan.init.size_bytes).await?;
                Ok(Ok(()))
            }
            None => Ok(set_aside(&path)),
        },
        // Cut off before its first fragment was synced, so nothing was ever told of it.
        Ok(_) => Ok(std::fs::remove_file(&path)),
        Err(_) if bytes.is_empty() => Ok(std::fs::remove_file(&path)),
        Err(_) => Ok(set_aside(&path)),
    }
}

/// The run whose clock and tracks a file fits: the last that began before its first fragment.
async fn run_of(index: &Index, stream: &StreamId, scan: &SegmentScan) -> Result<Option<RunId>, IndexError> {
    /// A first anchor is taken a moment after the first picture.
    const MARGIN_US: i64 = 2_000_000;
    let Some(reference) = scan.fragments.first().and_then(|f| f.reference) else {
        return Ok(None);
    };
    let tracks = scan.init.tracks();
    let runs = index.runs(stream).await?;
    Ok(runs
        .into_iter()
        .filter(|run| run.tracks == tracks && run.anchor.wall - MARGIN_US <= reference.wall)
        .max_by_key(|run| run.anchor.wall)
        .map(|run| run.run))
}

/// A name that the recording never uses, so that the file is in nobody's way.
fn set_aside(path: &Path) -> std::io::Result<()> {
    let aside: PathBuf = path.with_extension("unclaimed");
    tracing::error!(file = %aside.display(), "a file that fits no run is kept aside");
    std::fs::rename(path, aside)
}
