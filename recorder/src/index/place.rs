//! Where a sealed segment lies on the wall clock, by the anchors around it.

use archive::time::{Anchor, DurationUs, MediaTime, RunClock};
use sqlx::SqliteConnection;

use super::marks::class_by_marks;
use super::{Index, IndexError, clock, runs, uploads};

/// Anchors so long behind a segment's end still bear on it.
const ANCHORS_BEHIND_US: DurationUs = 60_000_000;

impl Index {
    /// Places the segments that have no place yet: the index was made anew, or is older than places. Gives how many.
    pub async fn place_segments(&self) -> Result<usize, IndexError> {
        let (mut last, mut placed) = (0, 0);
        loop {
            // Few at a time, as others want to write as well.
            let unplaced: Vec<i64> = sqlx::query_scalar(
                "select segment_id from segment where segment_id > $1 and start_wall_us is null
                     and state not in ('recording', 'tombstone') order by segment_id limit 200",
            )
            .bind(last)
            .fetch_all(&self.reader)
            .await?;
            let Some(newest) = unplaced.last() else {
                return Ok(placed);
            };
            last = *newest;
            let mut tx = self.writer.begin().await?;
            for segment_id in &unplaced {
                placed += usize::from(put(&mut tx, *segment_id).await?);
            }
            tx.commit().await?;
        }
    }
}

/// Stores where a segment lies, and the class that the marks give it there; `false` if that can't be told.
///
/// A run of a month has a quarter of a million anchors, so only those around the segment are read.
pub(super) async fn put(tx: &mut SqliteConnection, segment_id: i64) -> Result<bool, IndexError> {
    let bounds: Option<(String, i64, i64)> = sqlx::query_as(
        "select s.run_id, min(f.start_media_us), max(f.start_media_us + f.duration_us)
         from segment s join fragment f on f.segment_id = s.segment_id where s.segment_id = $1
         group by s.run_id",
    )
    .bind(segment_id)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((run, start, end)) = bounds else {
        return Ok(false);
    };
    let anchors = sqlx::query(
        "select media_us, wall_us, clock_state, boot_id, boot_us from anchor
         where run_id = $1 and media_us <= $3 and media_us >= coalesce(
             (select max(media_us) from anchor where run_id = $1 and media_us <= $2), $2)
         order by media_us",
    )
    .bind(&run)
    .bind(start)
    .bind(end + ANCHORS_BEHIND_US)
    .fetch_all(&mut *tx)
    .await?
    .iter()
    .map(runs::read_anchor)
    .collect::<Result<Vec<Anchor>, _>>()?;
    let clock = RunClock::new(&clock::corrected(tx, anchors).await?);
    let (Some(start), Some(end)) = (clock.wall(MediaTime(start)), clock.wall(MediaTime(end))) else {
        return Ok(false);
    };
    sqlx::query("update segment set start_wall_us = $2, end_wall_us = $3 where segment_id = $1")
        .bind(segment_id)
        .bind(start.0)
        .bind(end.0)
        .execute(&mut *tx)
        .await?;
    sqlx::query(concat!(
        "update segment set class = ",
        class_by_marks!(),
        " where segment_id = $1"
    ))
    .bind(segment_id)
    .execute(&mut *tx)
    .await?;
    uploads::weigh(tx, segment_id).await?;
    Ok(true)
}

#[cfg(test)]
pub(super) mod tests {
    use archive::ids::{RunId, SegmentKey};
    use archive::segment::{Digest, Fragment};
    use archive::time::{ClockState, WallTime};

    use super::*;
    use crate::index::{Change, RunOpening};

    /// A segment as a recorder would have sealed it, in a run of its own.
    pub struct Sealed {
        pub stream: &'static str,
        pub start_s: i64,
        pub length_s: i64,
    }

    impl Sealed {
        /// Stores it; gives its row.
        pub async fn put(&self, index: &Index) -> i64 {
            let stream: archive::ids::StreamId = self.stream.parse().unwrap();
            let run = RunId::from_uuid(uuid::Uuid::now_v7());
            let opening = RunOpening {
                run: run.clone(),
                stream: stream.clone(),
                tracks: Vec::new(),
                anchor: Anchor {
                    media: MediaTime(0),
                    wall: WallTime(self.start_s * 1_000_000),
                    clock_state: ClockState::Synchronized,
                    boot: None,
                },
            };
            index.commit(&[Change::RunStarted(opening)]).await.unwrap();
            let sequence = index.last_sequence(&stream).await.unwrap() + 1;
            let key = SegmentKey { stream, sequence };
            let segment_id = index.open_segment(&key, &run, 100).await.unwrap();
            let sha256 = Digest::of(key.to_string().as_bytes());
            let fragment = Fragment {
                offset_bytes: 100,
                size_bytes: 900,
                start: MediaTime(0),
                duration_us: self.length_s * 1_000_000,
                is_keyframe: true,
                sha256,
            };
            let changes = [
                Change::Fragment { segment_id, fragment },
                Change::Sealed {
                    segment_id,
                    sha256,
                    init_sha256: sha256,
                },
            ];
            index.commit(&changes).await.unwrap();
            segment_id
        }
    }

    pub async fn with_segments(segments: &[Sealed]) -> (tempfile::TempDir, Index) {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
        for segment in segments {
            segment.put(&index).await;
        }
        (dir, index)
    }

    async fn bounds(index: &Index, segment_id: i64) -> (Option<i64>, Option<i64>) {
        sqlx::query_as("select start_wall_us, end_wall_us from segment where segment_id = $1")
            .bind(segment_id)
            .fetch_one(&index.reader)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_sealed_segment_has_its_place_on_the_wall_clock() {
        let (_dir, index) = with_segments(&[]).await;
        let sealed = Sealed {
            stream: "q01.front.main",
            start_s: 1_000,
            length_s: 60,
        };
        let id = sealed.put(&index).await;
        let placed = (Some(1_000_000_000), Some(1_060_000_000));
        assert_eq!(bounds(&index, id).await, placed);

        sqlx::query("update segment set start_wall_us = null, end_wall_us = null")
            .execute(&index.writer)
            .await
            .unwrap();
        assert_eq!(index.place_segments().await.unwrap(), 1);
        assert_eq!(bounds(&index, id).await, placed);
        assert_eq!(index.place_segments().await.unwrap(), 0);
    }
}
