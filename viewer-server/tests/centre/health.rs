//! What recorders sign of each day, and footage that is retrieved to try the path.

use archive::health::{ClockDay, FaultDay, HealthReport, StreamDay};
use archive::seal::Signed;
use archive::seal::signed::Purpose;
use archive::time::WallTime;
use archive::uplink::Fact;
use axum::http::StatusCode;
use ed25519_dalek::SigningKey;
use viewer_server::access::Role;

use crate::edge::{segment, start_run, upload_whole};
use crate::stage::{MORNING, Recorder, SECOND, STREAM, Stage};

crate::on_each_database!(
    a_signed_day_is_shown_to_who_may_see_the_counter,
    a_report_that_is_not_the_recorders_own_word_is_set_aside,
    a_final_report_is_not_replaced_by_an_earlier_one,
    footage_that_cannot_be_shown_again_raises_one_alert,
);

const COUNTER: &str = "ba-dinh-q01";
const PATH: &str = "/api/v1/counters/ba-dinh-q01/health?date=2026-11-23";

fn report(recorder: &Recorder, counter: &str, to: WallTime, is_final: bool) -> HealthReport {
    let fault = FaultDay {
        kind: archive::alert::AlertKind::LensCovered,
        seconds: 42,
        times: 1,
        detail: "luma 65 of 255".to_owned(),
    };
    HealthReport {
        recorder: Some(recorder.id.clone()),
        counter: counter.parse().unwrap(),
        date: jiff::civil::date(2026, 11, 23),
        zone: "Asia/Ho_Chi_Minh".to_owned(),
        from: MORNING,
        to,
        is_final,
        software: "test".to_owned(),
        streams: vec![StreamDay {
            stream: STREAM.parse().unwrap(),
            picture_s: 3600,
            sound_s: 3500,
            gap_s: 7,
            faults: vec![fault],
        }],
        clock: ClockDay {
            offset_min_us: Some(-3_000),
            offset_max_us: Some(12_000),
            unsynchronized_s: 0,
        },
        disk_free_bytes: Some(1_000_000),
        read_back: None,
    }
}

fn fact(key: &SigningKey, report: &HealthReport) -> Fact {
    Fact::HealthReported {
        report: Signed::new(Purpose::Health, key, report),
    }
}

async fn a_signed_day_is_shown_to_who_may_see_the_counter(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let report = report(&recorder, COUNTER, MORNING + 3600 * SECOND, false);
    let key = recorder.key.clone();
    assert_eq!(recorder.facts(vec![fact(&key, &report)]).await, 1);
    for (name, role) in [("quan-tri", Role::Administrator), ("lan", Role::Leader)] {
        let cookie = stage.sign_in(name, role, "ha-noi").await;
        let answer = stage.get(&cookie, &format!("{PATH}&days=2")).await.json();
        let days = answer["days"].as_array().unwrap();
        assert_eq!(
            (&days[0]["date"], &days[1]["date"]),
            (&"2026-11-23".into(), &"2026-11-22".into())
        );
        let shown = &days[0]["reports"][0];
        assert_eq!(shown["streams"][0]["faults"][0]["kind"], "lens_covered");
        assert_eq!(shown["streams"][0]["faults"][0]["seconds"], 42);
        assert_eq!(shown["clock_offset_max_ms"], 12);
        assert_eq!(days[1]["reports"].as_array().unwrap().len(), 0);
        // What is shown can be checked by anybody.
        let signed = Signed {
            text: shown["text"].as_str().unwrap().to_owned(),
            signature: shown["signature"].as_str().unwrap().to_owned(),
        };
        let key = shown["public_key"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            signed.open::<HealthReport>(Purpose::Health, &key).as_ref(),
            Ok(&report)
        );
    }
    let elsewhere = stage.sign_in("binh", Role::Administrator, "tay-ho").await;
    assert_eq!(stage.get(&elsewhere, PATH).await.status, StatusCode::NOT_FOUND);
    let officer = stage.sign_in("hoa", Role::Officer, "ha-noi").await;
    assert_eq!(stage.get(&officer, PATH).await.status, StatusCode::FORBIDDEN);
    let cookie = stage.sign_in("an", Role::Leader, "ha-noi").await;
    let wrong = stage
        .get(&cookie, "/api/v1/counters/ba-dinh-q01/health?date=heute")
        .await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

async fn shown(stage: &Stage) -> Vec<serde_json::Value> {
    let name = format!("lan-{}", rand::random::<u32>());
    let cookie = stage.sign_in(&name, Role::Leader, "ha-noi").await;
    let answer = stage.get(&cookie, PATH).await.json();
    answer["days"][0]["reports"].as_array().unwrap().clone()
}

async fn a_report_that_is_not_the_recorders_own_word_is_set_aside(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let other = stage.recorder("tay-ho-1", &["tay-ho-q01.front.main"]).await;
    let (own, foreign) = (recorder.key.clone(), other.key.clone());
    let to = MORNING + SECOND;
    let good = report(&recorder, COUNTER, to, false);
    let facts = vec![
        fact(&foreign, &good),
        fact(&own, &report(&other, COUNTER, to, false)),
        fact(&own, &report(&recorder, "tay-ho-q01", to, false)),
    ];
    // They count as stored, so that the facts behind them come too.
    assert_eq!(recorder.facts(facts).await, 3);
    assert_eq!(shown(stage).await.len(), 0);
    assert_eq!(recorder.facts(vec![fact(&own, &good)]).await, 4);
    assert_eq!(shown(stage).await.len(), 1);
}

async fn a_final_report_is_not_replaced_by_an_earlier_one(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let key = recorder.key.clone();
    let end = MORNING + 9 * 3600 * SECOND;
    for (to, is_final) in [
        (MORNING + SECOND, false),
        (end, true),
        (MORNING + 2 * SECOND, false),
        (end, false),
    ] {
        let report = report(&recorder, COUNTER, to, is_final);
        recorder.facts(vec![fact(&key, &report)]).await;
    }
    let shown = shown(stage).await;
    assert_eq!(shown[0]["is_final"], true);
    assert_eq!(shown[0]["to"], end.to_string());
}

async fn footage_that_cannot_be_shown_again_raises_one_alert(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let stream = STREAM.parse().unwrap();
    let date = stage.centre.date_of(stage.now());
    stage.centre.retrieve_due().await.unwrap();
    assert_eq!(stage.centre.db.retrieval(&stream, date).await.unwrap(), None);
    // Its digest is right, but there is no picture in it.
    let run = start_run(stage, &mut recorder, 0).await;
    upload_whole(stage, &recorder, &segment(&run, 1, 0)).await;
    for _ in 0..2 {
        stage.centre.retrieve_due().await.unwrap();
        let tried = stage.centre.db.retrieval(&stream, date).await.unwrap().unwrap();
        assert!(!tried.is_whole && tried.key.sequence == 1, "{tried:?}");
        let open = stage.centre.db.open_alerts().await.unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].alert.kind, archive::alert::AlertKind::RetrievalFailed);
        stage.advance(900 * SECOND);
    }
    let mut mended = stage.centre.db.retrieval(&stream, date).await.unwrap().unwrap();
    mended.is_whole = true;
    stage.centre.db.put_retrieval(&mended).await.unwrap();
    assert_eq!(stage.centre.db.open_alerts().await.unwrap(), []);
}
