//! Counter events as they came, append-only.

use archive::dossier;
use archive::event::{CounterEvent, InvalidEvent};
use archive::ids::{CounterId, RecorderId, SiteId};
use archive::interaction::{InteractionSettings, SiteEvent};
use archive::time::{BootTime, DurationUs, WallTime};
use archive::timeline::Window;
use jiff::tz::TimeZone;
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};

use super::clock::{EventFix, event_fix, happened};
use super::{Db, DbError, DbResult, get};

/// An event, checked, on its way into the catalogue.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// As understood.
    pub event: CounterEvent,
    /// When recorder or server got it.
    pub received: WallTime,
    /// When it counts to have happened.
    pub at: WallTime,
    /// Folded code of the dossier that it names.
    pub dossier_folded: Option<String>,
    /// As it came.
    pub body: String,
    /// What its times are off.
    fix: EventFix,
    /// The recorder that received it, and when by its clock that is never set.
    edge: Option<(RecorderId, BootTime)>,
}

impl NewEvent {
    /// Checks an event.
    ///
    /// # Errors
    /// [`InvalidEvent`] names the field and what was expected.
    pub fn read(
        json: &serde_json::Value,
        received: WallTime,
        settings: &InteractionSettings,
    ) -> Result<Self, InvalidEvent> {
        let body = json.to_string();
        if body.len() > archive::event::MAX_EVENT_BYTES {
            return Err(InvalidEvent::TooLarge(body.len()));
        }
        let event = CounterEvent::from_value(json)?;
        let dossier_folded =
            event.data.dossier.as_deref().map(|code| {
                crate::words::fold_dossier(&dossier::accept(code, &settings.dossier_patterns).code)
            });
        Ok(Self {
            at: happened(event.device_time, received, settings.clock_tolerance_us),
            event,
            received,
            dossier_folded,
            body,
            fix: EventFix::default(),
            edge: None,
        })
    }

    /// An event that came over a recorder, whose clock may have been wrong at `received`; `truth` is the true time then.
    pub(super) fn over(
        mut self,
        recorder: &RecorderId,
        boot: Option<BootTime>,
        truth: Option<WallTime>,
        settings: &InteractionSettings,
    ) -> Self {
        self.edge = boot.map(|boot| (recorder.clone(), boot));
        self.fix = event_fix(self.event.device_time, self.received, truth);
        self.at = happened(
            self.event.device_time + self.fix.device_us,
            self.received + self.fix.received_us,
            settings.clock_tolerance_us,
        );
        self
    }
}

/// An event as stored.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// As understood.
    pub event: CounterEvent,
    /// When recorder or server got it.
    pub received: WallTime,
    /// When it counts to have happened.
    pub at: WallTime,
    /// As it came.
    pub body: serde_json::Value,
}

/// An event this early on a day may still bear on the day before.
const SMALL_HOURS_US: DurationUs = 6 * 3_600_000_000;

/// Stores an event unless it is there already; returns whether it was new.
pub(super) async fn put_event(
    tx: &mut Transaction<'static, Any>,
    site: &SiteId,
    zone: &TimeZone,
    new: &NewEvent,
) -> DbResult<bool> {
    let event = &new.event;
    let is_new = sqlx::query(
        "INSERT INTO event (source, id, event_type, site_id, counter_id, device_us, received_us, at_us,
             dossier_folded, body, recorder_id, boot_id, boot_us, received_fix_us, device_fix_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT (source, id) DO NOTHING",
    )
    .bind(event.source.as_str())
    .bind(event.id.as_str())
    .bind(event.event_type.as_str())
    .bind(site.as_str())
    .bind(event.counter.as_str())
    .bind(event.device_time.0)
    .bind(new.received.0)
    .bind(new.at.0)
    .bind(new.dossier_folded.clone())
    .bind(new.body.as_str())
    .bind(new.edge.as_ref().map(|(recorder, _)| recorder.to_string()))
    .bind(
        new.edge
            .as_ref()
            .map(|(_, boot)| boot.boot.hyphenated().to_string()),
    )
    .bind(new.edge.as_ref().map(|(_, boot)| boot.us))
    .bind(new.fix.received_us)
    .bind(new.fix.device_us)
    .execute(&mut **tx)
    .await?
    .rows_affected()
        > 0;
    if is_new {
        mark_days_due(tx, site, zone, new.at).await?;
    }
    Ok(is_new)
}

