//! The chains as the index knows them: where each ends, what an entry says, and how an entry comes back into the index.

use std::collections::{BTreeMap, BTreeSet};

use archive::ids::{SegmentKey, StreamId};
use archive::seal::{ChainBody, ChainEntry, ChainHead, SealedSegment, Signed};
use archive::segment::{Digest, Fragment, SegmentManifest};
use archive::time::WallTime;
use archive::uplink::Fact;
use sqlx::{Row, SqliteConnection};

use super::change::{Applied, Batch, EMPTY, await_removal, insert_fragment};
use super::segments::{read_digest, read_fragments, read_key};
use super::{Index, IndexError, RunOpening, damaged, facts, from_json, gaps, place, runs, to_json};

/// How far the index has read a stream's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownChain {
    /// The newest entry.
    pub head: ChainHead,
    /// Length of the log up to and with it, in bytes.
    pub size_bytes: u64,
}

/// A segment that an entry tells of, and what is left of its file.
#[derive(Debug, Clone, Default)]
pub struct Remains {
    /// The whole fragments of its file; none if there is no file any more.
    pub fragments: Vec<Fragment>,
}

impl Index {
    /// How far the index has read each stream's log.
    pub async fn chains(&self) -> Result<BTreeMap<StreamId, KnownChain>, IndexError> {
        sqlx::query("select stream, number, hash, size_bytes from chain")
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(|row| {
                let known = KnownChain {
                    head: ChainHead {
                        number: row.try_get::<i64, _>("number")? as u64,
                        hash: read_digest(row.try_get("hash")?)?,
                    },
                    size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
                };
                Ok((read_stream(row.try_get("stream")?)?, known))
            })
            .collect()
    }

    /// Where the chain of each stream ends.
    pub async fn chain_heads(&self) -> Result<BTreeMap<StreamId, ChainHead>, IndexError> {
        let chains = self.chains().await?.into_iter();
        Ok(chains.map(|(stream, known)| (stream, known.head)).collect())
    }

    /// All streams that anything is known of.
    pub async fn known_streams(&self) -> Result<BTreeSet<StreamId>, IndexError> {
        let names: Vec<String> = sqlx::query_scalar("select stream from chain union select stream from run")
            .fetch_all(&self.reader)
            .await?;
        names.iter().map(|name| read_stream(name)).collect()
    }

    /// Sealed segments that no entry tells of: their index is older than the chain.
    pub async fn unchained_segments(&self) -> Result<Vec<super::SegmentRow>, IndexError> {
        sqlx::query(
            "select segment_id, stream, sequence, state, size_bytes, sha256 from segment
             where chain_number is null and state not in ('recording', 'tombstone') order by segment_id",
        )
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(super::segments::read_segment)
        .collect()
    }
}

fn read_stream(name: &str) -> Result<StreamId, IndexError> {
    name.parse()
        .map_err(|e: archive::ids::InvalidId| damaged("chain.stream")(e.to_string()))
}

/// What the chain must tell of a stream's settings, if they differ from the newest told.
pub(super) async fn settings(
    tx: &mut SqliteConnection,
    stream: &StreamId,
    software: &str,
    settings: &BTreeMap<String, String>,
) -> Result<Applied, IndexError> {
    let told: Option<Option<String>> = sqlx::query_scalar("select settings from chain where stream = $1")
        .bind(stream.as_str())
        .fetch_optional(tx)
        .await?;
    let body = ChainBody::Settings {
        software: software.to_owned(),
        settings: settings.clone(),
    };
    if told.flatten().as_deref() == Some(to_json(&body).as_str()) {
        return Ok(Applied::Silent);
    }
    Ok(Applied::told(stream.clone(), body))
}

