//! The chains of all streams: what is recorded, told in order, signed, and bound to what was told before.
//!
//! **Invariant**: an entry is synced to its log before the index commits what it tells of. A commit that fails leaves
//! the log ahead; its entries are taken up by the next commit, or by the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use archive::fmp4::{fragment_rows, scan_segment};
use archive::ids::{SegmentKey, StreamId};
use archive::seal::{ChainBody, ChainEntry, PublicKey};
use archive::time::Clock;
use ed25519_dalek::SigningKey;

use super::chain_log::{Logged, append, cut_off, line, log_path, opened_by, read_log, set_aside};
use super::{Volume, WriteError, segment_path};
use crate::index::{Applied, Batch, Change, Index, KnownChain, Remains};

/// Entries that one transaction adopts.
const ADOPTED_AT_ONCE: usize = 500;

/// The chains of a disk. They have one owner: salvage first, then the writer.
pub struct Chains {
    volume: Volume,
    key: SigningKey,
    clock: Arc<dyn Clock>,
    streams: BTreeMap<StreamId, Chain>,
}

#[derive(Default)]
struct Chain {
    /// The end of the log.
    known: KnownChain,
    /// Entries at the log's end that the index does not have yet.
    ahead: Vec<Logged>,
    /// What must be told first, as the log was damaged.
    resumed: Option<String>,
}

/// What became of changes.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// Rows of segments that may not be deleted now.
    pub refused: Vec<i64>,
}

impl Chains {
    /// Opens the logs of all streams and brings what they tell into the index.
    ///
    /// # Errors
    /// If a log can't be read or the index can't be written.
    pub async fn open(
        index: &Index,
        volume: Volume,
        key: SigningKey,
        clock: Arc<dyn Clock>,
        streams: &[StreamId],
    ) -> Result<Self, WriteError> {
        let mut chains = Self {
            volume,
            key,
            clock,
            streams: BTreeMap::new(),
        };
        let mut all = index.known_streams().await?;
        all.extend(streams.iter().cloned());
        let known = index.chains().await?;
        for stream in all {
            let known = known.get(&stream).copied().unwrap_or_default();
            let chain = chains.open_one(index, &stream, known).await?;
            chains.streams.insert(stream, chain);
        }
        Ok(chains)
    }

    /// The disk that they are on.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    async fn open_one(
        &self,
        index: &Index,
        stream: &StreamId,
        known: KnownChain,
    ) -> Result<Chain, WriteError> {
        let path = log_path(&self.volume.root, stream);
        let failed = |source| WriteError::Disk {
            path: path.clone(),
            source,
        };
        let key = PublicKey::from(&self.key);
        if opened_by(&path).map_err(failed)?.is_some_and(|by| by != key) {
            // Another key's chain can't go on: this one is another chain.
            let fault = "its entries are signed by another key than this recorder's";
            report_damage(stream, fault, &set_aside(&path, 0).map_err(failed)?);
            return Ok(Chain {
                resumed: Some(fault.to_owned()),
                ..Chain::default()
            });
        }
        let (reading, from, fault) = match read_log(&path, stream, key, known).map_err(failed)? {
            // Behind what is known nothing was ever told to anybody, so whatever is torn there may go.
            Ok(reading) if !reading.has_more || known.head.number > 0 => (reading, known, None),
            Ok(reading) => {
                let fault = reading.fault.clone().unwrap_or_default();
                (reading, known, Some(fault))
            }
            Err(fault) => {
                // The whole log, as nothing of it is known to hold; what the index knows goes on.
                let whole = read_log(&path, stream, key, KnownChain::default()).map_err(failed)?;
                (whole.unwrap_or_default(), KnownChain::default(), Some(fault))
            }
        };
        let sound = reading.entries.last().map_or(from, |logged| logged.known);
        let fresh: Vec<&Logged> = reading
            .entries
            .iter()
            .filter(|logged| logged.known.head.number > known.head.number)
            .collect();
        adopt(index, &self.volume, &fresh).await?;
        let mut chain = Chain {
            known: sound,
            ..Chain::default()
        };
        match (fault, reading.fault) {
            (Some(fault), _) => {
                report_damage(
                    stream,
                    &fault,
                    &set_aside(&path, sound.size_bytes).map_err(failed)?,
                );
                if known.head.number > sound.head.number {
                    chain.known.head = known.head;
                }
                chain.resumed = Some(fault);
            }
            (None, Some(torn)) => {
                tracing::warn!(%stream, torn, "the torn end of the chain log is cut off");
                cut_off(&path, sound.size_bytes).map_err(failed)?;
            }
            (None, None) => {}
        }
        Ok(chain)
    }

    /// Commits changes in order, all or none: their entries first, to the logs, then the index.
    ///
    /// # Errors
    /// If a log or the index does not take them; what was written to a log is taken up by the next commit.
    pub async fn commit(&mut self, index: &Index, changes: &[Change]) -> Result<Committed, WriteError> {
        let mut committed = Committed::default();
        if changes.is_empty() {
            return Ok(committed);
        }
        let mut batch = index.begin().await?;
        let mut told: BTreeMap<StreamId, Vec<ChainBody>> = BTreeMap::new();
        for change in changes {
            match (batch.apply(change).await?, change) {
                (Applied::Told(stream, body), _) => told.entry(stream).or_default().push(*body),
                (Applied::Refused, Change::Deleted { segment_id, .. }) => committed.refused.push(*segment_id),
                _ => {}
            }
        }
        let streams: Vec<StreamId> = told.keys().cloned().collect();
        for (stream, bodies) in told {
            self.tell(&mut batch, &stream, bodies).await?;
        }
        batch.commit().await?;
        for stream in streams {
            if let Some(chain) = self.streams.get_mut(&stream) {
                chain.ahead.clear();
            }
        }
        Ok(committed)
    }

    /// Commits gaps though no log can be written, so that at least the index and the centre know why nothing is
    /// recorded; the next commit that reaches the log tells of them.
    ///
    /// # Errors
    /// If the index does not take them.
    pub async fn commit_untold(index: &Index, gaps: &[Change]) -> Result<(), WriteError> {
        let mut batch = index.begin().await?;
        for gap in gaps {
            if let Applied::Told(stream, body) = batch.apply(gap).await? {
                batch.put_untold(&stream, &body).await?;
            }
        }
        Ok(batch.commit().await?)
    }

    /// Writes what is told to the stream's log, synced, and notes it in the transaction.
    async fn tell(
        &mut self,
        batch: &mut Batch,
        stream: &StreamId,
        mut bodies: Vec<ChainBody>,
    ) -> Result<(), WriteError> {
        let path = log_path(&self.volume.root, stream);
        let chain = self.streams.entry(stream.clone()).or_default();
        // What a failed commit left in the log is told already; what nobody asks for any more happened all the same.
        for Logged { entry, .. } in &chain.ahead {
            match bodies.iter().position(|body| *body == entry.body) {
                Some(at) => drop(bodies.remove(at)),
                None => {
                    batch
                        .adopt(entry, &remains(&self.volume, entry, &BTreeSet::new()))
                        .await?
                }
            }
        }
        let mut first = Vec::new();
        if chain.known.head.number == 0 {
            first.push(ChainBody::Opened {
                key: PublicKey::from(&self.key),
                volume: self.volume.uuid,
            });
        }
        first.extend(chain.resumed.clone().map(|reason| ChainBody::Resumed { reason }));
        first.extend(batch.take_untold(stream).await?);
        let mut known = chain.known;
        let mut lines = Vec::new();
        let mut fresh = Vec::new();
        for body in first.into_iter().chain(bodies) {
            let (entry, signed) = known.head.append(&self.key, stream, self.clock.wall(), body);
            lines.extend(line(&signed));
            known.size_bytes = chain.known.size_bytes + lines.len() as u64;
            fresh.push(Logged { entry, signed, known });
        }
        if !fresh.is_empty() {
            self.volume
                .ensure()
                .and_then(|()| append(&self.volume.root, &path, chain.known.size_bytes, &lines))
                .map_err(|source| WriteError::Disk { path, source })?;
            chain.known = known;
            chain.resumed = None;
            chain.ahead.extend(fresh);
        }
        for logged in &chain.ahead {
            batch.chained(&logged.entry, &logged.signed, logged.known).await?;
        }
        Ok(())
    }
}

