//! An index made anew from the disk.

use std::path::Path;
use std::sync::Arc;

use archive::ids::SegmentKey;
use archive::time::SystemClock;

use super::super::*;
use super::stage::*;

/// Settings of a recorder in this folder.
fn settings(root: &Path) -> site_config::recorder::RecorderSettings {
    let file = root.join("recorder.toml");
    let text = format!(
        "site = \"s\"\ndata_dir = {root:?}\nrecordings_dir = {root:?}\n[[counter]]\nid = \"q01\"\nname = \"1\"\n\
         [[counter.stream]]\nviewpoint = \"front\"\n[counter.stream.main]\nkind = \"test\"\n"
    );
    std::fs::write(&file, text).unwrap();
    site_config::load(&file).unwrap()
}

async fn rows(database: &Path, sql: &'static str) -> Vec<String> {
    use sqlx::ConnectOptions as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    rows
}

/// All that the disk of the recordings can tell, as JSON texts.
const TOLD: [&str; 5] = [
    "select json_array(run_id, stream, tracks) from run order by 1",
    "select json_array(run_id, media_us, wall_us, clock_state) from anchor where is_chained order by 1",
    "select json_array(s.stream, s.sequence, s.run_id, s.state, s.init_size_bytes, s.size_bytes, hex(s.sha256),
         s.start_wall_us, s.end_wall_us, s.chain_number, f.offset_bytes, f.size_bytes, f.start_media_us, f.duration_us,
         f.is_keyframe, hex(f.sha256))
     from segment s left join fragment f using (segment_id) where s.state <> 'tombstone' order by 1",
    "select json_array(gap_id, stream, start_wall_us, end_wall_us, cause, detail) from gap order by 1",
    "select json_array(source, id, received_wall_us, json) from event order by 1",
];

async fn told(root: &Path) -> Vec<Vec<String>> {
    let mut told = Vec::new();
    for sql in TOLD {
        told.push(rows(&root.join("recorder.db"), sql).await);
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_made_anew_from_the_disk() {
    let mut place = place(2_000_000).await;
    let root = place.dir.path().to_owned();
    let database = root.join("recorder.db");
    record_once(&mut place).await;
    let journal = crate::inputs::EventJournal::new(place.writer.chains.volume().clone());
    let event = serde_json::json!({"specversion": "1.0", "type": "counter.opened", "source": "/t", "id": "1",
        "time": "2026-11-23T08:00:00Z", "subject": "q1"});
    place
        .index
        .store_events(&[event], SystemClock.wall(), &journal)
        .await
        .unwrap();
    let first = place.index.segments_after(0, 1).await.unwrap().remove(0);
    let deletion = Change::Deleted {
        segment_id: first.segment_id,
        class: crate::retention::Class::Continuous,
        reason: "room was needed".to_owned(),
    };
    place
        .writer
        .chains
        .commit(&place.index, &[deletion])
        .await
        .unwrap();
    std::fs::remove_file(segment_path(&root, &first.key)).unwrap();
    place.index.close().await;
    drop(place.writer);
    let settings = settings(&root);
    let sound = crate::check::check(&settings).await.unwrap();
    assert_eq!(sound.faults, Vec::<String>::new());
    let before = told(&root).await;
    assert!(before.iter().all(|rows| !rows.is_empty()), "{before:?}");

    let damages: [&dyn Fn(); 2] = [&|| std::fs::remove_file(&database).unwrap(), &|| {
        let mut bytes = std::fs::read(&database).unwrap();
        let middle = bytes.len() / 2;
        bytes[4096..middle].fill(0x55);
        std::fs::write(&database, bytes).unwrap();
    }];
    for (number, damage) in damages.into_iter().enumerate() {
        damage();
        let repaired = crate::repair::repair(&settings, Arc::new(SystemClock))
            .await
            .unwrap();
        assert!(repaired.was_wrong.is_some());
        assert_eq!(repaired.events, 1);
        assert_eq!(told(&root).await, before);
        let report = crate::check::check(&settings).await.unwrap();
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(report.segments, sound.segments);
        assert_eq!(root.join("recorder.db.damaged-1").exists(), number == 1);
        let repaired = crate::repair::repair(&settings, Arc::new(SystemClock))
            .await
            .unwrap();
        assert_eq!(repaired.was_wrong, None, "a sound index is left alone");
    }
    // The recorder goes on where it was.
    let mut place = open_place(place.dir, 2_000_000).await;
    record_once(&mut place).await;
    place.index.close().await;
    let report = crate::check::check(&settings).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    assert!(report.segments > sound.segments);

    let victim = segment_path(
        &root,
        &SegmentKey {
            stream: stream(),
            sequence: 2,
        },
    );
    let mut bytes = std::fs::read(&victim).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&victim, bytes).unwrap();
    let log = chain_log::log_path(&root, &stream());
    let mut lines = std::fs::read_to_string(&log).unwrap();
    lines.truncate(lines.trim_end().rfind('\n').unwrap() + 1);
    std::fs::write(&log, lines).unwrap();
    let report = crate::check::check(&settings).await.unwrap();
    assert_eq!(report.faults.len(), 2, "{:?}", report.faults);
}
