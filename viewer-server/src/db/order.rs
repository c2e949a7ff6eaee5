//! Orders to recorders: numbered without holes, kept until the recorder has them.

use archive::ids::{CounterId, RecorderId};
use archive::interaction::{FootageBounds, Interaction};
use archive::time::{DurationUs, WallTime};
use archive::uplink::{MAX_ORDERS, Mark, MarkKind, Order};
use sqlx::{Any, Transaction};

use super::{Db, DbError, DbResult, get, get_id, hold, signed, unsigned};

/// No recorder keeps footage for so long: older interactions are not told of.
const MARKED_FOR_US: DurationUs = 400 * 86_400_000_000;

/// Where orders to a recorder go on when it connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrdersResumed {
    /// Behind what it has.
    Behind,
    /// It had lost what it had been told: all that is in force was ordered anew.
    Anew,
    /// It has more than this database ever gave: what waits was numbered anew behind that.
    Renumbered,
}

/// Orders something within a transaction, so that it is ordered exactly if what led to it is stored; gives the
/// order's number. Poke the recorder's session when the transaction is committed
/// ([`crate::edge::RecorderSessions::poke_orders`]).
pub(super) async fn put_order(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    order: &Order,
) -> DbResult<u64> {
    let row = sqlx::query(
        "UPDATE recorder SET orders_given = orders_given + 1 WHERE recorder_id = $1 RETURNING orders_given",
    )
    .bind(recorder.as_str())
    .fetch_one(&mut **tx)
    .await?;
    let number: i64 = get(&row, "orders_given")?;
    sqlx::query("INSERT INTO edge_order (recorder_id, number, body) VALUES ($1, $2, $3)")
        .bind(recorder.as_str())
        .bind(number)
        .bind(serde_json::to_string(order).map_err(|e| DbError::damaged("order", e))?)
        .execute(&mut **tx)
        .await?;
    Ok(unsigned(number))
}

/// The recorders of a counter's streams.
pub(super) async fn recorders_of(
    tx: &mut Transaction<'static, Any>,
    counter: &CounterId,
) -> DbResult<Vec<RecorderId>> {
    sqlx::query("SELECT DISTINCT recorder_id FROM stream WHERE counter_id = $1 ORDER BY recorder_id")
        .bind(counter.as_str())
        .fetch_all(&mut **tx)
        .await?
        .iter()
        .map(|row| get_id(row, "recorder_id"))
        .collect()
}

/// What the edge must know of an interaction: where and when, and nothing of whom.
pub(super) fn mark_of(interaction: &Interaction) -> Mark {
    mark(
        interaction.interaction_id.to_string(),
        interaction.counter.clone(),
        interaction.footage,
    )
}

fn mark(mark_id: String, counter: CounterId, footage: FootageBounds) -> Mark {
    Mark {
        mark_id,
        kind: MarkKind::Interaction,
        counter,
        from: footage.start,
        to: footage.end,
    }
}

/// Tells the recorders of an interaction's counter what became of it; gives those that were told.
pub(super) async fn order_mark(
    tx: &mut Transaction<'static, Any>,
    before: Option<&Mark>,
    after: Option<&Mark>,
    now: WallTime,
) -> DbResult<Vec<RecorderId>> {
    let after = after.filter(|mark| mark.to.is_none_or(|to| to > now - MARKED_FOR_US));
    if before == after {
        return Ok(Vec::new());
    }
    let mut told = Vec::new();
    if let Some(mark) = after {
        for recorder in recorders_of(tx, &mark.counter).await? {
            put_order(tx, &recorder, &Order::Mark { mark: mark.clone() }).await?;
            told.push(recorder);
        }
    }
    if let Some(before) = before {
        for recorder in recorders_of(tx, &before.counter).await? {
            if !told.contains(&recorder) {
                let mark_id = before.mark_id.clone();
                put_order(tx, &recorder, &Order::Unmark { mark_id }).await?;
                told.push(recorder);
            }
        }
    }
    Ok(told)
}

impl Db {
    /// The oldest orders to a recorder behind `through`, with the number of the first.
    pub async fn orders_after(
        &self,
        recorder: &RecorderId,
        through: u64,
    ) -> DbResult<Option<(u64, Vec<Order>)>> {
        let rows = sqlx::query(
            "SELECT number, body FROM edge_order WHERE recorder_id = $1 AND number > $2 ORDER BY number LIMIT $3",
        )
        .bind(recorder.as_str())
        .bind(signed(through))
        .bind(MAX_ORDERS as i64)
        .fetch_all(&self.reader)
        .await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let first = unsigned(get(first, "number")?);
        let orders = rows.iter().map(|row| {
            serde_json::from_str(get(row, "body")?).map_err(|e| DbError::damaged("edge_order.body", e))
        });
        Ok(Some((first, orders.collect::<DbResult<_>>()?)))
    }

    /// Forgets the orders that a recorder has stored.
    pub async fn orders_stored(&self, recorder: &RecorderId, through: u64) -> DbResult<()> {
        let mut tx = self.write().await?;
        forget_through(&mut tx, recorder, signed(through)).await?;
        Ok(tx.commit().await?)
    }

