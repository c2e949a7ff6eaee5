//! A stream's chain on the disk: `<recordings>/<stream>/chain.log`, one signed entry a line, only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use archive::ids::StreamId;
use archive::seal::signed::Purpose;
use archive::seal::{ChainBody, ChainEntry, ChainReader, PublicKey, Signed};

use crate::index::KnownChain;

/// No entry is as long.
const MOST_LINE_BYTES: u64 = 1024 * 1024;

/// An entry and where it ends in the log.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub entry: ChainEntry,
    pub signed: Signed,
    pub known: KnownChain,
}

/// What a log holds behind a point.
#[derive(Debug, Default)]
pub(crate) struct LogReading {
    /// Whole entries that hold, in order.
    pub entries: Vec<Logged>,
    /// Why the bytes behind them do not hold, if there are any.
    pub fault: Option<String>,
    /// Whether entries that were signed lie behind the fault: then it is no torn end.
    pub has_more: bool,
}

/// Where the log of a stream lies.
pub(crate) fn log_path(root: &Path, stream: &StreamId) -> PathBuf {
    root.join(stream.as_str()).join("chain.log")
}

/// Reads the log behind `known`; a log that does not have what is known is an error text.
///
/// A log that is not there is empty.
pub(crate) fn read_log(
    path: &Path,
    stream: &StreamId,
    key: PublicKey,
    known: KnownChain,
) -> io::Result<Result<LogReading, String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound && known.size_bytes == 0 => {
            return Ok(Ok(LogReading::default()));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err("it is gone".to_owned())),
        Err(e) => return Err(e),
    };
    let size_bytes = file.metadata()?.len();
    if size_bytes < known.size_bytes {
        return Ok(Err(format!(
            "it has {size_bytes} bytes, {} are known to be synced",
            known.size_bytes
        )));
    }
    if known.size_bytes > 0 && !ends_with(&file, known)? {
        return Ok(Err(format!(
            "entry {} is not where it was written",
            known.head.number
        )));
    }
    let mut bytes = vec![0; usize::try_from(size_bytes - known.size_bytes).unwrap_or(0)];
    file.read_exact_at(&mut bytes, known.size_bytes)?;
    Ok(Ok(read_entries(&bytes, stream, key, known)))
}

/// The key that the log says to be signed by; `None` if there is no log or it does not say.
pub(crate) fn opened_by(path: &Path) -> io::Result<Option<PublicKey>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut line = Vec::new();
    BufReader::new(file.take(MOST_LINE_BYTES)).read_until(b'\n', &mut line)?;
    let entry = serde_json::from_slice::<Signed>(&line)
        .ok()
        .and_then(|signed| signed.read_unverified::<ChainEntry>().ok());
    Ok(entry.and_then(|entry| match entry.body {
        ChainBody::Opened { key, .. } => Some(key),
        _ => None,
    }))
}

/// Whether the entry that ends at the known length is the known one.
fn ends_with(file: &File, known: KnownChain) -> io::Result<bool> {
    let from = known.size_bytes.saturating_sub(MOST_LINE_BYTES);
    let mut bytes = vec![0; usize::try_from(known.size_bytes - from).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    let Some(bytes) = bytes.strip_suffix(b"\n") else {
        return Ok(false);
    };
    let line = bytes.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice::<Signed>(line)
        .is_ok_and(|signed| signed.hash(Purpose::Chain) == known.head.hash))
}

fn read_entries(bytes: &[u8], stream: &StreamId, key: PublicKey, known: KnownChain) -> LogReading {
    let mut reader = ChainReader::new(stream.clone(), key, known.head);
    let mut reading = LogReading::default();
    let mut end = known.size_bytes;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let read = match line.strip_suffix(b"\n") {
            None => Err("its last line is torn".to_owned()),
            Some(text) => serde_json::from_slice::<Signed>(text)
                .map_err(|e| format!("entry {} can't be read: {e}", reader.head().number + 1)),
        };
        if reading.fault.is_some() {
            reading.has_more |= read.is_ok_and(|signed| signed.verify(Purpose::Chain, &key).is_ok());
            continue;
        }
        match read.and_then(|signed| Ok((reader.next(&signed).map_err(|e| e.to_string())?, signed))) {
            Ok((entry, signed)) => {
                end += line.len() as u64;
                let known = KnownChain {
                    head: reader.head(),
                    size_bytes: end,
                };
                reading.entries.push(Logged { entry, signed, known });
            }
            Err(fault) => reading.fault = Some(fault),
        }
    }
    reading
}

/// The line of an entry.
pub(crate) fn line(signed: &Signed) -> Vec<u8> {
    let mut line = serde_json::to_vec(signed).expect("two texts are JSON");
    line.push(b'\n');
    line
}

/// Writes lines at the log's end, which is at `size_bytes`, and syncs them. What an earlier try left behind there goes.
pub(crate) fn append(root: &Path, path: &Path, size_bytes: u64, lines: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(root);
    let is_new = size_bytes == 0;
    if is_new {
        crate::files::make_folders(root, folder)?;
    }
    let file = OpenOptions::new()
        .write(true)
        .create(is_new)
        .truncate(false)
        .open(path)?;
    let there = file.metadata()?.len();
    if there < size_bytes {
        return Err(io::Error::other(format!(
            "chain.log has {there} bytes, {size_bytes} were synced"
        )));
    }
    if there > size_bytes {
        file.set_len(size_bytes)?;
    }
    file.write_all_at(lines, size_bytes)?;
    file.sync_data()?;
    if is_new {
        crate::files::sync_folder(folder)?;
    }
    Ok(())
}

/// Cuts off what lies behind the sound part of a log.
pub(crate) fn cut_off(path: &Path, sound_bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(sound_bytes)?;
    file.sync_all()
}

/// Keeps a damaged log as `chain.damaged-N` and puts its sound beginning in its place.
pub(crate) fn set_aside(path: &Path, sound_bytes: u64) -> io::Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let aside = (1..)
        .map(|n: u32| folder.join(format!("chain.damaged-{n}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| folder.join("chain.damaged"));
    let mut sound = Vec::new();
    if path.exists() {
        // A second name, so that there is a log at every moment.
        std::fs::hard_link(path, &aside)?;
        sound = std::fs::read(path)?;
        sound.truncate(usize::try_from(sound_bytes).unwrap_or(usize::MAX));
    }
    crate::files::write_synced(path, &sound)?;
    Ok(aside)
}
