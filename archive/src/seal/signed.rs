//! A text with the signature of whoever says it.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::segment::Digest;

/// What a signature is for. It goes before the text, so that a signature for one thing is never one for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An entry of a stream's chain, by its recorder.
    Chain,
    /// A receipt for the head of a chain, by the centre.
    Receipt,
    /// The root over a day's receipts, by the centre.
    Day,
    /// A counter's proof of health of a day, by its recorder.
    Health,
    /// What an exported file holds, by the centre.
    Export,
}

impl Purpose {
    /// The bytes before the text; ends with a line feed.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Chain => "minhquay-chain-v1\n",
            Self::Receipt => "minhquay-receipt-v1\n",
            Self::Day => "minhquay-day-v1\n",
            Self::Health => "minhquay-health-v1\n",
            Self::Export => "minhquay-export-v1\n",
        }
    }
}

/// Why something signed is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The signature is not by this key over this text.
    #[error("the signature does not fit the text and the key")]
    Signature,
    /// The text can't be read.
    #[error("the signed text can't be read: {0}")]
    Text(String),
    /// A key is not an Ed25519 public key in 64 hexadecimal digits.
    #[error("an Ed25519 public key is 64 hexadecimal digits")]
    Key,
}

/// An Ed25519 public key (RFC 8032), written as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// What is printed on paper to know a key by: its SHA-256, in groups of four digits.
    pub fn fingerprint(&self) -> String {
        let digits = Digest::of(self.0.as_bytes()).to_string();
        let groups: Vec<_> = digits.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        groups.join(" ")
    }
}

impl From<VerifyingKey> for PublicKey {
    fn from(key: VerifyingKey) -> Self {
        Self(key)
    }
}

impl From<&SigningKey> for PublicKey {
    fn from(key: &SigningKey) -> Self {
        Self(key.verifying_key())
    }
}

impl TryFrom<String> for PublicKey {
    type Error = SealError;
    fn try_from(text: String) -> Result<Self, SealError> {
        text.parse()
    }
}

impl std::str::FromStr for PublicKey {
    type Err = SealError;
    fn from_str(text: &str) -> Result<Self, SealError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| SealError::Key)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| SealError::Key)?;
        // One key has one way to be written.
        if key.is_weak() || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(SealError::Key);
        }
        Ok(Self(key))
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

/// A text and an Ed25519 signature over its purpose's prefix and the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signed {
    /// JSON on one line, exactly as it was signed.
    pub text: String,
    /// 128 hexadecimal digits.
    pub signature: String,
}

impl Signed {
    /// Writes and signs a statement.
    pub fn new<T: Serialize>(purpose: Purpose, key: &SigningKey, statement: &T) -> Self {
        let text =
            serde_json::to_string(statement).expect("statements have text keys and finite numbers only");
        let signature = hex::encode(key.sign(&signed_bytes(purpose, &text)).to_bytes());
        Self { text, signature }
    }

    /// Reads the statement if the key signed it.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open<T: DeserializeOwned>(&self, purpose: Purpose, key: &PublicKey) -> Result<T, SealError> {
        self.verify(purpose, key)?;
        self.read_unverified()
    }

    /// Whether the key signed the text.
    ///
    /// # Errors
    /// [`SealError::Signature`].
    pub fn verify(&self, purpose: Purpose, key: &PublicKey) -> Result<(), SealError> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(&self.signature, &mut bytes).map_err(|_| SealError::Signature)?;
        // Upper-case digits would be another text for the same signature.
        if self.signature.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(SealError::Signature);
        }
        key.0
            .verify_strict(&signed_bytes(purpose, &self.text), &Signature::from_bytes(&bytes))
            .map_err(|_| SealError::Signature)
    }

    /// Reads the statement without looking at the signature.
    ///
    /// # Errors
    /// [`SealError::Text`].
    pub fn read_unverified<T: DeserializeOwned>(&self) -> Result<T, SealError> {
        serde_json::from_str(&self.text).map_err(|e| SealError::Text(e.to_string()))
    }

    /// SHA-256 of prefix and text: the name by which later statements refer to this one.
    pub fn hash(&self, purpose: Purpose) -> Digest {
        Digest::of(&signed_bytes(purpose, &self.text))
    }
}

fn signed_bytes(purpose: Purpose, text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(purpose.prefix().len() + text.len());
    bytes.extend_from_slice(purpose.prefix().as_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    #[test]
    fn opens_what_the_key_signed_for_the_purpose_and_nothing_else() {
        let signed = Signed::new(Purpose::Chain, &key(), &"said");
        let public = PublicKey::from(&key());
        assert_eq!(
            signed.open::<String>(Purpose::Chain, &public).as_deref(),
            Ok("said")
        );
        let other = PublicKey::from(&SigningKey::from_bytes(&[8; 32]));
        assert_eq!(signed.verify(Purpose::Chain, &other), Err(SealError::Signature));
        assert_eq!(
            signed.verify(Purpose::Receipt, &public),
            Err(SealError::Signature)
        );
        let changed = Signed {
            text: "\"sald\"".to_owned(),
            ..signed
        };
        assert_eq!(changed.verify(Purpose::Chain, &public), Err(SealError::Signature));
    }

    #[test]
    fn a_weak_key_is_refused() {
        assert_eq!("0".repeat(64).parse::<PublicKey>(), Err(SealError::Key));
    }
}
