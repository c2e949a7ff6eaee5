//! How a visit begins, goes on and ends.

use super::*;

#[test]
fn a_visit_in_order_has_all_its_times_and_no_doubt() {
    let visit = only(&[
        ticket(0.0, "q01", "issued", "A001"),
        ticket(5.0, "q01", "called", "A001"),
        ticket(5.5, "q01", "recalled", "A001"),
        ticket(6.0, "q01", "serving_started", "A001"),
        scan(8.0, "q01", "H26.17.05-250701-0001"),
        ticket(12.0, "q01", "finished", "A001"),
    ]);
    assert_eq!(visit.state, InteractionState::Finished);
    assert_eq!(visit.closed_by, Some(ClosedBy::FinishEvent));
    assert_eq!(
        (visit.issued, visit.called, visit.recalls),
        (Some(at(0.0)), Some(at(5.0)), 1)
    );
    assert_eq!((visit.started, visit.finished), (Some(at(6.0)), Some(at(12.0))));
    assert_eq!(
        visit.confidence,
        Confidence {
            percent: 100,
            doubts: vec![]
        }
    );
    assert_eq!(visit.footage.start, at(5.0) - 10_000_000);
    assert_eq!(visit.footage.end, Some(at(12.0) + 15_000_000));
    assert_eq!(visit.events.len(), 6);
    let key = visit.ticket.unwrap();
    assert_eq!((key.series.as_str(), key.number.as_str()), ("A", "001"));
    assert_eq!(key.business_date, jiff::civil::date(2026, 11, 23));
}

#[test]
fn issuing_a_number_is_no_visit() {
    assert_eq!(derived(&[ticket(0.0, "q01", "issued", "A001")]), []);
}

#[test]
fn sources_may_write_a_ticket_differently() {
    let mut started = ticket(1.0, "q01", "serving_started", "");
    started.event.data.ticket = Some(TicketRef {
        series: "a".to_owned(),
        number: "1".to_owned(),
    });
    let visit = only(&[
        ticket(0.0, "q01", "called", "A-001"),
        started,
        ticket(2.0, "q01", "finished", "A001"),
    ]);
    assert_eq!(visit.ticket.unwrap().number, "001");
}

#[test]
fn numbers_begin_anew_each_day() {
    let outline = outline(&[
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(1.0, "q01", "finished", "A001"),
        ticket(24.0 * 60.0, "q01", "serving_started", "A001"),
        ticket(24.0 * 60.0 + 1.0, "q01", "finished", "A001"),
    ]);
    assert_eq!(outline, ["A001@q01 finished finish_event"; 2]);
}

#[test]
fn a_visit_may_last_over_midnight() {
    let visit = only(&[
        ticket(15.9 * 60.0, "q01", "serving_started", "A001"),
        ticket(16.1 * 60.0, "q01", "finished", "A001"),
    ]);
    assert_eq!(visit.state, InteractionState::Finished);
    assert_eq!(
        visit.ticket.unwrap().business_date,
        jiff::civil::date(2026, 11, 23)
    );
}

#[test]
fn the_next_call_closes_a_forgotten_visit() {
    let events = [
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(9.0, "q01", "called", "A002"),
    ];
    assert_eq!(
        outline(&events),
        ["A001@q01 abandoned next_call", "A002@q01 called open"]
    );
    let all = derived(&events);
    assert_eq!(all[0].finished, Some(at(9.0)));
    assert!(all[0].confidence.doubts.contains(&Doubt::FinishMissing));
}

#[test]
fn a_finish_after_the_next_call_still_finishes() {
    let mut events = vec![
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(9.0, "q01", "called", "A002"),
        ticket(9.5, "q01", "finished", "A001"),
    ];
    assert_eq!(outline(&events)[0], "A001@q01 finished finish_event");
    assert_eq!(
        derived(&events)[0].finished,
        Some(at(9.5)),
        "nobody else was served yet"
    );
    events.push(ticket(9.2, "q01", "serving_started", "A002"));
    let first = &derived(&events)[0];
    assert_eq!(
        first.finished,
        Some(at(9.0)),
        "the counter served the next already"
    );
    assert!(first.confidence.doubts.contains(&Doubt::FinishLate));
}

#[test]
fn a_service_of_no_length_in_between_was_a_service() {
    let all = derived(&[
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(9.0, "q01", "serving_started", "A002"),
        ticket(9.0, "q01", "finished", "A002"),
        ticket(9.5, "q01", "finished", "A001"),
    ]);
    assert_eq!(all[0].finished, Some(at(9.0)));
}

