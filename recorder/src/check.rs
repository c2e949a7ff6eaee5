//! Compares index and disk without changing either.

use archive::segment::Digest;
use site_config::recorder::RecorderSettings;

use crate::index::{Index, IndexError};
use crate::record::segment_path;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Segments that have a file.
    pub segments: usize,
    /// A line for each fault.
    pub faults: Vec<String>,
}

/// Reads every file and compares its length and digest with the index.
///
/// # Errors
/// If there is no index.
pub async fn check(settings: &RecorderSettings) -> Result<CheckReport, IndexError> {
    let index = Index::open_read_only(&settings.data_dir.join("recorder.db")).await?;
    let root = settings.recordings_dir();
    let mut report = CheckReport::default();
    let mut last = 0;
    loop {
        let segments = index.segments_after(last, 500).await?;
        if segments.is_empty() {
            return Ok(report);
        }
        for segment in segments {
            last = segment.segment_id;
            report.segments += 1;
            let path = segment_path(&root, &segment.key);
            let fault = match std::fs::read(&path) {
                Err(error) => Some(error.to_string()),
                Ok(bytes) => match segment.sha256 {
                    // A growing file may be ahead of its rows, never behind.
                    None if (bytes.len() as u64) < segment.size_bytes => Some(format!(
                        "{} bytes, {} are known to be synced",
                        bytes.len(),
                        segment.size_bytes
                    )),
                    None => None,
                    Some(sha256) if Digest::of(&bytes) == sha256 => None,
                    Some(_) if bytes.len() as u64 != segment.size_bytes => {
                        Some(format!("{} bytes instead of {}", bytes.len(), segment.size_bytes))
                    }
                    Some(_) => Some("its digest is another".to_owned()),
                },
            };
            if let Some(fault) = fault {
                report.faults.push(format!("{}: {fault}", path.display()));
            }
        }
    }
}
