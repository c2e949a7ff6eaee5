//! Orders of the centre: each is done once, in the transaction that counts it.

use archive::uplink::Order;
use sqlx::SqliteConnection;

use super::{Index, IndexError, Rolls, fetches, marks};

const THROUGH: &str = "orders_through";

impl Index {
    /// Number of the last order stored.
    pub async fn orders_through(&self) -> Result<u64, IndexError> {
        let through = self.setting(THROUGH).await?;
        Ok(through.and_then(|number| number.parse().ok()).unwrap_or(0))
    }

    /// Does the orders that are new, all or none; gives the number of the last one stored.
    pub async fn store_orders(&self, first: u64, orders: &[Order]) -> Result<u64, IndexError> {
        let mut tx = self.writer.begin().await?;
        let text: Option<String> = sqlx::query_scalar("select value from setting where name = $1")
            .bind(THROUGH)
            .fetch_optional(&mut *tx)
            .await?;
        let through = text.and_then(|number| number.parse().ok()).unwrap_or(0_u64);
        if first > through + 1 && through > 0 {
            // The centre keeps what is not acknowledged, so it knows of no other.
            tracing::warn!(through, first, "orders leave a hole");
        }
        let known = usize::try_from((through + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        for order in orders.iter().skip(known) {
            obey(&mut tx, order, self.rolls).await?;
        }
        let last = (first + orders.len() as u64).saturating_sub(1).max(through);
        sqlx::query(
            "insert into setting (name, value) values ($1, $2)
             on conflict (name) do update set value = excluded.value",
        )
        .bind(THROUGH)
        .bind(last.to_string())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.note_change();
        Ok(last)
    }
}

async fn obey(tx: &mut SqliteConnection, order: &Order, rolls: Rolls) -> Result<(), IndexError> {
    match order {
        Order::Mark { mark } => marks::put(tx, mark, rolls).await,
        Order::Unmark { mark_id } => marks::remove(tx, mark_id).await,
        Order::Fetch {
            request,
            stream,
            from,
            to,
        } => fetches::put(tx, *request, stream, *from, *to).await,
        Order::FetchCancelled { request } => fetches::remove(tx, *request).await,
    }
}

#[cfg(test)]
mod tests {
    use archive::time::WallTime;
    use archive::uplink::{Mark, MarkKind};

    use super::*;

    fn mark(id: &str, from_s: i64) -> Order {
        Order::Mark {
            mark: Mark {
                mark_id: id.to_owned(),
                kind: MarkKind::Interaction,
                counter: "q01".parse().unwrap(),
                from: WallTime(from_s * 1_000_000),
                to: None,
            },
        }
    }

    async fn marked(index: &Index) -> Vec<(String, i64)> {
        sqlx::query_as("select mark_id, from_us / 1000000 from mark order by mark_id")
            .fetch_all(&index.reader)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn each_order_is_done_once_however_often_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("recorder.db");
        let index = Index::open(&file).await.unwrap();
        assert_eq!(index.orders_through().await.unwrap(), 0);
        assert_eq!(
            index
                .store_orders(1, &[mark("a", 1), mark("b", 2)])
                .await
                .unwrap(),
            2
        );
        let unmark = Order::Unmark {
            mark_id: "a".to_owned(),
        };
        let repeated = [mark("b", 2), unmark, mark("c", 3)];
        assert_eq!(index.store_orders(2, &repeated).await.unwrap(), 4);
        let expected = vec![("b".to_owned(), 2), ("c".to_owned(), 3)];
        assert_eq!(marked(&index).await, expected);
        index.close().await;

        let index = Index::open(&file).await.unwrap();
        assert_eq!(index.orders_through().await.unwrap(), 4);
        // All of these were done before, and the first would undo what came later.
        assert_eq!(
            index
                .store_orders(1, &[mark("a", 1), mark("b", 9)])
                .await
                .unwrap(),
            4
        );
        assert_eq!(marked(&index).await, expected);
    }

    #[tokio::test]
    async fn an_order_that_fails_leaves_those_of_its_batch_undone() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
        sqlx::query("drop table fetch")
            .execute(&index.writer)
            .await
            .unwrap();
        let fetch = Order::Fetch {
            request: uuid::Uuid::now_v7(),
            stream: "q01.front.main".parse().unwrap(),
            from: WallTime(1),
            to: WallTime(2),
        };
        assert!(index.store_orders(1, &[mark("a", 1), fetch]).await.is_err());
        assert_eq!(
            (marked(&index).await, index.orders_through().await.unwrap()),
            (vec![], 0)
        );
    }
}
