//! Chains of recorders: taken over entry by entry if they hold, set aside as evidence if not.

use std::collections::BTreeMap;

use archive::ids::{RecorderId, SegmentKey, StreamId};
use archive::seal::signed::Purpose;
use archive::seal::{ChainBody, ChainEntry, ChainHead, ChainReader, PublicKey, SealedSegment, Signed};
use archive::segment::Digest;
use archive::time::WallTime;
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};

use super::{Db, DbError, DbResult, edge_segment, get, get_id, signed, unsigned};

/// Pieces of evidence kept of one recorder; a broken one must not fill the disk.
const MAX_CONFLICTS: i64 = 10_000;

/// A segment as it is, to be compared with its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSeal {
    /// Length of the file.
    pub size_bytes: u64,
    /// Length of its init segment.
    pub init_size_bytes: u64,
    /// Digest of the file.
    pub sha256: Digest,
    /// Merkle root and number of leaves; `None` for what was stored before chains were kept.
    pub tree: Option<(Digest, u64)>,
}

impl SegmentSeal {
    /// What differs from what the recorder sealed.
    pub fn difference(&self, sealed: &SealedSegment) -> Option<&'static str> {
        if self.size_bytes != sealed.size_bytes || self.init_size_bytes != sealed.init_size_bytes {
            Some("its length is another")
        } else if self.sha256 != sealed.sha256 {
            Some("its SHA-256 is another")
        } else if self
            .tree
            .is_some_and(|tree| tree != (sealed.root, sealed.leaf_count() as u64))
        {
            Some("its Merkle root is another")
        } else {
            None
        }
    }
}

/// A chain as it stands at the centre.
#[derive(Debug, Clone)]
pub struct ChainState {
    /// Which stream.
    pub stream: StreamId,
    /// Its newest entry.
    pub head: ChainHead,
    /// Number of the newest entry that has a receipt; 0: none.
    pub receipted: u64,
}

/// Something that did not fit a chain.
#[derive(Debug, Clone)]
pub struct ChainConflict {
    /// Which stream, as the recorder said.
    pub stream: String,
    /// Number of the entry.
    pub number: u64,
    /// What does not fit.
    pub reason: String,
    /// When it came.
    pub seen: WallTime,
}

/// What a recorder says that does not fit.
struct Evidence<'a> {
    stream: &'a str,
    number: u64,
    kind: &'static str,
    hash: Digest,
    reason: &'a str,
    entry: Option<&'a Signed>,
}

/// The chains of one recorder while facts are stored.
pub(super) struct Chains<'a> {
    recorder: &'a RecorderId,
    key: Option<PublicKey>,
    readers: BTreeMap<StreamId, ChainReader>,
    now: WallTime,
    /// Entries taken over.
    pub taken: u64,
    /// What was set aside.
    pub conflicts: Vec<String>,
}

impl<'a> Chains<'a> {
    pub(super) fn new(recorder: &'a RecorderId, public_key: &str, now: WallTime) -> Self {
        Self {
            recorder,
            key: public_key.parse().ok(),
            readers: BTreeMap::new(),
            now,
            taken: 0,
            conflicts: Vec::new(),
        }
    }

    /// Takes over an entry of a stream that the recorder records, or sets it aside.
    pub(super) async fn take(
        &mut self,
        tx: &mut Transaction<'static, Any>,
        stream: &StreamId,
        number: u64,
        entry: &Signed,
    ) -> DbResult<()> {
        let hash = entry.hash(Purpose::Chain);
        let set_aside = |reason| Evidence {
            stream: stream.as_str(),
            number,
            kind: "entry",
            hash,
            reason,
            entry: Some(entry),
        };
        let Some(key) = self.key else {
            let evidence = set_aside("the recorder's enrolled key can't be read");
            return self.keep(tx, &evidence).await;
        };
        if !self.readers.contains_key(stream) {
            let head = head(tx, self.recorder, stream).await?;
            let reader = ChainReader::new(stream.clone(), key, head);
            self.readers.insert(stream.clone(), reader);
        }
        let reader = self.readers.get_mut(stream).expect("it was just put there");
        if number >= 1 && number <= reader.head().number {
            // It comes again after a loss of the answer; another one at its place is a fork.
            let known = hash_at(tx, self.recorder, stream, number).await?;
            return match known {
                Some(known) if known == hash.to_string() => Ok(()),
                _ => {
                    let evidence = set_aside("another entry is known at its number: the chain forks");
                    self.keep(tx, &evidence).await
                }
            };
        }
        match reader.next(entry) {
            Ok(read) => {
                put(tx, self.recorder, &read, entry, hash, self.now).await?;
                self.taken += 1;
                edge_segment::follow(tx, self.recorder, &read).await?;
                self.compare(tx, &read).await
            }
            Err(fault) => self.keep(tx, &set_aside(&fault.to_string())).await,
        }
    }

