//! Where others ask for changes of what is recorded: deletions and losses. The writer makes them, as it owns the chains.

use tokio::sync::{mpsc, oneshot};

use super::{Committed, WriteError};
use crate::index::Change;

/// Requests that wait for the writer.
const MOST_WAITING: usize = 16;

/// Asks the writer for changes.
#[derive(Clone)]
pub struct Ledger(mpsc::Sender<Request>);

/// Changes that somebody asks for.
pub struct Request {
    pub(super) changes: Vec<Change>,
    pub(super) answer: oneshot::Sender<Result<Committed, WriteError>>,
}

/// Both ends: one for those who ask, one for the writer.
pub fn ledger() -> (Ledger, mpsc::Receiver<Request>) {
    let (sender, receiver) = mpsc::channel(MOST_WAITING);
    (Ledger(sender), receiver)
}

impl Ledger {
    /// Commits changes, all or none, with their entries in the chains; when this returns they are synced.
    ///
    /// # Errors
    /// If a log or the index does not take them, or the recorder stops.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<Committed, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .send(Request { changes, answer })
            .await
            .map_err(|_| WriteError::Stopped)?;
        answered.await.map_err(|_| WriteError::Stopped)?
    }
}