#[test]
fn nobody_came_after_the_calls() {
    let visit = only(&[
        ticket(0.0, "q01", "called", "A001"),
        ticket(1.0, "q01", "recalled", "A001"),
        ticket(2.0, "q01", "recalled", "A001"),
        ticket(3.0, "q01", "no_show", "A001"),
    ]);
    assert_eq!((visit.state, visit.recalls), (InteractionState::NoShow, 2));
    assert_eq!((visit.started, visit.finished), (None, Some(at(3.0))));
    assert_eq!(visit.served, []);
}

#[test]
fn coming_after_all_is_a_second_visit_that_names_the_first() {
    let all = derived(&[
        ticket(0.0, "q01", "called", "A001"),
        ticket(3.0, "q01", "no_show", "A001"),
        ticket(20.0, "q01", "called", "A001"),
        ticket(21.0, "q01", "serving_started", "A001"),
    ]);
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].predecessor.as_ref(), Some(&all[0].interaction_id));
    assert_ne!(all[0].interaction_id, all[1].interaction_id);
}

#[test]
fn a_transfer_makes_a_visit_at_the_other_counter() {
    let mut sent = ticket(4.0, "q01", "transferred", "A001");
    sent.event.data.to_counter = Some("q02".parse().unwrap());
    let all = derived(&[
        ticket(0.0, "q01", "serving_started", "A001"),
        sent,
        ticket(5.0, "q02", "called", "A001"),
        ticket(6.0, "q02", "serving_started", "A001"),
        ticket(9.0, "q02", "finished", "A001"),
    ]);
    assert_eq!(all[0].state, InteractionState::Transferred);
    assert_eq!(all[0].transferred_to.as_ref().map(CounterId::as_str), Some("q02"));
    assert_eq!(all[1].state, InteractionState::Finished);
    assert_eq!(all[1].predecessor.as_ref(), Some(&all[0].interaction_id));
    assert!(!all[0].confidence.doubts.contains(&Doubt::TransferMissing));
}

#[test]
fn a_ticket_served_elsewhere_has_left_even_if_no_transfer_was_told() {
    let events = [
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(5.0, "q02", "serving_started", "A001"),
    ];
    assert_eq!(
        outline(&events),
        ["A001@q01 transferred transfer", "A001@q02 serving open"]
    );
    assert!(
        derived(&events)[0]
            .confidence
            .doubts
            .contains(&Doubt::TransferMissing)
    );
}

#[test]
fn a_late_finish_at_the_first_counter_leaves_the_second_alone() {
    let outline = outline(&[
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(5.0, "q02", "serving_started", "A001"),
        ticket(5.1, "q01", "finished", "A001"),
    ]);
    assert_eq!(
        outline,
        ["A001@q01 transferred transfer", "A001@q02 serving open"]
    );
}

#[test]
fn start_without_call_and_finish_without_start_are_doubted() {
    let started = only(&[ticket(0.0, "q01", "serving_started", "A001")]);
    assert_eq!(started.confidence.doubts, [Doubt::CallMissing]);
    let finished = only(&[ticket(0.0, "q01", "finished", "A001")]);
    assert_eq!((finished.started, finished.finished), (None, Some(at(0.0))));
    assert_eq!(
        finished.confidence.doubts,
        [Doubt::CallMissing, Doubt::StartMissing, Doubt::ScanMissing]
    );
}

#[test]
fn a_hold_cuts_the_time_of_service_and_lets_others_be_served() {
    let all = derived(&[
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(3.0, "q01", "held", "A001"),
        ticket(4.0, "q01", "serving_started", "A002"),
        ticket(6.0, "q01", "finished", "A002"),
        ticket(7.0, "q01", "resumed", "A001"),
        ticket(9.0, "q01", "finished", "A001"),
    ]);
    assert_eq!(all.len(), 2);
    let span = |start, end| ServingSpan {
        start: at(start),
        end: Some(at(end)),
    };
    assert_eq!(all[0].served, [span(0.0, 3.0), span(7.0, 9.0)]);
    assert_eq!(all[1].served, [span(4.0, 6.0)]);
}

