//! What has no place of its own in a visit and is bound to one: scans, dossiers and ratings.

use super::machine::Machine;
use super::order::Fact;
use super::{DossierLink, InteractionState, LinkReason, Provenance, Rating, ServingSpan};
use crate::dossier::accept;
use crate::event::EventType;

impl<'a> Machine<'a> {
    /// Binds a scan to the visit that it most likely belongs to, or lets it be one.
    pub(super) fn scan(&mut self, fact: &'a Fact<'a>) {
        let (index, reason) = self
            .visit_of_named_ticket(fact)
            .or_else(|| self.visit_in_service(fact))
            .or_else(|| self.visit_just_ended(fact))
            .or_else(|| self.visit_on_hold(fact))
            .unwrap_or_else(|| self.visit_of_scan(fact));
        self.attach(index, fact);
        self.link(index, fact, reason);
        if self.drafts[index].interaction.state.is_open() {
            self.prolong(index, fact.at);
        }
    }

    fn visit_of_named_ticket(&mut self, fact: &'a Fact<'a>) -> Option<(usize, LinkReason)> {
        let name = self.name_of(fact)?;
        let open = self.open_of(&name);
        let ended = || {
            let index = self.last_of(&name, Some(&fact.event.counter))?;
            self.has_ended_within(index, fact, self.settings.scan_window_us)
                .then_some(index)
        };
        let index = match open.or_else(ended) {
            Some(index) => index,
            None => {
                let index = self.create(fact, Some(name));
                self.serve(index, fact);
                index
            }
        };
        Some((index, LinkReason::TicketNamed))
    }

    fn visit_in_service(&self, fact: &Fact<'_>) -> Option<(usize, LinkReason)> {
        let index = *self.active.get(&fact.event.counter)?;
        let draft = &self.drafts[index];
        let reason = match draft.interaction.state {
            _ if draft.ticket.is_none() => LinkReason::NoTicket,
            InteractionState::Serving => LinkReason::DuringService,
            _ => LinkReason::AfterCall,
        };
        Some((index, reason))
    }

    fn visit_just_ended(&self, fact: &Fact<'_>) -> Option<(usize, LinkReason)> {
        let index = self.at_counter(&fact.event.counter).find(|i| {
            let state = self.drafts[*i].interaction.state;
            matches!(state, InteractionState::Finished | InteractionState::Transferred)
        })?;
        let is_recent = self.has_ended_within(index, fact, self.settings.scan_window_us);
        is_recent.then_some((index, LinkReason::AfterEnd))
    }

    fn visit_on_hold(&self, fact: &Fact<'_>) -> Option<(usize, LinkReason)> {
        let mut visits = self.at_counter(&fact.event.counter);
        let index = visits.find(|i| self.drafts[*i].interaction.state == InteractionState::Held)?;
        Some((index, LinkReason::OnHold))
    }

    fn visit_of_scan(&mut self, fact: &'a Fact<'a>) -> (usize, LinkReason) {
        let index = self.create(fact, None);
        self.serve(index, fact);
        (index, LinkReason::NoTicket)
    }

    /// Counts a visit as served from now on, though no event says that service started.
    fn serve(&mut self, index: usize, fact: &'a Fact<'a>) {
        self.activate(index, fact);
        let interaction = &mut self.drafts[index].interaction;
        interaction.state = InteractionState::Serving;
        interaction.started = Some(fact.at);
        interaction.served.push(ServingSpan {
            start: fact.at,
            end: None,
        });
    }

    fn has_ended_within(&self, index: usize, fact: &Fact<'_>, window_us: i64) -> bool {
        let finished = self.drafts[index].interaction.finished;
        finished.is_some_and(|end| fact.at - end <= window_us)
    }

