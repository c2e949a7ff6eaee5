//! A recorder becomes known by a one-time code and its public key.

use archive::ids::{RecorderId, SiteId};
use archive::segment::Digest;
use archive::time::{DurationUs, WallTime};
use ed25519_dalek::VerifyingKey;
use rand::Rng as _;

use crate::access;
use crate::db::{Db, DbError, EnrolmentRefused, RecorderRow};

const CODE_LIFE_US: DurationUs = 24 * 3_600_000_000;
/// Crockford's: no letter that looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUPS: usize = 4;
const GROUP_CHARS: usize = 5;
const MAX_NAME_CHARS: usize = 200;

/// Why a recorder was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The code does not admit it.
    #[error("the enrolment code is not valid for this site, was used, or has expired")]
    Refused(EnrolmentRefused),
    /// The key is no Ed25519 public key.
    #[error("public_key must be an Ed25519 public key as 64 hexadecimal digits")]
    Key,
    /// The name is empty or too long.
    #[error("name must have 1 to {MAX_NAME_CHARS} characters")]
    Name,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A code as it is shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCode {
    /// The text to type at the recorder.
    pub code: String,
    /// When it expires.
    pub expires: WallTime,
}

/// A recorder that is known from now on.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Its name.
    pub recorder: RecorderId,
}

/// Makes a one-time code for a recorder of a site.
///
/// # Errors
/// [`DbError`], also if there is no such site.
pub async fn new_code(db: &Db, site: &SiteId, now: WallTime) -> Result<NewCode, DbError> {
    let groups: Vec<String> = (0..GROUPS)
        .map(|_| {
            (0..GROUP_CHARS)
                .map(|_| char::from(ALPHABET[rand::rng().random_range(0..ALPHABET.len())]))
                .collect()
        })
        .collect();
    let code = groups.join("-");
    let expires = now + CODE_LIFE_US;
    db.put_enrolment_code(&groups[0], &code_hash(&code), site, now, expires)
        .await?;
    Ok(NewCode { code, expires })
}

/// Uses up a code and adds the recorder.
///
/// # Errors
/// [`EnrolError`].
pub async fn enrol(
    db: &Db,
    code: &str,
    public_key: &str,
    site: SiteId,
    name: &str,
    now: WallTime,
) -> Result<Enrolled, EnrolError> {
    let mut key = [0; 32];
    hex::decode_to_slice(public_key, &mut key).map_err(|_| EnrolError::Key)?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| EnrolError::Key)?;
    if key.is_weak() {
        return Err(EnrolError::Key);
    }
    if !(1..=MAX_NAME_CHARS).contains(&name.chars().count()) {
        return Err(EnrolError::Name);
    }
    let code = normalise(code);
    let selector: String = code.chars().take(GROUP_CHARS).collect();
    let id = uuid::Uuid::new_v4().simple().to_string();
    let recorder: RecorderId = format!("rec-{}", &id[..12])
        .parse()
        .expect("letters and digits make a name");
    let row = RecorderRow {
        recorder_id: recorder.clone(),
        site_id: site,
        public_key: hex::encode(key.as_bytes()),
        software: None,
        last_seen: None,
        facts_through: 0,
        clock_offset_us: None,
        disk_free_bytes: None,
        disk_total_bytes: None,
        pending_facts: None,
        disk_left_s: None,
    };
    let given = code_hash(&code);
    db.enrol(&selector, |kept| access::is_same(kept, &given), &row, name, now)
        .await?
        .map_err(EnrolError::Refused)?;
    Ok(Enrolled { recorder })
}

fn code_hash(code: &str) -> String {
    Digest::of(code.as_bytes()).to_string()
}

/// Upper case with the dashes where they belong, however it was typed.
fn normalise(code: &str) -> String {
    let signs: Vec<char> = code
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .take(100)
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    signs
        .chunks(GROUP_CHARS)
        .map(|group| group.iter().collect::<String>())
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_code_however_it_was_typed() {
        assert_eq!(normalise(" abcde fghjk-mnpqrstvw0 "), "ABCDE-FGHJK-MNPQR-STVW0");
        assert_eq!(normalise("oil"), "011");
    }
}