/// What the chain must tell of a segment that is sealed now and has its place, unless it has told so.
pub(super) async fn sealed(
    tx: &mut SqliteConnection,
    segment_id: i64,
    init_sha256: Digest,
) -> Result<Applied, IndexError> {
    let row = sqlx::query(
        "select stream, sequence, run_id, init_size_bytes, size_bytes, sha256, start_wall_us, end_wall_us
         from segment
         where segment_id = $1 and sha256 is not null and chain_number is null and state <> 'tombstone'",
    )
    .bind(segment_id)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else {
        return Ok(Applied::Silent);
    };
    let run: String = row.try_get("run_id")?;
    let manifest = SegmentManifest {
        key: read_key(&row)?,
        run: run
            .parse()
            .map_err(|e: archive::ids::InvalidId| damaged("segment.run_id")(e.to_string()))?,
        size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
        init_size_bytes: row.try_get::<i64, _>("init_size_bytes")? as u64,
        sha256: read_digest(row.try_get("sha256")?)?,
        tracks: Vec::new(),
        fragments: read_fragments(&mut *tx, segment_id).await?,
    };
    let wall = |column| -> Result<WallTime, sqlx::Error> {
        Ok(WallTime(row.try_get::<Option<i64>, _>(column)?.unwrap_or(0)))
    };
    let walls = (wall("start_wall_us")?, wall("end_wall_us")?);
    let anchors = sqlx::query(
        "update anchor set is_chained = 1 where run_id = $1 and is_chained = 0
         returning media_us, wall_us, clock_state, boot_id, boot_us",
    )
    .bind(run)
    .fetch_all(&mut *tx)
    .await?;
    let mut anchors = anchors
        .iter()
        .map(runs::read_anchor)
        .collect::<Result<Vec<_>, _>>()?;
    anchors.sort_by_key(|anchor| anchor.media);
    let segment = SealedSegment::new(&manifest, init_sha256, walls, anchors);
    Ok(Applied::told(manifest.key.stream, ChainBody::Segment(segment)))
}

impl Batch {
    /// Notes an entry that lies in the log, synced: it becomes a fact for the server.
    pub async fn chained(
        &mut self,
        entry: &ChainEntry,
        signed: &Signed,
        known: KnownChain,
    ) -> Result<(), IndexError> {
        let settings = match &entry.body {
            body @ ChainBody::Settings { .. } => Some(to_json(body)),
            _ => None,
        };
        sqlx::query(
            "insert into chain (stream, number, hash, size_bytes, settings) values ($1, $2, $3, $4, $5)
             on conflict (stream) do update set number = excluded.number, hash = excluded.hash,
                 size_bytes = excluded.size_bytes, settings = coalesce(excluded.settings, settings)",
        )
        .bind(entry.stream.as_str())
        .bind(known.head.number as i64)
        .bind(known.head.hash.0.as_slice())
        .bind(known.size_bytes as i64)
        .bind(settings)
        .execute(&mut *self.tx)
        .await?;
        if let ChainBody::Segment(segment) = &entry.body {
            sqlx::query(
                "update segment set chain_number = $3
                 where stream = $1 and sequence = $2 and chain_number is null",
            )
            .bind(entry.stream.as_str())
            .bind(segment.sequence as i64)
            .bind(entry.number as i64)
            .execute(&mut *self.tx)
            .await?;
        }
        let fact = Fact::Chained {
            stream: entry.stream.clone(),
            number: entry.number,
            entry: signed.clone(),
        };
        facts::append(&mut self.tx, &fact).await
    }

