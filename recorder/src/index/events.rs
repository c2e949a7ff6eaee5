//! Counter events: stored once by source and id, each a fact for the server.

use archive::event::CounterEvent;
use archive::time::WallTime;
use archive::uplink::Fact;

use super::{Index, IndexError, facts, to_json};

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
    /// Stores events as they came; when this returns they are on the disk.
    pub async fn store_events(
        &self,
        events: &[serde_json::Value],
        received: WallTime,
    ) -> Result<Stored, IndexError> {
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
            let inserted = sqlx::query(
                "insert into event (source, id, received_wall_us, json) values ($1, $2, $3, $4)
                 on conflict (source, id) do nothing",
            )
            .bind(&event.source)
            .bind(&event.id)
            .bind(received.0)
            .bind(to_json(value))
            .execute(&mut *tx)
            .await?;
            if inserted.rows_affected() == 0 {
                stored.duplicates += 1;
                continue;
            }
            stored.accepted += 1;
            let fact = Fact::Event {
                received,
                event: value.clone(),
            };
            facts::append(&mut tx, &fact).await?;
        }
        tx.commit().await?;
        self.note_change();
        Ok(stored)
    }
}
