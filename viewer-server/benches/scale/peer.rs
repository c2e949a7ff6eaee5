//! The same questions put to plain SQLite on the same file with `LIKE '%…%'`: what one gets without indexes of
//! words. It has an easier task: no session, no rights, no coverage, no JSON, and it must be given the diacritics.

use std::time::Instant;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::city::City;
use crate::{Class, Stage, Taken, calls};

const CALLS: i64 = 5;

/// Prints how much longer the peer takes at the median.
pub async fn compare(stage: &Stage, city: &City) {
    let options = SqliteConnectOptions::new()
        .filename(stage.file())
        .read_only(true)
        .pragma("cache_size", "-65536")
        .pragma("mmap_size", "1073741824")
        .disable_statement_logging();
    let mut peer = options.connect().await.unwrap();
    println!("| same question to plain SQLite, `body LIKE '%…%'` | peer p50 ms | ours p50 ms | ratio |");
    println!("|---|--:|--:|--:|");
    let dossier = |i: i64| city.dossier(city.interactions / 7 * (i + 1)).as_str().to_owned();
    let classes = [
        (
            "q: dossier in lower case",
            "dossier",
            (0..CALLS).map(dossier).collect::<Vec<_>>(),
        ),
        (
            "q: common words",
            "common words",
            vec!["khai sinh".to_owned(); CALLS as usize],
        ),
        (
            "q: rare procedure",
            "rare procedure",
            vec!["yếu tố nước ngoài".to_owned(); CALLS as usize],
        ),
    ];
    let all = calls::all(city);
    for (class, name, words) in classes {
        let class: &Class = all.iter().find(|c| c.name == class).unwrap();
        let (_, ours) = stage.warm(class).await;
        let theirs = ask(&mut peer, &words).await;
        println!(
            "| {name} | {:.1} | {:.2} | {:.2}x |",
            theirs.ms(50),
            ours.ms(50),
            theirs.ms(50) / ours.ms(50)
        );
    }
    peer.close().await.unwrap();
}

async fn ask(peer: &mut SqliteConnection, words: &[String]) -> Taken {
    let mut taken = Vec::new();
    for words in words {
        let began = Instant::now();
        let found = sqlx::query(
            "SELECT interaction_id, body FROM interaction WHERE body LIKE '%' || $1 || '%'
             ORDER BY began_us DESC LIMIT 25",
        )
        .bind(words.as_str())
        .fetch_all(&mut *peer)
        .await
        .unwrap();
        taken.push(began.elapsed());
        assert!(!found.is_empty(), "the peer finds no {words:?}");
    }
    taken.sort();
    Taken(taken)
}