fn report_damage(stream: &StreamId, fault: &str, aside: &Path) {
    tracing::error!(%stream, fault, aside = %aside.display(),
        "THE CHAIN LOG IS DAMAGED: it is kept aside, and its chain goes on behind what is known of it");
    metrics::counter!("recorder_chain_damaged_total", "stream" => stream.to_string()).increment(1);
}

/// Brings entries into the index that it does not have.
async fn adopt(index: &Index, volume: &Volume, entries: &[&Logged]) -> Result<(), WriteError> {
    if entries.is_empty() {
        return Ok(());
    }
    let gone: BTreeSet<u64> = entries
        .iter()
        .filter_map(|logged| match logged.entry.body {
            ChainBody::Deleted { sequence, .. } | ChainBody::Lost { sequence, .. } => Some(sequence),
            _ => None,
        })
        .collect();
    tracing::warn!(stream = %entries[0].entry.stream, entries = entries.len(), "the index takes up what the chain log tells");
    for group in entries.chunks(ADOPTED_AT_ONCE) {
        let mut batch = index.begin().await?;
        for logged in group {
            let remains = remains(volume, &logged.entry, &gone);
            batch.adopt(&logged.entry, &remains).await?;
            batch.chained(&logged.entry, &logged.signed, logged.known).await?;
        }
        batch.commit().await?;
    }
    Ok(())
}

/// What is left of the file of the segment that an entry tells of.
fn remains(volume: &Volume, entry: &ChainEntry, gone: &BTreeSet<u64>) -> Remains {
    let ChainBody::Segment(segment) = &entry.body else {
        return Remains::default();
    };
    if gone.contains(&segment.sequence) {
        return Remains::default();
    }
    let key = SegmentKey {
        stream: entry.stream.clone(),
        sequence: segment.sequence,
    };
    let read = std::fs::read(segment_path(&volume.root, &key)).map_err(|e| e.to_string());
    let scanned = read.and_then(|bytes| Ok((scan_segment(&bytes).map_err(|e| e.to_string())?, bytes)));
    match scanned {
        Ok((scan, bytes)) => Remains {
            fragments: fragment_rows(&bytes, &scan, 0),
        },
        Err(error) => {
            tracing::error!(segment = %key, error, "the chain tells of a segment that can't be read");
            Remains::default()
        }
    }
}
