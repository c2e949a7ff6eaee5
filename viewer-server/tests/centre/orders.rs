//! Orders to recorders: what an interaction leads to, and that each arrives once whatever happens to either side.

use archive::uplink::{Order, ToServer};
use serde_json::json;

use crate::stage::{Recorder, SECOND, STREAM, Stage, event, visit};

crate::on_each_database!(
    an_interaction_is_marked_at_its_recorder_without_personal_data,
    an_interaction_that_vanishes_is_unmarked,
    orders_are_repeated_until_they_are_acknowledged,
    a_recorder_that_lost_its_orders_is_told_anew,
    a_centre_that_lost_orders_goes_on_behind_the_recorder,
    an_acknowledgement_of_what_was_never_sent_ends_the_session,
);

async fn again(stage: &Stage, recorder: &Recorder, orders_through: u64) -> Recorder {
    let (id, key) = (recorder.id.clone(), recorder.key.clone());
    stage
        .connect_with_orders(&id, &key, "ba-dinh-1", &[STREAM], orders_through)
        .await
}

async fn acknowledge(recorder: &mut Recorder, through: u64) {
    recorder.tell(&ToServer::OrdersStored { through }).await;
}

async fn an_interaction_is_marked_at_its_recorder_without_personal_data(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let at = stage.now();
    stage.advance(600 * SECOND);
    stage
        .post_events(&visit("0123", at, "H26.17.05-261123-0001"))
        .await;
    let (first, orders) = recorder.next_orders().await;
    assert_eq!((first, orders.len()), (1, 1), "{orders:?}");
    let Order::Mark { mark } = &orders[0] else {
        panic!("{orders:?}")
    };
    assert_eq!(mark.counter.as_str(), "ba-dinh-q01");
    assert!(mark.from <= at && at - mark.from <= 60 * SECOND, "{mark:?}");
    let to = mark.to.unwrap();
    assert!(to >= at + 130 * SECOND && to <= at + 200 * SECOND, "{mark:?}");
    let text = serde_json::to_string(&orders).unwrap();
    for personal in ["0123", "nv017", "Hoa", "H26"] {
        assert!(!text.replace(&mark.mark_id, "").contains(personal), "{text}");
    }
    // What changes nothing of when and where is not told.
    acknowledge(&mut recorder, 1).await;
    let named = event(
        "late",
        "dossier.scanned",
        at + 50 * SECOND,
        json!({"dossier": "H26.17.05-261123-0002"}),
    );
    stage.post_events(&json!([named])).await;
    let recalled = visit("0124", at + 200 * SECOND, "H26.17.05-261123-0003");
    stage.post_events(&recalled).await;
    let (first, orders) = recorder.next_orders().await;
    assert_eq!(first, 2);
    assert!(
        matches!(&orders[0], Order::Mark { mark: next } if next.mark_id != mark.mark_id),
        "{orders:?}"
    );
}

async fn an_interaction_that_vanishes_is_unmarked(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let at = stage.now();
    stage.advance(600 * SECOND);
    let ticket = json!({"series": "A", "number": "0123"});
    let called = event(
        "called",
        "ticket.called",
        at + 5 * SECOND,
        json!({"ticket": ticket}),
    );
    stage.post_events(&json!([called])).await;
    let (_, orders) = recorder.next_orders().await;
    let Order::Mark { mark } = &orders[0] else {
        panic!("{orders:?}")
    };
    acknowledge(&mut recorder, 1).await;
    // As if the site's events were understood otherwise: the interaction goes.
    let site = "ba-dinh-1".parse().unwrap();
    let date = stage.centre.date_of(at);
    let day = viewer_server::ingest::day_window(date, &stage.centre.zone).unwrap();
    let rederived = stage
        .centre
        .db
        .rederive(
            &site,
            date,
            day,
            viewer_server::db::Why::TimePassed,
            stage.now(),
            |_, known| viewer_server::db::Derived {
                changed: Vec::new(),
                revisions: archive::interaction::diff(known, &[], None),
            },
        )
        .await
        .unwrap();
    assert_eq!(rederived.told.iter().collect::<Vec<_>>(), [&recorder.id]);
    stage.centre.recorders.poke_orders(&recorder.id);
    let (first, orders) = recorder.next_orders().await;
    let mark_id = mark.mark_id.clone();
    assert_eq!((first, orders), (2, vec![Order::Unmark { mark_id }]));
}

async fn orders_are_repeated_until_they_are_acknowledged(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let at = stage.now();
    stage.advance(3600 * SECOND);
    let mut all = Vec::new();
    for (number, minutes) in [("0001", 0), ("0002", 5), ("0003", 10)] {
        stage
            .post_events(&visit(
                number,
                at + minutes * 60 * SECOND,
                "H26.17.05-261123-0001",
            ))
            .await;
        if number == "0001" {
            all.extend(recorder.next_orders().await.1);
            acknowledge(&mut recorder, 1).await;
        }
    }
    let (first, orders) = recorder.next_orders().await;
    assert_eq!(first, 2);
    // The session breaks before they are acknowledged.
    let mut recorder = again(stage, &recorder, 1).await;
    let (first, repeated) = recorder.next_orders().await;
    assert_eq!((first, repeated.len()), (2, 2));
    assert_eq!(repeated[..orders.len()], orders);
    // They were stored, and only the acknowledgement was lost.
    let mut recorder = again(stage, &recorder, 3).await;
    stage
        .post_events(&visit("0004", at + 20 * 60 * SECOND, "H26.17.05-261123-0001"))
        .await;
    assert_eq!(recorder.next_orders().await.0, 4);
}

async fn a_recorder_that_lost_its_orders_is_told_anew(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let at = stage.now();
    stage.advance(3600 * SECOND);
    stage
        .post_events(&visit("0001", at, "H26.17.05-261123-0001"))
        .await;
    let (_, told) = recorder.next_orders().await;
    acknowledge(&mut recorder, 1).await;
    stage
        .post_events(&visit("0002", at + 300 * SECOND, "H26.17.05-261123-0001"))
        .await;
    let (first, more) = recorder.next_orders().await;
    assert_eq!(first, 2);
    let mut recorder = again(stage, &recorder, 0).await;
    let (first, orders) = recorder.next_orders().await;
    assert_eq!(first, 3, "no number is used twice");
    assert_eq!(orders, [told, more].concat());
}

async fn a_centre_that_lost_orders_goes_on_behind_the_recorder(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let at = stage.now();
    stage.advance(3600 * SECOND);
    stage
        .post_events(&visit("0001", at, "H26.17.05-261123-0001"))
        .await;
    let (_, told) = recorder.next_orders().await;
    let mut recorder = again(stage, &recorder, 40).await;
    assert_eq!(recorder.next_orders().await, (41, told));
}

async fn an_acknowledgement_of_what_was_never_sent_ends_the_session(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    acknowledge(&mut recorder, 7).await;
    assert!(recorder.try_receive().await.is_none());
}
