//! Whether what the centre keeps as proof still holds: chains, receipts, days' roots, and segments against their seals.
//! Changes nothing.

use archive::ids::{RecorderId, StreamId};
use archive::seal::day::receipt_leaf;
use archive::seal::leaf::segment_root;
use archive::seal::signed::Purpose;
use archive::seal::{ChainHead, ChainReader, DayRoot, PublicKey, Receipt, merkle};
use archive::segment::{Digest, SegmentManifest};

use super::BLOCK;
use crate::commands::{Checked, CommandError};
use crate::db::{Db, SegmentRow};
use crate::storage::{Storage, manifest_key};

const PAGE: i64 = 1000;
const MAX_MANIFEST_BYTES: u64 = 8 * 1024 * 1024;

/// Checks chains, receipts and days; `centre` is the key that receipts must be signed by, if it is known.
pub(crate) async fn check_proofs(
    db: &Db,
    centre: Option<&PublicKey>,
    checked: &mut Checked,
) -> Result<(), CommandError> {
    for recorder in db.recorders().await? {
        let Ok(key) = recorder.public_key.parse::<PublicKey>() else {
            checked.fault(format!(
                "recorder {}: its key can't be read",
                recorder.recorder_id
            ));
            continue;
        };
        for chain in db.chains(&recorder.recorder_id).await? {
            check_chain(
                db,
                &recorder.recorder_id,
                key,
                (&chain.stream, chain.head),
                centre,
                checked,
            )
            .await?;
        }
        let (conflicts, _) = db.chain_conflicts(&recorder.recorder_id).await?;
        if conflicts > 0 {
            checked.fault(format!(
                "recorder {}: {conflicts} pieces of evidence that it contradicts its chains",
                recorder.recorder_id
            ));
        }
    }
    check_days(db, centre, checked).await
}

async fn check_chain(
    db: &Db,
    recorder: &RecorderId,
    key: PublicKey,
    (stream, head): (&StreamId, ChainHead),
    centre: Option<&PublicKey>,
    checked: &mut Checked,
) -> Result<(), CommandError> {
    let mut reader = ChainReader::new(stream.clone(), key, ChainHead::default());
    while reader.head().number < head.number {
        let from = reader.head().number + 1;
        let entries = db.chain(recorder, stream, from, head.number, PAGE).await?;
        let mut hashes = Vec::with_capacity(entries.len());
        for entry in &entries {
            if let Err(fault) = reader.next(entry) {
                checked.fault(format!("{recorder} {stream}: {fault}"));
                return Ok(());
            }
            hashes.push(entry.hash(Purpose::Chain));
            checked.entries += 1;
        }
        if entries.is_empty() {
            checked.fault(format!("{recorder} {stream}: entry {from} is missing"));
            return Ok(());
        }
        let through = reader.head().number;
        for row in db.receipts_between(recorder, stream, from, through).await? {
            let opened = match centre {
                Some(centre) => row.receipt.open::<Receipt>(Purpose::Receipt, centre),
                None => row.receipt.read_unverified(),
            };
            let hash = usize::try_from(row.number - from)
                .ok()
                .and_then(|at| hashes.get(at));
            let is_good = opened.is_ok_and(|receipt| {
                receipt.number == row.number
                    && Some(&receipt.head) == hash
                    && receipt.recorder == *recorder
                    && receipt.stream == *stream
            });
            if !is_good {
                checked.fault(format!("receipt {}: it does not hold", row.receipt_id));
            }
            checked.receipts += 1;
        }
    }
    if reader.head() != head {
        checked.fault(format!(
            "{recorder} {stream}: the chain ends otherwise than is noted"
        ));
    }
    Ok(())
}

async fn check_days(db: &Db, centre: Option<&PublicKey>, checked: &mut Checked) -> Result<(), CommandError> {
    let mut before = None;
    // The newest first, so each names the one that comes next here.
    let mut named: Option<Option<Digest>> = None;
    loop {
        let days = db.days(before, PAGE).await?;
        let Some(last) = days.last() else { return Ok(()) };
        before = Some(last.date);
        for day in &days {
            checked.days += 1;
            let statement = match centre {
                Some(centre) => day.signed.open::<DayRoot>(Purpose::Day, centre),
                None => day.signed.read_unverified(),
            };
            let Ok(statement) = statement else {
                checked.fault(format!("day {}: its root is not signed by this centre", day.date));
                continue;
            };
            if named.is_some_and(|named| named != Some(day.signed.hash(Purpose::Day))) {
                checked.fault(format!("day {}: the day after it names another", day.date));
            }
            named = Some(statement.previous);
            let (root, count) = day_root(db, day.date).await?;
            if (statement.date, statement.root, statement.count) != (day.date, root, count) {
                checked.fault(format!(
                    "day {}: its receipts are not those of its root",
                    day.date
                ));
            }
        }
    }
}

async fn day_root(db: &Db, date: jiff::civil::Date) -> Result<(Digest, u64), CommandError> {
    let (mut blocks, mut count, mut after) = (Vec::new(), 0, String::new());
    loop {
        let receipts = db.receipts_of_day(date, &after, BLOCK as i64).await?;
        let Some((last, _)) = receipts.last() else {
            return Ok((merkle::root(&blocks), count));
        };
        after.clone_from(last);
        count += receipts.len() as u64;
        let leaves: Vec<_> = receipts.iter().map(|(_, r)| receipt_leaf(r)).collect();
        blocks.push(merkle::root(&leaves));
    }
}

/// Compares a segment's row and manifest with its seal; what was never sealed is counted.
pub(crate) async fn check_segment(
    db: &Db,
    storage: &Storage,
    row: &SegmentRow,
    checked: &mut Checked,
) -> Result<(), CommandError> {
    let Some((entry, sealed)) = db.sealed_segment(&row.recorder, &row.key).await? else {
        checked.unsealed += 1;
        return Ok(());
    };
    let place = format!("{} {}", row.recorder, row.key);
    let manifest = storage
        .read_whole(&manifest_key(&row.recorder, &row.key), MAX_MANIFEST_BYTES)
        .await?
        .and_then(|json| serde_json::from_slice::<SegmentManifest>(&json).ok());
    let Some(manifest) = manifest else {
        checked.fault(format!("{place}: its manifest is missing or can't be read"));
        return Ok(());
    };
    let root = Digest::try_from(row.init_sha256.clone())
        .map(|init| segment_root(row.init_size_bytes, init, &manifest.fragments));
    let is_as_sealed = sealed.sha256.to_string() == row.sha256
        && sealed.size_bytes == row.size_bytes
        && root == Ok(sealed.root);
    if !is_as_sealed {
        checked.fault(format!(
            "{place}: it is not what entry {entry} of its chain seals"
        ));
    }
    Ok(())
}
