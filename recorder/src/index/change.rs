//! Changes of what is recorded, and the transaction that commits many of them at once.

use std::collections::BTreeMap;

use archive::gap::Gap;
use archive::ids::{RunId, SegmentKey, StreamId};
use archive::seal::ChainBody;
use archive::segment::{Digest, Fragment};
use archive::time::Anchor;
use archive::uplink::Fact;
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use super::marks::is_held;
use super::segments::{read_digest, read_key};
use super::{Index, IndexError, RunOpening, chain, facts, gaps, place, runs};
use crate::retention::Class;

/// Why a segment without fragments is gone. The server never heard of it.
pub(super) const EMPTY: &str = "nothing was recorded in it";

/// A change of what is recorded. The writer collects them and commits many at once, in order.
#[derive(Debug, Clone)]
pub enum Change {
    /// How a stream is set up; told only if it differs from what was told before.
    Settings {
        /// Which stream.
        stream: StreamId,
        /// Version of the program.
        software: String,
        /// The settings.
        settings: BTreeMap<String, String>,
    },
    /// A run began.
    RunStarted(RunOpening),
    /// A fragment's bytes are synced.
    Fragment {
        /// Row of the segment.
        segment_id: i64,
        /// The fragment.
        fragment: Fragment,
    },
    /// The file is shorter than it was known to be: rows behind its end go.
    Cut {
        /// Row of the segment.
        segment_id: i64,
        /// Length of what is whole.
        size_bytes: u64,
    },
    /// A segment is complete and synced.
    Sealed {
        /// Row of the segment.
        segment_id: i64,
        /// Digest of the whole file.
        sha256: Digest,
        /// Digest of its init segment.
        init_sha256: Digest,
    },
    /// A segment that was begun has nothing that could be shown.
    Empty {
        /// Row of the segment.
        segment_id: i64,
    },
    /// A sealed segment is deleted by a rule; refused if it is held or is of another class by now. Its file is to be
    /// removed then.
    Deleted {
        /// Row of the segment.
        segment_id: i64,
        /// The class that it was chosen by.
        class: Class,
        /// Why.
        reason: String,
    },
    /// A segment can't be read any more and will never be delivered.
    Lost {
        /// Row of the segment.
        segment_id: i64,
        /// Why.
        reason: String,
    },
    /// Another look at the clock.
    Anchored {
        /// Which run.
        run: RunId,
        /// What was seen.
        anchor: Anchor,
    },
    /// A run is over.
    RunEnded {
        /// Which run.
        run: RunId,
    },
    /// A gap began, changed or ended.
    Gap(Gap),
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// It is in the transaction, and the chain has no word for it.
    Silent,
    /// It is in the transaction, and the stream's chain must tell of it.
    Told(StreamId, Box<ChainBody>),
    /// The segment may not be deleted: it is held, or not sealed, or gone already.
    Refused,
}

impl Applied {
    pub(super) fn told(stream: StreamId, body: ChainBody) -> Self {
        Self::Told(stream, Box::new(body))
    }
}

/// A transaction. Dropped without [`Batch::commit`], nothing of it happened.
pub struct Batch {
    pub(super) tx: Transaction<'static, Sqlite>,
    index: Index,
}

impl Index {
    /// Begins a transaction. Nobody else writes until it ends.
    pub async fn begin(&self) -> Result<Batch, IndexError> {
        Ok(Batch {
            tx: self.writer.begin().await?,
            index: self.clone(),
        })
    }
}

#[cfg(test)]
impl Index {
    /// Commits changes without a word of them in any chain.
    pub async fn commit(&self, changes: &[Change]) -> Result<(), IndexError> {
        let mut batch = self.begin().await?;
        for change in changes {
            batch.apply(change).await?;
        }
        batch.commit().await
    }
}

impl Batch {
    /// Makes a change within the transaction.
    pub async fn apply(&mut self, change: &Change) -> Result<Applied, IndexError> {
        apply(&mut self.tx, change).await
    }

    /// Commits all, synced to the disk.
    pub async fn commit(self) -> Result<(), IndexError> {
        self.tx.commit().await?;
        self.index.note_change();
        Ok(())
    }
}

