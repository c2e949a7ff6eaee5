//! Files that must survive a power cut.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes a whole file so that afterwards either the old or the new content is there.
pub(crate) fn write_synced(file: &Path, content: &[u8]) -> io::Result<()> {
    write_synced_with_mode(file, content, 0o644)
}

/// As [`write_synced`], with permissions; `0o600` for secrets.
pub(crate) fn write_synced_with_mode(file: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = folder.join(name);
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)?;
    opened.write_all(content)?;
    opened.sync_all()?;
    std::fs::rename(&fresh, file)?;
    sync_folder(folder)
}

/// Makes new and removed names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it up to `root`, which must be there; each is durable when it has a name.
pub(crate) fn make_folders(root: &Path, folder: &Path) -> io::Result<()> {
    if folder == root || folder.exists() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(root);
    make_folders(root, parent)?;
    match std::fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => sync_folder(parent),
    }
}
