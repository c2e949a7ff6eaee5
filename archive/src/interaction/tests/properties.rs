//! What holds for any events in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NAMES: &[&str] = &[
    "ticket.issued",
    "ticket.called",
    "ticket.called",
    "ticket.recalled",
    "ticket.serving_started",
    "ticket.serving_started",
    "ticket.held",
    "ticket.resumed",
    "ticket.transferred",
    "ticket.no_show",
    "ticket.finished",
    "ticket.finished",
    "ticket.cancelled",
    "dossier.scanned",
    "rating.given",
    "counter.closed",
    "officer.signed_in",
];

/// Any event at a few counters about a few tickets; ids repeat sometimes, with other content.
fn any_event() -> impl Strategy<Value = SiteEvent> {
    let name = proptest::sample::select(NAMES);
    (name, 1..4u8, 0..5u8, 0..200i32, 0..40u16, -3..90i64).prop_map(
        |(name, counter, number, half_minutes, id, delay)| {
            let number = match number {
                0 if !name.starts_with("ticket.") => String::new(),
                number => format!("A{number:03}"),
            };
            let minutes = f64::from(half_minutes) / 2.0;
            let mut made = match name {
                "dossier.scanned" => scan(minutes, &format!("q{counter}"), &format!("H26-250701-000{id}")),
                "rating.given" => rating(minutes, &format!("q{counter}"), &number, f64::from(id % 3)),
                _ => event(minutes, &format!("q{counter}"), name, data(&number)),
            };
            if id < 8 {
                made.event.id = format!("repeated {id}");
            }
            if id % 5 == 0 {
                made.event.data.officer = Some(format!("nv{}", id % 3));
            }
            made.received = made.event.device_time + delay * MINUTE;
            made
        },
    )
}

/// Events, and the same in another order, some of them twice.
fn events_and_shuffled() -> impl Strategy<Value = (Vec<SiteEvent>, Vec<SiteEvent>)> {
    proptest::collection::vec(any_event(), 0..60).prop_flat_map(|events| {
        let twice = proptest::sample::subsequence(events.clone(), 0..=events.len());
        let shuffled = twice.prop_flat_map({
            let events = events.clone();
            move |twice| Just([events.clone(), twice].concat()).prop_shuffle()
        });
        (Just(events), shuffled)
    })
}

/// Applies revisions as a store would that keeps fields by name.
fn apply(revisions: &[Revision], store: &mut BTreeMap<InteractionId, BTreeMap<String, String>>) {
    for revision in revisions {
        let fields = store.entry(revision.interaction_id.clone()).or_default();
        for change in &revision.changes {
            assert_eq!(fields.get(&change.field), change.before.as_ref());
            match &change.after {
                Some(after) => fields.insert(change.field.clone(), after.clone()),
                None => fields.remove(&change.field),
            };
        }
        if revision.kind == RevisionKind::Vanished {
            store.remove(&revision.interaction_id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn order_and_duplication_change_nothing((events, shuffled) in events_and_shuffled()) {
        prop_assert_eq!(derived(&events), derived(&shuffled));
    }

    #[test]
    fn serving_times_of_a_counter_never_overlap((events, _) in events_and_shuffled()) {
        let mut by_counter: BTreeMap<_, Vec<(i64, i64)>> = BTreeMap::new();
        for interaction in derived(&events) {
            for span in &interaction.served {
                let end = span.end.map_or(i64::MAX, |end| end.0);
                prop_assert!(span.start.0 <= end);
                by_counter.entry(interaction.counter.clone()).or_default().push((span.start.0, end));
            }
        }
        for spans in by_counter.values_mut() {
            spans.sort_unstable();
            for pair in spans.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].0, "{:?}", pair);
            }
        }
    }

    #[test]
    fn each_start_of_service_is_in_exactly_one_interaction((events, _) in events_and_shuffled()) {
        let facts = order::facts(&events, &zone(), &InteractionSettings::default());
        let starts: Vec<_> = facts.iter().map(order::Fact::event_ref)
            .filter(|e| e.event_type == EventType::TicketServingStarted).collect();
        let all = derived(&events);
        for start in &starts {
            let count = all.iter().flat_map(|i| &i.events).filter(|e| *e == start).count();
            prop_assert_eq!(count, 1);
        }
    }

    #[test]
    fn states_ends_and_ids_agree((events, _) in events_and_shuffled()) {
        let all = derived(&events);
        let mut open_tickets = Vec::new();
        for interaction in &all {
            let is_open = interaction.state.is_open();
            prop_assert_eq!(is_open, interaction.closed_by.is_none());
            prop_assert_eq!(is_open, interaction.finished.is_none());
            prop_assert_eq!(is_open, interaction.open_until.is_some());
            prop_assert_eq!(
                interaction.state == InteractionState::Serving,
                interaction.served.last().is_some_and(|s| s.end.is_none())
            );
            prop_assert!(interaction.finished.is_none_or(|end| interaction.began() <= end));
            let predecessor = interaction.predecessor.as_ref();
            prop_assert!(predecessor.is_none_or(|id| all.iter().any(|i| i.interaction_id == *id)));
            if is_open {
                open_tickets.extend(interaction.ticket.clone());
            }
        }
        let mut ids: Vec<_> = all.iter().map(|i| &i.interaction_id).collect();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), all.len());
        let count = open_tickets.len();
        open_tickets.sort();
        open_tickets.dedup();
        prop_assert_eq!(open_tickets.len(), count, "a ticket is open at one counter only");
    }

    #[test]
    fn revisions_of_a_growing_prefix_lead_to_the_whole((events, shuffled) in events_and_shuffled()) {
        let mut store = BTreeMap::new();
        let mut known = Vec::new();
        for through in 1..=shuffled.len() {
            let cause = EventKey::from(&shuffled[through - 1].event);
            let next = derived(&shuffled[..through]);
            apply(&diff(&known, &next, Some(&cause)), &mut store);
            known = next;
        }
        let whole = derived(&events);
        prop_assert_eq!(&known, &whole);
        let mut expected = BTreeMap::new();
        apply(&diff(&[], &whole, None), &mut expected);
        prop_assert_eq!(store, expected);
        prop_assert_eq!(diff(&known, &whole, None), vec![]);
    }

    #[test]
    fn ids_stay_while_events_come_in_order((events, _) in events_and_shuffled()) {
        let mut events: Vec<_> = events.into_iter()
            .filter(|e| !e.event.id.starts_with("repeated") && e.event.event_type != EventType::DossierScanned)
            .collect();
        let facts = order::facts(&events, &zone(), &InteractionSettings::default());
        let order: Vec<_> = facts.iter().map(|f| EventKey::from(f.event)).collect();
        events.sort_by_key(|e| order.iter().position(|key| *key == EventKey::from(&e.event)));
        let whole = derived(&events);
        for through in 0..events.len() {
            for interaction in derived(&events[..through]) {
                prop_assert!(whole.iter().any(|i| i.interaction_id == interaction.interaction_id));
            }
        }
    }
}