async fn apply(tx: &mut SqliteConnection, change: &Change) -> Result<Applied, IndexError> {
    match change {
        Change::Settings {
            stream,
            software,
            settings,
        } => return chain::settings(tx, stream, software, settings).await,
        Change::RunStarted(opening) => {
            runs::start(tx, opening).await?;
            let body = ChainBody::RunStarted {
                run: opening.run.clone(),
                tracks: opening.tracks.clone(),
                anchor: opening.anchor,
            };
            return Ok(Applied::told(opening.stream.clone(), body));
        }
        Change::Fragment { segment_id, fragment } => {
            insert_fragment(tx, *segment_id, fragment).await?;
            sqlx::query("update segment set size_bytes = $2 where segment_id = $1")
                .bind(segment_id)
                .bind((fragment.offset_bytes + fragment.size_bytes) as i64)
                .execute(tx)
                .await?;
        }
        Change::Cut {
            segment_id,
            size_bytes,
        } => {
            sqlx::query("delete from fragment where segment_id = $1 and offset_bytes + size_bytes > $2")
                .bind(segment_id)
                .bind(*size_bytes as i64)
                .execute(&mut *tx)
                .await?;
            sqlx::query("update segment set size_bytes = $2 where segment_id = $1")
                .bind(segment_id)
                .bind(*size_bytes as i64)
                .execute(tx)
                .await?;
        }
        Change::Sealed {
            segment_id,
            sha256,
            init_sha256,
        } => {
            sqlx::query(
                "update segment set state = 'sealed', sha256 = $2
                 where segment_id = $1 and state = 'recording'",
            )
            .bind(segment_id)
            .bind(sha256.0.as_slice())
            .execute(&mut *tx)
            .await?;
            place::put(tx, *segment_id).await?;
            return chain::sealed(tx, *segment_id, *init_sha256).await;
        }
        Change::Empty { segment_id } => {
            return Ok(match bury(tx, *segment_id, EMPTY).await? {
                Some(key) => Applied::told(key.stream, lost(key.sequence, EMPTY)),
                None => Applied::Silent,
            });
        }
        Change::Deleted {
            segment_id,
            class,
            reason,
        } => {
            let Some((key, sha256)) = delete(tx, *segment_id, *class, reason).await? else {
                return Ok(Applied::Refused);
            };
            let body = ChainBody::Deleted {
                sequence: key.sequence,
                sha256,
                reason: reason.clone(),
                class: class.as_str().to_owned(),
            };
            return Ok(Applied::told(key.stream, body));
        }
        Change::Lost { segment_id, reason } => {
            let Some(key) = bury(tx, *segment_id, reason).await? else {
                return Ok(Applied::Silent);
            };
            let fact = Fact::SegmentLost {
                key: key.clone(),
                reason: reason.clone(),
            };
            facts::append(tx, &fact).await?;
            return Ok(Applied::told(key.stream, lost(key.sequence, reason)));
        }
        Change::Anchored { run, anchor } => {
            if runs::insert_anchor(tx, run, *anchor, false).await? {
                let fact = Fact::Anchored {
                    run: run.clone(),
                    anchor: *anchor,
                };
                facts::append(tx, &fact).await?;
            }
        }
        Change::RunEnded { run } => runs::end_run(tx, run).await?,
        Change::Gap(gap) => {
            gaps::put(tx, gap).await?;
            return Ok(Applied::told(
                gap.stream.clone(),
                ChainBody::Gap { gap: gap.clone() },
            ));
        }
    }
    Ok(Applied::Silent)
}

fn lost(sequence: u64, reason: &str) -> ChainBody {
    ChainBody::Lost {
        sequence,
        reason: reason.to_owned(),
    }
}

