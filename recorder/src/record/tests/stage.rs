//! A place to record in, and fragments that the real muxer made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archive::ids::StreamId;
use archive::seal::{ChainBody, ChainEntry, PublicKey};
use archive::time::SystemClock;
use site_config::recorder::Source;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::super::*;
use crate::capture::{CaptureContext, CaptureEvent, Captured};
use crate::index::KnownChain;

pub(super) fn stream() -> StreamId {
    "q01.front.main".parse().unwrap()
}

/// One run of the test source with at least three GOPs, ended in order.
pub(super) async fn captured() -> Vec<Captured> {
    crate::capture::init().unwrap();
    let (output, mut input) = mpsc::channel(256);
    let (_requests, requested) = watch::channel(None);
    let shutdown = CancellationToken::new();
    let context = CaptureContext {
        stream: stream(),
        source: Source::Test,
        clock: Arc::new(SystemClock),
        output,
        requests: requested,
        tap: Arc::default(),
        examiner: crate::capture::Examiner::idle(stream()),
        health: Arc::default(),
        shutdown: shutdown.clone(),
    };
    let capture = tokio::spawn(crate::capture::supervise(context));
    let mut events = Vec::new();
    let all = async {
        while let Some(event) = input.recv().await {
            events.push(event);
            if fragments(&events) > 10 {
                shutdown.cancel();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    capture.await.unwrap();
    events
}

pub(super) fn fragments(events: &[Captured]) -> usize {
    let is_fragment = |c: &&Captured| matches!(c.event, CaptureEvent::Fragment { .. });
    events.iter().filter(is_fragment).count()
}

pub(super) fn key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[7; 32])
}

pub(super) struct Place {
    pub dir: tempfile::TempDir,
    pub index: Index,
    pub requests: watch::Receiver<Option<EndRequest>>,
    pub writer: Writer,
}

pub(super) async fn place(segment_us: i64) -> Place {
    let dir = tempfile::tempdir().unwrap();
    open_place(dir, segment_us).await
}

pub(super) async fn open_chains(dir: &Path, index: &Index) -> Chains {
    let volume = index.bind_volume(dir).await.unwrap();
    Chains::open(index, volume, key(), Arc::new(SystemClock), &[stream()])
        .await
        .unwrap()
}

pub(super) async fn salvage_all(dir: &Path, index: &Index) {
    let mut chains = open_chains(dir, index).await;
    sweep(index, &chains).await.unwrap();
    salvage(index, &mut chains, &[stream()], SystemClock.wall())
        .await
        .unwrap();
}

pub(super) async fn open_place(dir: tempfile::TempDir, segment_us: i64) -> Place {
    let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
    let pem = ed25519_dalek::pkcs8::EncodePrivateKey::to_pkcs8_pem(&key(), Default::default()).unwrap();
    std::fs::write(dir.path().join("recorder.key"), pem.as_bytes()).unwrap();
    let chains = open_chains(dir.path(), &index).await;
    let (requests, requested) = watch::channel(None);
    let recorded = Recorded {
        stream: stream(),
        requests,
        health: Arc::default(),
        settings: BTreeMap::new(),
    };
    let settings = WriterSettings {
        segment_us,
        sync: Duration::from_millis(100),
    };
    let writer = Writer::new(
        settings,
        index.clone(),
        chains,
        Arc::new(SystemClock),
        vec![recorded],
    )
    .await
    .unwrap();
    Place {
        dir,
        index,
        requests: requested,
        writer,
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All entries of the stream's log, which must hold.
pub(super) fn entries(root: &Path) -> Vec<ChainEntry> {
    let path = chain_log::log_path(root, &stream());
    let key = PublicKey::from(&key());
    let reading = chain_log::read_log(&path, &stream(), key, KnownChain::default())
        .unwrap()
        .unwrap();
    assert_eq!(reading.fault, None);
    reading.entries.into_iter().map(|logged| logged.entry).collect()
}

pub(super) fn kinds(entries: &[ChainEntry]) -> Vec<&'static str> {
    let kind = |entry: &ChainEntry| match entry.body {
        ChainBody::Opened { .. } => "opened",
        ChainBody::Settings { .. } => "settings",
        ChainBody::RunStarted { .. } => "run_started",
        ChainBody::Segment(_) => "segment",
        ChainBody::Gap { .. } => "gap",
        ChainBody::Deleted { .. } => "deleted",
        ChainBody::Lost { .. } => "lost",
        ChainBody::Resumed { .. } => "resumed",
    };
    entries.iter().map(kind).collect()
}

pub(super) async fn record_once(place: &mut Place) {
    for event in captured().await {
        place.writer.take(event).await;
    }
    place.writer.flush().await;
}
