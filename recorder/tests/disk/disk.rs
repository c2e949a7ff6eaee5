//! What a power cut may leave of a traced disk.
//!
//! What was synced is there. Of what was not, any writes may be there, whole or in sectors, and any names, unless the
//! folder was synced: POSIX promises no more, and real file systems promise little more.

use std::collections::BTreeMap;
use std::path::Path;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::trace::{Kind, Step};

const SECTOR_BYTES: usize = 512;

/// How the cut treats what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mercy {
    /// Nothing of it is there.
    None,
    /// All of it is there, as after a kill.
    All,
    /// The writes before some moment are there and the one at that moment is torn; names are kept in order up to one.
    InOrder,
    /// Any writes, in any order, torn at sectors; names are kept in order up to one.
    AnyWrites,
    /// Any writes and any names.
    AnyNames,
}

pub const MERCIES: [Mercy; 5] = [
    Mercy::None,
    Mercy::All,
    Mercy::InOrder,
    Mercy::AnyWrites,
    Mercy::AnyNames,
];

#[derive(Debug, Clone, Copy)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Debug, Clone, Copy)]
enum Pending {
    /// The step with the bytes.
    Write(usize),
    Cut(u64),
}

#[derive(Debug, Default)]
struct Content {
    synced: Vec<u8>,
    pending: Vec<Pending>,
}

/// Names that change together: each gets a node or goes.
type NameChange = Vec<(String, Option<Node>)>;

/// A disk in the middle of a trace.
pub struct Disk<'a> {
    steps: &'a [Step],
    at: usize,
    contents: Vec<Content>,
    names: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    /// Changes of names by the folder whose sync makes them durable.
    pending: Vec<(String, NameChange)>,
    /// Whether the disk takes the sync of a path seriously.
    is_synced: fn(&str) -> bool,
}

impl<'a> Disk<'a> {
    pub fn new(steps: &'a [Step]) -> Self {
        Self {
            steps,
            at: 0,
            contents: Vec::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            is_synced: |_| true,
        }
    }

    /// A disk that does as if it synced, but for the paths that are `synced`.
    pub fn lying(steps: &'a [Step], is_synced: fn(&str) -> bool) -> Self {
        Self {
            is_synced,
            ..Self::new(steps)
        }
    }

