//! The state machine: facts in order → interactions of one site.
//!
//! At each counter at most one interaction is *active* (called or being served); any number may be
//! on hold. A ticket has at most one open interaction at a site.

use std::collections::{BTreeMap, BTreeSet};

use super::derive::close;
use super::order::{Fact, TicketName, printed};
use super::{
    ClosedBy, Confidence, Doubt, FootageBounds, Interaction, InteractionSettings, InteractionState, Officer,
    ServingSpan,
};
use crate::event::EventType;
use crate::ids::{CounterId, InteractionId, SiteId, TicketKey};
use crate::time::{DurationUs, WallTime};

/// An interaction in the making.
pub(super) struct Draft {
    pub interaction: Interaction,
    pub ticket: Option<TicketName>,
    pub predecessor: Option<usize>,
    /// When it began at the counter.
    pub began: WallTime,
    has_officer_by_event: bool,
}

/// All that is known so far.
pub(super) struct Machine<'a> {
    pub site: &'a SiteId,
    pub settings: &'a InteractionSettings,
    pub drafts: Vec<Draft>,
    pub active: BTreeMap<&'a CounterId, usize>,
    open: BTreeSet<usize>,
    by_ticket: BTreeMap<TicketName, Vec<usize>>,
    by_counter: BTreeMap<&'a CounterId, Vec<usize>>,
    signed_in: BTreeMap<&'a CounterId, &'a str>,
}

/// Runs the machine over facts in order.
pub(super) fn run<'a>(
    site: &'a SiteId,
    settings: &'a InteractionSettings,
    facts: &'a [Fact<'a>],
) -> Vec<Interaction> {
    let mut machine = Machine {
        site,
        settings,
        drafts: Vec::new(),
        active: BTreeMap::new(),
        open: BTreeSet::new(),
        by_ticket: BTreeMap::new(),
        by_counter: BTreeMap::new(),
        signed_in: BTreeMap::new(),
    };
    for fact in facts {
        machine.forget_before(fact.at);
        machine.take(fact);
    }
    super::finish::finish(machine, facts)
}

impl<'a> Machine<'a> {
    fn take(&mut self, fact: &'a Fact<'a>) {
        let counter = &fact.event.counter;
        match fact.event.event_type {
            EventType::TicketIssued
            | EventType::DossierStatusChanged
            | EventType::CounterOpened
            | EventType::CounterPaused => {}
            EventType::OfficerSignedIn => self.sign_in(fact),
            EventType::OfficerSignedOut => {
                self.signed_in.remove(counter);
            }
            EventType::CounterClosed => self.close_counter(fact),
            EventType::DossierScanned => self.scan(fact),
            EventType::RatingGiven => self.rate(fact),
            EventType::TicketCancelled => self.cancel(fact),
            EventType::TicketCalled
            | EventType::TicketRecalled
            | EventType::TicketServingStarted
            | EventType::TicketResumed => self.open_visit(fact),
            EventType::TicketHeld
            | EventType::TicketTransferred
            | EventType::TicketNoShow
            | EventType::TicketFinished => self.end_visit(fact),
        }
    }

