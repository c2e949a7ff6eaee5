//! Fills the catalogue with the city: rows in the order in which they would have come, indexes afterwards.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use archive::fmp4::index;
use archive::segment::GopRange;
use archive::time::MediaTime;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, QueryBuilder, Row as _};
use viewer_server::db::{TermKind, term_id};
use viewer_server::words::{fold_dossier, fold_number, fold_series};

use crate::city::{self, COUNTERS, COUNTERS_PER_SITE, City, MINUTE_US, MINUTES, OFFICERS, SITES};

/// Rows of one statement.
const BATCH: i64 = 500;
/// Minutes of one statement: 40,000 segments.
const MINUTES_AT_ONCE: i64 = 100;

/// Says how far it is, at most once a second.
struct Progress {
    what: &'static str,
    all: i64,
    began: Instant,
    said: Instant,
}

impl Progress {
    fn new(what: &'static str, all: i64) -> Self {
        let now = Instant::now();
        Self {
            what,
            all,
            began: now,
            said: now,
        }
    }

    fn at(&mut self, done: i64) {
        if self.said.elapsed().as_secs() < 1 && done < self.all {
            return;
        }
        self.said = Instant::now();
        let seconds = self.began.elapsed().as_secs();
        eprint!(
            "\r  {}: {done} of {} ({} %), {seconds} s ",
            self.what,
            self.all,
            100 * done / self.all
        );
        if done >= self.all {
            eprintln!();
        }
        let _ = std::io::stderr().flush();
    }
}

/// Fills the tables of a migrated database that holds the units and sites only.
pub async fn fill(file: &Path, city: &City) {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .disable_statement_logging();
    let mut to = options.connect().await.unwrap();
    // Nobody else is there, and a file half filled is thrown away.
    run(
        &mut to,
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
         PRAGMA foreign_keys = OFF; PRAGMA cache_size = -600000; PRAGMA temp_store = MEMORY; PRAGMA threads = 2;",
    )
    .await;
    let indexes = take_indexes(&mut to).await;
    places(&mut to).await;
    runs(&mut to, city).await;
    segments(&mut to, city).await;
    vocabulary(&mut to).await;
    interactions(&mut to, city).await;
    let mut progress = Progress::new("indexes", indexes.len() as i64);
    for (i, index) in indexes.iter().enumerate() {
        run(&mut to, index).await;
        progress.at(i as i64 + 1);
    }
    run(
        &mut to,
        "PRAGMA locking_mode = NORMAL; PRAGMA journal_mode = WAL;",
    )
    .await;
    to.close().await.unwrap();
}

async fn run(to: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(to)
        .await
        .unwrap();
}

/// Drops the indexes of the large tables and returns how to make them.
async fn take_indexes(to: &mut SqliteConnection) -> Vec<String> {
    let rows = sqlx::query(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
            AND tbl_name IN ('segment', 'interaction', 'interaction_dossier') ORDER BY name",
    )
    .fetch_all(&mut *to)
    .await
    .unwrap();
    let mut indexes = Vec::new();
    for row in rows {
        run(to, &format!("DROP INDEX {}", row.get::<&str, _>("name"))).await;
        indexes.push(row.get::<String, _>("sql"));
    }
    indexes
}

async fn places(to: &mut SqliteConnection) {
    for n in 0..SITES {
        let sql = format!(
            "INSERT INTO recorder (recorder_id, site_id, name, public_key, enrolled_us)
             VALUES ('{}', '{}', 'bench', '{}', 0)",
            city::recorder(n),
            city::site(n),
            "0".repeat(64)
        );
        run(to, &sql).await;
    }
    run(
        to,
        "CREATE TEMP TABLE place (n INTEGER PRIMARY KEY, stream TEXT, recorder TEXT, init TEXT)",
    )
    .await;
    for n in 0..COUNTERS {
        let (counter, stream) = (city::counter(n), city::stream(n));
        let site = n / COUNTERS_PER_SITE;
        let recorder = city::recorder(site);
        let sql = format!(
            "INSERT INTO counter VALUES ('{counter}', '{}', 'Quầy {:02}');
             INSERT INTO stream (stream_id, counter_id, recorder_id, has_audio, video_codec, audio_codec, width, height)
                VALUES ('{stream}', '{counter}', '{recorder}', 1, 'avc1.640028', 'opus', 1920, 1080);
             INSERT INTO place VALUES ({n}, '{stream}', '{recorder}', '{:064x}')",
            city::site(site),
            n % COUNTERS_PER_SITE + 1,
            city::mixed(n)
        );
        run(to, &sql).await;
    }
}

/// One run a day, and the night before it as a gap.
async fn runs(to: &mut SqliteConnection, city: &City) {
    run(
        to,
        "CREATE TEMP TABLE daily (day INTEGER, n INTEGER, run TEXT, PRIMARY KEY (day, n)); BEGIN",
    )
    .await;
    for day in 0..city.days() {
        let opening = city.opening(day).0;
        for n in 0..COUNTERS {
            let (id, stream) = (city::run(n, day), city::stream(n));
            let recorder = city::recorder(n / COUNTERS_PER_SITE);
            let gap = uuid::Uuid::from_u128(u128::from(city::mixed(day * COUNTERS + n)));
            let night = opening - 14 * 60 * MINUTE_US;
            let sql = format!(
                "INSERT INTO daily VALUES ({day}, {n}, '{id}');
                 INSERT INTO run VALUES ('{id}', '{stream}', '{recorder}', '[]', {opening}, 1);
                 INSERT INTO gap VALUES ('{gap}', '{recorder}', '{stream}', {night}, {opening}, 'paused_by_rule', '')"
            );
            run(to, &sql).await;
        }
    }
    run(to, "COMMIT").await;
}

