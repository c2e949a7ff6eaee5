//! Orders on their way to one recorder: one batch at a time, repeated from the last acknowledged one.

use archive::ids::RecorderId;
use archive::uplink::ToRecorder;

use crate::db::{Db, DbResult};

/// A number acknowledges orders that were never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("order {through} is acknowledged, but {sent} is the last that was sent")]
pub(super) struct NeverSent {
    through: u64,
    sent: u64,
}

/// How far the orders of a session have come.
#[derive(Debug)]
pub(super) struct Orders {
    recorder: RecorderId,
    stored: u64,
    sent: u64,
}

impl Orders {
    /// Goes on behind the last order that the recorder said to have.
    pub fn new(recorder: RecorderId, through: u64) -> Self {
        Self {
            recorder,
            stored: through,
            sent: through,
        }
    }

    /// The next batch, unless one is on its way or there is none.
    pub async fn next(&mut self, db: &Db) -> DbResult<Option<ToRecorder>> {
        if self.sent > self.stored {
            return Ok(None);
        }
        let Some((first, orders)) = db.orders_after(&self.recorder, self.stored).await? else {
            return Ok(None);
        };
        self.sent = first + orders.len() as u64 - 1;
        Ok(Some(ToRecorder::Orders { first, orders }))
    }

    /// Forgets what the recorder has stored.
    pub async fn stored(&mut self, db: &Db, through: u64) -> DbResult<Result<(), NeverSent>> {
        if through > self.sent {
            let sent = self.sent;
            return Ok(Err(NeverSent { through, sent }));
        }
        if through > self.stored {
            db.orders_stored(&self.recorder, through).await?;
            self.stored = through;
        }
        Ok(Ok(()))
    }
}