    /// Compares a seal that came after its segment.
    async fn compare(&mut self, tx: &mut Transaction<'static, Any>, entry: &ChainEntry) -> DbResult<()> {
        let ChainBody::Segment(sealed) = &entry.body else {
            return Ok(());
        };
        let key = SegmentKey {
            stream: entry.stream.clone(),
            sequence: sealed.sequence,
        };
        if let Some((number, first)) = sealed_segment(tx, self.recorder, &key).await?
            && number != entry.number
            && first.sha256 != sealed.sha256
        {
            let reason = format!("segment {key} was sealed otherwise by entry {number}");
            let evidence = of_segment(entry.stream.as_str(), entry.number, sealed.sha256, &reason);
            return self.keep(tx, &evidence).await;
        }
        let Some(stored) = stored_seal(tx, self.recorder, &key).await? else {
            return Ok(());
        };
        if let Some(difference) = stored.difference(sealed) {
            let reason = format!("segment {key} is stored otherwise than it was sealed: {difference}");
            let evidence = of_segment(entry.stream.as_str(), entry.number, stored.sha256, &reason);
            self.keep(tx, &evidence).await?;
        }
        Ok(())
    }

    async fn keep(&mut self, tx: &mut Transaction<'static, Any>, evidence: &Evidence<'_>) -> DbResult<()> {
        let what = format!(
            "{} entry {}: {}",
            evidence.stream, evidence.number, evidence.reason
        );
        self.conflicts.push(what);
        keep(tx, self.recorder, evidence, self.now).await
    }

    /// Writes down how far each chain has come.
    pub(super) async fn finish(&self, tx: &mut Transaction<'static, Any>) -> DbResult<()> {
        for (stream, reader) in &self.readers {
            let head = reader.head();
            if head.number == 0 {
                continue;
            }
            sqlx::query(
                "INSERT INTO chain_head (recorder_id, stream_id, number, hash) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (recorder_id, stream_id) DO UPDATE SET number = excluded.number, hash = excluded.hash",
            )
            .bind(self.recorder.as_str())
            .bind(stream.as_str())
            .bind(signed(head.number))
            .bind(head.hash.to_string())
            .execute(&mut **tx)
            .await?;
        }
        Ok(())
    }
}

impl Db {
    /// What a recorder sealed under a segment's number, and by which entry.
    pub async fn sealed_segment(
        &self,
        recorder: &RecorderId,
        key: &SegmentKey,
    ) -> DbResult<Option<(u64, SealedSegment)>> {
        sqlx::query(SEALED_SEGMENT)
            .bind(recorder.as_str())
            .bind(key.stream.as_str())
            .bind(signed(key.sequence))
            .fetch_optional(&self.reader)
            .await?
            .map(|row| sealed(&row))
            .transpose()
    }

    /// Whether a recorder has sealed a segment behind this one, so that its own seal will not come any more.
    pub async fn is_sealed_beyond(&self, recorder: &RecorderId, key: &SegmentKey) -> DbResult<bool> {
        let row = sqlx::query(
            "SELECT number FROM chain_entry
             WHERE recorder_id = $1 AND stream_id = $2 AND sequence > $3 AND kind = 'segment' LIMIT 1",
        )
        .bind(recorder.as_str())
        .bind(key.stream.as_str())
        .bind(signed(key.sequence))
        .fetch_optional(&self.reader)
        .await?;
        Ok(row.is_some())
    }

    /// Keeps as evidence that a segment is not as it was sealed.
    pub async fn put_segment_conflict(
        &self,
        recorder: &RecorderId,
        key: &SegmentKey,
        entry: u64,
        sha256: Digest,
        reason: &str,
        now: WallTime,
    ) -> DbResult<()> {
        let mut tx = self.write().await?;
        let reason = format!("segment {key} came otherwise than it was sealed: {reason}");
        let evidence = of_segment(key.stream.as_str(), entry, sha256, &reason);
        keep(&mut tx, recorder, &evidence, now).await?;
        Ok(tx.commit().await?)
    }

    /// Entries of a chain in order, from a number on.
    pub async fn chain(
        &self,
        recorder: &RecorderId,
        stream: &StreamId,
        from: u64,
        through: u64,
        limit: i64,
    ) -> DbResult<Vec<Signed>> {
        sqlx::query(
            "SELECT text, signature FROM chain_entry
             WHERE recorder_id = $1 AND stream_id = $2 AND number BETWEEN $3 AND $4 ORDER BY number LIMIT $5",
        )
        .bind(recorder.as_str())
        .bind(stream.as_str())
        .bind(signed(from))
        .bind(signed(through))
        .bind(limit)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(signed_row)
        .collect()
    }

