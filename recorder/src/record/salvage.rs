//! After a crash: whole fragments behind the last committed one are adopted, the torn rest is cut off.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use archive::fmp4::{fragment_rows, read_init, scan_segment};
use archive::gap::{Gap, GapCause};
use archive::ids::StreamId;
use archive::segment::Digest;
use archive::time::Moment;

use super::{Chains, WriteError, segment_path};
use crate::index::{Change, Index, OpenSegment};

/// Brings disk and index together before anything is recorded, and opens a gap for the time without a recorder.
///
/// A segment that can't be read now stays as it is for the next start.
///
/// # Errors
/// If the index can't be read or written.
pub async fn salvage(
    index: &Index,
    chains: &mut Chains,
    streams: &[StreamId],
    now: impl Into<Moment>,
) -> Result<(), WriteError> {
    let now = now.into();
    let root = chains.volume().root.clone();
    for segment in index.recording_segments().await? {
        match salvage_segment(&root, &segment) {
            Ok(Salvaged { mut changes, emptied }) => {
                changes.push(Change::RunEnded {
                    run: segment.run.clone(),
                });
                chains.commit(index, &changes).await?;
                // The row first: a file that is gone must not be missed.
                if let Some(Err(error)) = emptied.as_deref().map(std::fs::remove_file) {
                    tracing::warn!(segment = %segment.key, %error, "an empty file could not be removed");
                }
            }
            Err(error) => {
                tracing::error!(segment = %segment.key, %error, "can't be salvaged now");
                metrics::counter!("recorder_salvage_failures_total").increment(1);
            }
        }
    }
    seal_unchained(index, chains).await?;
    let mut all = index.known_streams().await?;
    all.extend(streams.iter().cloned());
    for stream in all {
        let mut changes: Vec<Change> = index
            .open_runs(&stream)
            .await?
            .into_iter()
            .map(|run| Change::RunEnded { run })
            .collect();
        // A stream that is no longer set up has no gap, it has an end.
        if streams.contains(&stream)
            && index.open_gap(&stream).await?.is_none()
            && let Some(end) = index.recording_end(&stream).await?
        {
            let start = index.moment_of(&end.run, end.media).await?.unwrap_or(now);
            changes.push(Change::Gap(Gap {
                gap_id: uuid::Uuid::now_v7(),
                stream: stream.clone(),
                start: start.wall,
                end: None,
                start_boot: start.boot,
                end_boot: None,
                cause: GapCause::RecorderDown,
                detail: match index.last_alive().await? {
                    Some(alive) => format!("the recorder was last seen alive at {alive}"),
                    None => "the recorder ended without being stopped".to_owned(),
                },
            }));
        }
        chains.commit(index, &changes).await?;
    }
    Ok(())
}

/// Segments of a recorder that did not seal yet get their entries now.
async fn seal_unchained(index: &Index, chains: &mut Chains) -> Result<(), WriteError> {
    for segment in index.unchained_segments().await? {
        let path = segment_path(&chains.volume().root, &segment.key);
        let init = std::fs::read(&path).map_err(|e| e.to_string()).and_then(|bytes| {
            let init = read_init(&bytes).map_err(|e| e.to_string())?;
            Ok(Digest::of(
                bytes.get(..init.size_bytes as usize).unwrap_or_default(),
            ))
        });
        match (init, segment.sha256) {
            (Ok(init_sha256), Some(sha256)) => {
                let change = Change::Sealed {
                    segment_id: segment.segment_id,
                    sha256,
                    init_sha256,
                };
                chains.commit(index, &[change]).await?;
            }
            (Err(error), _) => tracing::error!(segment = %segment.key, error, "can't be sealed"),
            (_, None) => {}
        }
    }
    Ok(())
}

/// What a segment that was being written comes to.
struct Salvaged {
    changes: Vec<Change>,
    /// Its file, if nothing is in it.
    emptied: Option<PathBuf>,
}

fn salvage_segment(root: &Path, segment: &OpenSegment) -> Result<Salvaged, WriteError> {
    let path = segment_path(root, &segment.key);
    let failed = |source| WriteError::Disk {
        path: path.clone(),
        source,
    };
    let segment_id = segment.segment_id;
    let all = |changes| Salvaged {
        changes,
        emptied: None,
    };
    let lost = |reason: String| all(vec![Change::Lost { segment_id, reason }]);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(lost("its file is gone".to_owned())),
        Err(e) => return Err(failed(e)),
    };
    let scan = match scan_segment(&bytes) {
        Ok(scan) => scan,
        Err(error) => {
            let aside = path.with_extension("damaged");
            std::fs::rename(&path, &aside).map_err(failed)?;
            return Ok(lost(format!("its init segment is damaged: {error}")));
        }
    };
    // A chunk without a keyframe before it could not be shown; the writer never starts a file with one.
    if scan.fragments.is_empty() {
        return Ok(Salvaged {
            changes: vec![Change::Empty { segment_id }],
            emptied: Some(path),
        });
    }
    let usable = scan.usable_bytes;
    if (bytes.len() as u64) != usable {
        tracing::warn!(segment = %segment.key, kept = usable, of = bytes.len(), "torn end is cut off");
    }
    let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
    file.set_len(usable).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let mut changes = Vec::new();
    if usable < segment.size_bytes {
        // Only a disk that lies about its syncs can do this.
        tracing::error!(segment = %segment.key, usable, synced = segment.size_bytes, "synced bytes are damaged");
        changes.push(Change::Cut {
            segment_id,
            size_bytes: usable,
        });
    }
    let adopted = fragment_rows(&bytes, &scan, 0)
        .into_iter()
        .filter(|fragment| fragment.offset_bytes >= segment.size_bytes);
    changes.extend(adopted.map(|fragment| Change::Fragment { segment_id, fragment }));
    metrics::counter!("recorder_segments_salvaged_total").increment(1);
    let kept = bytes.get(..usable as usize).unwrap_or(&bytes);
    let init = bytes.get(..scan.init.size_bytes as usize).unwrap_or_default();
    changes.push(Change::Sealed {
        segment_id,
        sha256: Digest::of(kept),
        init_sha256: Digest::of(init),
    });
    Ok(all(changes))
}
