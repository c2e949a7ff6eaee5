//! A disk that fails, is full, may only be read or is another one: what can be recorded goes on, a gap says why nothing
//! is, and it comes back by itself. Nothing that was acknowledged is lost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use archive::time::{Clock, SystemClock};
use recorder::check::check_folders;

use crate::recording::{Edge, FRAGMENTS, STREAMS, folder, rows};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

struct Place {
    edge: Edge,
    program: Child,
    /// Last, so that it goes when the program is gone.
    _dir: tempfile::TempDir,
}

impl Drop for Place {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

async fn start() -> Place {
    let dir = folder();
    let edge = Edge::create(dir.path());
    let mut program = edge.spawn();
    edge.wait_until_recording(&mut program).await;
    let place = Place {
        edge,
        program,
        _dir: dir,
    };
    for stream in STREAMS {
        place.wait_for_growth(stream, &BTreeSet::new()).await;
    }
    place
}

impl Place {
    async fn fragments(&self) -> BTreeSet<String> {
        rows(&self.edge.database(), FRAGMENTS).await.into_iter().collect()
    }

    /// Causes of the gaps of a stream, oldest first.
    async fn causes(&self, stream: &str) -> Vec<String> {
        let sql =
            "select stream || ' ' || cause || ' ' || (end_wall_us is null) from gap order by start_wall_us";
        let gaps = rows(&self.edge.database(), sql).await;
        let of_stream = |gap: &String| Some(gap.strip_prefix(stream)?.trim().to_owned());
        gaps.iter().filter_map(of_stream).collect()
    }