    /// Where the chains of a recorder end.
    pub async fn chains(&self, recorder: &RecorderId) -> DbResult<Vec<ChainState>> {
        sqlx::query(
            "SELECT stream_id, number, hash, receipted FROM chain_head WHERE recorder_id = $1 ORDER BY stream_id",
        )
        .bind(recorder.as_str())
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            Ok(ChainState {
                stream: get_id(row, "stream_id")?,
                head: ChainHead {
                    number: unsigned(get(row, "number")?),
                    hash: get_digest(row, "hash")?,
                },
                receipted: unsigned(get(row, "receipted")?),
            })
        })
        .collect()
    }

    /// How much did not fit a recorder's chains, and the newest of it.
    pub async fn chain_conflicts(&self, recorder: &RecorderId) -> DbResult<(u64, Option<ChainConflict>)> {
        let row = sqlx::query("SELECT count(*) AS conflicts FROM chain_conflict WHERE recorder_id = $1")
            .bind(recorder.as_str())
            .fetch_one(&self.reader)
            .await?;
        let count = unsigned(get(&row, "conflicts")?);
        if count == 0 {
            return Ok((0, None));
        }
        let newest = sqlx::query(
            "SELECT stream_id, number, reason, seen_us FROM chain_conflict WHERE recorder_id = $1
             ORDER BY seen_us DESC, number DESC LIMIT 1",
        )
        .bind(recorder.as_str())
        .fetch_optional(&self.reader)
        .await?
        .map(|row| {
            Ok::<_, DbError>(ChainConflict {
                stream: get(&row, "stream_id")?,
                number: unsigned(get(&row, "number")?),
                reason: get(&row, "reason")?,
                seen: WallTime(get(&row, "seen_us")?),
            })
        })
        .transpose()?;
        Ok((count, newest))
    }
}

/// Keeps as evidence, inside the storing transaction, that a stored segment is not as it was sealed.
///
/// The recorder's row must be locked by this transaction, so that its chain does not grow meanwhile.
pub(super) async fn flag_if_not_as_sealed(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    key: &SegmentKey,
    stored: &SegmentSeal,
    now: WallTime,
) -> DbResult<bool> {
    let Some((number, sealed)) = sealed_segment(tx, recorder, key).await? else {
        return Ok(false);
    };
    let Some(difference) = stored.difference(&sealed) else {
        return Ok(false);
    };
    let reason = format!("segment {key} is stored otherwise than it was sealed: {difference}");
    let evidence = of_segment(key.stream.as_str(), number, stored.sha256, &reason);
    keep(tx, recorder, &evidence, now).await?;
    Ok(true)
}

fn of_segment<'a>(stream: &'a str, number: u64, sha256: Digest, reason: &'a str) -> Evidence<'a> {
    Evidence {
        stream,
        number,
        kind: "segment",
        hash: sha256,
        reason,
        entry: None,
    }
}

