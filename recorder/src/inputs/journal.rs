//! Counter events on the disk of the recordings, so that they outlive the index: `<recordings>/events/<UTC date>.log`,
//! one JSON object a line. An event is synced here before it is acknowledged.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use archive::time::WallTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::Volume;

/// An event as it came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Journaled {
    /// When the recorder got it.
    pub received: WallTime,
    /// The CloudEvents JSON.
    pub event: Value,
}

/// The journal of a disk.
#[derive(Debug, Clone)]
pub struct EventJournal {
    volume: Volume,
}

impl EventJournal {
    /// The journal on a disk.
    pub fn new(volume: Volume) -> Self {
        Self { volume }
    }

    fn folder(&self) -> PathBuf {
        self.volume.root.join("events")
    }

    /// Appends events that came in now; when this returns they are synced. One at a time may do so.
    ///
    /// # Errors
    /// If the disk does not take them, or another disk is in its place.
    pub async fn append(&self, received: WallTime, events: &[&Value]) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for event in events {
            #[derive(Serialize)]
            struct Line<'a> {
                received: WallTime,
                event: &'a Value,
            }
            serde_json::to_writer(&mut lines, &Line { received, event })?;
            lines.push(b'\n');
        }
        let journal = self.clone();
        let append = move || journal.append_lines(received, lines);
        tokio::task::spawn_blocking(append)
            .await
            .map_err(io::Error::other)?
    }

    fn append_lines(&self, received: WallTime, mut lines: Vec<u8>) -> io::Result<()> {
        self.volume.ensure()?;
        let folder = self.folder();
        crate::files::make_folders(&self.volume.root, &folder)?;
        let path = folder.join(format!("{}.log", received.date_in(&jiff::tz::TimeZone::UTC)));
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let size_bytes = file.metadata()?.len();
        let mut last = [b'\n'];
        if size_bytes > 0 {
            file.read_exact_at(&mut last, size_bytes - 1)?;
        }
        if last != *b"\n" {
            // A cut tore the line before; what is torn was never acknowledged.
            lines.insert(0, b'\n');
        }
        let written = file
            .write_all_at(&lines, size_bytes)
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // The sender tries again: what is there of this must not count.
            let _ = file.set_len(size_bytes);
            return Err(error);
        }
        if is_new {
            crate::files::sync_folder(&folder)?;
        }
        Ok(())
    }

    /// The journal's files by date.
    fn files(&self) -> io::Result<Vec<(jiff::civil::Date, PathBuf)>> {
        let entries = match std::fs::read_dir(self.folder()) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if let Some(date) = date_of(&path) {
                files.push((date, path));
            }
        }
        files.sort();
        Ok(files)
    }

    /// All events of the journal, oldest file first, file by file. Torn lines are left out.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn read(&self, mut take: impl FnMut(Vec<Journaled>)) -> io::Result<()> {
        for (_, path) in self.files()? {
            let bytes = std::fs::read(&path)?;
            let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
            take(
                lines
                    .filter_map(|line| serde_json::from_slice(line).ok())
                    .collect(),
            );
        }
        Ok(())
    }

    /// Removes the files of days before `date`.
    ///
    /// # Errors
    /// If one can't be removed.
    pub fn drop_before(&self, date: jiff::civil::Date) -> io::Result<usize> {
        self.volume.ensure()?;
        let mut dropped = 0;
        for (_, path) in self.files()?.into_iter().filter(|(day, _)| *day < date) {
            std::fs::remove_file(path)?;
            dropped += 1;
        }
        Ok(dropped)
    }
}

fn date_of(path: &Path) -> Option<jiff::civil::Date> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".log")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(journal: &EventJournal) -> Vec<Journaled> {
        let mut all = Vec::new();
        journal.read(|events| all.extend(events)).unwrap();
        all
    }

    #[tokio::test]
    async fn keeps_what_came_and_goes_on_behind_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let journal = EventJournal::new(Volume::create(dir.path()).unwrap());
        let day_us = 86_400_000_000;
        let event = |id: &str| serde_json::json!({ "id": id });
        journal
            .append(WallTime(0), &[&event("a"), &event("b")])
            .await
            .unwrap();
        let file = dir.path().join("events/1970-01-01.log");
        let mut torn = std::fs::read(&file).unwrap();
        torn.extend_from_slice(b"{\"received\":5,\"ev");
        std::fs::write(&file, torn).unwrap();
        journal.append(WallTime(1), &[&event("c")]).await.unwrap();
        journal.append(WallTime(day_us), &[&event("d")]).await.unwrap();
        let ids = |journal: &EventJournal| -> Vec<String> {
            let id = |j: &Journaled| j.event["id"].as_str().unwrap().to_owned();
            all(journal).iter().map(id).collect()
        };
        assert_eq!(ids(&journal), ["a", "b", "c", "d"]);
        assert_eq!(journal.drop_before("1970-01-02".parse().unwrap()).unwrap(), 1);
        assert_eq!(ids(&journal), ["d"]);
    }
}
