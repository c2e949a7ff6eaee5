//! The one search box: words to chips, chips to a filter on indexed columns.

use std::sync::Arc;

use archive::dossier;
use archive::ids::CounterId;
use archive::search_query::{Chip, ChipValue, KnownCounter, KnownOfficer, Vocabulary, understand};
use archive::time::WallTime;
use tokio::sync::RwLock;

use crate::centre::Centre;
use crate::db::{DbError, SearchFilter, Term, TermKind, term_id};
use crate::ingest::day_window;
use crate::words::{fold_dossier, fold_number, fold_series};

/// Procedures, officers and counters by name, read again when they change.
#[derive(Debug, Default)]
pub struct KnownWords {
    read: RwLock<Option<(Version, Arc<Vocabulary>)>>,
}

type Version = (Option<i64>, usize);

impl Centre {
    /// What the search box knows by name.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn vocabulary(&self) -> Result<Arc<Vocabulary>, DbError> {
        let places = self.places().await?;
        let counters = places.counters();
        let version = (self.db.vocabulary_version().await?, counters.len());
        if let Some((read, words)) = self.words.read.read().await.as_ref()
            && *read == version
        {
            return Ok(Arc::clone(words));
        }
        let counters = counters
            .iter()
            .map(|c| KnownCounter {
                counter: c.counter_id.clone(),
                name: c.name.clone(),
            })
            .collect();
        let (mut officers, mut procedures) = (Vec::new(), Vec::new());
        for Term { kind, code, label } in self.db.vocabulary().await? {
            match kind {
                TermKind::Procedure => procedures.push(label),
                TermKind::Officer => officers.push(KnownOfficer { code, name: label }),
            }
        }
        let dossier_patterns = self.interaction.dossier_patterns.clone();
        let words = Arc::new(Vocabulary::new(counters, officers, procedures, dossier_patterns));
        *self.words.read.write().await = Some((version, Arc::clone(&words)));
        Ok(words)
    }

    /// Understands a query and narrows a filter by it.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn understand(&self, query: &str, filter: &mut SearchFilter) -> Result<Vec<Chip>, DbError> {
        let words = self.vocabulary().await?;
        let chips = understand(query, self.now(), &self.zone, &words);
        for chip in &chips {
            self.narrow(filter, &chip.value);
        }
        self.narrow_by_time(filter, &chips);
        Ok(chips)
    }

    fn narrow(&self, filter: &mut SearchFilter, value: &ChipValue) {
        match value {
            ChipValue::Dossier { code } => {
                let folded = fold_dossier(&dossier::accept(code, &self.interaction.dossier_patterns).code);
                filter.dossiers.get_or_insert_default().push(folded);
            }
            ChipValue::Ticket { series, number } => {
                filter.ticket = Some((series.as_deref().map(fold_series), fold_number(number)));
            }
            ChipValue::Officer { codes } => {
                let ids = codes.iter().map(|code| term_id(TermKind::Officer, code));
                filter.officers.get_or_insert_default().extend(ids);
            }
            ChipValue::Procedure { names } => {
                let ids = names.iter().map(|name| term_id(TermKind::Procedure, name));
                filter.procedures.get_or_insert_default().extend(ids);
            }
            ChipValue::Counter { counters } => narrow_counters(filter, counters.clone()),
            // A word that names nothing finds nothing; a code unknown to the patterns may still be a dossier's.
            ChipValue::Text { folded } => filter.dossiers.get_or_insert_default().push(folded.clone()),
            ChipValue::Date { .. } | ChipValue::Time { .. } => {}
        }
    }

    /// A date bounds the days; a time bounds the hours of the one day meant, today if none is named.
    fn narrow_by_time(&self, filter: &mut SearchFilter, chips: &[Chip]) {
        let dates = chips.iter().find_map(|c| match c.value {
            ChipValue::Date { from, to } => Some((from, to)),
            _ => None,
        });
        let times = chips.iter().find_map(|c| match c.value {
            ChipValue::Time { from, to } => Some((from, to)),
            _ => None,
        });
        let today = self.now().date_in(&self.zone);
        let (first, last) = match (dates, times) {
            (Some(dates), _) => dates,
            (None, Some(_)) => (today, today),
            (None, None) => return,
        };
        let (Some(first_day), Some(last_day)) = (day_window(first, &self.zone), day_window(last, &self.zone))
        else {
            return;
        };
        let (mut from, mut to) = (first_day.start, last_day.end);
        if let Some((start, end)) = times.filter(|_| first == last) {
            let at = |time| {
                let zoned = first.to_datetime(time).to_zoned(self.zone.clone()).ok()?;
                Some(WallTime(zoned.timestamp().as_microsecond()))
            };
            from = at(start).unwrap_or(from);
            to = at(end).unwrap_or(to);
        }
        filter.from = Some(filter.from.map_or(from, |known| known.max(from)));
        filter.to = Some(filter.to.map_or(to, |known| known.min(to)));
    }
}

/// Only counters that were asked for in either way.
pub fn narrow_counters(filter: &mut SearchFilter, counters: Vec<CounterId>) {
    filter.counters = Some(match filter.counters.take() {
        Some(known) => known.into_iter().filter(|c| counters.contains(c)).collect(),
        None => counters,
    });
}
