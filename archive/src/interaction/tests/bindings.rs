//! Which visit a scan or a rating belongs to.

use super::*;

const CODE: &str = "H26.17.05-250701-0001";

fn links(interaction: &Interaction) -> Vec<(&str, LinkReason, u8)> {
    interaction
        .dossiers
        .iter()
        .map(|d| (d.code.as_str(), d.reason, d.confidence))
        .collect()
}

#[test]
fn one_ticket_may_handle_several_dossiers_each_once() {
    let visit = only(&[
        ticket(0.0, "q01", "serving_started", "A001"),
        scan(1.0, "q01", CODE),
        scan(2.0, "q01", "H26.17.05-250701-0002"),
        scan(3.0, "q01", "h26.17.05-250701-0001"),
    ]);
    assert_eq!(
        links(&visit),
        [
            (CODE, LinkReason::DuringService, 95),
            ("H26.17.05-250701-0002", LinkReason::DuringService, 95)
        ]
    );
    assert_eq!(visit.dossiers[0].at, at(1.0));
}

#[test]
fn an_odd_code_is_linked_with_its_warning() {
    let visit = only(&[
        ticket(0.0, "q01", "serving_started", "A001"),
        scan(1.0, "q01", "8934"),
    ]);
    assert_eq!(visit.dossiers[0].code.as_str(), "8934");
    assert_eq!(visit.dossiers[0].warnings, [Warning::Unrecognised]);
}

#[test]
fn a_scan_without_a_ticket_is_a_visit_without_one() {
    let visit = only(&[scan(0.0, "q01", CODE), scan(5.0, "q01", "H26.17.05-250701-0002")]);
    assert_eq!(
        (visit.ticket.clone(), visit.state),
        (None, InteractionState::Serving)
    );
    assert_eq!(visit.dossiers.len(), 2);
    assert_eq!(visit.open_until, Some(at(15.0)));
    assert_eq!(visit.confidence.percent, 60);
}

#[test]
fn a_scan_right_after_the_end_belongs_to_the_visit() {
    let events = |minutes| {
        [
            ticket(0.0, "q01", "serving_started", "A001"),
            ticket(5.0, "q01", "finished", "A001"),
            scan(minutes, "q01", CODE),
        ]
    };
    assert_eq!(links(&only(&events(5.5))), [(CODE, LinkReason::AfterEnd, 60)]);
    assert_eq!(derived(&events(6.5)).len(), 2);
}

#[test]
fn a_scan_right_before_a_start_without_call_belongs_to_the_visit() {
    let visit = only(&[
        scan(0.0, "q01", CODE),
        ticket(0.5, "q01", "serving_started", "A001"),
    ]);
    assert_eq!(links(&visit), [(CODE, LinkReason::BeforeStart, 50)]);
    assert_eq!(visit.started, Some(at(0.5)));
    let called = derived(&[scan(0.0, "q01", CODE), ticket(0.5, "q01", "called", "A001")]);
    assert_eq!(called.len(), 2, "who is only called was not there for the scan");
}

#[test]
fn a_dossier_named_at_the_kiosk_is_linked_as_such() {
    let mut issued = ticket(0.0, "kiosk", "issued", "A001");
    issued.event.data.dossier = Some(CODE.to_owned());
    let visit = only(&[issued, ticket(9.0, "q01", "serving_started", "A001")]);
    assert_eq!(visit.dossiers[0].provenance, Provenance::Kiosk);
    assert_eq!(visit.dossiers[0].confidence, 74);
}

#[test]
fn a_rating_after_the_end_belongs_to_its_ticket() {
    let all = derived(&[
        ticket(0.0, "q01", "serving_started", "A001"),
        ticket(5.0, "q01", "finished", "A001"),
        ticket(5.0, "q01", "serving_started", "A002"),
        rating(30.0, "q01", "A001", 0.0),
    ]);
    let given = all[0].rating.as_ref().unwrap();
    assert_eq!((given.percent, given.given), (0.0, at(30.0)));
    assert_eq!(given.reasons, ["attitude"]);
    assert_eq!(all[1].rating, None);
}

#[test]
fn a_rating_without_a_ticket_belongs_to_who_just_left() {
    let events = |minutes| {
        let visits = [
            ticket(0.0, "q01", "serving_started", "A001"),
            ticket(5.0, "q01", "finished", "A001"),
            ticket(5.5, "q01", "serving_started", "A002"),
        ];
        let mut all = derived(&[&visits[..], &[rating(minutes, "q01", "", 2.0)]].concat());
        let second = all.pop().unwrap().rating.is_some();
        (all.pop().unwrap().rating.is_some(), second)
    };
    assert_eq!(events(5.2), (true, false));
    assert_eq!(
        events(6.0),
        (true, false),
        "service of the next is within the grace"
    );
    assert_eq!(events(7.0), (false, true));
}

#[test]
fn a_rating_long_after_the_end_belongs_to_nobody() {
    let visit = only(&[
        ticket(0.0, "q01", "finished", "A001"),
        rating(11.0, "q01", "", 2.0),
    ]);
    assert_eq!(visit.rating, None);
}
