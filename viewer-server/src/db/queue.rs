//! Who took a number at a site, and who was called.

use archive::event::EventType;
use archive::ids::{CounterId, SiteId};
use archive::time::WallTime;
use jiff::civil::Date;

use super::event::{EVENT_COLUMNS, site_event};
use super::{Db, DbResult, get, get_id};
use crate::words::{fold_number, fold_series};

/// A number that was taken, or given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// When.
    pub at: WallTime,
    /// The counter that the report names.
    pub counter: CounterId,
    /// Folded.
    pub series: String,
    /// Folded, without leading zeros.
    pub number: String,
    /// Whether it was given back.
    pub is_cancelled: bool,
}

/// A ticket that some counter called or served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Which counter.
    pub counter: CounterId,
    /// Folded.
    pub series: String,
    /// Folded, without leading zeros.
    pub number: String,
}

impl Db {
    /// The numbers taken and given back at a site since a moment, by time.
    pub async fn numbers_taken(&self, site: &SiteId, since: WallTime) -> DbResult<Vec<Taken>> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT at_us, {EVENT_COLUMNS} FROM event
             WHERE event_type IN ('ticket.issued', 'ticket.cancelled') AND site_id = $1 AND at_us >= $2
             ORDER BY at_us"
        )))
        .bind(site.as_str())
        .bind(since.0)
        .fetch_all(&self.reader)
        .await?;
        let mut taken = Vec::with_capacity(rows.len());
        for row in &rows {
            let event = site_event(row)?.event;
            if let Some(ticket) = event.data.ticket {
                taken.push(Taken {
                    at: WallTime(get(row, "at_us")?),
                    counter: event.counter,
                    series: fold_series(&ticket.series),
                    number: fold_number(&ticket.number),
                    is_cancelled: event.event_type == EventType::TicketCancelled,
                });
            }
        }
        Ok(taken)
    }

    /// The tickets that counters of a site answered on a business day.
    pub async fn tickets_answered(&self, site: &SiteId, date: Date) -> DbResult<Vec<Answered>> {
        sqlx::query(
            "SELECT counter_id, ticket_series, ticket_number FROM interaction
             WHERE site_id = $1 AND business_date = $2 AND ticket_number IS NOT NULL",
        )
        .bind(site.as_str())
        .bind(date.to_string())
        .fetch_all(&self.reader)
        .await?
        .iter()
        .map(|row| {
            Ok(Answered {
                counter: get_id(row, "counter_id")?,
                series: get(row, "ticket_series")?,
                number: get(row, "ticket_number")?,
            })
        })
        .collect()
    }
}
