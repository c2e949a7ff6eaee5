//! Who this recorder is: an Ed25519 key of its own, made known to the centre once by a code.

use std::io;
use std::path::{Path, PathBuf};

use archive::ids::{RecorderId, SiteId};
use archive::seal::PublicKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

/// Why a recorder is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A file can't be read or written.
    #[error("{}: {source}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{}: {reason}", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The centre can't be reached.
    #[error("the centre can't be reached: {0}")]
    Http(#[from] reqwest::Error),
    /// The centre says no.
    #[error("the centre refuses: {status}: {reason}")]
    Refused {
        /// The status.
        status: u16,
        /// What it says.
        reason: String,
    },
}

/// The key and the name of an enrolled recorder.
pub struct Identity {
    /// The name given by the centre.
    pub recorder: RecorderId,
    /// The centre's key, by which its receipts are known.
    pub server_key: PublicKey,
    key: SigningKey,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("recorder", &self.recorder)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Enrolment {
    recorder_id: RecorderId,
    /// The centre's public key, 64 hexadecimal digits.
    server_key: String,
}

fn key_file(data_dir: &Path) -> PathBuf {
    data_dir.join("recorder.key")
}

fn enrolment_file(data_dir: &Path) -> PathBuf {
    data_dir.join("enrolment.json")
}

impl Identity {
    /// The identity in a data folder, `None` if the recorder was not enrolled.
    ///
    /// # Errors
    /// [`EnrolError::File`] and [`EnrolError::Damaged`].
    pub fn load(data_dir: &Path) -> Result<Option<Self>, EnrolError> {
        let file = enrolment_file(data_dir);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(EnrolError::File { file, source }),
        };
        let damaged = |reason: String| EnrolError::Damaged {
            file: file.clone(),
            reason,
        };
        let enrolment: Enrolment = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        let server_key = enrolment
            .server_key
            .parse()
            .map_err(|e| damaged(format!("server_key: {e}")))?;
        Ok(Some(Self {
            recorder: enrolment.recorder_id,
            server_key,
            key: read_key(data_dir)?,
        }))
    }

    /// Signs, as 128 hexadecimal digits.
    pub fn sign(&self, bytes: &[u8]) -> String {
        hex::encode(self.key.sign(bytes).to_bytes())
    }
}

fn read_key(data_dir: &Path) -> Result<SigningKey, EnrolError> {
    let file = key_file(data_dir);
    let text = std::fs::read_to_string(&file).map_err(|source| EnrolError::File {
        file: file.clone(),
        source,
    })?;
    SigningKey::from_pkcs8_pem(&text).map_err(|e| EnrolError::Damaged {
        file,
        reason: format!("not an Ed25519 key: {e}"),
    })
}

/// The recorder's key, made at its first start: it signs the chains, and proves the recorder once it is enrolled.
///
/// # Errors
/// [`EnrolError::File`] and [`EnrolError::Damaged`].
pub fn ensure_key(data_dir: &Path) -> Result<SigningKey, EnrolError> {
    let file = key_file(data_dir);
    if file.exists() {
        return read_key(data_dir);
    }
    let key = SigningKey::from_bytes(&rand::random());
    let pem = key
        .to_pkcs8_pem(Default::default())
        .map_err(|e| EnrolError::Damaged {
            file: file.clone(),
            reason: e.to_string(),
        })?;
    std::fs::create_dir_all(data_dir)
        .and_then(|()| crate::files::write_synced_with_mode(&file, pem.as_bytes(), 0o600))
        .map_err(|source| EnrolError::File { file, source })?;
    Ok(key)
}

/// The recorder's public key.
///
/// # Errors
/// If it has none yet, or it can't be read.
pub fn public_key(data_dir: &Path) -> Result<PublicKey, EnrolError> {
    Ok(PublicKey::from(&read_key(data_dir)?))
}

#[derive(Serialize)]
struct Request<'a> {
    code: &'a str,
    public_key: String,
    site: &'a SiteId,
    name: String,
}

/// Makes the recorder known to the centre by a one-time code and keeps the name that it gets.
///
/// # Errors
/// [`EnrolError`].
pub async fn enrol(
    server: &str,
    code: &str,
    site: &SiteId,
    data_dir: &Path,
) -> Result<RecorderId, EnrolError> {
    let key = ensure_key(data_dir)?;
    let request = Request {
        code,
        public_key: hex::encode(key.verifying_key().to_bytes()),
        site,
        name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    };
    let client = reqwest::Client::builder()
        .timeout(std::time::Duration::from_secs(30))
        .build()?;
    let url = format!("{}/api/v1/edge/enrol", server.trim_end_matches('/'));
    let answer = client.post(url).json(&request).send().await?;
    let status = answer.status();
    if !status.is_success() {
        let text = answer.text().await.unwrap_or_default();
        return Err(EnrolError::Refused {
            status: status.as_u16(),
            reason: text.chars().take(500).collect(),
        });
    }
    let enrolment: Enrolment = answer.json().await?;
    let file = enrolment_file(data_dir);
    let json = serde_json::to_vec(&enrolment).expect("names and hex digits are JSON");
    crate::files::write_synced(&file, &json).map_err(|source| EnrolError::File { file, source })?;
    Ok(enrolment.recorder_id)
}
