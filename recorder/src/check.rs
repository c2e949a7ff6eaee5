//! Compares index, files and chains without changing any of them.

use std::collections::BTreeMap;
use std::path::Path;

use archive::fmp4::read_init;
use archive::ids::{SegmentKey, StreamId};
use archive::seal::leaf::leaves;
use archive::seal::{History, PublicKey, SealedSegment};
use archive::segment::{Digest, Fragment};
use site_config::recorder::RecorderSettings;

use crate::index::{Index, IndexError, KnownChain, SegmentRow};
use crate::record::{log_path, read_log, segment_path};
use crate::store::index_file;
use crate::uplink;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Segments that have a file.
    pub segments: usize,
    /// Entries of chains that were read.
    pub entries: u64,
    /// A line for each fault.
    pub faults: Vec<String>,
}

/// Reads every file and every chain and compares them with the index.
///
/// # Errors
/// If there is no index.
pub async fn check(settings: &RecorderSettings) -> Result<CheckReport, IndexError> {
    check_folders(&settings.data_dir, &settings.recordings_dir()).await
}

/// As [`check`], by the folders of the index and the recordings.
///
/// # Errors
/// If there is no index.
pub async fn check_folders(data_dir: &Path, recordings: &Path) -> Result<CheckReport, IndexError> {
    let index = Index::open_read_only(&index_file(data_dir)).await?;
    let mut report = CheckReport::default();
    let chains = match uplink::public_key(data_dir) {
        Ok(key) => check_chains(&index, recordings, key, &mut report).await?,
        Err(error) => {
            report.faults.push(error.to_string());
            BTreeMap::new()
        }
    };
    let mut last = 0;
    loop {
        let segments = index.segments_after(last, 500).await?;
        if segments.is_empty() {
            index.close().await;
            return Ok(report);
        }
        for segment in segments {
            last = segment.segment_id;
            report.segments += 1;
            let path = segment_path(recordings, &segment.key);
            let told = chains.get(&segment.key);
            let fragments = index.fragments(segment.segment_id).await?;
            if let Some(fault) = check_file(&path, &segment, &fragments, told) {
                report.faults.push(format!("{}: {fault}", path.display()));
            }
        }
    }
}

fn check_file(
    path: &Path,
    segment: &SegmentRow,
    fragments: &[Fragment],
    told: Option<&SealedSegment>,
) -> Option<String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return Some(error.to_string()),
    };
    let length = bytes.len() as u64;
    // A growing file may be ahead of its rows, never behind.
    if length < segment.size_bytes || (segment.sha256.is_some() && length > segment.size_bytes) {
        return Some(format!("{length} bytes instead of {}", segment.size_bytes));
    }
    for fragment in fragments {
        let end = fragment.offset_bytes + fragment.size_bytes;
        let range = fragment.offset_bytes as usize..end as usize;
        if bytes.get(range).map(Digest::of) != Some(fragment.sha256) {
            return Some(format!(
                "the fragment at byte {} has another digest",
                fragment.offset_bytes
            ));
        }
    }
    let sha256 = segment.sha256?;
    if Digest::of(&bytes) != sha256 {
        return Some("its digest is another".to_owned());
    }
    let Some(told) = told else {
        return Some("its chain does not tell of it".to_owned());
    };
    if told.sha256 != sha256 || told.size_bytes != segment.size_bytes {
        return Some("its chain tells of another file".to_owned());
    }
    let init = match read_init(&bytes) {
        Ok(init) => init.size_bytes,
        Err(error) => return Some(error.to_string()),
    };
    let init_sha256 = Digest::of(bytes.get(..init as usize).unwrap_or_default());
    match told.check_leaves(&leaves(init, init_sha256, fragments)) {
        Ok(()) => None,
        Err(leaf) => Some(format!("leaf {leaf} is not the one that was sealed")),
    }
}

/// Checks each chain against the index; gives what they tell of segments that should be there.
async fn check_chains(
    index: &Index,
    recordings: &Path,
    key: PublicKey,
    report: &mut CheckReport,
) -> Result<BTreeMap<SegmentKey, SealedSegment>, IndexError> {
    let mut told = BTreeMap::new();
    // The index first: the log may be ahead of it, never behind.
    let known = index.chains().await?;
    for stream in index.known_streams().await? {
        let known = known.get(&stream).copied().unwrap_or_default();
        let path = log_path(recordings, &stream);
        let (history, faults) = match read_history(&path, &stream, key, known, report) {
            Ok(read) => read,
            Err(fault) => {
                report.faults.push(format!("{}: {fault}", path.display()));
                continue;
            }
        };
        let mut faults: Vec<String> = faults;
        let rows = index.sequences(&stream).await?;
        for (sequence, segment) in &history.segments {
            match (segment.gone, rows.contains(sequence)) {
                (None, false) => faults.push(format!("the index does not know segment {sequence}")),
                (Some(_), true) => faults.push(format!("segment {sequence} is gone, but not in the index")),
                _ => {}
            }
            if segment.gone.is_none() {
                let key = SegmentKey {
                    stream: stream.clone(),
                    sequence: *sequence,
                };
                told.insert(key, segment.sealed.clone());
            }
        }
        let gaps = index.gaps(&stream).await?;
        for gap in history.gaps.values() {
            if !gaps.contains(gap) {
                faults.push(format!("the index has not gap {} as it was told", gap.gap_id));
            }
        }
        let faults = faults
            .into_iter()
            .map(|fault| format!("{}: {fault}", path.display()));
        report.faults.extend(faults);
    }
    Ok(told)
}

/// What a chain tells up to what the index knows of it, and what is wrong in itself.
fn read_history(
    path: &Path,
    stream: &StreamId,
    key: PublicKey,
    known: KnownChain,
    report: &mut CheckReport,
) -> Result<(History, Vec<String>), String> {
    let reading = read_log(path, stream, key, KnownChain::default()).map_err(|e| e.to_string())??;
    let mut history = History::default();
    let mut faults = Vec::new();
    let mut end = KnownChain::default();
    let entries = reading
        .entries
        .iter()
        .take_while(|logged| logged.known.head.number <= known.head.number);
    for logged in entries {
        report.entries += 1;
        end = logged.known;
        if let Err(fault) = history.take(&logged.entry) {
            faults.push(fault.to_string());
        }
    }
    if end != known {
        let fault = reading
            .fault
            .unwrap_or_else(|| "it is another than the index knows".to_owned());
        faults.push(format!(
            "it holds up to entry {}, the index knows {}: {fault}",
            end.head.number, known.head.number
        ));
    }
    Ok((history, faults))
}