    /// Takes the next step.
    pub fn advance(&mut self) -> &'a Step {
        let step = &self.steps[self.at];
        let path = &step.path;
        let file = match self.names.get(path) {
            Some(Node::File(file)) => Some(*file),
            _ => None,
        };
        match step.kind {
            Kind::Mark => {}
            Kind::Create => {
                self.contents.push(Content::default());
                let node = Node::File(self.contents.len() - 1);
                self.rename(vec![(path.clone(), Some(node))]);
            }
            Kind::Folder => self.rename(vec![(path.clone(), Some(Node::Folder))]),
            // A file without a name has no reader after a cut.
            Kind::Write => {
                if let Some(file) = file {
                    self.contents[file].pending.push(Pending::Write(self.at));
                }
            }
            Kind::Cut => {
                if let Some(file) = file {
                    self.contents[file].pending.push(Pending::Cut(step.number));
                }
            }
            Kind::Sync if !(self.is_synced)(path) => {}
            Kind::Sync => match file {
                Some(file) => {
                    let pending = std::mem::take(&mut self.contents[file].pending);
                    let mut synced = std::mem::take(&mut self.contents[file].synced);
                    for change in pending {
                        self.put(&mut synced, change, |_| true);
                    }
                    self.contents[file].synced = synced;
                }
                None => self.sync_folder(path),
            },
            Kind::Rename => {
                let to = String::from_utf8(step.data.clone()).unwrap();
                let node = self.names.get(path).copied();
                self.rename(vec![(path.clone(), None), (to, node)]);
            }
            Kind::Link => {
                let to = String::from_utf8(step.data.clone()).unwrap();
                let node = self.names.get(path).copied();
                self.rename(vec![(to, node)]);
            }
            Kind::Remove => self.rename(vec![(path.clone(), None)]),
        }
        self.at += 1;
        step
    }

    fn rename(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        let folder = parent(&change[0].0).to_owned();
        self.pending.push((folder, change));
    }

    fn sync_folder(&mut self, folder: &str) {
        let durable = &mut self.durable;
        self.pending.retain(|(of, change)| {
            let is_synced = of == folder;
            if is_synced {
                apply(durable, change);
            }
            !is_synced
        });
    }

    /// Makes a pending change of a file; of a write only the sectors that are `kept`.
    fn put(&self, bytes: &mut Vec<u8>, change: Pending, mut kept: impl FnMut(usize) -> bool) {
        match change {
            Pending::Cut(length) => bytes.resize(length as usize, 0),
            Pending::Write(step) => {
                let (at, data) = (self.steps[step].number as usize, &self.steps[step].data);
                let mut from = 0;
                while from < data.len() {
                    let to = (from + SECTOR_BYTES - (at + from) % SECTOR_BYTES).min(data.len());
                    if kept((at + from) / SECTOR_BYTES) {
                        if bytes.len() < at + to {
                            bytes.resize(at + to, 0);
                        }
                        bytes[at + from..at + to].copy_from_slice(&data[from..to]);
                    }
                    from = to;
                }
            }
        }
    }

    /// Writes what a cut now may leave into an empty folder.
    pub fn leave(&self, into: &Path, mercy: Mercy, random: &mut StdRng) {
        let mut names = self.durable.clone();
        let upto = match mercy {
            Mercy::None => 0,
            Mercy::All => self.pending.len(),
            _ => random.random_range(0..=self.pending.len()),
        };
        for (number, (_, change)) in self.pending.iter().enumerate() {
            let is_kept = match mercy {
                Mercy::AnyNames => random.random_bool(0.5),
                _ => number < upto,
            };
            if is_kept {
                apply(&mut names, change);
            }
        }
        for (path, node) in &names {
            let folder = parent(path);
            if !folder.is_empty() && !matches!(names.get(folder), Some(Node::Folder)) {
                continue;
            }
            let target = into.join(path);
            match node {
                Node::Folder => std::fs::create_dir_all(&target).unwrap(),
                // Shared memory of the processes, which a cut takes with it.
                Node::File(_) if path.ends_with("-shm") => {}
                Node::File(file) => {
                    // A folder that the cut took back may have taken its files with it.
                    if target.parent().is_some_and(Path::is_dir) {
                        std::fs::write(&target, self.content(*file, mercy, random)).unwrap();
                    }
                }
            }
        }
    }

    fn content(&self, file: usize, mercy: Mercy, random: &mut StdRng) -> Vec<u8> {
        let Content { synced, pending } = &self.contents[file];
        let mut bytes = synced.clone();
        match mercy {
            Mercy::None => {}
            Mercy::All => {
                for change in pending {
                    self.put(&mut bytes, *change, |_| true);
                }
            }
            Mercy::InOrder => {
                let upto = random.random_range(0..=pending.len());
                for (number, change) in pending.iter().take(upto).enumerate() {
                    let is_torn = number + 1 == upto;
                    self.put(&mut bytes, *change, |_| !is_torn || random.random_bool(0.5));
                }
            }
            Mercy::AnyWrites | Mercy::AnyNames => {
                let mut order: Vec<Pending> = pending.clone();
                if random.random_bool(0.3) {
                    order.shuffle(random);
                }
                for change in order {
                    if random.random_bool(0.5) {
                        let is_torn = random.random_bool(0.3);
                        self.put(&mut bytes, change, |_| !is_torn || random.random_bool(0.5));
                    } else if random.random_bool(0.3)
                        && let Pending::Write(step) = change
                    {
                        // The length was kept, the bytes were not.
                        let end = self.steps[step].number as usize + self.steps[step].data.len();
                        bytes.resize(bytes.len().max(end), 0);
                    }
                }
            }
        }
        bytes
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn apply(names: &mut BTreeMap<String, Node>, change: &NameChange) {
    for (path, node) in change {
        match node {
            Some(node) => names.insert(path.clone(), *node),
            None => names.remove(path),
        };
    }
}
