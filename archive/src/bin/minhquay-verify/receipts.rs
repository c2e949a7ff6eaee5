//! The centre's receipts for a chain.

use archive::seal::signed::Purpose;
use archive::seal::{PublicKey, Receipt, Signed};

use crate::chain_log::ReadChain;
use crate::report::Report;

/// Checks receipts of one chain in the order in which they were given.
pub fn check(
    chain: &ReadChain,
    receipts: impl Iterator<Item = Result<Signed, String>>,
    centre: Option<&PublicKey>,
    report: &mut Report,
) {
    let mut newest: Option<Receipt> = None;
    let mut count = 0;
    for (receipt, number) in receipts.zip(1..) {
        count = number;
        let place = format!("{}, receipt {number}", chain.stream);
        let read = receipt.and_then(|signed| {
            let opened = match centre {
                Some(key) => signed.open(Purpose::Receipt, key),
                None => signed.read_unverified(),
            };
            opened.map_err(|e| e.to_string())
        });
        match read.and_then(|receipt: Receipt| check_one(chain, newest.as_ref(), &receipt).map(|()| receipt))
        {
            Ok(receipt) => newest = Some(receipt),
            Err(reason) => report.finding(place, reason),
        }
    }
    match newest {
        Some(receipt) => report.fact(
            &format!("{}, seen by the centre", chain.stream),
            format!(
                "up to entry {} of {}, at {} by the centre's clock ({count} receipts)",
                receipt.number,
                chain.entries(),
                receipt.received
            ),
        ),
        None => report.note(format!("{}: no receipt of the centre is here", chain.stream)),
    }
    if centre.is_none() && count > 0 {
        report.note("the centre's key is not known, so its receipts' signatures were not checked");
    }
}

fn check_one(chain: &ReadChain, before: Option<&Receipt>, receipt: &Receipt) -> Result<(), String> {
    if receipt.stream != chain.stream {
        return Err(format!("it is for stream {}", receipt.stream));
    }
    if Some(receipt.recorder_key) != chain.key {
        return Err("it is for another recorder's key".to_owned());
    }
    let entry = usize::try_from(receipt.number)
        .ok()
        .and_then(|n| n.checked_sub(1));
    match entry.and_then(|entry| chain.hashes.get(entry)) {
        Some(hash) if *hash == receipt.head => {}
        Some(_) => return Err(format!("the centre saw another entry {}", receipt.number)),
        None => {
            return Err(format!(
                "the centre saw entry {}, but the chain ends at {}",
                receipt.number,
                chain.entries()
            ));
        }
    }
    match before {
        // Reconnecting repeats the newest one.
        Some(before) if receipt.number < before.number || receipt.received < before.received => {
            Err("it is older than the one before it".to_owned())
        }
        _ => Ok(()),
    }
}