    /// A ticket is called to, or served at, the counter.
    fn open_visit(&mut self, fact: &'a Fact<'a>) {
        let Some(name) = self.name_of(fact) else { return };
        let counter = &fact.event.counter;
        let open = self.open_of(&name);
        if let Some(elsewhere) = open.filter(|i| self.drafts[*i].interaction.counter != *counter) {
            self.leave_for(elsewhere, fact);
            self.doubt(elsewhere, Doubt::TransferMissing);
        }
        let here = self.last_of(&name, Some(counter));
        let index = match here {
            Some(i) if self.drafts[i].interaction.state.is_open() => i,
            Some(i) if self.is_reopenable(i) => {
                self.reopen(i);
                i
            }
            _ => self
                .absorb_scans(fact, &name)
                .unwrap_or_else(|| self.create(fact, Some(name))),
        };
        self.activate(index, fact);
        self.attach(index, fact);
        let draft = &mut self.drafts[index].interaction;
        let is_serving = draft.state == InteractionState::Serving;
        match fact.event.event_type {
            EventType::TicketCalled if is_serving => {
                // The two devices' clocks differ: nobody is called while being served.
                draft.called = draft.called.or(draft.started);
            }
            EventType::TicketCalled | EventType::TicketRecalled if !is_serving => {
                let is_again = draft.called.is_some() || fact.event.event_type == EventType::TicketRecalled;
                draft.recalls += u32::from(is_again);
                draft.called.get_or_insert(fact.at);
                draft.state = InteractionState::Called;
            }
            EventType::TicketRecalled => draft.recalls += 1,
            _ => {
                draft.state = InteractionState::Serving;
                draft.started.get_or_insert(fact.at);
                if !is_serving {
                    draft.served.push(ServingSpan {
                        start: fact.at,
                        end: None,
                    });
                }
            }
        }
        self.prolong(index, fact.at);
    }

    /// The visit pauses or ends at the counter.
    fn end_visit(&mut self, fact: &'a Fact<'a>) {
        let Some(name) = self.name_of(fact) else { return };
        let counter = &fact.event.counter;
        let here = self.last_of(&name, Some(counter));
        if let Some(index) = here.filter(|i| !self.drafts[*i].interaction.state.is_open()) {
            return self.add_afterwards(index, fact);
        }
        let elsewhere = self
            .open_of(&name)
            .filter(|i| self.drafts[*i].interaction.counter != *counter);
        if let Some(elsewhere) = elsewhere {
            self.leave_for(elsewhere, fact);
            // Some systems name the receiving counter as the subject of a transfer.
            if fact.event.event_type == EventType::TicketTransferred {
                return self.attach(elsewhere, fact);
            }
            self.doubt(elsewhere, Doubt::TransferMissing);
        }
        let index = here.unwrap_or_else(|| self.create(fact, Some(name)));
        self.attach(index, fact);
        match fact.event.event_type {
            EventType::TicketHeld => {
                self.deactivate(index);
                let draft = &mut self.drafts[index].interaction;
                draft.state = InteractionState::Held;
                end_span(draft, fact.at);
                self.prolong(index, fact.at);
            }
            EventType::TicketTransferred => {
                self.drafts[index].interaction.transferred_to = fact.event.data.to_counter.clone();
                self.close(index, fact.at, InteractionState::Transferred, ClosedBy::Transfer);
            }
            EventType::TicketNoShow => self.close(index, fact.at, InteractionState::NoShow, ClosedBy::NoShow),
            _ => self.close(index, fact.at, InteractionState::Finished, ClosedBy::FinishEvent),
        }
    }

    /// Takes an event that ends a visit which is closed already.
    fn add_afterwards(&mut self, index: usize, fact: &'a Fact<'a>) {
        let is_counter_idle = !self.has_served_since(index);
        let is_open_elsewhere = self
            .name_of(fact)
            .is_some_and(|name| self.open_of(&name).is_some());
        self.attach(index, fact);
        let interaction = &mut self.drafts[index].interaction;
        let was_presumed = matches!(
            interaction.closed_by,
            Some(ClosedBy::NextCall | ClosedBy::Timeout | ClosedBy::CounterClosed)
        );
        match fact.event.event_type {
            EventType::TicketTransferred if interaction.closed_by == Some(ClosedBy::Transfer) => {
                if fact.event.data.to_counter.is_some() {
                    interaction.transferred_to = fact.event.data.to_counter.clone();
                }
                interaction
                    .confidence
                    .doubts
                    .retain(|d| *d != Doubt::TransferMissing);
            }
            EventType::TicketHeld if was_presumed && is_counter_idle && !is_open_elsewhere => {
                self.reopen(index);
                let interaction = &mut self.drafts[index].interaction;
                interaction.state = InteractionState::Held;
                end_span(interaction, fact.at);
                self.prolong(index, fact.at);
            }
            EventType::TicketTransferred if was_presumed => {
                interaction.transferred_to = fact.event.data.to_counter.clone();
                self.end_anew(index, fact.at, is_counter_idle);
                self.set_end(index, InteractionState::Transferred, ClosedBy::Transfer);
            }
            EventType::TicketNoShow if was_presumed && interaction.started.is_none() => {
                self.end_anew(index, fact.at, is_counter_idle);
                self.set_end(index, InteractionState::NoShow, ClosedBy::NoShow);
            }
            EventType::TicketFinished if was_presumed => {
                self.end_anew(index, fact.at, is_counter_idle);
                self.set_end(index, InteractionState::Finished, ClosedBy::FinishEvent);
            }
            _ => {}
        }
    }

