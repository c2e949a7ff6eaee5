//! The centre's word that it has seen a chain, kept beside the chain: `<recordings>/<stream>/receipts.log`.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use archive::ids::StreamId;
use archive::seal::Signed;

use super::{Volume, chain_log};

/// Then the older half goes: a receipt speaks for everything before it too.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Appends a receipt to a stream's file, synced.
///
/// # Errors
/// If the disk does not take it, or another disk is in its place.
pub fn keep_receipt(volume: &Volume, stream: &StreamId, receipt: &Signed) -> io::Result<()> {
    volume.ensure()?;
    let folder = volume.root.join(stream.as_str());
    crate::files::make_folders(&volume.root, &folder)?;
    let path = folder.join("receipts.log");
    let is_new = !path.exists();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)?;
    let size_bytes = file.seek(SeekFrom::End(0))?;
    if size_bytes > MOST_BYTES {
        halve(&path)?;
        return keep_receipt(volume, stream, receipt);
    }
    let mut line = Vec::new();
    if size_bytes > 0 && last_byte(&mut file)? != b'\n' {
        // A power cut tore the line before.
        line.push(b'\n');
    }
    line.extend(chain_log::line(receipt));
    file.write_all(&line)?;
    file.sync_data()?;
    if is_new {
        crate::files::sync_folder(&folder)?;
    }
    Ok(())
}

fn last_byte(file: &mut std::fs::File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn halve(path: &Path) -> io::Result<()> {
    let bytes = std::fs::read(path)?;
    let middle = bytes.len() / 2;
    let start = bytes[middle..]
        .iter()
        .position(|b| *b == b'\n')
        .map_or(bytes.len(), |at| middle + at + 1);
    crate::files::write_synced(path, &bytes[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(text: &str) -> Signed {
        Signed {
            text: text.to_owned(),
            signature: "00".to_owned(),
        }
    }

    #[test]
    fn goes_on_behind_a_torn_line_and_keeps_the_newest_when_full() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::create(dir.path()).unwrap();
        let stream: StreamId = "q01.front.main".parse().unwrap();
        let path = dir.path().join("q01.front.main/receipts.log");
        keep_receipt(&volume, &stream, &receipt("1")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"te"].concat()).unwrap();
        keep_receipt(&volume, &stream, &receipt("2")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<Signed> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        assert_eq!(read, [receipt("1"), receipt("2")]);

        std::fs::write(&path, whole.repeat(MOST_BYTES as usize / whole.len() + 1)).unwrap();
        keep_receipt(&volume, &stream, &receipt("3")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() as u64 <= MOST_BYTES / 2 + 200, "{}", text.len());
        let last: Signed = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last, receipt("3"));
    }
}