async fn keep(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    evidence: &Evidence<'_>,
    now: WallTime,
) -> DbResult<()> {
    let row = sqlx::query("SELECT count(*) AS conflicts FROM chain_conflict WHERE recorder_id = $1")
        .bind(recorder.as_str())
        .fetch_one(&mut **tx)
        .await?;
    if get::<i64>(&row, "conflicts")? >= MAX_CONFLICTS {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO chain_conflict (recorder_id, stream_id, number, kind, hash, reason, text, signature, seen_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (recorder_id, stream_id, number, kind, hash) DO NOTHING",
    )
    .bind(recorder.as_str())
    .bind(evidence.stream)
    .bind(signed(evidence.number))
    .bind(evidence.kind)
    .bind(evidence.hash.to_string())
    .bind(evidence.reason.chars().take(500).collect::<String>())
    .bind(evidence.entry.map(|e| e.text.replace('\0', "\u{fffd}")))
    .bind(evidence.entry.map(|e| e.signature.replace('\0', "\u{fffd}")))
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn head(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    stream: &StreamId,
) -> DbResult<ChainHead> {
    let row = sqlx::query("SELECT number, hash FROM chain_head WHERE recorder_id = $1 AND stream_id = $2")
        .bind(recorder.as_str())
        .bind(stream.as_str())
        .fetch_optional(&mut **tx)
        .await?;
    row.map_or_else(
        || Ok(ChainHead::default()),
        |row| {
            Ok(ChainHead {
                number: unsigned(get(&row, "number")?),
                hash: get_digest(&row, "hash")?,
            })
        },
    )
}

async fn hash_at(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    stream: &StreamId,
    number: u64,
) -> DbResult<Option<String>> {
    sqlx::query("SELECT hash FROM chain_entry WHERE recorder_id = $1 AND stream_id = $2 AND number = $3")
        .bind(recorder.as_str())
        .bind(stream.as_str())
        .bind(signed(number))
        .fetch_optional(&mut **tx)
        .await?
        .map(|row| get(&row, "hash"))
        .transpose()
}

async fn put(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    entry: &ChainEntry,
    verbatim: &Signed,
    hash: Digest,
    now: WallTime,
) -> DbResult<()> {
    let (kind, sequence) = kind(&entry.body);
    sqlx::query(
        "INSERT INTO chain_entry (recorder_id, stream_id, number, hash, previous, kind, sequence, text, signature,
             received_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(recorder.as_str())
    .bind(entry.stream.as_str())
    .bind(signed(entry.number))
    .bind(hash.to_string())
    .bind(entry.previous.to_string())
    .bind(kind)
    .bind(sequence.map(signed))
    .bind(verbatim.text.as_str())
    .bind(verbatim.signature.as_str())
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn kind(body: &ChainBody) -> (&'static str, Option<u64>) {
    match body {
        ChainBody::Opened { .. } => ("opened", None),
        ChainBody::Settings { .. } => ("settings", None),
        ChainBody::RunStarted { .. } => ("run_started", None),
        ChainBody::Segment(sealed) => ("segment", Some(sealed.sequence)),
        ChainBody::Gap { .. } => ("gap", None),
        ChainBody::Deleted { sequence, .. } => ("deleted", Some(*sequence)),
        ChainBody::Lost { sequence, .. } => ("lost", Some(*sequence)),
        ChainBody::Resumed { .. } => ("resumed", None),
    }
}

/// The first seal of a segment counts.
const SEALED_SEGMENT: &str = "SELECT number, text, signature FROM chain_entry
    WHERE recorder_id = $1 AND stream_id = $2 AND sequence = $3 AND kind = 'segment' ORDER BY number LIMIT 1";

async fn sealed_segment(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    key: &SegmentKey,
) -> DbResult<Option<(u64, SealedSegment)>> {
    sqlx::query(SEALED_SEGMENT)
        .bind(recorder.as_str())
        .bind(key.stream.as_str())
        .bind(signed(key.sequence))
        .fetch_optional(&mut **tx)
        .await?
        .map(|row| sealed(&row))
        .transpose()
}

fn sealed(row: &AnyRow) -> DbResult<(u64, SealedSegment)> {
    let entry: ChainEntry = signed_row(row)?
        .read_unverified()
        .map_err(|e| DbError::damaged("chain_entry.text", e))?;
    match entry.body {
        ChainBody::Segment(sealed) => Ok((entry.number, sealed)),
        _ => Err(DbError::damaged("chain_entry.kind", "is not as the text says")),
    }
}

async fn stored_seal(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    key: &SegmentKey,
) -> DbResult<Option<SegmentSeal>> {
    sqlx::query(
        "SELECT size_bytes, init_size_bytes, sha256, merkle_root, leaves FROM segment
         WHERE stream_id = $1 AND sequence = $2 AND recorder_id = $3",
    )
    .bind(key.stream.as_str())
    .bind(signed(key.sequence))
    .bind(recorder.as_str())
    .fetch_optional(&mut **tx)
    .await?
    .map(|row| segment_seal(&row))
    .transpose()
}

/// Reads the seal's columns of a segment.
pub(super) fn segment_seal(row: &AnyRow) -> DbResult<SegmentSeal> {
    let root = get::<Option<String>>(row, "merkle_root")?;
    let leaves = get::<Option<i64>>(row, "leaves")?;
    let tree = root
        .zip(leaves)
        .map(|(root, leaves)| {
            let root = Digest::try_from(root).map_err(|e| DbError::damaged("segment.merkle_root", e))?;
            Ok::<_, DbError>((root, unsigned(leaves)))
        })
        .transpose()?;
    Ok(SegmentSeal {
        size_bytes: unsigned(get(row, "size_bytes")?),
        init_size_bytes: unsigned(get(row, "init_size_bytes")?),
        sha256: get_digest(row, "sha256")?,
        tree,
    })
}

pub(super) fn signed_row(row: &AnyRow) -> DbResult<Signed> {
    Ok(Signed {
        text: get(row, "text")?,
        signature: get(row, "signature")?,
    })
}

pub(super) fn get_digest(row: &AnyRow, column: &'static str) -> DbResult<Digest> {
    Digest::try_from(get::<String>(row, column)?).map_err(|e| DbError::damaged(column, e))
}
