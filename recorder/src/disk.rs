//! How full the disk of the recordings is.

use std::io;
use std::path::Path;

/// Space on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Free for this program.
    pub free_bytes: u64,
    /// Size of the disk.
    pub total_bytes: u64,
}

/// Space on the disk of a folder.
pub fn space(folder: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(Space {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}
