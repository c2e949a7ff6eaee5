//! Recorders: enrolment codes, keys, what they last said, uploads under way.

use archive::ids::{RecorderId, SegmentKey, SiteId, StreamId};
use archive::segment::SegmentManifest;
use archive::time::WallTime;

use super::{Db, DbError, DbResult, edge_segment, get, get_id, signed, unsigned};

/// A recorder as the catalogue knows it.
#[derive(Debug, Clone)]
pub struct RecorderRow {
    /// Its name.
    pub recorder_id: RecorderId,
    /// The site that it serves.
    pub site_id: SiteId,
    /// Ed25519, 64 hexadecimal digits.
    pub public_key: String,
    /// Version of its program.
    pub software: Option<String>,
    /// When it was last heard of.
    pub last_seen: Option<WallTime>,
    /// Number of the last fact stored.
    pub facts_through: u64,
    /// Its wall clock minus ours, in microseconds.
    pub clock_offset_us: Option<i64>,
    /// Free bytes on its disk.
    pub disk_free_bytes: Option<i64>,
    /// Size of its disk.
    pub disk_total_bytes: Option<i64>,
    /// Facts that it still holds.
    pub pending_facts: Option<i64>,
    /// Seconds until only footage that must stay would be left on its disk.
    pub disk_left_s: Option<i64>,
}

/// What a heartbeat tells of a recorder.
#[derive(Debug, Clone, Copy)]
pub struct RecorderSeen {
    /// Its wall clock minus ours, in microseconds.
    pub clock_offset_us: i64,
    /// Round trip of the exchange by which that was measured: half of it is the doubt; `None` if it was not.
    pub clock_round_trip_us: Option<i64>,
    /// Free bytes on its disk.
    pub disk_free_bytes: u64,
    /// Size of its disk.
    pub disk_total_bytes: u64,
    /// Facts that it still holds.
    pub pending_facts: u64,
    /// Seconds until only footage that must stay would be left on its disk; `None` if never.
    pub disk_left_s: Option<u64>,
}

/// Why an enrolment code does not admit a recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrolmentRefused {
    /// No such code, or a wrong one.
    Unknown,
    /// Used, expired, or tried wrongly too often.
    Spent,
    /// It is for another site.
    OtherSite,
}

/// Wrong tries after which a code is spent.
const MAX_CODE_FAILURES: i64 = 5;

/// A segment on its way up.
#[derive(Debug, Clone)]
pub struct Upload {
    /// As promised.
    pub manifest: SegmentManifest,
}

