//! Recorders whose clocks are wrong: what they timed is put right, what they said is kept.

use archive::gap::{Gap, GapCause};
use archive::ids::RunId;
use archive::time::{Anchor, BootTime, ClockState, MediaTime, WallTime};
use archive::timeline::Window;
use archive::uplink::{ClockSource, Fact};
use serde_json::json;

use crate::edge::{segment, upload_whole};
use crate::stage::{MORNING, Recorder, SECOND, STREAM, Stage, event};

crate::on_each_database!(
    what_was_timed_by_an_impossible_clock_is_put_right,
    steps_of_the_clock_leave_no_trace_in_the_times,
    a_clock_as_good_as_ours_is_believed,
    a_time_service_counts_until_we_are_heard,
    footage_and_events_that_come_after_the_comparison_are_right_at_once,
);

fn boot(us: i64) -> BootTime {
    BootTime {
        boot: uuid::Uuid::from_u128(42),
        us,
    }
}

/// The machine was started a minute before the stage's morning.
const BOOT: WallTime = WallTime(MORNING.0 - 60 * SECOND);

fn anchor(media_s: i64, boot_s: i64, wall: WallTime) -> Anchor {
    Anchor {
        media: MediaTime(media_s * SECOND),
        wall,
        clock_state: ClockState::Unsynchronized,
        boot: Some(boot(boot_s * SECOND)),
    }
}

fn run_started(run: &RunId, anchor: Anchor) -> Fact {
    Fact::RunStarted {
        run: run.clone(),
        stream: STREAM.parse().unwrap(),
        tracks: Vec::new(),
        anchor,
    }
}

fn measured(boot_s: i64, truth: WallTime, source: ClockSource) -> Fact {
    Fact::ClockMeasured {
        boot: boot(boot_s * SECOND),
        server_wall: truth,
        wall: WallTime(0),
        round_trip_us: 4_000,
        source,
    }
}

fn new_run() -> RunId {
    RunId::from_uuid(uuid::Uuid::now_v7())
}

/// A gap of `clock_step` between two moments as the recorder saw them.
fn step(start: (i64, WallTime), end: (i64, WallTime)) -> Fact {
    Fact::GapSeen {
        gap: Gap {
            gap_id: uuid::Uuid::now_v7(),
            stream: STREAM.parse().unwrap(),
            start: start.1,
            end: Some(end.1),
            start_boot: Some(boot(start.0 * SECOND)),
            end_boot: Some(boot(end.0 * SECOND)),
            cause: GapCause::ClockStep,
            detail: String::new(),
        },
    }
}

/// Spans and gaps of the stream around the morning, in seconds of it.
async fn seen(stage: &Stage) -> (Vec<(i64, i64)>, Vec<(i64, i64)>) {
    let stream = STREAM.parse().unwrap();
    let window = Window {
        start: MORNING - 3600 * SECOND,
        end: MORNING + 3600 * SECOND,
    };
    let place = |at: WallTime| (at - MORNING) / SECOND;
    let spans = stage.centre.db.spans(&stream, window).await.unwrap();
    let gaps = stage.centre.db.gaps(&stream, window).await.unwrap();
    (
        spans
            .iter()
            .map(|s| (place(s.wall.start), place(s.wall.end)))
            .collect(),
        gaps.iter()
            .map(|g| (place(g.start), place(g.end.unwrap())))
            .collect(),
    )
}

async fn upload(stage: &Stage, recorder: &Recorder, run: &RunId, sequence: u64, media_s: i64) {
    upload_whole(stage, recorder, &segment(run, sequence, media_s)).await;
}