pub(super) async fn insert_fragment(
    tx: &mut SqliteConnection,
    segment_id: i64,
    fragment: &Fragment,
) -> Result<(), IndexError> {
    sqlx::query(
        "insert into fragment
             (segment_id, offset_bytes, size_bytes, start_media_us, duration_us, is_keyframe, sha256)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(segment_id)
    .bind(fragment.offset_bytes as i64)
    .bind(fragment.size_bytes as i64)
    .bind(fragment.start.0)
    .bind(fragment.duration_us.max(0))
    .bind(fragment.is_keyframe)
    .bind(fragment.sha256.0.as_slice())
    .execute(tx)
    .await?;
    Ok(())
}

/// Makes a segment's row a tombstone, in one statement only if no hold covers it; `None` if it must stay.
///
/// What the server does not have will never come, which is a fact for it.
async fn delete(
    tx: &mut SqliteConnection,
    segment_id: i64,
    class: Class,
    reason: &str,
) -> Result<Option<(SegmentKey, Digest)>, IndexError> {
    let state: Option<String> = sqlx::query_scalar("select state from segment where segment_id = $1")
        .bind(segment_id)
        .fetch_optional(&mut *tx)
        .await?;
    let row = sqlx::query(concat!(
        "update segment set state = 'tombstone', reason = $3
         where segment_id = $1 and class = $2 and state not in ('recording', 'tombstone')
             and end_wall_us is not null and not ",
        is_held!(),
        " returning stream, sequence, sha256"
    ))
    .bind(segment_id)
    .bind(class.as_str())
    .bind(reason)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let key = read_key(&row)?;
    let sha256 = read_digest(row.try_get("sha256")?)?;
    sqlx::query("delete from fragment where segment_id = $1")
        .bind(segment_id)
        .execute(&mut *tx)
        .await?;
    await_removal(tx, segment_id).await?;
    if !matches!(state.as_deref(), Some("acknowledged" | "evictable")) {
        let fact = Fact::SegmentLost {
            key: key.clone(),
            reason: reason.to_owned(),
        };
        facts::append(tx, &fact).await?;
    }
    Ok(Some((key, sha256)))
}

/// Notes that the file of a tombstone is to be removed, in case a crash comes before.
pub(super) async fn await_removal(tx: &mut SqliteConnection, segment_id: i64) -> Result<(), IndexError> {
    sqlx::query("insert into removal (segment_id) values ($1) on conflict do nothing")
        .bind(segment_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Makes a segment's row its tombstone; `None` if it is one already.
async fn bury(
    tx: &mut SqliteConnection,
    segment_id: i64,
    reason: &str,
) -> Result<Option<SegmentKey>, IndexError> {
    let row = sqlx::query(
        "update segment set state = 'tombstone', reason = $2
         where segment_id = $1 and state <> 'tombstone' returning stream, sequence",
    )
    .bind(segment_id)
    .bind(reason)
    .fetch_optional(tx)
    .await?;
    row.map(|row| read_key(&row)).transpose()
}

#[cfg(test)]
mod tests {
    use archive::time::WallTime;
    use archive::uplink::{Mark, MarkKind};

    use super::super::place::tests::{Sealed, with_segments};
    use super::*;

    fn segment(stream: &'static str) -> Sealed {
        Sealed {
            stream,
            start_s: 1_700_000_000,
            length_s: 60,
        }
    }

    fn deletion(segment_id: i64) -> Change {
        Change::Deleted {
            segment_id,
            class: Class::Continuous,
            reason: "room was needed".to_owned(),
        }
    }

    fn mark(kind: MarkKind) -> Mark {
        Mark {
            mark_id: "m".to_owned(),
            kind,
            counter: "q01".parse().unwrap(),
            from: WallTime(1_700_000_010_000_000),
            to: Some(WallTime(1_700_000_011_000_000)),
        }
    }

    async fn apply_one(index: &Index, change: &Change) -> Applied {
        let mut batch = index.begin().await.unwrap();
        let applied = batch.apply(change).await.unwrap();
        batch.commit().await.unwrap();
        applied
    }

    #[tokio::test]
    async fn a_hold_or_a_mark_that_comes_between_choice_and_deletion_saves_the_footage() {
        for kind in [MarkKind::Hold, MarkKind::Interaction] {
            let (_dir, index) = with_segments(&[segment("q01.front.main"), segment("q02.front.main")]).await;
            let chosen = index.oldest_segments(Class::Continuous, 10).await.unwrap();
            assert_eq!(chosen.len(), 2);
            index.put_mark(&mark(kind)).await.unwrap();
            let held = apply_one(&index, &deletion(chosen[0].segment_id)).await;
            assert_eq!(held, Applied::Refused, "{kind:?}");
            let other = apply_one(&index, &deletion(chosen[1].segment_id)).await;
            assert!(matches!(other, Applied::Told(..)), "{kind:?}");
            let left = index.segments_after(0, 10).await.unwrap();
            assert_eq!(left.len(), 1);
            assert_eq!(left[0].segment_id, chosen[0].segment_id);
        }
    }

    #[tokio::test]
    async fn a_hold_saves_footage_whose_class_does_not_tell_of_it() {
        let (_dir, index) = with_segments(&[segment("q01.front.main")]).await;
        index.put_mark(&mark(MarkKind::Hold)).await.unwrap();
        sqlx::query("update segment set class = 'continuous'")
            .execute(&index.writer)
            .await
            .unwrap();
        assert_eq!(apply_one(&index, &deletion(1)).await, Applied::Refused);
    }

    #[tokio::test]
    async fn the_server_learns_of_what_was_deleted_before_it_had_it() {
        let (_dir, index) = with_segments(&[segment("q01.front.main"), segment("q02.front.main")]).await;
        index.set_state(2, &["sealed"], "acknowledged").await.unwrap();
        for segment_id in [1, 2] {
            let applied = apply_one(&index, &deletion(segment_id)).await;
            assert!(matches!(applied, Applied::Told(..)));
        }
        let facts = index.facts_after(0).await.unwrap().unwrap().1;
        let lost: Vec<_> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::SegmentLost { key, .. } => Some(key.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(lost, ["q01.front.main/1"]);
        assert_eq!(index.fragments(1).await.unwrap(), []);
    }
}