    /// Moves a presumed end to the reported one, unless somebody else was served in between.
    fn end_anew(&mut self, index: usize, at: WallTime, is_counter_idle: bool) {
        let interaction = &mut self.drafts[index].interaction;
        if is_counter_idle {
            let presumed = interaction.finished.replace(at);
            if let Some(span) = interaction.served.last_mut().filter(|s| s.end == presumed) {
                span.end = Some(at);
            }
        } else {
            self.doubt(index, Doubt::FinishLate);
        }
    }

    fn set_end(&mut self, index: usize, state: InteractionState, closed_by: ClosedBy) {
        let interaction = &mut self.drafts[index].interaction;
        interaction.state = state;
        interaction.closed_by = Some(closed_by);
    }

    fn cancel(&mut self, fact: &'a Fact<'a>) {
        let Some(name) = self.name_of(fact) else { return };
        if let Some(index) = self.open_of(&name) {
            self.attach(index, fact);
            self.close(
                index,
                fact.at,
                InteractionState::Cancelled,
                ClosedBy::Cancellation,
            );
        } else if let Some(index) = self.last_of(&name, Some(&fact.event.counter)) {
            self.attach(index, fact);
        }
    }

    fn close_counter(&mut self, fact: &'a Fact<'a>) {
        let counter = &fact.event.counter;
        self.signed_in.remove(counter);
        for index in self.open.clone() {
            if self.drafts[index].interaction.counter == *counter {
                self.attach(index, fact);
                self.close(
                    index,
                    fact.at,
                    InteractionState::Abandoned,
                    ClosedBy::CounterClosed,
                );
            }
        }
    }

    fn sign_in(&mut self, fact: &'a Fact<'a>) {
        let Some(officer) = fact.event.data.officer.as_deref() else {
            return;
        };
        let counter = &fact.event.counter;
        self.signed_in.insert(counter, officer);
        let Some(draft) = self.active.get(counter).map(|i| &mut self.drafts[*i]) else {
            return;
        };
        let is_unserved = draft.interaction.state == InteractionState::Called;
        if !draft.has_officer_by_event && (draft.interaction.officer.is_none() || is_unserved) {
            draft.interaction.officer = Some(officer_by_code(officer));
        }
    }

    /// Makes a scan without a ticket, made just before, part of the visit that starts without a call.
    fn absorb_scans(&mut self, fact: &'a Fact<'a>, name: &TicketName) -> Option<usize> {
        let index = *self.active.get(&fact.event.counter)?;
        let predecessor = self.last_of(name, None);
        let draft = &mut self.drafts[index];
        let is_recent = fact.at - draft.began <= self.settings.scan_window_us;
        if fact.event.event_type != EventType::TicketServingStarted || draft.ticket.is_some() || !is_recent {
            return None;
        }
        draft.ticket = Some(name.clone());
        draft.predecessor = predecessor;
        let interaction = &mut draft.interaction;
        interaction.ticket = Some(ticket_key(self.site, fact, name));
        interaction.started = Some(fact.at);
        interaction.state = InteractionState::Called;
        interaction.served.clear();
        for link in &mut interaction.dossiers {
            (link.reason, link.confidence) = (super::LinkReason::BeforeStart, 50);
        }
        self.by_ticket.entry(name.clone()).or_default().push(index);
        Some(index)
    }

