//! From drafts to interactions: what can be told only when all facts are in.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::machine::{Draft, Machine};
use super::order::{Fact, TicketName};
use super::{Interaction, InteractionSettings, LinkReason};
use crate::event::EventType;
use crate::ids::InteractionId;

/// Adds when tickets were issued and officers' names, and gives each interaction its id.
pub(super) fn finish<'a>(mut machine: Machine<'a>, facts: &'a [Fact<'a>]) -> Vec<Interaction> {
    add_issues(&mut machine, facts);
    let names = officer_names(facts);
    let ids = ids(&machine.drafts);
    let settle = |(draft, id): (Draft, &InteractionId)| {
        let mut interaction = draft.interaction;
        interaction.interaction_id = id.clone();
        interaction.predecessor = draft.predecessor.map(|before| ids[before].clone());
        if let Some(officer) = &mut interaction.officer {
            officer.name = names.get(officer.code.as_str()).map(|name| (*name).to_owned());
        }
        interaction
    };
    machine.drafts.into_iter().zip(&ids).map(settle).collect()
}

/// The newest `ticket.issued` before a visit tells when its number was taken, and what the kiosk was told.
fn add_issues<'a>(machine: &mut Machine<'a>, facts: &'a [Fact<'a>]) {
    let mut issues: BTreeMap<&TicketName, Vec<&'a Fact<'a>>> = BTreeMap::new();
    for fact in facts
        .iter()
        .filter(|f| f.event.event_type == EventType::TicketIssued)
    {
        if let Some(name) = &fact.ticket {
            issues.entry(name).or_default().push(fact);
        }
    }
    let settings: &InteractionSettings = machine.settings;
    for index in 0..machine.drafts.len() {
        let draft = &machine.drafts[index];
        let latest = draft.began + settings.clock_tolerance_us;
        let issued = draft.ticket.as_ref().and_then(|name| issues.get(name));
        let Some(fact) = issued.and_then(|all| all.iter().rev().find(|f| f.at <= latest).copied()) else {
            continue;
        };
        let interaction = &mut machine.drafts[index].interaction;
        interaction.issued = Some(fact.at);
        interaction.events.push(fact.event_ref());
        if interaction.procedure.is_none() {
            interaction.procedure.clone_from(&fact.event.data.procedure);
        }
        machine.link(index, fact, LinkReason::TicketNamed);
    }
}

/// Names by staff code, the newest counts.
fn officer_names<'a>(facts: &'a [Fact<'_>]) -> BTreeMap<&'a str, &'a str> {
    let named = |f: &'a Fact<'_>| {
        let data = &f.event.data;
        Some((data.officer.as_deref()?, data.officer_name.as_deref()?))
    };
    facts.iter().filter_map(named).collect()
}

/// Ids that a new derivation gives again: by ticket, counter and count of visits, else by the first event.
fn ids(drafts: &[Draft]) -> Vec<InteractionId> {
    let mut visits: BTreeMap<_, u32> = BTreeMap::new();
    drafts
        .iter()
        .map(|draft| {
            let interaction = &draft.interaction;
            let (site, counter) = (interaction.site.as_str(), interaction.counter.as_str());
            match &draft.ticket {
                Some(ticket) => {
                    let visit = visits.entry((ticket, counter)).or_insert(0);
                    *visit += 1;
                    let (date, visit) = (ticket.date.to_string(), visit.to_string());
                    hashed(&[
                        "ticket",
                        site,
                        &date,
                        &ticket.series,
                        &ticket.number,
                        counter,
                        &visit,
                    ])
                }
                None => {
                    let first = interaction.events.first().map(|e| &e.key);
                    let (source, id) = first.map_or(("", ""), |key| (key.source.as_str(), key.id.as_str()));
                    hashed(&["scan", site, counter, source, id])
                }
            }
        })
        .collect()
}

/// A UUID of version 8 (RFC 9562 §5.8) out of SHA-256 over the pieces, each with its length.
fn hashed(pieces: &[&str]) -> InteractionId {
    let mut hash = Sha256::new_with_prefix(b"minhquay-interaction-v1");
    for piece in pieces {
        hash.update((piece.len() as u64).to_be_bytes());
        hash.update(piece.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    InteractionId::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}