async fn what_was_timed_by_an_impossible_clock_is_put_right(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = new_run();
    // Seventy seconds after the boot the machine believes that it is 1970.
    let said = WallTime(70 * SECOND);
    let scan = event(
        "scan",
        "dossier.scanned",
        said,
        json!({"dossier": "H26.17.05-261123-0007"}),
    );
    let facts = vec![
        step((62, said - 8 * SECOND), (70, said)),
        run_started(&run, anchor(0, 70, said)),
        Fact::Event {
            received: said + 1_000,
            received_boot: Some(boot(70 * SECOND + 1_000)),
            event: scan,
        },
    ];
    recorder.facts(facts).await;
    upload(stage, &recorder, &run, 1, 4).await;
    assert_eq!(seen(stage).await, (vec![], vec![]));

    recorder
        .facts(vec![measured(100, BOOT + 100 * SECOND, ClockSource::Server)])
        .await;
    assert_eq!(seen(stage).await, (vec![(14, 18)], vec![(2, 10)]));
    let event = stage.centre.db.event("/test", "scan").await.unwrap().unwrap();
    assert_eq!(event.at, MORNING + 10 * SECOND);
    assert_eq!(event.received, MORNING + 10 * SECOND + 1_000);
    assert_eq!(event.body["time"], said.to_string(), "as it came");
    let stream = stage
        .centre
        .db
        .newest_footage(&STREAM.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(stream, Some(MORNING + 18 * SECOND));
}

async fn steps_of_the_clock_leave_no_trace_in_the_times(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    recorder
        .facts(vec![measured(61, BOOT + 61 * SECOND, ClockSource::Server)])
        .await;
    // Right, an hour ahead, and a second behind: one run each.
    for (sequence, (boot_s, step_s)) in (1..).zip([(70, 0), (80, 3600), (90, -1)]) {
        let run = new_run();
        let wall = |boot_s: i64| BOOT + (boot_s + step_s) * SECOND;
        recorder
            .facts(vec![run_started(&run, anchor(0, boot_s, wall(boot_s)))])
            .await;
        upload(stage, &recorder, &run, sequence, 0).await;
        recorder
            .facts(vec![step(
                (boot_s + 4, wall(boot_s + 4)),
                (boot_s + 10, wall(boot_s + 4)),
            )])
            .await;
    }
    let (spans, gaps) = seen(stage).await;
    assert_eq!(spans, [(10, 14), (20, 24), (30, 34)]);
    assert_eq!(gaps, [(14, 20), (24, 30), (34, 40)]);
}

async fn a_clock_as_good_as_ours_is_believed(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = new_run();
    let truth = BOOT + 70 * SECOND;
    recorder
        .facts(vec![run_started(&run, anchor(0, 70, truth + 30_000))])
        .await;
    upload(stage, &recorder, &run, 1, 0).await;
    let start = || async {
        let clock = stage
            .centre
            .db
            .run_clock(&run, MediaTime(0), MediaTime(0))
            .await
            .unwrap();
        clock.wall(MediaTime(0)).unwrap() - truth
    };
    recorder
        .facts(vec![measured(80, BOOT + 80 * SECOND, ClockSource::Server)])
        .await;
    assert_eq!(start().await, 30_000);
    let worse = Anchor {
        media: MediaTime(0),
        ..anchor(0, 70, truth + 60_000)
    };
    let other = new_run();
    recorder.facts(vec![run_started(&other, worse)]).await;
    let clock = stage
        .centre
        .db
        .run_clock(&other, MediaTime(0), MediaTime(0))
        .await
        .unwrap();
    assert_eq!(clock.wall(MediaTime(0)), Some(truth));
}

async fn a_time_service_counts_until_we_are_heard(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = new_run();
    recorder
        .facts(vec![run_started(&run, anchor(0, 70, WallTime(5 * SECOND)))])
        .await;
    upload(stage, &recorder, &run, 1, 0).await;
    recorder
        .facts(vec![measured(80, BOOT + 83 * SECOND, ClockSource::TimeService)])
        .await;
    assert_eq!(seen(stage).await.0, [(13, 17)]);
    recorder
        .facts(vec![measured(90, BOOT + 90 * SECOND, ClockSource::Server)])
        .await;
    assert_eq!(seen(stage).await.0, [(10, 14)]);
    recorder
        .facts(vec![measured(99, BOOT + 102 * SECOND, ClockSource::TimeService)])
        .await;
    assert_eq!(seen(stage).await.0, [(10, 14)]);
}

async fn footage_and_events_that_come_after_the_comparison_are_right_at_once(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    recorder
        .facts(vec![measured(61, BOOT + 61 * SECOND, ClockSource::Server)])
        .await;
    let run = new_run();
    let said = WallTime(70 * SECOND);
    // A kiosk with a right clock of its own.
    let opened = event("opened", "counter.opened", BOOT + 69 * SECOND, json!({}));
    let facts = vec![
        run_started(&run, anchor(0, 70, said)),
        Fact::Event {
            received: said,
            received_boot: Some(boot(70 * SECOND)),
            event: opened,
        },
    ];
    recorder.facts(facts).await;
    upload(stage, &recorder, &run, 1, 0).await;
    assert_eq!(seen(stage).await.0, [(10, 14)]);
    let event = stage.centre.db.event("/test", "opened").await.unwrap().unwrap();
    assert_eq!(
        (event.at, event.received),
        (BOOT + 69 * SECOND, BOOT + 70 * SECOND)
    );
}
