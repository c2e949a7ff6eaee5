//! Receipts for heads of chains.

use archive::ids::{RecorderId, StreamId};
use archive::seal::{ChainHead, Receipt, Signed};
use archive::time::WallTime;
use jiff::civil::Date;
use sqlx::any::AnyRow;

use super::chain::{get_digest, signed_row};
use super::{Db, DbError, DbResult, get, get_id, signed, unsigned};

/// A receipt as it is kept.
#[derive(Debug, Clone)]
pub struct ReceiptRow {
    /// Its UUIDv7.
    pub receipt_id: String,
    /// The chain's entry that it is for.
    pub number: u64,
    /// The day whose root holds it, or will.
    pub business_date: Date,
    /// As the centre signed it.
    pub receipt: Signed,
}

impl Db {
    /// Chains of a recorder that have grown since their newest receipt.
    pub async fn chains_without_receipt(
        &self,
        recorder: &RecorderId,
    ) -> DbResult<Vec<(StreamId, ChainHead)>> {
        sqlx::query(
            "SELECT stream_id, number, hash FROM chain_head WHERE recorder_id = $1 AND receipted < number
             ORDER BY stream_id",
        )
        .bind(recorder.as_str())
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            let head = ChainHead {
                number: unsigned(get(row, "number")?),
                hash: get_digest(row, "hash")?,
            };
            Ok((get_id(row, "stream_id")?, head))
        })
        .collect()
    }

    /// Keeps receipts; returns those that are new, since another session may have given some.
    ///
    /// A receipt counts to the day on which it was given, or to the first day that is not closed.
    pub async fn put_receipts(
        &self,
        receipts: Vec<(Receipt, Signed)>,
        date_of: impl Fn(WallTime) -> Date,
    ) -> DbResult<Vec<Signed>> {
        let mut tx = self.write().await?;
        let closed = sqlx::query("SELECT max(business_date) AS closed FROM day_root")
            .fetch_one(&mut *tx)
            .await?;
        let open_from = get::<Option<String>>(&closed, "closed")?
            .map(|closed| get_date("day_root.business_date", &closed))
            .transpose()?
            .and_then(|closed| closed.tomorrow().ok());
        let mut new = Vec::new();
        for (receipt, verbatim) in receipts {
            let date = date_of(receipt.received);
            let date = open_from.map_or(date, |open| date.max(open));
            let put = sqlx::query(
                "INSERT INTO receipt (receipt_id, recorder_id, stream_id, number, head, received_us, business_date,
                     text, signature)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                 ON CONFLICT (recorder_id, stream_id, number) DO NOTHING",
            )
            .bind(receipt.receipt_id.to_string())
            .bind(receipt.recorder.as_str())
            .bind(receipt.stream.as_str())
            .bind(signed(receipt.number))
            .bind(receipt.head.to_string())
            .bind(receipt.received.0)
            .bind(date.to_string())
            .bind(verbatim.text.as_str())
            .bind(verbatim.signature.as_str())
            .execute(&mut *tx)
            .await?;
            if put.rows_affected() == 0 {
                continue;
            }
            sqlx::query(
                "UPDATE chain_head SET receipted = $3
                 WHERE recorder_id = $1 AND stream_id = $2 AND receipted < $3",
            )
            .bind(receipt.recorder.as_str())
            .bind(receipt.stream.as_str())
            .bind(signed(receipt.number))
            .execute(&mut *tx)
            .await?;
            new.push(verbatim);
        }
        tx.commit().await?;
        Ok(new)
    }

    /// The newest receipt of each chain of a recorder.
    pub async fn newest_receipts(&self, recorder: &RecorderId) -> DbResult<Vec<Signed>> {
        sqlx::query(
            "SELECT r.text, r.signature FROM chain_head h JOIN receipt r
                 ON r.recorder_id = h.recorder_id AND r.stream_id = h.stream_id AND r.number = h.receipted
             WHERE h.recorder_id = $1 ORDER BY h.stream_id",
        )
        .bind(recorder.as_str())
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(signed_row)
        .collect()
    }

    /// The receipts of a chain for entries from one through another, by number.
    pub async fn receipts_between(
        &self,
        recorder: &RecorderId,
        stream: &StreamId,
        from: u64,
        through: u64,
    ) -> DbResult<Vec<ReceiptRow>> {
        sqlx::query(
            "SELECT receipt_id, number, business_date, text, signature FROM receipt
             WHERE recorder_id = $1 AND stream_id = $2 AND number BETWEEN $3 AND $4 ORDER BY number",
        )
        .bind(recorder.as_str())
        .bind(stream.as_str())
        .bind(signed(from))
        .bind(signed(through))
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(receipt_row)
        .collect()
    }

    /// The first receipt of a chain for an entry or one behind it.
    pub async fn receipt_from(
        &self,
        recorder: &RecorderId,
        stream: &StreamId,
        number: u64,
    ) -> DbResult<Option<ReceiptRow>> {
        sqlx::query(
            "SELECT receipt_id, number, business_date, text, signature FROM receipt
             WHERE recorder_id = $1 AND stream_id = $2 AND number >= $3 ORDER BY number LIMIT 1",
        )
        .bind(recorder.as_str())
        .bind(stream.as_str())
        .bind(signed(number))
        .fetch_optional(&self.reader)
        .await?
        .map(|row| receipt_row(&row))
        .transpose()
    }
}

fn receipt_row(row: &AnyRow) -> DbResult<ReceiptRow> {
    Ok(ReceiptRow {
        receipt_id: get(row, "receipt_id")?,
        number: unsigned(get(row, "number")?),
        business_date: get_date("receipt.business_date", get(row, "business_date")?)?,
        receipt: signed_row(row)?,
    })
}

pub(super) fn get_date(what: &'static str, text: &str) -> DbResult<Date> {
    text.parse().map_err(|e| DbError::damaged(what, e))
}
