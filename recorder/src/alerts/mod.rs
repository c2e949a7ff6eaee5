//! What is wrong at this recorder and a person should mend: opened and ended here, kept in the index, told to the centre.

mod steadiness;

use std::sync::Arc;

use archive::alert::{Alert, AlertKind};
use archive::ids::StreamId;
use archive::time::{Clock, WallTime};

use crate::index::{Index, IndexError};

pub use steadiness::{Steadiness, Turn};

/// Where rooms report what is wrong. At most one alert of a kind is open for a stream.
#[derive(Clone)]
pub struct Alerts {
    index: Index,
    clock: Arc<dyn Clock>,
}

impl Alerts {
    /// Alerts that are kept in this index.
    pub fn new(index: Index, clock: Arc<dyn Clock>) -> Self {
        Self { index, clock }
    }

    /// Something is wrong, with one stream or with the recorder as a whole. While such an alert is open nothing changes.
    ///
    /// `detail` says what was measured, with units; never personal data.
    ///
    /// # Errors
    /// If the index does not take it.
    pub async fn raise(
        &self,
        kind: AlertKind,
        stream: Option<&StreamId>,
        detail: &str,
    ) -> Result<(), IndexError> {
        self.raise_since(kind, stream, self.clock.wall(), detail).await
    }

    /// As [`Alerts::raise`], of something that has been wrong for a while.
    ///
    /// # Errors
    /// As [`Alerts::raise`].
    pub async fn raise_since(
        &self,
        kind: AlertKind,
        stream: Option<&StreamId>,
        start: WallTime,
        detail: &str,
    ) -> Result<(), IndexError> {
        let alert = Alert {
            alert_id: uuid::Uuid::now_v7(),
            kind,
            stream: stream.cloned(),
            start,
            end: None,
            detail: detail.chars().take(500).collect(),
        };
        if self.index.open_alert(&alert).await? {
            tracing::warn!(?kind, stream = stream.map(StreamId::as_str), detail, "alert");
        }
        // Also for an alert that is open from before a restart.
        gauge(kind, stream).set(1.0);
        Ok(())
    }

    /// It is no longer wrong.
    ///
    /// # Errors
    /// If the index does not take it.
    pub async fn clear(&self, kind: AlertKind, stream: Option<&StreamId>) -> Result<(), IndexError> {
        if self
            .index
            .end_alert(kind, stream, self.clock.wall())
            .await?
            .is_some()
        {
            tracing::info!(?kind, stream = stream.map(StreamId::as_str), "the alert is over");
        }
        gauge(kind, stream).set(0.0);
        Ok(())
    }
}

fn gauge(kind: AlertKind, stream: Option<&StreamId>) -> metrics::Gauge {
    let stream = stream.map_or(String::new(), ToString::to_string);
    metrics::gauge!("recorder_alert_open", "kind" => name(kind), "stream" => stream)
}

/// The kind's name as messages write it.
fn name(kind: AlertKind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use archive::time::SystemClock;
    use archive::uplink::Fact;

    use super::*;

    async fn told(index: &Index) -> Vec<Alert> {
        let facts = index.facts_after(0).await.unwrap().map_or(Vec::new(), |f| f.1);
        facts
            .into_iter()
            .map(|fact| match fact {
                Fact::AlertSeen { alert } => alert,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn one_alert_of_a_kind_is_open_for_a_stream_and_begin_and_end_are_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
        let alerts = Alerts::new(index.clone(), Arc::new(SystemClock));
        let stream: StreamId = "q01.front.main".parse().unwrap();
        let black = AlertKind::PictureBlack;
        alerts.clear(black, Some(&stream)).await.unwrap();
        for detail in ["3 of 255", "2 of 255"] {
            alerts.raise(black, Some(&stream), detail).await.unwrap();
        }
        alerts.raise(AlertKind::DiskLow, None, "1 MB").await.unwrap();
        assert_eq!(index.open_alerts().await.unwrap(), told(&index).await);

        alerts.clear(black, Some(&stream)).await.unwrap();
        alerts.clear(black, Some(&stream)).await.unwrap();
        alerts.raise(black, Some(&stream), "again").await.unwrap();
        let told = told(&index).await;
        let seen: Vec<_> = told
            .iter()
            .map(|a| (a.kind, a.detail.as_str(), a.end.is_some()))
            .collect();
        let low = AlertKind::DiskLow;
        assert_eq!(
            seen,
            [
                (black, "3 of 255", false),
                (low, "1 MB", false),
                (black, "3 of 255", true),
                (black, "again", false)
            ]
        );
        assert_eq!(told[0].alert_id, told[2].alert_id);
        assert_ne!(told[0].alert_id, told[3].alert_id);
    }
}
