//! The centre's catalogue: chains, receipts and days hold, and all that is shown of footage is what they tell.

mod catalogue;
mod days;
mod footage;
mod times;

use std::collections::BTreeMap;
use std::path::Path;

use archive::ids::{RecorderId, StreamId};
use archive::seal::{ChainEntry, PublicKey, Signed};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::chain_log::ReadChain;
use crate::database::{Database, Failure};
use crate::keys::Keys;
use crate::receipts;
use crate::report::Report;

/// Chains by recorder and stream.
type Chains = BTreeMap<(RecorderId, StreamId), ReadChain>;

/// Checks a catalogue; the footage beside it as well, if it is a folder there.
pub fn verify(mut database: Database, path: &Path, keys: &Keys) -> Report {
    let mut report = Report::default();
    database.check_integrity(&mut report);
    let centre = keys.centre_key();
    match &centre {
        Some(key) => keys.check_centre(key, &mut report),
        None => report.note("without --centre-key KEY the signatures of receipts and days are not checked"),
    }
    let recorders = read_recorders(&mut database, keys, &mut report);
    let chains = read_chains(&mut database, &recorders, &mut report);
    let given = days::read_receipts(&mut database, &mut report);
    for ((recorder, stream), chain) in &chains {
        let of_chain = given
            .iter()
            .filter(|row| row.recorder == *recorder && row.stream == *stream)
            .map(|row| Ok(row.signed.clone()));
        receipts::check(chain, of_chain, centre.as_ref(), &mut report);
    }
    days::check_receipt_rows(&given, &chains, &mut report);
    days::check_days(&mut database, &given, centre.as_ref(), &mut report);
    catalogue::check(&mut database, &chains, &mut report);
    let folder = path.parent().unwrap_or(Path::new(".")).join("footage");
    if folder.is_dir() {
        footage::check(&mut database, &folder, &chains, &mut report);
    } else {
        report.note("the footage is not in a folder beside the catalogue, so its bytes were not checked");
    }
    report
}

fn read_recorders(
    database: &mut Database,
    keys: &Keys,
    report: &mut Report,
) -> BTreeMap<RecorderId, PublicKey> {
    let rows = database.rows(
        "recorder",
        "select recorder_id, public_key from recorder",
        report,
        |row| {
            let key: PublicKey = row.try_get::<String, _>("public_key")?.parse()?;
            Ok((id::<RecorderId>(row, "recorder_id")?, key))
        },
    );
    for (recorder, key) in &rows {
        report.fact("recorder", recorder);
        keys.check_recorder(key, report);
    }
    rows.into_iter().collect()
}

fn id<T: std::str::FromStr>(row: &SqliteRow, column: &str) -> Result<T, Failure>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(row.try_get::<String, _>(column)?.parse()?)
}

fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, Failure> {
    Ok(row.try_get::<i64, _>(column)?.try_into()?)
}

fn signed(row: &SqliteRow) -> Result<Signed, Failure> {
    Ok(Signed {
        text: row.try_get("text")?,
        signature: row.try_get("signature")?,
    })
}

struct EntryRow {
    recorder: RecorderId,
    stream: StreamId,
    number: u64,
    hash: String,
    previous: String,
    kind: String,
    sequence: Option<i64>,
    signed: Signed,
}

fn read_chains(
    database: &mut Database,
    recorders: &BTreeMap<RecorderId, PublicKey>,
    report: &mut Report,
) -> Chains {
    let rows = database.rows(
        "chain_entry",
        "select * from chain_entry order by recorder_id, stream_id, number",
        report,
        |row| {
            Ok(EntryRow {
                recorder: id(row, "recorder_id")?,
                stream: id(row, "stream_id")?,
                number: unsigned(row, "number")?,
                hash: row.try_get("hash")?,
                previous: row.try_get("previous")?,
                kind: row.try_get("kind")?,
                sequence: row.try_get("sequence")?,
                signed: signed(row)?,
            })
        },
    );
    let mut entries: BTreeMap<(RecorderId, StreamId), Vec<EntryRow>> = BTreeMap::new();
    for row in rows {
        let key = (row.recorder.clone(), row.stream.clone());
        entries.entry(key).or_default().push(row);
    }
    let mut chains = Chains::new();
    for ((recorder, stream), rows) in entries {
        let signed = rows.iter().map(|row| Ok(row.signed.clone()));
        let chain = ReadChain::new(stream.clone(), signed, report);
        if chain.key.is_some() && chain.key.as_ref() != recorders.get(&recorder) {
            report.finding(
                &stream,
                "its chain is signed by another key than its recorder enrolled",
            );
        }
        for (row, index) in rows.iter().zip(0..) {
            if let Err(reason) = check_columns(row, &chain, index) {
                report.finding(format!("chain_entry {stream} {}", row.number), reason);
            }
        }
        report.fact(
            stream.as_str(),
            format!("{} entries of recorder {recorder}", chain.entries()),
        );
        chains.insert((recorder, stream), chain);
    }
    chains
}

/// What stands beside the signed text must be what the text says.
fn check_columns(row: &EntryRow, chain: &ReadChain, index: usize) -> Result<(), String> {
    let entry: ChainEntry = row.signed.read_unverified().map_err(|e| e.to_string())?;
    let body = serde_json::to_value(&entry.body).map_err(|e| e.to_string())?;
    let is_same = row.number == entry.number
        && row.previous == entry.previous.to_string()
        && chain
            .hashes
            .get(index)
            .is_none_or(|hash| row.hash == hash.to_string())
        && body.get("kind").and_then(|kind| kind.as_str()) == Some(&row.kind)
        && body.get("sequence").and_then(serde_json::Value::as_i64) == row.sequence;
    if is_same {
        Ok(())
    } else {
        Err("its columns are not what its text says".to_owned())
    }
}