#[test]
fn a_visit_of_which_nothing_more_is_heard_is_forgotten() {
    let mut events = vec![ticket(0.0, "q01", "serving_started", "A001")];
    let mut all = derived(&events);
    assert_eq!(all[0].open_until, Some(at(60.0)));
    assert!(current(&all, &"q01".parse().unwrap(), at(60.0)).is_some());
    assert!(current(&all, &"q01".parse().unwrap(), at(60.1)).is_none());
    assert!(!forget_overdue(
        &mut all,
        &InteractionSettings::default(),
        at(60.0)
    ));
    assert!(forget_overdue(
        &mut all,
        &InteractionSettings::default(),
        at(60.1)
    ));
    events.push(ticket(61.0, "q02", "called", "A002"));
    assert_eq!(derived(&events)[0], all[0], "by a later event as by the clock");
    assert_eq!(outline(&events)[0], "A001@q01 abandoned timeout");
    events.push(ticket(70.0, "q01", "finished", "A001"));
    assert_eq!(outline(&events)[0], "A001@q01 finished finish_event");
    assert_eq!(derived(&events)[0].finished, Some(at(70.0)));
}

#[test]
fn a_closing_counter_ends_its_visits() {
    let outline = outline(&[
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(0.0, "q02", "serving_started", "A002"),
        event(9.0, "q01", "counter.closed", data("")),
    ]);
    let mut outline = outline;
    outline.sort();
    assert_eq!(
        outline,
        ["A001@q01 abandoned counter_closed", "A002@q02 serving open"]
    );
}

#[test]
fn a_withdrawn_ticket_ends_wherever_it_is_withdrawn() {
    let outline = outline(&[
        ticket(0.0, "q01", "called", "A001"),
        ticket(1.0, "kiosk", "cancelled", "A001"),
    ]);
    assert_eq!(outline, ["A001@q01 cancelled cancellation"]);
}

#[test]
fn the_officer_comes_from_the_sign_in_if_events_lack_one() {
    let officer = |code: &str, name: Option<&str>, ticket: &str| EventData {
        officer: Some(code.to_owned()),
        officer_name: name.map(str::to_owned),
        ..data(ticket)
    };
    let events = [
        event(
            0.0,
            "q01",
            "officer.signed_in",
            officer("nv017", Some("Trần Thị Hoa"), ""),
        ),
        ticket(1.0, "q01", "called", "A001"),
        ticket(2.0, "q01", "finished", "A001"),
        event(3.0, "q01", "ticket.called", officer("nv018", None, "A002")),
        ticket(4.0, "q01", "finished", "A002"),
        event(5.0, "q01", "officer.signed_out", data("")),
        ticket(6.0, "q01", "called", "A003"),
    ];
    let officers: Vec<_> = derived(&events)
        .into_iter()
        .map(|i| i.officer.map(|o| (o.code, o.name)))
        .collect();
    assert_eq!(
        officers,
        [
            Some(("nv017".to_owned(), Some("Trần Thị Hoa".to_owned()))),
            Some(("nv018".to_owned(), None)),
            None
        ]
    );
}

#[test]
fn a_clock_that_is_ahead_does_not_count() {
    let mut called = ticket(600.0, "q01", "called", "A001");
    called.received = at(0.0);
    let visit = only(&[called, ticket(1.0, "q01", "serving_started", "A001")]);
    assert_eq!(visit.called, Some(at(0.0)));
    assert_eq!(visit.confidence.doubts, [Doubt::ClockAhead]);
}

#[test]
fn the_one_being_served_is_current_before_the_one_on_hold() {
    let all = derived(&[
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(1.0, "q01", "held", "A001"),
        ticket(2.0, "q01", "called", "A002"),
    ]);
    let q01 = "q01".parse().unwrap();
    let number = |i: &Interaction| i.ticket.as_ref().unwrap().number.clone();
    assert_eq!(current(&all, &q01, at(3.0)).map(number).as_deref(), Some("002"));
    assert_eq!(current(&all, &q01, at(1.5)).map(number).as_deref(), Some("001"));
    assert_eq!(current(&all, &"q02".parse().unwrap(), at(3.0)), None);
}

#[test]
fn a_late_event_revises_only_what_it_bears_on() {
    let before = vec![
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(2.0, "q01", "finished", "A001"),
        ticket(3.0, "q01", "serving_started", "A002"),
    ];
    let mut after = before.clone();
    let late = ticket(-1.0, "q01", "called", "A001");
    after.push(late.clone());
    let cause = EventKey::from(&late.event);
    let revisions = diff(&derived(&before), &derived(&after), Some(&cause));
    assert_eq!(revisions.len(), 1);
    assert_eq!(revisions[0].kind, RevisionKind::Changed);
    assert_eq!(revisions[0].cause, Some(cause));
    let called = revisions[0].changes.iter().find(|c| c.field == "called").unwrap();
    assert_eq!(
        (&called.before, &called.after),
        (&None, &Some(at(-1.0).0.to_string()))
    );
    assert!(revisions[0].changes.iter().all(|c| c.field != "finished"));
}
