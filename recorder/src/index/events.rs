//! Counter events: stored once by source and id, each a fact for the server.

use archive::event::CounterEvent;
use archive::time::{Moment, WallTime};
use archive::uplink::Fact;
use sqlx::SqliteConnection;

use super::{Index, IndexError, facts, to_json};
use crate::inputs::{EventJournal, Journaled};

/// What became of a batch of events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// Events that are new.
    pub accepted: usize,
    /// Events that were known by source and id.
    pub duplicates: usize,
    /// Place in the batch and reason of each that is no counter event.
    pub rejected: Vec<(usize, String)>,
}

impl Index {
    /// Stores events as they came; when this returns they are on the disk, in the journal and here.
    ///
    /// The transaction is open while the journal is written, so that nobody else appends to it.
    pub async fn store_events(
        &self,
        events: &[serde_json::Value],
        received: impl Into<Moment>,
        journal: &EventJournal,
    ) -> Result<Stored, IndexError> {
        let received = received.into();
        let mut fresh = Vec::new();
        let mut stored = Stored::default();
        let mut tx = self.writer.begin().await?;
        for (place, value) in events.iter().enumerate() {
            let event = match CounterEvent::from_value(value) {
                Ok(event) => event,
                Err(e) => {
                    stored.rejected.push((place, e.to_string()));
                    continue;
                }
            };
            if put(&mut tx, &event, value, received).await? {
                stored.accepted += 1;
                fresh.push(value);
            } else {
                stored.duplicates += 1;
            }
        }
        journal
            .append(received.wall, &fresh)
            .await
            .map_err(|source| IndexError::Journal { source })?;
        tx.commit().await?;
        self.note_change();
        Ok(stored)
    }

    /// Takes up events of the journal that the index does not have; gives how many.
    pub async fn adopt_events(&self, events: &[Journaled]) -> Result<usize, IndexError> {
        let mut tx = self.writer.begin().await?;
        let mut adopted = 0;
        for Journaled { received, event } in events {
            if let Ok(read) = CounterEvent::from_value(event)
                && put(&mut tx, &read, event, (*received).into()).await?
            {
                adopted += 1;
            }
        }
        tx.commit().await?;
        self.note_change();
        Ok(adopted)
    }

    /// When the oldest event came in that the server does not have.
    pub async fn oldest_untold_event(&self) -> Result<Option<WallTime>, IndexError> {
        let oldest: Option<i64> = sqlx::query_scalar(
            "select min(json_extract(json, '$.received')) from fact where json_extract(json, '$.fact') = 'event'",
        )
        .fetch_one(&self.reader)
        .await?;
        Ok(oldest.map(WallTime))
    }
}

/// Stores an event; says whether it is new.
async fn put(
    tx: &mut SqliteConnection,
    event: &CounterEvent,
    value: &serde_json::Value,
    received: Moment,
) -> Result<bool, IndexError> {
    let inserted = sqlx::query(
        "insert into event (source, id, received_wall_us, json) values ($1, $2, $3, $4)
         on conflict (source, id) do nothing",
    )
    .bind(&event.source)
    .bind(&event.id)
    .bind(received.wall.0)
    .bind(to_json(value))
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    let fact = Fact::Event {
        received: received.wall,
        received_boot: received.boot,
        event: value.clone(),
    };
    facts::append(tx, &fact).await?;
    Ok(true)
}
