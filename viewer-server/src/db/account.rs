//! People, their grants, sessions and tokens.

use archive::ids::UnitId;
use archive::time::WallTime;

use super::{Db, DbResult, get, get_id};
use crate::access::{Grant, Role};

/// A person's account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Lower case.
    pub username: String,
    /// For people.
    pub display_name: String,
    /// Argon2id in PHC form.
    pub password_hash: String,
}

/// A session that is still good.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Whose.
    pub username: String,
    /// For people.
    pub display_name: String,
    /// When it was last used.
    pub last_used: WallTime,
    /// What the person may do.
    pub grants: Vec<Grant>,
}

impl Db {
    /// Adds an account, or gives it a new password, and a role over a unit.
    pub async fn put_account(&self, account: &Account, grant: &Grant, now: WallTime) -> DbResult<()> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO user_account (username, display_name, password_hash, created_us) VALUES ($1, $2, $3, $4)
             ON CONFLICT (username) DO UPDATE SET display_name = excluded.display_name,
                 password_hash = excluded.password_hash, disabled_us = NULL",
        )
        .bind(account.username.as_str())
        .bind(account.display_name.as_str())
        .bind(account.password_hash.as_str())
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO role_grant (username, role, unit_id, granted_us) VALUES ($1, $2, $3, $4)
             ON CONFLICT (username, role, unit_id) DO NOTHING",
        )
        .bind(account.username.as_str())
        .bind(grant.role.as_str())
        .bind(grant.unit.as_str())
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        // A new password ends what was opened with the old one.
        sqlx::query("DELETE FROM session WHERE username = $1")
            .bind(account.username.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// An account that may sign in.
    pub async fn account(&self, username: &str) -> DbResult<Option<Account>> {
        sqlx::query(
            "SELECT username, display_name, password_hash FROM user_account
             WHERE username = $1 AND disabled_us IS NULL",
        )
        .bind(username)
        .fetch_optional(&self.reader)
        .await?
        .map(|row| {
            Ok(Account {
                username: get(&row, "username")?,
                display_name: get(&row, "display_name")?,
                password_hash: get(&row, "password_hash")?,
            })
        })
        .transpose()
    }

    /// Opens a session and forgets those that ran out.
    pub async fn open_session(
        &self,
        token_hash: &str,
        username: &str,
        now: WallTime,
        expires: WallTime,
    ) -> DbResult<()> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM session WHERE expires_us <= $1")
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO session (token_hash, username, created_us, last_used_us, expires_us)
             VALUES ($1, $2, $3, $3, $4)",
        )
        .bind(token_hash)
        .bind(username)
        .bind(now.0)
        .bind(expires.0)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The session of a token, unless it ran out or was idle since before `idle_since`.
    pub async fn session(
        &self,
        token_hash: &str,
        now: WallTime,
        idle_since: WallTime,
    ) -> DbResult<Option<SignedIn>> {
        let rows = sqlx::query(
            "SELECT s.username, a.display_name, s.last_used_us, g.role, g.unit_id
             FROM session s JOIN user_account a ON a.username = s.username
                 LEFT JOIN role_grant g ON g.username = s.username
             WHERE s.token_hash = $1 AND s.expires_us > $2 AND s.last_used_us > $3 AND a.disabled_us IS NULL
             ORDER BY g.role, g.unit_id",
        )
        .bind(token_hash)
        .bind(now.0)
        .bind(idle_since.0)
        .fetch_all(&self.reader)
        .await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let mut signed_in = SignedIn {
            username: get(first, "username")?,
            display_name: get(first, "display_name")?,
            last_used: WallTime(get(first, "last_used_us")?),
            grants: Vec::new(),
        };
        for row in &rows {
            if get::<Option<&str>>(row, "role")?.is_some() {
                signed_in.grants.push(Grant {
                    role: get_id::<Role>(row, "role")?,
                    unit: get_id::<UnitId>(row, "unit_id")?,
                });
            }
        }
        Ok(Some(signed_in))
    }

    /// Notes that a session is in use.
    pub async fn touch_session(&self, token_hash: &str, now: WallTime) -> DbResult<()> {
        sqlx::query("UPDATE session SET last_used_us = $2 WHERE token_hash = $1 AND last_used_us < $2")
            .bind(token_hash)
            .bind(now.0)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Ends a session.
    pub async fn close_session(&self, token_hash: &str) -> DbResult<()> {
        sqlx::query("DELETE FROM session WHERE token_hash = $1")
            .bind(token_hash)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Adds an integrator's token.
    pub async fn put_token(
        &self,
        token_hash: &str,
        token_id: &str,
        scope: &str,
        now: WallTime,
    ) -> DbResult<()> {
        sqlx::query("INSERT INTO token (token_hash, token_id, scope, created_us) VALUES ($1, $2, $3, $4)")
            .bind(token_hash)
            .bind(token_id)
            .bind(scope)
            .bind(now.0)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Digest and scope of the token with this digest, unless it was revoked.
    pub async fn token(&self, token_hash: &str) -> DbResult<Option<(String, String)>> {
        sqlx::query("SELECT token_hash, scope FROM token WHERE token_hash = $1 AND revoked_us IS NULL")
            .bind(token_hash)
            .fetch_optional(&self.reader)
            .await?
            .map(|row| Ok((get(&row, "token_hash")?, get(&row, "scope")?)))
            .transpose()
    }
}
