//! One box, and filters beside it.

use serde_json::{Value, json};
use viewer_server::access::Role;

use crate::stage::{MORNING, SECOND, STREAM, Stage, visit};

crate::on_each_database!(
    finds_by_whatever_is_typed,
    pages_are_newest_first_without_repeats,
    a_dossier_shows_every_visit_oldest_first,
);

const DOSSIER: &str = "H26.17.05-250701-0001";

async fn labels(stage: &Stage, cookie: &str, query: &str) -> Vec<String> {
    let answer = stage.get(cookie, &format!("/api/v1/interactions?{query}")).await;
    let found = answer.json();
    let items = found["items"]
        .as_array()
        .unwrap_or_else(|| panic!("{query}: {found}"));
    items
        .iter()
        .map(|i| i["ticket"]["label"].as_str().unwrap().to_owned())
        .collect()
}

async fn some_visits(stage: &Stage) -> String {
    let _recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    stage.advance(3600 * SECOND);
    for i in 0..6 {
        let dossier = if i % 3 == 0 {
            DOSSIER.to_owned()
        } else {
            format!("H26.17.05-250701-000{}", i + 1)
        };
        stage
            .post_events(&visit(
                &format!("000{}", i + 1),
                MORNING + i * 300 * SECOND,
                &dossier,
            ))
            .await;
    }
    stage.sign_in("hoa", Role::ComplaintHandler, "ba-dinh").await
}

async fn finds_by_whatever_is_typed(stage: &Stage) {
    let cookie = some_visits(stage).await;
    let all = ["A0006", "A0005", "A0004", "A0003", "A0002", "A0001"];
    let cases: &[(&str, &[&str])] = &[
        ("", &all),
        ("q=h26.17.05-250701-0001", &["A0004", "A0001"]),
        ("dossier=h26.17.05-250701-0001", &["A0004", "A0001"]),
        ("q=A0003", &["A0003"]),
        ("q=a03", &["A0003"]),
        ("ticket=A3", &["A0003"]),
        ("ticket=B3", &[]),
        ("q=khai%20sinh", &all),
        ("q=dang%20ky%20khai%20sinh", &all),
        ("q=tran%20thi%20hoa", &all),
        ("q=NV017", &all),
        ("officer=nv017", &all),
        ("officer=nv018", &[]),
        ("q=ket%20hon", &[]),
        ("q=A0003%20khai%20sinh", &["A0003"]),
        ("counter=ba-dinh-q01&limit=2", &["A0006", "A0005"]),
        ("q=khai%20sinh&counter=ba-dinh-q01&limit=2", &["A0006", "A0005"]),
        ("q=khai%20sinh&counter=ba-dinh-q02", &[]),
        ("ticket=A3&counter=ba-dinh-q01&officer=nv017", &["A0003"]),
        ("ticket=A3&officer=nv018", &[]),
        ("officer=nv017&rating_max=100&q=khai%20sinh&limit=1", &["A0006"]),
        ("dossier=h26.17.05-250701-0001&officer=nv017", &["A0004", "A0001"]),
        ("dossier=h26.17.05-250701-0001&officer=nv018", &[]),
        ("site=tay-ho-1", &[]),
        ("rating_max=50", &[]),
        ("rating_max=100&limit=1", &["A0006"]),
        ("from=2026-11-23T01:20:00Z", &["A0006", "A0005"]),
        ("to=2026-11-23T01:05:00Z", &["A0001"]),
        ("q=23/11/2026&limit=1", &["A0006"]),
        ("q=22/11/2026", &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(labels(stage, &cookie, query).await, *expected, "{query}");
    }
    let understood = stage.get(&cookie, "/api/v1/interactions?q=A0003").await.json()["understood"].clone();
    assert_eq!(understood[0]["kind"], "ticket");
    assert_eq!(
        (understood[0]["start"].as_u64(), understood[0]["end"].as_u64()),
        (Some(0), Some(5))
    );
}

async fn pages_are_newest_first_without_repeats(stage: &Stage) {
    let cookie = some_visits(stage).await;
    for query in ["", "q=khai%20sinh&", "counter=ba-dinh-q01&"] {
        let mut seen = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let more = cursor
                .as_str()
                .map_or_else(String::new, |c| format!("&cursor={c}"));
            let page = stage
                .get(&cookie, &format!("/api/v1/interactions?{query}limit=4{more}"))
                .await
                .json();
            seen.extend(
                page["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|i| i["ticket"]["label"].clone()),
            );
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        let expected = ["A0006", "A0005", "A0004", "A0003", "A0002", "A0001"];
        assert_eq!(seen, expected.map(|l| json!(l)), "{query}");
    }
}

async fn a_dossier_shows_every_visit_oldest_first(stage: &Stage) {
    let cookie = some_visits(stage).await;
    let mut status = crate::stage::event(
        "s",
        "dossier.status_changed",
        MORNING + 900 * SECOND,
        json!({"dossier": DOSSIER, "status": "Đã trả kết quả"}),
    );
    status["source"] = json!("/dossier-software");
    stage.post_events(&status).await;
    let dossier = stage
        .get(&cookie, &format!("/api/v1/dossiers/{}", DOSSIER.to_lowercase()))
        .await
        .json();
    assert_eq!(dossier["code"], DOSSIER);
    assert_eq!(dossier["is_known_pattern"], true);
    let visits: Vec<_> = dossier["visits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["ticket"]["label"].clone())
        .collect();
    assert_eq!(visits, [json!("A0001"), json!("A0004")]);
    assert_eq!(dossier["statuses"][0]["status"], "Đã trả kết quả");
    let elsewhere = stage.sign_in("nga", Role::ComplaintHandler, "tay-ho").await;
    assert_eq!(
        stage
            .get(&elsewhere, &format!("/api/v1/dossiers/{DOSSIER}"))
            .await
            .code(),
        "not_found"
    );
}
