//! After a crash: whole fragments behind the last committed one are adopted, the torn rest is cut off.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use archive::fmp4::{fragment_rows, scan_segment};
use archive::gap::{Gap, GapCause};
use archive::ids::StreamId;
use archive::segment::Digest;
use archive::time::WallTime;

use super::{WriteError, segment_path};
use crate::index::{Change, Index, OpenSegment};

/// Brings disk and index together before anything is recorded, and opens a gap for the time without a recorder.
///
/// A segment that can't be read now stays as it is for the next start.
///
/// # Errors
/// If the index can't be read or written.
pub async fn salvage(
    index: &Index,
    root: &Path,
    streams: &[StreamId],
    now: WallTime,
) -> Result<(), WriteError> {
    for segment in index.recording_segments().await? {
        match salvage_segment(root, &segment) {
            Ok(mut changes) => {
                changes.push(Change::RunEnded {
                    run: segment.run.clone(),
                });
                index.commit(&changes).await?;
            }
            Err(error) => {
                tracing::error!(segment = %segment.key, %error, "can't be salvaged now");
                metrics::counter!("recorder_salvage_failures_total").increment(1);
            }
        }
    }
    for stream in streams {
        let mut changes: Vec<Change> = index
            .open_runs(stream)
            .await?
            .into_iter()
            .map(|run| Change::RunEnded { run })
            .collect();
        if index.open_gap(stream).await?.is_none()
            && let Some(end) = index.recording_end(stream).await?
        {
            let start = index.wall_of(&end.run, end.media).await?.unwrap_or(now);
            changes.push(Change::Gap(Gap {
                gap_id: uuid::Uuid::now_v7(),
                stream: stream.clone(),
                start,
                end: None,
                cause: GapCause::RecorderDown,
                detail: match index.last_alive().await? {
                    Some(alive) => format!("the recorder was last seen alive at {alive}"),
                    None => "the recorder ended without being stopped".to_owned(),
                },
            }));
        }
        index.commit(&changes).await?;
    }
    Ok(())
}

fn salvage_segment(root: &Path, segment: &OpenSegment) -> Result<Vec<Change>, WriteError> {
    let path = segment_path(root, &segment.key);
    let failed = |source| WriteError::Disk {
        path: path.clone(),
        source,
    };
    let segment_id = segment.segment_id;
    let lost = |reason: String| {
        vec![
            Change::Deleted {
                segment_id,
                reason: reason.clone(),
            },
            Change::Lost {
                key: segment.key.clone(),
                reason,
            },
        ]
    };
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
        std::fs::remove_file(&path).map_err(failed)?;
        let reason = "nothing was recorded in it".to_owned();
        return Ok(vec![Change::Deleted { segment_id, reason }]);
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
    changes.push(Change::Sealed {
        segment_id,
        sha256: Digest::of(kept),
    });
    Ok(changes)
}