    /// Begins an interaction, called but not yet active.
    pub fn create(&mut self, fact: &'a Fact<'a>, ticket: Option<TicketName>) -> usize {
        let counter = &fact.event.counter;
        let index = self.drafts.len();
        let predecessor = ticket.as_ref().and_then(|name| self.last_of(name, None));
        let interaction = Interaction {
            interaction_id: InteractionId::from_uuid(uuid::Uuid::nil()),
            site: self.site.clone(),
            counter: counter.clone(),
            ticket: ticket.as_ref().map(|name| ticket_key(self.site, fact, name)),
            predecessor: None,
            transferred_to: None,
            state: InteractionState::Called,
            procedure: None,
            officer: self.signed_in.get(counter).map(|code| officer_by_code(code)),
            issued: None,
            called: None,
            recalls: 0,
            started: None,
            finished: None,
            closed_by: None,
            open_until: None,
            served: Vec::new(),
            rating: None,
            dossiers: Vec::new(),
            confidence: Confidence {
                percent: 100,
                doubts: Vec::new(),
            },
            footage: FootageBounds {
                start: fact.at,
                end: None,
            },
            events: Vec::new(),
        };
        self.by_counter.entry(counter).or_default().push(index);
        if let Some(name) = &ticket {
            self.by_ticket.entry(name.clone()).or_default().push(index);
        }
        self.open.insert(index);
        self.drafts.push(Draft {
            interaction,
            ticket,
            predecessor,
            began: fact.at,
            has_officer_by_event: false,
        });
        index
    }

    /// Makes an interaction the active one of its counter; the one before it counts as forgotten.
    pub fn activate(&mut self, index: usize, fact: &'a Fact<'a>) {
        let counter = &fact.event.counter;
        if let Some(before) = self.active.insert(counter, index).filter(|i| *i != index) {
            self.close(before, fact.at, InteractionState::Abandoned, ClosedBy::NextCall);
        }
    }

    fn deactivate(&mut self, index: usize) {
        let counter = &self.drafts[index].interaction.counter;
        if self.active.get(counter) == Some(&index) {
            self.active.remove(counter);
        }
    }

    fn close(&mut self, index: usize, at: WallTime, state: InteractionState, closed_by: ClosedBy) {
        self.deactivate(index);
        self.open.remove(&index);
        close(&mut self.drafts[index].interaction, at, state, closed_by);
    }

    fn leave_for(&mut self, index: usize, fact: &'a Fact<'a>) {
        self.drafts[index].interaction.transferred_to = Some(fact.event.counter.clone());
        self.close(index, fact.at, InteractionState::Transferred, ClosedBy::Transfer);
    }

    /// A visit that was only thought to be over, at a counter that has served nobody since.
    fn is_reopenable(&self, index: usize) -> bool {
        self.drafts[index].interaction.closed_by == Some(ClosedBy::Timeout)
            && self.newest_at(&self.drafts[index].interaction.counter) == Some(index)
            && !self.has_served_since(index)
    }

    fn reopen(&mut self, index: usize) {
        let interaction = &mut self.drafts[index].interaction;
        let presumed = interaction.finished.take();
        if let Some(span) = interaction.served.last_mut().filter(|s| s.end == presumed) {
            span.end = None;
            interaction.state = InteractionState::Serving;
        } else {
            interaction.state = InteractionState::Called;
        }
        interaction.closed_by = None;
        self.open.insert(index);
    }

    fn forget_before(&mut self, now: WallTime) {
        let overdue: Vec<_> = (self.open.iter().copied())
            .filter_map(|i| {
                Some((
                    i,
                    self.drafts[i]
                        .interaction
                        .open_until
                        .filter(|until| *until < now)?,
                ))
            })
            .collect();
        for (index, until) in overdue {
            self.close(index, until, InteractionState::Abandoned, ClosedBy::Timeout);
        }
    }

