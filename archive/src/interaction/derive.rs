//! From the events of a site to its interactions.

use jiff::tz::TimeZone;

use super::{
    ClosedBy, Interaction, InteractionSettings, InteractionState, SiteEvent, complete, machine, order,
};
use crate::ids::{CounterId, SiteId};
use crate::time::WallTime;

/// Derives the interactions of one site, ordered by their beginning, then by id.
///
/// `events` may come in any order and more than once. An interaction that nothing closed is
/// forgotten once a later event of the site shows that its time is up; [`forget_overdue`] does the
/// same by the clock.
pub fn derive(
    site: &SiteId,
    zone: &TimeZone,
    settings: &InteractionSettings,
    events: &[SiteEvent],
) -> Vec<Interaction> {
    let facts = order::facts(events, zone, settings);
    let mut interactions = machine::run(site, settings, &facts);
    for interaction in &mut interactions {
        complete::complete(interaction, settings);
    }
    interactions.sort_by(|a, b| (a.began(), &a.interaction_id).cmp(&(b.began(), &b.interaction_id)));
    interactions
}

/// Closes what counts as forgotten at `now`; returns whether anything was.
pub fn forget_overdue(
    interactions: &mut [Interaction],
    settings: &InteractionSettings,
    now: WallTime,
) -> bool {
    let mut any = false;
    for interaction in interactions {
        if let Some(until) = interaction.open_until.filter(|until| *until < now) {
            close(interaction, until, InteractionState::Abandoned, ClosedBy::Timeout);
            complete::complete(interaction, settings);
            any = true;
        }
    }
    any
}

/// The interaction in service at a counter: being served, else called, else the one last put on hold.
pub fn current<'a>(
    interactions: &'a [Interaction],
    counter: &CounterId,
    now: WallTime,
) -> Option<&'a Interaction> {
    let rank = |state| match state {
        InteractionState::Serving => 2,
        InteractionState::Called => 1,
        _ => 0,
    };
    interactions
        .iter()
        .filter(|i| i.counter == *counter && i.state.is_open() && i.began() <= now)
        .filter(|i| i.open_until.is_none_or(|until| now <= until))
        .max_by_key(|i| (rank(i.state), i.began()))
}

/// Ends an open interaction.
pub(super) fn close(
    interaction: &mut Interaction,
    at: WallTime,
    state: InteractionState,
    closed_by: ClosedBy,
) {
    if let Some(span) = interaction.served.last_mut()
        && span.end.is_none()
    {
        span.end = Some(at);
    }
    interaction.state = state;
    interaction.closed_by = Some(closed_by);
    interaction.finished = Some(at);
    interaction.open_until = None;
}
