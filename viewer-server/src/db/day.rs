//! Days' roots over receipts.

use archive::seal::{DayRoot, Signed, signed::Purpose};
use archive::segment::Digest;
use archive::time::WallTime;
use jiff::civil::Date;
use sqlx::any::AnyRow;

use super::chain::{get_digest, signed_row};
use super::receipt::get_date;
use super::{Db, DbResult, get, signed, unsigned};

/// A day that was closed.
#[derive(Debug, Clone)]
pub struct DayRow {
    /// Which.
    pub date: Date,
    /// How many receipts it has.
    pub receipts: u64,
    /// The root over them.
    pub root: Digest,
    /// The statement.
    pub signed: Signed,
    /// When it was closed.
    pub closed: WallTime,
    /// RFC 3161 token, DER in Base64.
    pub timestamp: Option<String>,
    /// When, by the authority.
    pub stamped: Option<WallTime>,
}

/// A stretch of a day's receipts.
#[derive(Debug, Clone)]
pub struct DayBlock {
    /// The first receipt in it.
    pub first_receipt_id: String,
    /// The root over them.
    pub root: Digest,
}

const DAY_COLUMNS: &str =
    "business_date, receipts, root, text, signature, closed_us, timestamp_token, stamped_us";

impl Db {
    /// The first day that has no root: the one after the newest root, or that of the first receipt.
    pub async fn day_to_close(&self) -> DbResult<Option<Date>> {
        if let Some(newest) = self.newest_day().await? {
            return Ok(newest.date.tomorrow().ok());
        }
        let row = sqlx::query("SELECT min(business_date) AS first FROM receipt")
            .fetch_one(&self.reader)
            .await?;
        get::<Option<String>>(&row, "first")?
            .map(|first| get_date("receipt.business_date", &first))
            .transpose()
    }

    /// Receipts of a day behind one, by id.
    pub async fn receipts_of_day(
        &self,
        date: Date,
        after: &str,
        limit: i64,
    ) -> DbResult<Vec<(String, Signed)>> {
        let sql = "SELECT receipt_id, text, signature FROM receipt
             WHERE business_date = $1 AND receipt_id > $2 ORDER BY receipt_id LIMIT $3";
        self.day_receipts(sql, date, after, limit).await
    }

    /// Receipts of a day from one on, by id.
    pub async fn receipts_from(&self, date: Date, from: &str, limit: i64) -> DbResult<Vec<(String, Signed)>> {
        let sql = "SELECT receipt_id, text, signature FROM receipt
             WHERE business_date = $1 AND receipt_id >= $2 ORDER BY receipt_id LIMIT $3";
        self.day_receipts(sql, date, from, limit).await
    }

    async fn day_receipts(
        &self,
        sql: &'static str,
        date: Date,
        bound: &str,
        limit: i64,
    ) -> DbResult<Vec<(String, Signed)>> {
        sqlx::query(sql)
            .bind(date.to_string())
            .bind(bound)
            .bind(limit)
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(|row| Ok((get(row, "receipt_id")?, signed_row(row)?)))
            .collect()
    }

    /// Keeps a day's root; returns false if the day has one already.
    pub async fn put_day(
        &self,
        day: &DayRoot,
        verbatim: &Signed,
        blocks: &[DayBlock],
        now: WallTime,
    ) -> DbResult<bool> {
        let mut tx = self.write().await?;
        let put = sqlx::query(
            "INSERT INTO day_root (business_date, receipts, root, hash, text, signature, closed_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (business_date) DO NOTHING",
        )
        .bind(day.date.to_string())
        .bind(signed(day.count))
        .bind(day.root.to_string())
        .bind(verbatim.hash(Purpose::Day).to_string())
        .bind(verbatim.text.as_str())
        .bind(verbatim.signature.as_str())
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        if put.rows_affected() == 0 {
            return Ok(false);
        }
        for (number, block) in (0_i64..).zip(blocks) {
            sqlx::query(
                "INSERT INTO day_block (business_date, block, first_receipt_id, root) VALUES ($1, $2, $3, $4)",
            )
            .bind(day.date.to_string())
            .bind(number)
            .bind(block.first_receipt_id.as_str())
            .bind(block.root.to_string())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// The newest day that was closed.
    pub async fn newest_day(&self) -> DbResult<Option<DayRow>> {
        Ok(self.days(None, 1).await?.pop())
    }

    /// Days that were closed, the newest first, before one.
    pub async fn days(&self, before: Option<Date>, limit: i64) -> DbResult<Vec<DayRow>> {
        let before = before.map_or_else(|| "9999-99-99".to_owned(), |date| date.to_string());
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {DAY_COLUMNS} FROM day_root WHERE business_date < $1 ORDER BY business_date DESC LIMIT $2"
        )))
        .bind(before)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(day_row)
        .collect()
    }

    /// One day that was closed.
    pub async fn day(&self, date: Date) -> DbResult<Option<DayRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {DAY_COLUMNS} FROM day_root WHERE business_date = $1"
        )))
        .bind(date.to_string())
        .fetch_optional(&self.reader)
        .await?
        .map(|row| day_row(&row))
        .transpose()
    }

    /// The blocks of a day, in order.
    pub async fn day_blocks(&self, date: Date) -> DbResult<Vec<DayBlock>> {
        sqlx::query("SELECT first_receipt_id, root FROM day_block WHERE business_date = $1 ORDER BY block")
            .bind(date.to_string())
            .fetch_all(&self.reader)
            .await?
            .iter()
            .map(|row| {
                Ok(DayBlock {
                    first_receipt_id: get(row, "first_receipt_id")?,
                    root: get_digest(row, "root")?,
                })
            })
            .collect()
    }

    /// Days that no authority has stamped yet, the oldest first.
    pub async fn days_without_stamp(&self, limit: i64) -> DbResult<Vec<DayRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {DAY_COLUMNS} FROM day_root WHERE timestamp_token IS NULL ORDER BY business_date LIMIT $1"
        )))
        .bind(limit)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(day_row)
        .collect()
    }

    /// Keeps a day's time stamp, unless it has one.
    pub async fn put_stamp(&self, date: Date, token: &str, at: WallTime) -> DbResult<()> {
        sqlx::query(
            "UPDATE day_root SET timestamp_token = $2, stamped_us = $3
             WHERE business_date = $1 AND timestamp_token IS NULL",
        )
        .bind(date.to_string())
        .bind(token)
        .bind(at.0)
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}

fn day_row(row: &AnyRow) -> DbResult<DayRow> {
    Ok(DayRow {
        date: get_date("day_root.business_date", get(row, "business_date")?)?,
        receipts: unsigned(get(row, "receipts")?),
        root: get_digest(row, "root")?,
        signed: signed_row(row)?,
        closed: WallTime(get(row, "closed_us")?),
        timestamp: get(row, "timestamp_token")?,
        stamped: get::<Option<i64>>(row, "stamped_us")?.map(WallTime),
    })
}