    async fn wait(&self, what: &str, mut is_met: impl AsyncFnMut() -> bool) {
        let end_us = SystemClock.monotonic_us() + 90_000_000;
        while !is_met().await {
            assert!(SystemClock.monotonic_us() < end_us, "{what}\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn tail(&self) -> String {
        let log = self.edge.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Waits until a stream has a few fragments more than these.
    async fn wait_for_growth(&self, stream: &str, before: &BTreeSet<String>) {
        self.wait(&format!("{stream} does not grow"), async || {
            let now = self.fragments().await;
            now.difference(before).filter(|f| f.starts_with(stream)).count() >= 4
        })
        .await;
    }

    async fn wait_for_gap(&self, stream: &str, cause: &str) {
        self.wait(&format!("{stream} has no gap {cause}"), async || {
            self.causes(stream).await.contains(&format!("{cause} 1"))
        })
        .await;
    }

    /// The program ends in order, all agrees, and what was acknowledged is there.
    async fn finish(mut self, acknowledged: &BTreeSet<String>) {
        let data = self.edge.data_dir();
        self.edge.stop(&mut self.program);
        let report = check_folders(&data, &data.join("recordings")).await.unwrap();
        assert_eq!(report.faults, Vec::<String>::new(), "{}", self.tail());
        let left = self.fragments().await;
        let missing: Vec<_> = acknowledged.difference(&left).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// A fault that ends the recording of all streams, which come back when it is over; it lasts until the log says
    /// `lasting` four times.
    async fn stops_all_and_comes_back(self, fault: (i32, &str), cause: &str, lasting: &str) {
        self.edge.set_fault(Some(fault));
        self.wait("nothing fails", async || {
            let log = self.edge.log();
            let has_ended = |stream: &&str| log.contains(&format!("failed; the run ends stream={stream}"));
            STREAMS.iter().all(has_ended) && log.matches(lasting).count() >= 4
        })
        .await;
        self.edge.set_fault(None);
        let before = self.fragments().await;
        for stream in STREAMS {
            self.wait_for_growth(stream, &before).await;
            let causes = self.causes(stream).await;
            assert!(causes.contains(&format!("{cause} 0")), "{stream}: {causes:?}");
        }
        self.finish(&before).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_files_fail_does_not_hold_up_the_other() {
    let place = start().await;
    let before = place.fragments().await;
    place.edge.set_fault(Some((EIO, "q01.front.main/0/")));
    place.wait_for_gap(STREAMS[0], "disk_failed").await;
    let during = place.fragments().await;
    place.wait_for_growth(STREAMS[1], &during).await;
    place.edge.set_fault(None);
    let after = place.fragments().await;
    place.wait_for_growth(STREAMS[0], &after).await;
    assert_eq!(place.causes(STREAMS[0]).await, ["disk_failed 0"]);
    assert!(place.causes(STREAMS[1]).await.is_empty());
    let all: BTreeSet<String> = before.union(&after).cloned().collect();
    place.finish(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_chain_fails_does_not_hold_up_the_other_and_its_gap_is_known_at_once() {
    let place = start().await;
    place.edge.set_fault(Some((EIO, "q01.front.main/")));
    place.wait_for_gap(STREAMS[0], "disk_failed").await;
    let during = place.fragments().await;
    place.wait_for_growth(STREAMS[1], &during).await;
    place.edge.set_fault(None);
    place.wait_for_growth(STREAMS[0], &during).await;
    assert!(place.causes(STREAMS[1]).await.is_empty());
    place.finish(&during).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_a_gap_that_says_so() {
    start()
        .await
        .stops_all_and_comes_back((ENOSPC, ""), "disk_full", "failed; the run ends")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_may_only_be_read_leaves_a_gap_until_it_may_be_written() {
    start()
        .await
        .stops_all_and_comes_back((EROFS, ""), "disk_failed", "readonly database")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_fails_for_a_while_gets_all_rows_afterwards() {
    let place = start().await;
    let before = place.fragments().await;
    place.edge.set_fault(Some((EIO, "recorder.db")));
    place
        .wait("the index does not fail", async || {
            place.edge.log().matches("could not be committed").count() >= 3
        })
        .await;
    place.edge.set_fault(None);
    for stream in STREAMS {
        place.wait_for_growth(stream, &before).await;
    }
    place.finish(&before).await;
}

/// Puts another recorder's disk in the place of this one's, as a mount would; gives where this one's is now.
fn swap(recordings: &Path) -> PathBuf {
    let away = recordings.with_file_name("unmounted");
    std::fs::rename(recordings, &away).unwrap();
    std::fs::create_dir(recordings).unwrap();
    let foreign = format!("{{\"volume\":\"{}\"}}", uuid::Uuid::new_v4());
    std::fs::write(recordings.join("volume.json"), foreign).unwrap();
    away
}

fn swap_back(recordings: &Path, away: &Path) {
    let names: Vec<_> = std::fs::read_dir(recordings)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["volume.json"], "nothing is written to another's disk");
    std::fs::remove_dir_all(recordings).unwrap();
    std::fs::rename(away, recordings).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_swapped_for_another_is_not_written_to() {
    let mut place = start().await;
    let recordings = place.edge.data_dir().join("recordings");
    let away = swap(&recordings);
    for stream in STREAMS {
        place.wait_for_gap(stream, "disk_failed").await;
    }
    let told = rows(
        &place.edge.database(),
        "select detail from gap where end_wall_us is null",
    )
    .await;
    assert!(
        told.iter().all(|detail| detail.contains("was the disk swapped?")),
        "{told:?}"
    );
    let before = place.fragments().await;
    swap_back(&recordings, &away);
    for stream in STREAMS {
        place.wait_for_growth(stream, &before).await;
    }
    place.edge.stop(&mut place.program);

    let away = swap(&recordings);
    place.program = place.edge.spawn();
    let status = place.program.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(
        place.tail().contains("mount the disk that belongs to it"),
        "{}",
        place.tail()
    );
    swap_back(&recordings, &away);
    place.program = place.edge.spawn();
    let before = place.fragments().await;
    for stream in STREAMS {
        place.wait_for_growth(stream, &before).await;
    }
    place.finish(&before).await;
}
