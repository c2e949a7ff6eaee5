//! How SQLite goes about what people wait for: along one index, reading no rows but those that are shown.
//!
//! The plans do not depend on what is stored: the service never has the tables analysed, so this holds at any size.

use archive::ids::InteractionId;
use archive::time::WallTime;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyArguments;

use super::footage::segments_in_window;
use super::interaction::IN_WINDOW_OF_COUNTER;
use super::window::{gaps_in_windows, spans_in_windows};
use super::{Cursor, Db, SearchFilter, get};

async fn database() -> (tempfile::TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("plans.db").display());
    let db = Db::open(&url).await.unwrap();
    db.migrate().await.unwrap();
    (folder, db)
}

async fn plan(db: &Db, sql: &str, arguments: AnyArguments) -> Vec<String> {
    let rows = sqlx::query_with(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")), arguments)
        .fetch_all(&db.reader)
        .await
        .unwrap();
    rows.iter().map(|row| get(row, "detail").unwrap()).collect()
}

fn texts(values: &[&str]) -> Option<Vec<String>> {
    Some(values.iter().map(|v| (*v).to_owned()).collect())
}

fn ids<T: std::str::FromStr<Err: std::fmt::Debug>>(values: &[&str]) -> Option<Vec<T>> {
    Some(values.iter().map(|v| v.parse().unwrap()).collect())
}

/// Each search and the index that leads it.
fn searches() -> Vec<(&'static str, SearchFilter)> {
    let any = SearchFilter::default;
    let sites = || ids(&["ba-dinh-1", "tay-ho-1"]);
    let counters = || ids(&["ba-dinh-q01"]);
    let ticket = || Some((Some("a".to_owned()), "123".to_owned()));
    let day = || (Some(WallTime(1)), Some(WallTime(2)));
    let (from, to) = day();
    let many: Vec<_> = (0..150).map(|n| format!("site-{n}").parse().unwrap()).collect();
    let some: Vec<_> = (0..20).map(|n| format!("site-{n}").parse().unwrap()).collect();
    vec![
        (
            "interaction_by_procedure",
            SearchFilter {
                procedures: texts(&["p"]),
                sites: Some(some.clone()),
                from,
                to,
                ..any()
            },
        ),
        (
            "interaction_by_site_procedure",
            SearchFilter {
                procedures: texts(&["p"]),
                sites: Some(some),
                ..any()
            },
        ),
        (
            "interaction_dossier_by_code",
            SearchFilter {
                dossiers: texts(&["a"]),
                ..any()
            },
        ),
        (
            "interaction_dossier_by_code",
            SearchFilter {
                dossiers: texts(&["a", "b"]),
                sites: sites(),
                from,
                to,
                ..any()
            },
        ),
        (
            "interaction_by_ticket",
            SearchFilter {
                ticket: ticket(),
                ..any()
            },
        ),
        (
            "interaction_by_ticket",
            SearchFilter {
                ticket: ticket(),
                sites: sites(),
                from,
                to,
                ..any()
            },
        ),
        (
            "interaction_by_ticket",
            SearchFilter {
                ticket: ticket(),
                counters: counters(),
                officers: texts(&["o"]),
                procedures: texts(&["p", "q"]),
                rating_max: Some(25.0),
                ..any()
            },
        ),
        (
            "interaction_by_officer",
            SearchFilter {
                officers: texts(&["o", "p"]),
                ..any()
            },
        ),
        (
            "interaction_by_officer",
            SearchFilter {
                officers: texts(&["o"]),
                procedures: texts(&["p"]),
                counters: counters(),
                sites: sites(),
                ..any()
            },
        ),
        (
            "interaction_by_counter",
            SearchFilter {
                counters: counters(),
                sites: sites(),
                rating_max: Some(25.0),
                ..any()
            },
        ),
        (
            "interaction_by_counter_procedure",
            SearchFilter {
                counters: counters(),
                procedures: texts(&["p", "q"]),
                sites: sites(),
                ..any()
            },
        ),
        (
            "interaction_by_procedure",
            SearchFilter {
                procedures: texts(&["p", "q"]),
                from,
                to,
                ..any()
            },
        ),
        (
            "interaction_by_site_procedure",
            SearchFilter {
                procedures: texts(&["p", "q"]),
                sites: sites(),
                ..any()
            },
        ),
        (
            "interaction_by_procedure",
            SearchFilter {
                procedures: texts(&["p"]),
                sites: Some(many.clone()),
                ..any()
            },
        ),
        (
            "interaction_by_site",
            SearchFilter {
                sites: sites(),
                rating_max: Some(25.0),
                ..any()
            },
        ),
        (
            "interaction_by_began",
            SearchFilter {
                sites: Some(many),
                rating_max: Some(25.0),
                ..any()
            },
        ),
        ("interaction_by_began", any()),
    ]
}

#[tokio::test]
async fn each_search_goes_along_one_covering_index() {
    let (_folder, db) = database().await;
    let cursor = Cursor {
        began: WallTime(5),
        interaction: InteractionId::from_uuid(uuid::Uuid::nil()),
    };
    for (index, filter) in searches() {
        for cursor in [None, Some(cursor.clone())] {
            let filter = SearchFilter {
                cursor,
                ..filter.clone()
            };
            for (sql, arguments) in filter.statements(26).unwrap() {
                let lines = plan(&db, &sql, arguments).await;
                let text = lines.join("\n");
                let led: Vec<_> = lines
                    .iter()
                    .filter(|l| l.contains(" USING COVERING INDEX "))
                    .collect();
                assert!(!led.is_empty(), "{filter:?}\n{text}");
                for line in led {
                    assert!(
                        line.contains(&format!(" {index} ")) || line.ends_with(&format!(" {index}")),
                        "{filter:?}\n{text}"
                    );
                    let is_all = line.starts_with("SCAN");
                    assert!(!is_all || index == "interaction_by_began", "{filter:?}\n{text}");
                }
                for pair in lines.windows(2) {
                    // What is sorted is a page at most.
                    let is_sort = pair[1].starts_with("USE TEMP B-TREE");
                    assert!(!is_sort || pair[0] == "SCAN branch", "{filter:?}\n{text}");
                }
                for line in &lines {
                    assert!(
                        !["SCAN i", "SCAN d"].contains(&line.as_str()),
                        "{filter:?}\n{text}"
                    );
                    assert!(!line.contains("USING INDEX"), "reads rows: {filter:?}\n{text}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_timeline_shows_is_found_by_place_and_time() {
    let (_folder, db) = database().await;
    let cases = [
        (
            segments_in_window(),
            "segment_by_time (stream_id=? AND start_us>? AND start_us<?)",
        ),
        (
            spans_in_windows(3),
            "COVERING INDEX segment_by_time (stream_id=? AND start_us>? AND start_us<?)",
        ),
        (
            IN_WINDOW_OF_COUNTER.to_owned(),
            "COVERING INDEX interaction_by_counter (counter_id=? AND began_us>? AND began_us<?)",
        ),
        (gaps_in_windows(3), "gap_by_end (stream_id=? AND end_us>?)"),
    ];
    for (sql, expected) in cases {
        let lines = plan(&db, &sql, AnyArguments::default()).await;
        let text = lines.join("\n");
        assert!(text.contains(expected), "{text}");
        let is_of_question = |line: &str| line.contains("asked") || line.contains("CONSTANT ROW");
        assert!(
            !lines.iter().any(|l| l.starts_with("SCAN") && !is_of_question(l)),
            "{text}"
        );
    }
}
