//! Receipts and the roots over each day's.

use std::collections::BTreeMap;

use archive::ids::{RecorderId, StreamId};
use archive::seal::signed::Purpose;
use archive::seal::{DayRoot, PublicKey, Receipt, Signed, day, merkle};
use archive::segment::Digest;
use sqlx::Row as _;

use super::{Chains, id, signed, unsigned};
use crate::database::Database;
use crate::report::Report;

/// A receipt as it is kept.
pub struct ReceiptRow {
    receipt_id: String,
    pub recorder: RecorderId,
    pub stream: StreamId,
    number: u64,
    head: String,
    received_us: i64,
    business_date: String,
    pub signed: Signed,
}

/// All receipts, oldest first.
pub fn read_receipts(database: &mut Database, report: &mut Report) -> Vec<ReceiptRow> {
    database.rows(
        "receipt",
        "select * from receipt order by receipt_id",
        report,
        |row| {
            Ok(ReceiptRow {
                receipt_id: row.try_get("receipt_id")?,
                recorder: id(row, "recorder_id")?,
                stream: id(row, "stream_id")?,
                number: unsigned(row, "number")?,
                head: row.try_get("head")?,
                received_us: row.try_get("received_us")?,
                business_date: row.try_get("business_date")?,
                signed: signed(row)?,
            })
        },
    )
}

/// What stands beside a receipt's text must be what it says.
pub fn check_receipt_rows(rows: &[ReceiptRow], chains: &Chains, report: &mut Report) {
    for row in rows {
        let place = format!("receipt {}", row.receipt_id);
        if !chains.contains_key(&(row.recorder.clone(), row.stream.clone())) {
            report.finding(&place, "there is no such chain");
        }
        let Ok(told) = row.signed.read_unverified::<Receipt>() else {
            continue;
        };
        let is_same = told.receipt_id.to_string() == row.receipt_id
            && told.recorder == row.recorder
            && told.stream == row.stream
            && told.number == row.number
            && told.head.to_string() == row.head
            && told.received.0 == row.received_us;
        if !is_same {
            report.finding(place, "its columns are not what its text says");
        }
    }
}

struct DayRow {
    business_date: String,
    receipts: u64,
    root: String,
    hash: String,
    signed: Signed,
}

/// Each closed day's root must be the one over its receipts, and name the day before it.
pub fn check_days(
    database: &mut Database,
    receipts: &[ReceiptRow],
    centre: Option<&PublicKey>,
    report: &mut Report,
) {
    let rows = database.rows(
        "day_root",
        "select * from day_root order by business_date",
        report,
        |row| {
            Ok(DayRow {
                business_date: row.try_get("business_date")?,
                receipts: unsigned(row, "receipts")?,
                root: row.try_get("root")?,
                hash: row.try_get("hash")?,
                signed: signed(row)?,
            })
        },
    );
    let mut by_day: BTreeMap<&str, Vec<Digest>> = BTreeMap::new();
    for row in receipts {
        let leaves = by_day.entry(&row.business_date).or_default();
        leaves.push(day::receipt_leaf(&row.signed));
    }
    let mut previous = None;
    for row in &rows {
        let leaves = by_day.remove(row.business_date.as_str()).unwrap_or_default();
        if let Err(reason) = check_day(row, &leaves, previous, centre) {
            report.finding(format!("day {}", row.business_date), reason);
        }
        previous = Some(row.signed.hash(Purpose::Day));
    }
    if let Some(last) = rows.last() {
        report.fact(
            "days closed",
            format!("{}, the last {}", rows.len(), last.business_date),
        );
        for date in by_day.keys().filter(|date| **date < last.business_date.as_str()) {
            report.finding(
                format!("day {date}"),
                "it has receipts but was never closed, though later days were",
            );
        }
    }
}

fn check_day(
    row: &DayRow,
    leaves: &[Digest],
    previous: Option<Digest>,
    centre: Option<&PublicKey>,
) -> Result<(), String> {
    let told: DayRoot = match centre {
        Some(key) => row.signed.open(Purpose::Day, key),
        None => row.signed.read_unverified(),
    }
    .map_err(|e| e.to_string())?;
    let is_same = told.date.to_string() == row.business_date
        && told.count == row.receipts
        && told.root.to_string() == row.root
        && row.signed.hash(Purpose::Day).to_string() == row.hash;
    if !is_same {
        return Err("its columns are not what its text says".to_owned());
    }
    if told.count != leaves.len() as u64 || told.root != merkle::root(leaves) {
        return Err("its root is not the one over its receipts".to_owned());
    }
    if told.previous != previous {
        return Err("it names another day as the one before".to_owned());
    }
    Ok(())
}
