//! Several films in one file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use archive::segment::Digest;
use sha2::Digest as _;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::ExportError;
use super::film::file_error;

/// Puts files into a ZIP under new names, uncompressed, with a text beside them; returns its length and digest.
///
/// Each file is removed once it is inside, so that the disk holds little twice.
pub(super) fn zip(
    target: &Path,
    files: &[(PathBuf, String)],
    (text_name, text): (&str, &[u8]),
    cancelled: &CancellationToken,
) -> Result<(u64, Digest), ExportError> {
    let failed = |e: zip::result::ZipError| file_error(target, io::Error::other(e));
    let output = File::create(target).map_err(|e| file_error(target, e))?;
    let mut zip = zip::ZipWriter::new(output);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(true);
    zip.start_file(text_name, options).map_err(failed)?;
    zip.write_all(text).map_err(|e| file_error(target, e))?;
    let mut buffer = vec![0; 1 << 20];
    for (path, name) in files {
        zip.start_file(name.as_str(), options).map_err(failed)?;
        let mut file = File::open(path).map_err(|e| file_error(path, e))?;
        loop {
            if cancelled.is_cancelled() {
                return Err(ExportError::Cancelled);
            }
            let read = file.read(&mut buffer).map_err(|e| file_error(path, e))?;
            if read == 0 {
                break;
            }
            zip.write_all(&buffer[..read])
                .map_err(|e| file_error(target, e))?;
        }
        std::fs::remove_file(path).map_err(|e| file_error(path, e))?;
    }
    let output = zip.finish().map_err(failed)?;
    output.sync_all().map_err(|e| file_error(target, e))?;
    digest(target, &mut buffer).map_err(|e| file_error(target, e))
}

/// Length and digest of a file.
fn digest(path: &Path, buffer: &mut [u8]) -> io::Result<(u64, Digest)> {
    let mut file = File::open(path)?;
    let mut sha256 = Sha256::new();
    let mut size_bytes = 0;
    loop {
        match file.read(buffer)? {
            0 => return Ok((size_bytes, Digest(sha256.finalize().into()))),
            read => {
                sha256.update(&buffer[..read]);
                size_bytes += read as u64;
            }
        }
    }
}
