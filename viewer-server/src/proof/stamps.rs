//! Having days' roots stamped by an authority outside, so that not even the centre can set them back.

use std::sync::Once;
use std::time::Duration;

use archive::seal::signed::Purpose;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::{StampError, TimeStamp, read_answer, request};
use crate::centre::Centre;
use crate::db::{DayRow, DbError};

/// Days stamped in one round.
const AT_ONCE: i64 = 31;
/// No token is longer, with all its certificates.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const WAIT: Duration = Duration::from_secs(30);

/// Why a day has no stamp yet.
#[derive(Debug, thiserror::Error)]
pub enum StampingError {
    /// The authority can't be reached, or breaks off.
    #[error("the time-stamp authority: {0}")]
    Http(#[from] reqwest::Error),
    /// It answers with another status.
    #[error("the time-stamp authority answers {0}")]
    Status(u16),
    /// It answers more than any token has.
    #[error("the time-stamp authority answers more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// What it answers is no stamp for the question.
    #[error(transparent)]
    Stamp(#[from] StampError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Centre {
    /// Has days without a stamp stamped, the oldest first, if an authority is set up; says how many.
    ///
    /// # Errors
    /// [`StampingError`]; the days after it are tried another time.
    pub async fn stamp_days(&self) -> Result<u64, StampingError> {
        let Some(url) = &self.settings.proof.timestamp_url else {
            return Ok(0);
        };
        let days = self.db.days_without_stamp(AT_ONCE).await?;
        if days.is_empty() {
            return Ok(0);
        }
        let client = client()?;
        let mut stamped = 0;
        for day in days {
            let stamp = stamp(&client, url, &day).await?;
            let token = STANDARD.encode(&stamp.token);
            self.db.put_stamp(day.date, &token, stamp.at).await?;
            tracing::info!(date = %day.date, at = %stamp.at, "day stamped by the time-stamp authority");
            stamped += 1;
        }
        Ok(stamped)
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    static PROVIDER: Once = Once::new();
    // It is an error only if one is installed already.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder().timeout(WAIT).build()
}

async fn stamp(client: &reqwest::Client, url: &str, day: &DayRow) -> Result<TimeStamp, StampingError> {
    let digest = day.signed.hash(Purpose::Day);
    let nonce: u64 = rand::random();
    let answer = client
        .post(url)
        .header(CONTENT_TYPE, "application/timestamp-query")
        .header(ACCEPT, "application/timestamp-reply")
        .body(request(digest, nonce)?)
        .send()
        .await?;
    if !answer.status().is_success() {
        return Err(StampingError::Status(answer.status().as_u16()));
    }
    let mut bytes = Vec::new();
    let mut body = answer.bytes_stream();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(StampingError::TooLong);
        }
    }
    Ok(read_answer(&bytes, digest, nonce)?)
}
