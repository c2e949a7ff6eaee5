//! One segment on its way up: its manifest first, then pieces from where the centre has come.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::time::Duration;

use archive::segment::{Digest, SegmentManifest};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{Link, Uplink, UplinkError};
use crate::index::{Change, PendingSegment};
use crate::record::segment_path;

/// A piece takes about two seconds; what takes so long is on a dead line.
const PIECE_WITHIN: Duration = Duration::from_secs(60);
/// The centre may name another offset so often in a row.
const MOST_CORRECTIONS: u32 = 3;

/// An upload under way.
#[derive(Debug)]
pub(super) struct Transfer {
    url: String,
    path: PathBuf,
    sha256: Digest,
    size_bytes: u64,
    /// Bytes that the centre has synced.
    offset: u64,
    corrections: u32,
}

/// How an upload began.
#[derive(Debug)]
pub(super) struct Begun {
    /// `None` if the centre has the whole segment.
    pub transfer: Option<Transfer>,
    /// What asking took of the line.
    pub asked_bytes: u64,
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The centre has it, and more is to come.
    Piece {
        /// Its length.
        bytes: u64,
    },
    /// The centre has all, and the digest is right.
    Last {
        /// The last piece's length.
        bytes: u64,
    },
    /// The centre goes on elsewhere.
    Nothing,
    /// The file is gone or spoilt, and will never go up.
    Lost,
}

#[derive(Deserialize)]
struct Answer {
    upload_offset: u64,
    complete: bool,
}

impl Transfer {
    /// Tells the centre of a segment and asks how far it has come.
    pub async fn begin(uplink: &Uplink, link: &Link, segment: &PendingSegment) -> Result<Begun, UplinkError> {
        let manifest: SegmentManifest = uplink.index.manifest(segment.segment_id).await?;
        let json = serde_json::to_vec(&manifest).map_err(|e| UplinkError::Protocol(e.to_string()))?;
        let asked_bytes = json.len() as u64;
        let answer = link
            .client
            .post(link.edge("segments"))
            .timeout(PIECE_WITHIN)
            .bearer_auth(&link.token)
            .header("Content-Type", "application/json")
            .body(json)
            .send()
            .await?;
        if !answer.status().is_success() {
            return Err(refusal(segment, answer).await);
        }
        let begun: Answer = answer.json().await?;
        uplink
            .index
            .set_state(segment.segment_id, &["sealed"], "uploading")
            .await?;
        let transfer = Self {
            url: link.edge(&format!(
                "segments/{}/{}",
                segment.key.stream, segment.key.sequence
            )),
            path: segment_path(&uplink.recordings, &segment.key),
            sha256: manifest.sha256,
            size_bytes: manifest.size_bytes,
            offset: begun.upload_offset,
            corrections: 0,
        };
        Ok(Begun {
            transfer: (!begun.complete).then_some(transfer),
            asked_bytes,
        })
    }

    /// Sends the next bytes, at most `most_bytes`.
    pub async fn send_piece(
        &mut self,
        uplink: &Uplink,
        link: &Link,
        segment: &PendingSegment,
        most_bytes: u64,
    ) -> Result<Sent, UplinkError> {
        let left = self.size_bytes.saturating_sub(self.offset);
        let piece = match self.read(left.min(most_bytes)).await {
            Ok(piece) => piece,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return lose(uplink, segment, "its file is gone").await;
            }
            Err(e) => return Err(self.file_error(e)),
        };
        let bytes = piece.len() as u64;
        if bytes == 0 && left > 0 {
            return lose(uplink, segment, "its file is shorter than it was").await;
        }
        let answer = link
            .client
            .patch(&self.url)
            .timeout(PIECE_WITHIN)
            .bearer_auth(&link.token)
            .header("Upload-Offset", self.offset)
            .header("Content-Type", "application/offset+octet-stream")
            .body(piece)
            .send()
            .await?;
        let there = header(&answer, "upload-offset").and_then(|text| text.parse::<u64>().ok());
        let is_complete = header(&answer, "upload-complete").as_deref() == Some("?1");
        match (answer.status(), there) {
            (status, _) if status.is_success() && is_complete => Ok(Sent::Last { bytes }),
            (status, Some(there)) if status.is_success() && there > self.offset => {
                self.offset = there;
                self.corrections = 0;
                Ok(Sent::Piece { bytes })
            }
            (StatusCode::CONFLICT, Some(there)) if self.corrections < MOST_CORRECTIONS => {
                self.corrections += 1;
                self.offset = there;
                Ok(Sent::Nothing)
            }
            (StatusCode::UNPROCESSABLE_ENTITY, _) => {
                let refusal = refusal(segment, answer).await;
                if self.is_sound().await.map_err(|e| self.file_error(e))? {
                    Err(refusal)
                } else {
                    lose(uplink, segment, "its file no longer has its digest").await
                }
            }
            _ => Err(refusal(segment, answer).await),
        }
    }

    async fn read(&self, bytes: u64) -> std::io::Result<Vec<u8>> {
        let mut file = tokio::fs::File::open(&self.path).await?;
        file.seek(SeekFrom::Start(self.offset)).await?;
        let mut piece = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        file.take(bytes).read_to_end(&mut piece).await?;
        Ok(piece)
    }

    async fn is_sound(&self) -> std::io::Result<bool> {
        let bytes = tokio::fs::read(&self.path).await?;
        let digest = tokio::task::spawn_blocking(move || Digest::of(&bytes)).await;
        Ok(digest.is_ok_and(|digest| digest == self.sha256))
    }

    fn file_error(&self, source: std::io::Error) -> UplinkError {
        UplinkError::File {
            path: self.path.clone(),
            source,
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

/// The disk lost what it had: the centre must know, and the others must go on.
async fn lose(uplink: &Uplink, segment: &PendingSegment, reason: &str) -> Result<Sent, UplinkError> {
    tracing::error!(segment = %segment.key, reason, "a recording was lost before the centre had it");
    metrics::counter!("recorder_segments_lost_total", "stream" => segment.key.stream.to_string())
        .increment(1);
    let lost = Change::Lost {
        segment_id: segment.segment_id,
        reason: reason.to_owned(),
    };
    uplink.ledger.commit(vec![lost]).await?;
    Ok(Sent::Lost)
}
