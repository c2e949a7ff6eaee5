//! What follows from the other fields of an interaction: its doubts and its footage.

use super::{ClosedBy, Confidence, Doubt, FootageBounds, Interaction, InteractionSettings, InteractionState};
use crate::event::EventType;

/// Sets confidence, footage and the order of events and links.
///
/// Doubts that only the state machine can know are kept, the others found anew.
pub(super) fn complete(interaction: &mut Interaction, settings: &InteractionSettings) {
    interaction.events.sort();
    interaction
        .dossiers
        .sort_by(|a, b| (a.at, &a.code).cmp(&(b.at, &b.code)));
    interaction.confidence = confidence(interaction);
    interaction.footage = FootageBounds {
        start: interaction.began() - settings.footage_lead_us,
        end: interaction.finished.map(|end| end + settings.footage_tail_us),
    };
}

fn confidence(interaction: &Interaction) -> Confidence {
    let mut doubts: Vec<_> = (interaction.confidence.doubts.iter().copied())
        .filter(|d| is_seen_by_machine(*d))
        .collect();
    let has_event = |types: &[EventType]| interaction.events.iter().any(|e| types.contains(&e.event_type));
    let was_served = !interaction.served.is_empty() || interaction.state == InteractionState::Finished;
    if interaction.ticket.is_none() {
        doubts.push(Doubt::TicketMissing);
    } else {
        if !has_event(&[EventType::TicketCalled, EventType::TicketRecalled]) {
            doubts.push(Doubt::CallMissing);
        }
        if was_served && !has_event(&[EventType::TicketServingStarted]) {
            doubts.push(Doubt::StartMissing);
        }
    }
    if matches!(
        interaction.closed_by,
        Some(ClosedBy::NextCall | ClosedBy::CounterClosed | ClosedBy::Timeout)
    ) {
        doubts.push(Doubt::FinishMissing);
    }
    if was_served && !interaction.state.is_open() && interaction.dossiers.is_empty() {
        doubts.push(Doubt::ScanMissing);
    }
    doubts.sort_unstable();
    doubts.dedup();
    let lost: u8 = doubts.iter().map(|d| weight(*d)).sum();
    Confidence {
        percent: 100_u8.saturating_sub(lost),
        doubts,
    }
}

fn is_seen_by_machine(doubt: Doubt) -> bool {
    matches!(
        doubt,
        Doubt::TransferMissing | Doubt::ClockAhead | Doubt::FinishLate
    )
}

/// Percent that a doubt costs; all together stay below 256.
fn weight(doubt: Doubt) -> u8 {
    match doubt {
        Doubt::TicketMissing => 40,
        Doubt::StartMissing => 20,
        Doubt::FinishMissing => 20,
        Doubt::TransferMissing | Doubt::ClockAhead => 10,
        Doubt::CallMissing | Doubt::ScanMissing | Doubt::FinishLate => 5,
    }
}