impl Db {
    /// Adds a one-time code.
    pub async fn put_enrolment_code(
        &self,
        selector: &str,
        code_hash: &str,
        site: &SiteId,
        now: WallTime,
        expires: WallTime,
    ) -> DbResult<()> {
        sqlx::query(
            "INSERT INTO enrolment_code (selector, code_hash, site_id, created_us, expires_us)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(selector)
        .bind(code_hash)
        .bind(site.as_str())
        .bind(now.0)
        .bind(expires.0)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Uses up a code and adds the recorder, both or neither; a wrong try is counted.
    pub async fn enrol(
        &self,
        selector: &str,
        is_code: impl FnOnce(&str) -> bool,
        recorder: &RecorderRow,
        name: &str,
        now: WallTime,
    ) -> DbResult<Result<(), EnrolmentRefused>> {
        let mut tx = self.write().await?;
        // The update locks the row, so that two tries at once are tried one after the other.
        let Some(row) = sqlx::query(
            "UPDATE enrolment_code SET failures = failures + 1 WHERE selector = $1
             RETURNING code_hash, site_id, expires_us, used_us, failures",
        )
        .bind(selector)
        .fetch_optional(&mut *tx)
        .await?
        else {
            return Ok(Err(EnrolmentRefused::Unknown));
        };
        let is_spent = get::<i64>(&row, "failures")? > MAX_CODE_FAILURES
            || get::<i64>(&row, "expires_us")? <= now.0
            || get::<Option<i64>>(&row, "used_us")?.is_some();
        let refused = if is_spent {
            Some(EnrolmentRefused::Spent)
        } else if !is_code(get(&row, "code_hash")?) {
            Some(EnrolmentRefused::Unknown)
        } else if get::<&str>(&row, "site_id")? != recorder.site_id.as_str() {
            Some(EnrolmentRefused::OtherSite)
        } else {
            None
        };
        if let Some(refused) = refused {
            tx.commit().await?;
            return Ok(Err(refused));
        }
        sqlx::query("UPDATE enrolment_code SET used_us = $2 WHERE selector = $1")
            .bind(selector)
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO recorder (recorder_id, site_id, name, public_key, enrolled_us)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(recorder.recorder_id.as_str())
        .bind(recorder.site_id.as_str())
        .bind(name)
        .bind(recorder.public_key.as_str())
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// One recorder.
    pub async fn recorder(&self, recorder: &RecorderId) -> DbResult<Option<RecorderRow>> {
        Ok(self.recorder_rows(Some(recorder)).await?.into_iter().next())
    }

    /// All recorders, by id.
    pub async fn recorders(&self) -> DbResult<Vec<RecorderRow>> {
        self.recorder_rows(None).await
    }

    async fn recorder_rows(&self, only: Option<&RecorderId>) -> DbResult<Vec<RecorderRow>> {
        sqlx::query(
            "SELECT recorder_id, site_id, public_key, software, last_seen_us, facts_through, clock_offset_us,
                 disk_free_bytes, disk_total_bytes, pending_facts, disk_left_s
             FROM recorder WHERE recorder_id = $1 OR $1 IS NULL ORDER BY recorder_id",
        )
        .bind(only.map(|r| r.as_str().to_owned()))
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            Ok(RecorderRow {
                recorder_id: get_id(row, "recorder_id")?,
                site_id: get_id(row, "site_id")?,
                public_key: get(row, "public_key")?,
                software: get(row, "software")?,
                last_seen: get::<Option<i64>>(row, "last_seen_us")?.map(WallTime),
                facts_through: unsigned(get(row, "facts_through")?),
                clock_offset_us: get(row, "clock_offset_us")?,
                disk_free_bytes: get(row, "disk_free_bytes")?,
                disk_total_bytes: get(row, "disk_total_bytes")?,
                pending_facts: get(row, "pending_facts")?,
                disk_left_s: get(row, "disk_left_s")?,
            })
        })
        .collect()
    }

    /// Notes that a recorder opened a session.
    pub async fn recorder_connected(
        &self,
        recorder: &RecorderId,
        software: &str,
        now: WallTime,
    ) -> DbResult<()> {
        sqlx::query("UPDATE recorder SET software = $2, last_seen_us = $3 WHERE recorder_id = $1")
            .bind(recorder.as_str())
            .bind(software)
            .bind(now.0)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Notes what a heartbeat said.
    pub async fn recorder_seen(
        &self,
        recorder: &RecorderId,
        seen: &RecorderSeen,
        now: WallTime,
    ) -> DbResult<()> {
        sqlx::query(
            "UPDATE recorder SET last_seen_us = $2, clock_offset_us = $3, disk_free_bytes = $4,
                 disk_total_bytes = $5, pending_facts = $6, disk_left_s = $7,
                 clock_round_trip_us = $8 WHERE recorder_id = $1",
        )
        .bind(recorder.as_str())
        .bind(now.0)
        .bind(seen.clock_offset_us)
        .bind(signed(seen.disk_free_bytes))
        .bind(signed(seen.disk_total_bytes))
        .bind(signed(seen.pending_facts))
        .bind(seen.disk_left_s.map(signed))
        .bind(seen.clock_round_trip_us.map(|us| us.max(0)))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Whether a recorder told of this run of this stream.
    pub async fn knows_run(&self, recorder: &RecorderId, manifest: &SegmentManifest) -> DbResult<bool> {
        let row =
            sqlx::query("SELECT run_id FROM run WHERE run_id = $1 AND recorder_id = $2 AND stream_id = $3")
                .bind(manifest.run.as_str())
                .bind(recorder.as_str())
                .bind(manifest.key.stream.as_str())
                .fetch_optional(&self.reader)
                .await?;
        Ok(row.is_some())
    }

    /// The upload of a segment, if one is under way.
    pub async fn upload(&self, recorder: &RecorderId, key: &SegmentKey) -> DbResult<Option<Upload>> {
        sqlx::query("SELECT manifest FROM upload WHERE recorder_id = $1 AND stream_id = $2 AND sequence = $3")
            .bind(recorder.as_str())
            .bind(key.stream.as_str())
            .bind(signed(key.sequence))
            .fetch_optional(&self.reader)
            .await?
            .map(|row| {
                let manifest = serde_json::from_str(get(&row, "manifest")?)
                    .map_err(|e| DbError::damaged("upload.manifest", e))?;
                Ok(Upload { manifest })
            })
            .transpose()
    }

    /// Begins an upload, or replaces what was promised before.
    pub async fn put_upload(
        &self,
        recorder: &RecorderId,
        manifest: &SegmentManifest,
        manifest_json: &str,
        now: WallTime,
    ) -> DbResult<()> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO upload (recorder_id, stream_id, sequence, manifest, sha256, size_bytes, started_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (recorder_id, stream_id, sequence) DO UPDATE SET manifest = excluded.manifest,
                 sha256 = excluded.sha256, size_bytes = excluded.size_bytes, started_us = excluded.started_us",
        )
        .bind(recorder.as_str())
        .bind(manifest.key.stream.as_str())
        .bind(signed(manifest.key.sequence))
        .bind(manifest_json)
        .bind(manifest.sha256.to_string())
        .bind(signed(manifest.size_bytes))
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        edge_segment::promised(&mut tx, recorder, manifest).await?;
        Ok(tx.commit().await?)
    }

    /// The uploads that were begun before a moment and have not ended.
    pub async fn uploads_begun_before(&self, before: WallTime) -> DbResult<Vec<(RecorderId, SegmentKey)>> {
        sqlx::query("SELECT recorder_id, stream_id, sequence FROM upload WHERE started_us < $1")
            .bind(before.0)
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(|row| {
                let key = SegmentKey {
                    stream: get_id(row, "stream_id")?,
                    sequence: unsigned(get(row, "sequence")?),
                };
                Ok((get_id(row, "recorder_id")?, key))
            })
            .collect()
    }

    /// Forgets an upload unless it was begun anew; says whether there was one.
    pub async fn delete_upload(
        &self,
        recorder: &RecorderId,
        key: &SegmentKey,
        before: WallTime,
    ) -> DbResult<bool> {
        let deleted = sqlx::query(
            "DELETE FROM upload WHERE recorder_id = $1 AND stream_id = $2 AND sequence = $3 AND started_us < $4",
        )
        .bind(recorder.as_str())
        .bind(key.stream.as_str())
        .bind(signed(key.sequence))
        .bind(before.0)
        .execute(&self.writer)
        .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// The recorder that a stream belongs to now.
    pub async fn stream_recorder(&self, stream: &StreamId) -> DbResult<Option<RecorderId>> {
        sqlx::query("SELECT recorder_id FROM stream WHERE stream_id = $1")
            .bind(stream.as_str())
            .fetch_optional(&self.reader)
            .await?
            .map(|row| get_id(&row, "recorder_id"))
            .transpose()
    }
}