    /// Puts the orders to a recorder that has those through a number in order.
    pub async fn resume_orders(
        &self,
        recorder: &RecorderId,
        through: u64,
        now: WallTime,
    ) -> DbResult<OrdersResumed> {
        let through = signed(through);
        let mut tx = self.write().await?;
        let row = sqlx::query(
            "UPDATE recorder SET orders_given = orders_given WHERE recorder_id = $1
             RETURNING orders_given, orders_stored",
        )
        .bind(recorder.as_str())
        .fetch_one(&mut *tx)
        .await?;
        let (given, stored): (i64, i64) = (get(&row, "orders_given")?, get(&row, "orders_stored")?);
        let resumed = if through > given {
            renumber(&mut tx, recorder, through).await?;
            OrdersResumed::Renumbered
        } else if through < stored {
            order_all_in_force(&mut tx, recorder, now).await?;
            OrdersResumed::Anew
        } else {
            forget_through(&mut tx, recorder, through).await?;
            OrdersResumed::Behind
        };
        tx.commit().await?;
        Ok(resumed)
    }
}

async fn forget_through(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    through: i64,
) -> DbResult<()> {
    sqlx::query("UPDATE recorder SET orders_stored = $2 WHERE recorder_id = $1 AND orders_stored < $2")
        .bind(recorder.as_str())
        .bind(through)
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM edge_order WHERE recorder_id = $1 AND number <= $2")
        .bind(recorder.as_str())
        .bind(through)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// This database is older than what the recorder was told: what waits goes behind that.
async fn renumber(tx: &mut Transaction<'static, Any>, recorder: &RecorderId, through: i64) -> DbResult<()> {
    let rows = sqlx::query("SELECT body FROM edge_order WHERE recorder_id = $1 ORDER BY number")
        .bind(recorder.as_str())
        .fetch_all(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM edge_order WHERE recorder_id = $1")
        .bind(recorder.as_str())
        .execute(&mut **tx)
        .await?;
    sqlx::query("UPDATE recorder SET orders_given = $2, orders_stored = $2 WHERE recorder_id = $1")
        .bind(recorder.as_str())
        .bind(through)
        .execute(&mut **tx)
        .await?;
    for row in &rows {
        let order =
            serde_json::from_str(get(row, "body")?).map_err(|e| DbError::damaged("edge_order.body", e))?;
        put_again(tx, recorder, &order).await?;
    }
    Ok(())
}

/// Orders once more; a fetch goes by its new number from here on.
async fn put_again(tx: &mut Transaction<'static, Any>, recorder: &RecorderId, order: &Order) -> DbResult<()> {
    let number = put_order(tx, recorder, order).await?;
    if let Order::Fetch { request, .. } = order {
        sqlx::query("UPDATE footage_fetch SET order_number = $2 WHERE fetch_id = $1")
            .bind(request.to_string())
            .bind(signed(number))
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// The recorder lost its index: everything that holds is ordered once more, behind what was given.
async fn order_all_in_force(
    tx: &mut Transaction<'static, Any>,
    recorder: &RecorderId,
    now: WallTime,
) -> DbResult<()> {
    let waiting: Vec<Order> =
        sqlx::query("SELECT body FROM edge_order WHERE recorder_id = $1 ORDER BY number")
            .bind(recorder.as_str())
            .fetch_all(&mut **tx)
            .await?
            .iter()
            .map(|row| {
                serde_json::from_str(get(row, "body")?).map_err(|e| DbError::damaged("edge_order.body", e))
            })
            .collect::<DbResult<_>>()?;
    sqlx::query("DELETE FROM edge_order WHERE recorder_id = $1")
        .bind(recorder.as_str())
        .execute(&mut **tx)
        .await?;
    sqlx::query("UPDATE recorder SET orders_stored = orders_given WHERE recorder_id = $1")
        .bind(recorder.as_str())
        .execute(&mut **tx)
        .await?;
    let interactions = sqlx::query(
        "SELECT interaction_id, counter_id, start_us, end_us FROM interaction
         WHERE counter_id IN (SELECT counter_id FROM stream WHERE recorder_id = $1) AND began_us > $2
         ORDER BY began_us",
    )
    .bind(recorder.as_str())
    .bind((now - MARKED_FOR_US).0)
    .fetch_all(&mut **tx)
    .await?;
    for row in &interactions {
        let footage = FootageBounds {
            start: WallTime(get(row, "start_us")?),
            end: get::<Option<i64>>(row, "end_us")?.map(WallTime),
        };
        let mark = mark(get(row, "interaction_id")?, get_id(row, "counter_id")?, footage);
        put_order(tx, recorder, &Order::Mark { mark }).await?;
    }
    hold::order_holds(tx, recorder).await?;
    let fetches = sqlx::query(
        "SELECT fetch_id, stream_id, from_us, to_us FROM footage_fetch WHERE recorder_id = $1 AND ended_us IS NULL
         ORDER BY made_us",
    )
    .bind(recorder.as_str())
    .fetch_all(&mut **tx)
    .await?;
    for row in &fetches {
        let order = Order::Fetch {
            request: get_id(row, "fetch_id")?,
            stream: get_id(row, "stream_id")?,
            from: WallTime(get(row, "from_us")?),
            to: WallTime(get(row, "to_us")?),
        };
        put_again(tx, recorder, &order).await?;
    }
    // What the rows above say as it is now is not said twice.
    let is_told = |order: &Order| match order {
        Order::Mark { .. } | Order::Fetch { .. } | Order::FetchCancelled { .. } => true,
        Order::Unmark { .. } => false,
    };
    for order in waiting.iter().filter(|order| !is_told(order)) {
        put_order(tx, recorder, order).await?;
    }
    Ok(())
}
