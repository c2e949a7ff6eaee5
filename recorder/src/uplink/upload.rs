//! Sealed segments travel to the centre, resumable and checked by digest.

use std::io::SeekFrom;
use std::sync::Arc;
use std::time::Duration;

use archive::segment::{Digest, SegmentManifest};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::watch;

use super::{Link, Uplink, UplinkError, surviving};
use crate::backoff::Backoff;
use crate::index::{Change, PendingSegment};
use crate::record::segment_path;

/// Bytes of one request: small enough that a thin line loses little when it breaks.
const PIECE_BYTES: usize = 2 * 1024 * 1024;
/// Segments looked at in one round, so that some that the centre refuses don't hold up the others.
const ROUND: u32 = 200;
/// Without any change the outbox is looked at so often.
const IDLE: Duration = Duration::from_secs(10);

/// Uploads while there is a session, until shutdown.
pub(super) async fn keep(uplink: Arc<Uplink>, mut links: watch::Receiver<Option<Link>>) {
    let mut changes = uplink.index.subscribe();
    let mut backoff = Backoff::default();
    loop {
        let link = links.borrow_and_update().clone();
        changes.mark_unchanged();
        let delay = match link {
            Some(link) => tokio::select! {
                outcome = surviving(round(&uplink, &link)) => match outcome {
                    Ok(()) => {
                        backoff.reset();
                        IDLE
                    }
                    Err(error) => {
                        let delay = backoff.after_failure(rand::random());
                        metrics::counter!("recorder_upload_failures_total").increment(1);
                        tracing::warn!(%error, retry_ms = delay.as_millis(), "an upload failed");
                        // New segments don't hasten what fails.
                        tokio::select! {
                            () = tokio::time::sleep(delay) => {}
                            () = uplink.shutdown.cancelled() => return,
                        }
                        continue;
                    }
                },
                Ok(()) = links.changed() => continue,
                () = uplink.shutdown.cancelled() => return,
            },
            None => IDLE,
        };
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            Ok(()) = changes.changed() => {}
            Ok(()) = links.changed() => {}
            () = uplink.shutdown.cancelled() => return,
        }
    }
}

/// Uploads everything that is pending; a segment that fails doesn't hold up the rest.
async fn round(uplink: &Uplink, link: &Link) -> Result<(), UplinkError> {
    let mut first_failure = None;
    for segment in uplink.index.pending_segments(ROUND).await? {
        match upload(uplink, link, &segment).await {
            Ok(()) => {}
            // Nobody is there, or the session is over: the others would fail as well.
            Err(
                error @ (UplinkError::Http(_)
                | UplinkError::Status {
                    status: 401 | 503, ..
                }),
            ) => return Err(error),
            Err(error) => {
                first_failure.get_or_insert(error);
            }
        }
    }
    first_failure.map_or(Ok(()), Err)
}

#[derive(Deserialize)]
struct Begun {
    upload_offset: u64,
    complete: bool,
}

async fn upload(uplink: &Uplink, link: &Link, segment: &PendingSegment) -> Result<(), UplinkError> {
    let manifest = uplink.index.manifest(segment.segment_id).await?;
    uplink
        .index
        .set_state(segment.segment_id, &["sealed"], "uploading")
        .await?;
    let answer = link
        .client
        .post(link.edge("segments"))
        .bearer_auth(&link.token)
        .json(&manifest)
        .send()
        .await?;
    if !answer.status().is_success() {
        return Err(refusal(segment, answer).await);
    }
    let begun: Begun = answer.json().await?;
    if !begun.complete {
        send_bytes(uplink, link, segment, &manifest, begun.upload_offset).await?;
    }
    uplink
        .index
        .set_state(segment.segment_id, &["sealed", "uploading"], "acknowledged")
        .await?;
    metrics::counter!("recorder_segments_uploaded_total", "stream" => segment.key.stream.to_string())
        .increment(1);
    Ok(())
}

async fn send_bytes(
    uplink: &Uplink,
    link: &Link,
    segment: &PendingSegment,
    manifest: &SegmentManifest,
    from: u64,
) -> Result<(), UplinkError> {
    let path = segment_path(&uplink.recordings, &segment.key);
    let failed = |source| UplinkError::File {
        path: path.clone(),
        source,
    };
    let mut file = match tokio::fs::File::open(&path).await {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return lose(uplink, segment, "its file is gone").await;
        }
        Err(e) => return Err(failed(e)),
    };
    let url = link.edge(&format!(
        "segments/{}/{}",
        segment.key.stream, segment.key.sequence
    ));
    let mut offset = from;
    let mut corrections = 0;
    loop {
        file.seek(SeekFrom::Start(offset)).await.map_err(failed)?;
        let left = manifest.size_bytes.saturating_sub(offset);
        let mut piece = Vec::with_capacity(PIECE_BYTES.min(left as usize));
        (&mut file)
            .take(left.min(PIECE_BYTES as u64))
            .read_to_end(&mut piece)
            .await
            .map_err(failed)?;
        let sent = piece.len() as u64;
        if sent == 0 && left > 0 {
            return lose(uplink, segment, "its file is shorter than it was").await;
        }
        let answer = link
            .client
            .patch(&url)
            .bearer_auth(&link.token)
            .header("Upload-Offset", offset)
            .header("Content-Type", "application/offset+octet-stream")
            .body(piece)
            .send()
            .await?;
        let there = header(&answer, "upload-offset").and_then(|text| text.parse::<u64>().ok());
        let is_complete = header(&answer, "upload-complete").as_deref() == Some("?1");
        match (answer.status(), there) {
            (status, _) if status.is_success() && is_complete => return Ok(()),
            (status, Some(there)) if status.is_success() && there > offset => offset = there,
            (StatusCode::CONFLICT, Some(there)) if corrections < 3 => {
                corrections += 1;
                offset = there;
            }
            (StatusCode::UNPROCESSABLE_ENTITY, _) => {
                let refusal = refusal(segment, answer).await;
                let is_sound = is_sound(&path, manifest.sha256).await.map_err(failed)?;
                return if is_sound {
                    Err(refusal)
                } else {
                    lose(uplink, segment, "its file no longer has its digest").await
                };
            }
            _ => return Err(refusal(segment, answer).await),
        }
    }
}

fn header(answer: &Response, name: &str) -> Option<String> {
    Some(answer.headers().get(name)?.to_str().ok()?.to_owned())
}

async fn refusal(segment: &PendingSegment, answer: Response) -> UplinkError {
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap_or_default();
    UplinkError::Status {
        segment: segment.key.clone(),
        status,
        body: body.chars().take(300).collect(),
    }
}

async fn is_sound(path: &std::path::Path, sha256: Digest) -> std::io::Result<bool> {
    let bytes = tokio::fs::read(path).await?;
    let digest = tokio::task::spawn_blocking(move || Digest::of(&bytes)).await;
    Ok(digest.is_ok_and(|digest| digest == sha256))
}

/// The disk lost what it had: the centre must know, and the others must go on.
async fn lose(uplink: &Uplink, segment: &PendingSegment, reason: &str) -> Result<(), UplinkError> {
    tracing::error!(segment = %segment.key, reason, "a recording was lost before the centre had it");
    metrics::counter!("recorder_segments_lost_total", "stream" => segment.key.stream.to_string())
        .increment(1);
    let changes = [
        Change::Deleted {
            segment_id: segment.segment_id,
            reason: reason.to_owned(),
        },
        Change::Lost {
            key: segment.key.clone(),
            reason: reason.to_owned(),
        },
    ];
    uplink.index.commit(&changes).await?;
    Ok(())
}
