//! Argon2id passwords, hashed off the async threads, few at a time: each takes 19 MiB.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

const AT_ONCE: usize = 2;

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too short to be of use.
    #[error("a password has at least {0} characters")]
    TooShort(usize),
    /// The hash function failed.
    #[error("hashing a password: {0}")]
    Hash(argon2::password_hash::Error),
    /// The thread that hashed is gone.
    #[error("hashing a password: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Fewest characters of a new password.
pub const MIN_CHARS: usize = 8;

/// Longest password that is looked at, in bytes.
const MAX_BYTES: usize = 1024;

/// Hashes and verifies passwords.
#[derive(Debug, Clone)]
pub struct Passwords {
    slots: Arc<Semaphore>,
    /// Verified when there is no such account, so that the time taken does not tell.
    decoy: Arc<str>,
}

impl Passwords {
    /// Ready to hash.
    ///
    /// # Errors
    /// [`PasswordError::Hash`].
    pub fn new() -> Result<Self, PasswordError> {
        Ok(Self {
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            decoy: hash(&super::new_secret())?.into(),
        })
    }

    /// The PHC text to keep of a new password.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        if password.chars().count() < MIN_CHARS {
            return Err(PasswordError::TooShort(MIN_CHARS));
        }
        let _slot = self.slots.acquire().await.expect("nobody closes the slots");
        tokio::task::spawn_blocking(move || hash(&password)).await?
    }

    /// Whether a password is the one that was kept; takes as long if nothing was kept.
    ///
    /// # Errors
    /// [`PasswordError::Thread`].
    pub async fn verify(&self, password: String, kept: Option<String>) -> Result<bool, PasswordError> {
        let _slot = self.slots.acquire().await.expect("nobody closes the slots");
        let (phc, is_known): (Arc<str>, bool) = match kept {
            Some(phc) => (phc.into(), true),
            None => (Arc::clone(&self.decoy), false),
        };
        let is_right = tokio::task::spawn_blocking(move || {
            password.len() <= MAX_BYTES
                && Argon2::default()
                    .verify_password(password.as_bytes(), &*phc)
                    .is_ok()
        })
        .await?;
        Ok(is_right && is_known)
    }
}

fn hash(password: &str) -> Result<String, PasswordError> {
    let phc = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(PasswordError::Hash)?;
    Ok(phc.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn verifies_only_the_password_that_was_hashed() {
        let passwords = Passwords::new().unwrap();
        let phc = passwords.hash("đường-dài-12".into()).await.unwrap();
        assert!(phc.starts_with("$argon2id$"));
        assert!(
            passwords
                .verify("đường-dài-12".into(), Some(phc.clone()))
                .await
                .unwrap()
        );
        assert!(!passwords.verify("duong-dai-12".into(), Some(phc)).await.unwrap());
        assert!(!passwords.verify("đường-dài-12".into(), None).await.unwrap());
    }
}
