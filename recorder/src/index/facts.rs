//! The outbox: facts numbered without holes, sent in order, kept until the server has them.

use archive::uplink::{Fact, MAX_FACTS};
use sqlx::{Row, SqliteConnection};

use super::{Index, IndexError, from_json, to_json};

/// The setting that says that the index was made anew.
const REBUILT: &str = "facts_rebuilt";

/// Adds a fact within a transaction, so that it exists exactly if what it tells exists.
pub(super) async fn append(tx: &mut SqliteConnection, fact: &Fact) -> Result<(), IndexError> {
    sqlx::query("insert into fact (json) values ($1)")
        .bind(to_json(fact))
        .execute(tx)
        .await?;
    Ok(())
}

impl Index {
    /// The oldest facts behind `through`, at most [`MAX_FACTS`] or about a megabyte, with the number of the first.
    pub async fn facts_after(&self, through: u64) -> Result<Option<(u64, Vec<Fact>)>, IndexError> {
        const MOST_BYTES: usize = 1024 * 1024;
        let rows = sqlx::query("select number, json from fact where number > $1 order by number limit $2")
            .bind(i64::try_from(through).unwrap_or(i64::MAX))
            .bind(MAX_FACTS as i64)
            .fetch_all(&self.reader)
            .await?;
        let mut first = None;
        let mut facts = Vec::with_capacity(rows.len());
        let mut size_bytes = 0;
        for row in &rows {
            let json: &str = row.try_get(1)?;
            size_bytes += json.len();
            if size_bytes > MOST_BYTES && !facts.is_empty() {
                break;
            }
            first.get_or_insert(row.try_get::<i64, _>(0)? as u64);
            facts.push(from_json("fact.json", json)?);
        }
        Ok(first.map(|first| (first, facts)))
    }

    /// Forgets the facts that the server has stored.
    pub async fn forget_facts(&self, through: u64) -> Result<(), IndexError> {
        sqlx::query("delete from fact where number <= $1")
            .bind(i64::try_from(through).unwrap_or(i64::MAX))
            .execute(&self.writer)
            .await?;
        self.set_setting("facts_through", &through.to_string()).await
    }

    /// Renumbers the outbox to go on behind `through`, if the server has more facts than this index ever numbered
    /// (the index was lost and made anew), or if it was made anew since it last spoke to the server: its numbers are not
    /// those that the server knows.
    pub async fn continue_facts_behind(&self, through: u64) -> Result<(), IndexError> {
        let through = i64::try_from(through).unwrap_or(i64::MAX);
        let mut tx = self.writer.begin().await?;
        let first: Option<i64> = sqlx::query_scalar("select min(number) from fact")
            .fetch_one(&mut *tx)
            .await?;
        let last: i64 =
            sqlx::query_scalar("select coalesce(max(seq), 0) from sqlite_sequence where name = 'fact'")
                .fetch_one(&mut *tx)
                .await?;
        let rebuilt = sqlx::query("delete from setting where name = $1")
            .bind(REBUILT)
            .execute(&mut *tx)
            .await?;
        if last < through || rebuilt.rows_affected() > 0 {
            let shift = through + 1 - first.unwrap_or(last + 1);
            // Twice over the negative side, because a number may not be taken even for a moment.
            sqlx::query("update fact set number = -(number + $1)")
                .bind(shift)
                .execute(&mut *tx)
                .await?;
            sqlx::query("update fact set number = -number where number < 0")
                .execute(&mut *tx)
                .await?;
            sqlx::query("delete from sqlite_sequence where name = 'fact'")
                .execute(&mut *tx)
                .await?;
            sqlx::query("insert into sqlite_sequence (name, seq) values ('fact', $1)")
                .bind(last + shift)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Notes that the facts were made anew, so that their numbers mean nothing to the server.
    pub async fn note_rebuilt(&self) -> Result<(), IndexError> {
        self.set_setting(REBUILT, "yes").await
    }

    /// Facts that the server does not have yet.
    pub async fn pending_facts(&self) -> Result<u64, IndexError> {
        let count: i64 = sqlx::query_scalar("select count(*) from fact")
            .fetch_one(&self.reader)
            .await?;
        Ok(count as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::time::WallTime;

    async fn with_events(count: usize) -> (tempfile::TempDir, Index) {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
        add(&index, 0, count).await;
        (dir, index)
    }

    async fn add(index: &Index, from: usize, count: usize) {
        let disk = tempfile::tempdir().unwrap();
        let volume = crate::record::Volume::create(disk.path()).unwrap();
        let journal = crate::inputs::EventJournal::new(volume);
        for id in from..from + count {
            let json = format!(
                r#"{{"specversion":"1.0","type":"counter.opened","source":"/t","id":"{id}","time":"2026-11-23T08:00:00Z","subject":"q1"}}"#
            );
            let value = serde_json::from_str(&json).unwrap();
            index.store_events(&[value], WallTime(1), &journal).await.unwrap();
        }
    }

    fn ids(facts: &[Fact]) -> Vec<String> {
        facts
            .iter()
            .map(|fact| match fact {
                Fact::Event { event, .. } => event["id"].as_str().unwrap().to_owned(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn gives_facts_in_order_and_forgets_what_is_acknowledged() {
        let (_dir, index) = with_events(5).await;
        let (first, facts) = index.facts_after(0).await.unwrap().unwrap();
        assert_eq!(
            (first, ids(&facts)),
            (1, ["0", "1", "2", "3", "4"].map(String::from).to_vec())
        );
        index.forget_facts(3).await.unwrap();
        add(&index, 5, 1).await;
        let (first, facts) = index.facts_after(3).await.unwrap().unwrap();
        assert_eq!(
            (first, ids(&facts)),
            (4, ["3", "4", "5"].map(String::from).to_vec())
        );
    }

    #[tokio::test]
    async fn numbers_go_on_when_all_facts_were_forgotten() {
        let (_dir, index) = with_events(3).await;
        index.forget_facts(3).await.unwrap();
        assert!(index.facts_after(3).await.unwrap().is_none());
        add(&index, 3, 1).await;
        assert_eq!(index.facts_after(3).await.unwrap().unwrap().0, 4);
    }

    #[tokio::test]
    async fn goes_on_behind_the_server_when_the_index_was_lost() {
        let (_dir, index) = with_events(3).await;
        index.continue_facts_behind(100).await.unwrap();
        let (first, facts) = index.facts_after(100).await.unwrap().unwrap();
        assert_eq!(
            (first, ids(&facts)),
            (101, ["0", "1", "2"].map(String::from).to_vec())
        );
        let (_dir, longer) = with_events(9).await;
        longer.note_rebuilt().await.unwrap();
        longer.continue_facts_behind(5).await.unwrap();
        longer.continue_facts_behind(5).await.unwrap();
        let (first, facts) = longer.facts_after(5).await.unwrap().unwrap();
        assert_eq!(
            (first, facts.len()),
            (6, 9),
            "none of them is one of the five that the server has"
        );

        add(&index, 3, 1).await;
        assert_eq!(index.facts_after(103).await.unwrap().unwrap().0, 104);
    }
}
