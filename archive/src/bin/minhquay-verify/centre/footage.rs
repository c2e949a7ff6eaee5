//! Media, manifests and the index for playback of a catalogue whose footage lies in a folder.

use std::path::{Path, PathBuf};

use archive::fmp4::index;
use archive::ids::{RecorderId, StreamId};
use archive::seal::{SealedSegment, leaf};
use archive::segment::{SegmentManifest, gop_ranges};
use sqlx::Row as _;

use super::{Chains, id, unsigned};
use crate::database::Database;
use crate::media::check_segment;
use crate::report::Report;

/// Checks each segment that the catalogue has.
pub fn check(database: &mut Database, folder: &Path, chains: &Chains, report: &mut Report) {
    let sql = "select recorder_id, stream_id, sequence, gop_index from segment";
    let rows = database.rows("segment", sql, report, |row| {
        let owner: (RecorderId, StreamId) = (id(row, "recorder_id")?, id(row, "stream_id")?);
        let gops: Vec<u8> = row.try_get("gop_index")?;
        Ok((owner, unsigned(row, "sequence")?, gops))
    });
    for (owner, sequence, gops) in rows {
        let told = chains
            .get(&owner)
            .and_then(|chain| chain.history.segments.get(&sequence));
        // Without a chain that tells of it, it has been found already.
        let Some(told) = told else { continue };
        let media = path(folder, &owner, sequence, "mp4");
        let place = media.strip_prefix(folder).unwrap_or(&media).display().to_string();
        match std::fs::read(&media) {
            Ok(bytes) => {
                if let Err(reason) = check_segment(&bytes, &told.sealed) {
                    report.finding(&place, reason);
                }
            }
            Err(error) => report.finding(&place, error),
        }
        if let Err(reason) = check_manifest(&path(folder, &owner, sequence, "json"), &told.sealed, &gops) {
            report.finding(&place, reason);
        }
    }
}

fn path(folder: &Path, (recorder, stream): &(RecorderId, StreamId), sequence: u64, kind: &str) -> PathBuf {
    folder
        .join(recorder.as_str())
        .join(stream.as_str())
        .join((sequence / 1000).to_string())
        .join(format!("{sequence}.{kind}"))
}

fn check_manifest(path: &Path, sealed: &SealedSegment, gops: &[u8]) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|e| format!("its manifest: {e}"))?;
    let manifest: SegmentManifest =
        serde_json::from_slice(&bytes).map_err(|e| format!("its manifest can't be read: {e}"))?;
    let leaves = leaf::leaves(sealed.init_size_bytes, sealed.init_sha256, &manifest.fragments);
    if sealed.check_leaves(&leaves).is_err() || manifest.sha256 != sealed.sha256 || manifest.run != sealed.run
    {
        return Err("its manifest is not what was sealed".to_owned());
    }
    if index::encode(&gop_ranges(&manifest.fragments)) != gops {
        return Err("its index for playback is not the one of its fragments".to_owned());
    }
    Ok(())
}
