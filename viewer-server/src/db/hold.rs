//! Holds: footage of a counter that nobody deletes until it is released.

use archive::ids::{CounterId, RecorderId};
use archive::time::WallTime;
use archive::uplink::{Mark, MarkKind, Order};
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};

use super::order::{put_order, recorders_of};
use super::{Db, DbResult, get, get_id};

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// A UUID.
    pub hold_id: uuid::Uuid,
    /// Whose footage, in all its streams.
    pub counter: CounterId,
    /// From when.
    pub from: WallTime,
    /// Until when.
    pub to: WallTime,
    /// For people, e.g. the number of a case.
    pub reason: String,
    /// Who placed it.
    pub placed_by: String,
    /// When.
    pub placed: WallTime,
    /// Who released it, and when; `None` while it is in force.
    pub released: Option<(String, WallTime)>,
}

impl Hold {
    fn order(&self) -> Order {
        Order::Mark {
            mark: Mark {
                mark_id: self.hold_id.to_string(),
                kind: MarkKind::Hold,
                counter: self.counter.clone(),
                from: self.from,
                to: Some(self.to),
            },
        }
    }
}

impl Db {
    /// Places a hold and orders it at the recorders of its counter, both or neither; gives those recorders.
    pub async fn put_hold(&self, hold: &Hold) -> DbResult<Vec<RecorderId>> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO hold (hold_id, counter_id, from_us, to_us, reason, placed_by, placed_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(hold.hold_id.to_string())
        .bind(hold.counter.as_str())
        .bind(hold.from.0)
        .bind(hold.to.0)
        .bind(hold.reason.as_str())
        .bind(hold.placed_by.as_str())
        .bind(hold.placed.0)
        .execute(&mut *tx)
        .await?;
        let recorders = recorders_of(&mut tx, &hold.counter).await?;
        for recorder in &recorders {
            put_order(&mut tx, recorder, &hold.order()).await?;
        }
        tx.commit().await?;
        Ok(recorders)
    }

    /// Releases a hold and orders so; gives the recorders of its counter, or `None` if it is not in force.
    pub async fn release_hold(
        &self,
        hold: &uuid::Uuid,
        username: &str,
        now: WallTime,
    ) -> DbResult<Option<Vec<RecorderId>>> {
        let mut tx = self.write().await?;
        let row = sqlx::query(
            "UPDATE hold SET released_by = $2, released_us = $3 WHERE hold_id = $1 AND released_us IS NULL
             RETURNING counter_id",
        )
        .bind(hold.to_string())
        .bind(username)
        .bind(now.0)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let recorders = recorders_of(&mut tx, &get_id(&row, "counter_id")?).await?;
        for recorder in &recorders {
            let mark_id = hold.to_string();
            put_order(&mut tx, recorder, &Order::Unmark { mark_id }).await?;
        }
        tx.commit().await?;
        Ok(Some(recorders))
    }

    /// One hold.
    pub async fn hold(&self, hold: &uuid::Uuid) -> DbResult<Option<Hold>> {
        sqlx::query("SELECT * FROM hold WHERE hold_id = $1")
            .bind(hold.to_string())
            .fetch_optional(&self.reader)
            .await?
            .map(|row| read(&row))
            .transpose()
    }

    /// The holds, of one counter if it is given, newest first.
    pub async fn holds(&self, counter: Option<&CounterId>) -> DbResult<Vec<Hold>> {
        sqlx::query(
            "SELECT * FROM hold WHERE counter_id = $1 OR $1 IS NULL ORDER BY placed_us DESC, hold_id LIMIT 1000",
        )
        .bind(counter.map(|c| c.as_str().to_owned()))
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(read)
        .collect()
    }
}

/// Orders all holds in force that concern a recorder.
pub(super) async fn order_holds(tx: &mut Transaction<'static, Any>, recorder: &RecorderId) -> DbResult<()> {
    let holds = sqlx::query(
        "SELECT * FROM hold WHERE released_us IS NULL
             AND counter_id IN (SELECT counter_id FROM stream WHERE recorder_id = $1)
         ORDER BY placed_us, hold_id",
    )
    .bind(recorder.as_str())
    .fetch_all(&mut **tx)
    .await?;
    for row in &holds {
        put_order(tx, recorder, &read(row)?.order()).await?;
    }
    Ok(())
}

fn read(row: &AnyRow) -> DbResult<Hold> {
    let released_by: Option<String> = get(row, "released_by")?;
    let released_us: Option<i64> = get(row, "released_us")?;
    Ok(Hold {
        hold_id: get_id(row, "hold_id")?,
        counter: get_id(row, "counter_id")?,
        from: WallTime(get(row, "from_us")?),
        to: WallTime(get(row, "to_us")?),
        reason: get(row, "reason")?,
        placed_by: get(row, "placed_by")?,
        placed: WallTime(get(row, "placed_us")?),
        released: released_by.zip(released_us.map(WallTime)),
    })
}