    /// Links the dossier of an event; of several reports of one code the surest counts.
    pub(super) fn link(&mut self, index: usize, fact: &Fact<'_>, reason: LinkReason) {
        let data = &fact.event.data;
        let Some(text) = &data.dossier else { return };
        let accepted = accept(text, &self.settings.dossier_patterns);
        let provenance = provenance(fact);
        let link = DossierLink {
            code: accepted.code,
            provenance,
            confidence: confidence(reason, provenance),
            reason,
            at: fact.at,
            warnings: accepted.warnings,
        };
        let links = &mut self.drafts[index].interaction.dossiers;
        match links.iter_mut().find(|known| known.code == link.code) {
            Some(known) if known.confidence < link.confidence => {
                let at = known.at.min(link.at);
                *known = DossierLink { at, ..link };
            }
            Some(known) => known.at = known.at.min(link.at),
            None => links.push(link),
        }
    }

    /// Binds a rating to its ticket's last visit, else to who is, or was last, served at the counter.
    pub(super) fn rate(&mut self, fact: &'a Fact<'a>) {
        let data = &fact.event.data;
        let (Some(score), Some(scale), Some(percent)) = (data.score, data.scale, fact.event.rating_percent())
        else {
            return;
        };
        let counter = &fact.event.counter;
        let named = self.name_of(fact).and_then(|name| {
            self.last_of(&name, Some(counter))
                .or_else(|| self.last_of(&name, None))
        });
        let Some(index) = named.or_else(|| self.visit_rated(fact)) else {
            return;
        };
        self.attach(index, fact);
        self.drafts[index].interaction.rating = Some(Rating {
            score,
            scale,
            percent,
            reasons: data.reasons.clone(),
            given: fact.at,
        });
    }

    fn visit_rated(&self, fact: &Fact<'_>) -> Option<usize> {
        let counter = &fact.event.counter;
        let ended = self
            .at_counter(counter)
            .filter(|i| {
                let interaction = &self.drafts[*i].interaction;
                !interaction.state.is_open()
                    && (!interaction.served.is_empty() || interaction.state == InteractionState::Finished)
            })
            .max_by_key(|i| self.drafts[*i].interaction.finished)
            .filter(|i| self.has_ended_within(*i, fact, self.settings.rating_window_us));
        let served = self.active.get(counter).copied().filter(|i| {
            let span = self.drafts[*i].interaction.served.last();
            let since = span.filter(|s| s.end.is_none()).map(|s| fact.at - s.start);
            let grace_us = ended.filter(|i| self.drafts[*i].interaction.rating.is_none());
            let grace_us = grace_us.map_or(-1, |_| self.settings.rating_grace_us);
            since.is_some_and(|served_us| served_us > grace_us)
        });
        served.or(ended)
    }
}

fn provenance(fact: &Fact<'_>) -> Provenance {
    let data = &fact.event.data;
    let is_typed = matches!(data.symbology.as_deref(), Some("manual" | "keyboard"));
    match fact.event.event_type {
        EventType::TicketIssued => Provenance::Kiosk,
        EventType::DossierScanned if is_typed => Provenance::Manual,
        EventType::DossierScanned if fact.event.source.to_lowercase().contains("kiosk") => Provenance::Kiosk,
        EventType::DossierScanned => Provenance::Scan,
        _ => Provenance::Manual,
    }
}

/// Percent; the reason counts most, and what a person typed or chose beforehand counts less than a scan.
fn confidence(reason: LinkReason, provenance: Provenance) -> u8 {
    let by_reason: u8 = match reason {
        LinkReason::TicketNamed => 99,
        LinkReason::DuringService => 95,
        LinkReason::AfterCall => 80,
        LinkReason::AfterEnd => 60,
        LinkReason::BeforeStart | LinkReason::OnHold | LinkReason::NoTicket => 50,
    };
    let lost = match provenance {
        Provenance::Scan => 0,
        Provenance::Manual => 15,
        Provenance::Kiosk => 25,
    };
    by_reason.saturating_sub(lost)
}