async fn segments(to: &mut SqliteConnection, city: &City) {
    run(to, "CREATE TEMP TABLE minute (k INTEGER PRIMARY KEY, gops BLOB)").await;
    for k in 0..MINUTES {
        let mut offset_bytes = 800;
        let gops: Vec<_> = (0..30)
            .map(|g| {
                let size_bytes = 600_000 + city::mixed(k * 30 + g) % 800_000;
                let start = MediaTime(k * MINUTE_US + g * 2_000_000);
                let gop = GopRange {
                    offset_bytes,
                    size_bytes,
                    start,
                    duration_us: 2_000_000,
                };
                offset_bytes += size_bytes;
                gop
            })
            .collect();
        let insert = sqlx::query("INSERT INTO minute VALUES ($1, $2)")
            .bind(k)
            .bind(index::encode(&gops));
        insert.execute(&mut *to).await.unwrap();
    }
    let mut progress = Progress::new("segments", city.segments);
    let mut done = 0;
    for day in 0..city.days() {
        for first in (0..MINUTES).step_by(MINUTES_AT_ONCE as usize) {
            let left = (city.segments - done) / COUNTERS;
            let minutes = left.min(MINUTES_AT_ONCE);
            let opening = city.opening(day).0;
            let sql = format!(
                "INSERT INTO segment SELECT p.stream, {day} * {MINUTES} + m.k + 1, p.recorder, d.run,
                    {opening} + m.k * {MINUTE_US}, {opening} + (m.k + 1) * {MINUTE_US}, m.k * {MINUTE_US},
                    (m.k + 1) * {MINUTE_US}, 30000800, 800, p.init, lower(hex(randomblob(32))), m.gops,
                    {opening} + (m.k + 2) * {MINUTE_US}
                 FROM temp.minute m CROSS JOIN temp.place p CROSS JOIN temp.daily d ON d.day = {day} AND d.n = p.n
                 WHERE m.k >= {first} AND m.k < {first} + {minutes} ORDER BY m.k, p.n"
            );
            run(to, &sql).await;
            done += minutes * COUNTERS;
            progress.at(done);
        }
    }
}

async fn vocabulary(to: &mut SqliteConnection) {
    for label in city::procedures() {
        let id = term_id(TermKind::Procedure, &label);
        run(
            to,
            &format!("INSERT INTO vocabulary VALUES ('{id}', 'procedure', '', '{label}', 0)"),
        )
        .await;
    }
    for n in 0..OFFICERS {
        let officer = city::officer(n);
        let id = term_id(TermKind::Officer, &officer.code);
        let name = officer.name.unwrap_or_default();
        run(
            to,
            &format!(
                "INSERT INTO vocabulary VALUES ('{id}', 'officer', '{}', '{name}', 0)",
                officer.code
            ),
        )
        .await;
    }
}

async fn interactions(to: &mut SqliteConnection, city: &City) {
    let mut progress = Progress::new("interactions", city.interactions);
    let mut first = 0;
    while first < city.interactions {
        let end = (first + BATCH).min(city.interactions);
        let all: Vec<_> = (first..end).map(|n| city.interaction(n)).collect();
        let mut rows = QueryBuilder::new(
            "INSERT INTO interaction (interaction_id, site_id, counter_id, business_date, state, began_us, start_us,
                end_us, ticket_series, ticket_number, procedure_id, officer_id, rating_percent, revision, body) ",
        );
        rows.push_values(&all, |mut row, i| {
            let ticket = i.ticket.as_ref().unwrap();
            row.push_bind(i.interaction_id.as_str())
                .push_bind(i.site.as_str())
                .push_bind(i.counter.as_str())
                .push_bind(ticket.business_date.to_string())
                .push_bind(i.state.as_str())
                .push_bind(i.began().0)
                .push_bind(i.footage.start.0)
                .push_bind(i.footage.end.map(|end| end.0))
                .push_bind(fold_series(&ticket.series))
                .push_bind(fold_number(&ticket.number))
                .push_bind(i.procedure.as_ref().map(|p| term_id(TermKind::Procedure, p)))
                .push_bind(i.officer.as_ref().map(|o| term_id(TermKind::Officer, &o.code)))
                .push_bind(i.rating.as_ref().map(|r| r.percent))
                .push_bind(1_i64)
                .push_bind(serde_json::to_string(i).unwrap());
        });
        let mut links = QueryBuilder::new(
            "INSERT INTO interaction_dossier (interaction_id, code, folded, began_us, site_id) ",
        );
        links.push_values(&all, |mut row, i| {
            let code = &i.dossiers[0].code;
            row.push_bind(i.interaction_id.as_str())
                .push_bind(code.as_str())
                .push_bind(fold_dossier(code))
                .push_bind(i.began().0)
                .push_bind(i.site.as_str());
        });
        let mut tx = to.begin().await.unwrap();
        rows.build().execute(&mut *tx).await.unwrap();
        links.build().execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        first = end;
        progress.at(first);
    }
}