    /// Keeps for later what no log could be told of.
    pub async fn put_untold(&mut self, stream: &StreamId, body: &ChainBody) -> Result<(), IndexError> {
        sqlx::query("insert into untold (stream, body) values ($1, $2)")
            .bind(stream.as_str())
            .bind(to_json(body))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Takes what was kept for later.
    pub async fn take_untold(&mut self, stream: &StreamId) -> Result<Vec<ChainBody>, IndexError> {
        let bodies: Vec<String> =
            sqlx::query_scalar("select body from untold where stream = $1 order by untold_id")
                .bind(stream.as_str())
                .fetch_all(&mut *self.tx)
                .await?;
        if !bodies.is_empty() {
            sqlx::query("delete from untold where stream = $1")
                .bind(stream.as_str())
                .execute(&mut *self.tx)
                .await?;
        }
        bodies.iter().map(|body| from_json("untold.body", body)).collect()
    }

    /// Brings the index to what an entry of the log says. What it has already stays.
    pub async fn adopt(&mut self, entry: &ChainEntry, remains: &Remains) -> Result<(), IndexError> {
        let tx = &mut *self.tx;
        let stream = &entry.stream;
        match &entry.body {
            ChainBody::Opened { .. } | ChainBody::Settings { .. } | ChainBody::Resumed { .. } => {}
            ChainBody::RunStarted { run, tracks, anchor } => {
                let opening = RunOpening {
                    run: run.clone(),
                    stream: stream.clone(),
                    tracks: tracks.clone(),
                    anchor: *anchor,
                };
                runs::start(tx, &opening).await?;
            }
            ChainBody::Segment(segment) => adopt_segment(tx, stream, segment, remains).await?,
            ChainBody::Gap { gap } => gaps::put(tx, gap).await?,
            ChainBody::Deleted { sequence, reason, .. } => {
                if let Some(segment_id) = adopt_tombstone(tx, stream, *sequence, reason).await? {
                    await_removal(tx, segment_id).await?;
                }
            }
            ChainBody::Lost { sequence, reason } => {
                adopt_tombstone(tx, stream, *sequence, reason).await?;
                if reason == EMPTY {
                    return Ok(());
                }
                let fact = Fact::SegmentLost {
                    key: SegmentKey {
                        stream: stream.clone(),
                        sequence: *sequence,
                    },
                    reason: reason.clone(),
                };
                facts::append(tx, &fact).await?;
            }
        }
        Ok(())
    }
}

async fn adopt_segment(
    tx: &mut SqliteConnection,
    stream: &StreamId,
    segment: &SealedSegment,
    remains: &Remains,
) -> Result<(), IndexError> {
    for anchor in &segment.anchors {
        if runs::insert_anchor(tx, &segment.run, *anchor, true).await? {
            let fact = Fact::Anchored {
                run: segment.run.clone(),
                anchor: *anchor,
            };
            facts::append(tx, &fact).await?;
        }
    }
    sqlx::query("update anchor set is_chained = 1 where run_id = $1 and media_us <= $2")
        .bind(segment.run.as_str())
        .bind(segment.anchors.last().map_or(i64::MIN, |anchor| anchor.media.0))
        .execute(&mut *tx)
        .await?;
    let segment_id: Option<i64> = sqlx::query_scalar(
        "insert into segment (stream, sequence, run_id, state, init_size_bytes, size_bytes, sha256)
         values ($1, $2, $3, 'sealed', $4, $5, $6)
         on conflict (stream, sequence) do update set
             state = 'sealed', size_bytes = excluded.size_bytes, sha256 = excluded.sha256
             where state = 'recording'
         returning segment_id",
    )
    .bind(stream.as_str())
    .bind(segment.sequence as i64)
    .bind(segment.run.as_str())
    .bind(segment.init_size_bytes as i64)
    .bind(segment.size_bytes as i64)
    .bind(segment.sha256.0.as_slice())
    .fetch_optional(&mut *tx)
    .await?;
    // Nothing comes back if the row was sealed already: its fragments are known.
    if let Some(segment_id) = segment_id {
        sqlx::query("delete from fragment where segment_id = $1")
            .bind(segment_id)
            .execute(&mut *tx)
            .await?;
        for fragment in &remains.fragments {
            insert_fragment(tx, segment_id, fragment).await?;
        }
        place::put(tx, segment_id).await?;
    }
    Ok(())
}

/// The row of a segment that is gone; one that was never sealed gets a row too, as its number is spent.
async fn adopt_tombstone(
    tx: &mut SqliteConnection,
    stream: &StreamId,
    sequence: u64,
    reason: &str,
) -> Result<Option<i64>, IndexError> {
    let segment_id = sqlx::query_scalar(
        "insert into segment (stream, sequence, run_id, state, init_size_bytes, size_bytes, reason)
         select $1, $2, run_id, 'tombstone', 1, 1, $3 from run where stream = $1
         order by rowid desc limit 1
         on conflict (stream, sequence) do update set state = 'tombstone', reason = excluded.reason
         returning segment_id",
    )
    .bind(stream.as_str())
    .bind(sequence as i64)
    .bind(reason)
    .fetch_optional(tx)
    .await?;
    Ok(segment_id)
}