/// The business days that an event at a moment may bear on must be derived anew.
pub(super) async fn mark_days_due(
    tx: &mut Transaction<'static, Any>,
    site: &SiteId,
    zone: &TimeZone,
    at: WallTime,
) -> DbResult<()> {
    for date in [at.date_in(zone), (at - SMALL_HOURS_US).date_in(zone)] {
        sqlx::query(
            "INSERT INTO derivation_due (site_id, business_date) VALUES ($1, $2)
             ON CONFLICT (site_id, business_date) DO NOTHING",
        )
        .bind(site.as_str())
        .bind(date.to_string())
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// The columns that [`site_event`] reads: an event as it came, with its times put right.
pub(super) const EVENT_COLUMNS: &str = "received_us + received_fix_us AS received_us, device_fix_us, body";

pub(super) fn site_event(row: &AnyRow) -> DbResult<SiteEvent> {
    let body: &str = get(row, "body")?;
    let mut event = CounterEvent::parse(body.as_bytes()).map_err(|e| DbError::damaged("event.body", e))?;
    event.device_time = event.device_time + get::<i64>(row, "device_fix_us")?;
    Ok(SiteEvent {
        event,
        received: WallTime(get(row, "received_us")?),
    })
}

fn event_row(row: &AnyRow) -> DbResult<EventRow> {
    let SiteEvent { event, received } = site_event(row)?;
    Ok(EventRow {
        event,
        received,
        at: WallTime(get(row, "at_us")?),
        body: serde_json::from_str(get(row, "body")?).map_err(|e| DbError::damaged("event.body", e))?,
    })
}

impl Db {
    /// Stores events of known sites; returns for each whether it was new.
    pub async fn put_events(&self, zone: &TimeZone, events: &[(SiteId, NewEvent)]) -> DbResult<Vec<bool>> {
        let mut tx = self.write().await?;
        let mut are_new = Vec::with_capacity(events.len());
        for (site, event) in events {
            are_new.push(put_event(&mut tx, site, zone, event).await?);
        }
        tx.commit().await?;
        Ok(are_new)
    }

    /// The events of a site in a window, by time.
    pub async fn site_events(&self, site: &SiteId, window: Window) -> DbResult<Vec<SiteEvent>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {EVENT_COLUMNS} FROM event
             WHERE site_id = $1 AND at_us >= $2 AND at_us < $3 ORDER BY at_us"
        )))
        .bind(site.as_str())
        .bind(window.start.0)
        .bind(window.end.0)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(site_event)
        .collect()
    }

    /// The events of a counter in a window, by time, at most `limit`.
    pub async fn counter_events(
        &self,
        counter: &CounterId,
        window: Window,
        limit: i64,
    ) -> DbResult<Vec<EventRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT at_us, {EVENT_COLUMNS} FROM event
             WHERE counter_id = $1 AND at_us >= $2 AND at_us < $3 ORDER BY at_us LIMIT $4"
        )))
        .bind(counter.as_str())
        .bind(window.start.0)
        .bind(window.end.0)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(event_row)
        .collect()
    }

    /// The newest event of a counter since a moment that is one of some types and has `field` among its data, if
    /// one is given.
    pub async fn newest_event(
        &self,
        counter: &CounterId,
        types: [&str; 3],
        field: Option<&str>,
        since: WallTime,
    ) -> DbResult<Option<EventRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT at_us, {EVENT_COLUMNS} FROM event
             WHERE counter_id = $1 AND at_us >= $2 AND event_type IN ($3, $4, $5) AND body LIKE $6
             ORDER BY at_us DESC LIMIT 1"
        )))
        .bind(counter.as_str())
        .bind(since.0)
        .bind(types[0].to_owned())
        .bind(types[1].to_owned())
        .bind(types[2].to_owned())
        .bind(field.map_or_else(|| "%".to_owned(), |field| format!("%\"{field}\"%")))
        .fetch_optional(&self.reader)
        .await?
        .map(|row| event_row(&row))
        .transpose()
    }

    /// One event.
    pub async fn event(&self, source: &str, id: &str) -> DbResult<Option<EventRow>> {
        let sql = format!("SELECT at_us, {EVENT_COLUMNS} FROM event WHERE source = $1 AND id = $2");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(source)
            .bind(id)
            .fetch_optional(&self.reader)
            .await?
            .map(|row| event_row(&row))
            .transpose()
    }

    /// The changes of a dossier's status, by time.
    pub async fn dossier_statuses(&self, folded: &str) -> DbResult<Vec<(SiteId, EventRow)>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT site_id, at_us, {EVENT_COLUMNS} FROM event
             WHERE dossier_folded = $1 AND event_type = 'dossier.status_changed' ORDER BY at_us LIMIT 1000"
        )))
        .bind(folded)
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| Ok((super::get_id(row, "site_id")?, event_row(row)?)))
        .collect()
    }
}