    /// Sets when an open interaction will count as forgotten.
    pub fn prolong(&mut self, index: usize, at: WallTime) {
        let draft = &mut self.drafts[index];
        let patience_us: DurationUs = match (&draft.ticket, draft.interaction.state) {
            (None, _) => self.settings.ticketless_forgotten_after_us,
            (_, InteractionState::Held) => self.settings.held_forgotten_after_us,
            _ => self.settings.forgotten_after_us,
        };
        draft.interaction.open_until = Some(at + patience_us);
    }

    /// Notes that an event bears on an interaction, and takes what it tells of officer and procedure.
    pub fn attach(&mut self, index: usize, fact: &'a Fact<'a>) {
        let draft = &mut self.drafts[index];
        let data = &fact.event.data;
        draft.interaction.events.push(fact.event_ref());
        if let Some(code) = &data.officer
            && (fact.event.event_type != EventType::RatingGiven || draft.interaction.officer.is_none())
        {
            draft.interaction.officer = Some(officer_by_code(code));
            draft.has_officer_by_event = true;
        }
        if data.procedure.is_some() {
            draft.interaction.procedure.clone_from(&data.procedure);
        }
        if fact.is_clock_ahead {
            self.doubt(index, Doubt::ClockAhead);
        }
        if fact.event.event_type != EventType::DossierScanned && data.dossier.is_some() {
            self.link(index, fact, super::LinkReason::TicketNamed);
        }
    }

    fn doubt(&mut self, index: usize, doubt: Doubt) {
        self.drafts[index].interaction.confidence.doubts.push(doubt);
    }

    /// The ticket's name; past midnight an open visit keeps the date on which it began.
    pub fn name_of(&self, fact: &Fact<'_>) -> Option<TicketName> {
        let name = fact.ticket.clone()?;
        if self.by_ticket.contains_key(&name) {
            return Some(name);
        }
        let date = name.date.yesterday().unwrap_or(name.date);
        let before_midnight = TicketName { date, ..name.clone() };
        let is_open = self.open_of(&before_midnight).is_some();
        Some(if is_open { before_midnight } else { name })
    }

    pub fn open_of(&self, name: &TicketName) -> Option<usize> {
        let visits = self.by_ticket.get(name)?;
        (visits.iter().rev().copied()).find(|i| self.drafts[*i].interaction.state.is_open())
    }

    /// The ticket's newest visit, at a counter if one is given.
    pub fn last_of(&self, name: &TicketName, counter: Option<&CounterId>) -> Option<usize> {
        let visits = self.by_ticket.get(name)?;
        (visits.iter().rev().copied())
            .find(|i| counter.is_none_or(|c| self.drafts[*i].interaction.counter == *c))
    }

    /// The interactions of a counter, newest first.
    pub fn at_counter(&self, counter: &CounterId) -> impl Iterator<Item = usize> {
        let indexes = self.by_counter.get(counter);
        indexes.into_iter().flat_map(|i| i.iter().rev().copied())
    }

    fn newest_at(&self, counter: &CounterId) -> Option<usize> {
        self.at_counter(counter).next()
    }

    /// Whether the counter served another since an interaction there was closed.
    fn has_served_since(&self, index: usize) -> bool {
        let interaction = &self.drafts[index].interaction;
        let Some(closed) = interaction.finished else {
            return false;
        };
        self.at_counter(&interaction.counter)
            .filter(|other| *other != index)
            .any(|other| {
                let served = &self.drafts[other].interaction.served;
                // A service of no length at that very moment counts as well.
                served
                    .iter()
                    .any(|span| span.start >= closed || span.end.is_none_or(|end| end > closed))
            })
    }
}

fn end_span(interaction: &mut Interaction, at: WallTime) {
    if let Some(span) = interaction.served.last_mut() {
        span.end.get_or_insert(at);
    }
}

fn officer_by_code(code: &str) -> Officer {
    Officer {
        code: code.to_owned(),
        name: None,
    }
}

fn ticket_key(site: &SiteId, fact: &Fact<'_>, name: &TicketName) -> TicketKey {
    let (series, number) = fact.event.data.ticket.as_ref().map(printed).unwrap_or_default();
    TicketKey {
        site: site.clone(),
        business_date: name.date,
        series,
        number,
    }
}
