//! The days of all counters: begun, counted, reported now and then, and finished when the site's date changes.

use std::collections::BTreeMap;

use archive::health::HealthReport;
use archive::ids::CounterId;
use archive::seal::Signed;
use archive::seal::signed::Purpose;
use archive::time::WallTime;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::day::Day;
use super::keep::Watching;
use super::read_back::ReadBacks;
use crate::index::{IndexError, OpenDay};

/// A count that a crash may cost.
const SAVE_EVERY_US: i64 = 60_000_000;

/// The day that each counter is in.
pub(super) struct Days {
    zone: TimeZone,
    date: Date,
    days: BTreeMap<CounterId, Day>,
    saved_us: i64,
    reported_us: i64,
    read_backs: ReadBacks,
}

impl Days {
    /// Goes on with the day as it was counted before a restart; days that ended meanwhile are finished.
    pub async fn open(w: &Watching, zone: &TimeZone) -> Self {
        let now = w.clock.wall();
        let now_us = w.clock.monotonic_us();
        let mut days = Self {
            zone: zone.clone(),
            date: now.date_in(zone),
            days: BTreeMap::new(),
            saved_us: now_us,
            reported_us: now_us,
            read_backs: ReadBacks::default(),
        };
        let begun = w.index.open_health_days().await.unwrap_or_else(|error| {
            tracing::error!(%error, "days that were begun are not known");
            Vec::new()
        });
        for open in begun {
            let Ok(day) = serde_json::from_str::<Day>(&open.counted) else {
                tracing::warn!(counter = %open.counter, date = %open.date, "a day's count can't be read");
                continue;
            };
            if open.date == days.date && w.counters.contains_key(&open.counter) {
                days.days.insert(open.counter, day);
            } else {
                let end = days.bounds(open.date).1.min(now);
                days.put(w, &open.counter, open.date, &day, end, Some(true)).await;
            }
        }
        days.begin_missing(w, now);
        days
    }

    fn begin_missing(&mut self, w: &Watching, now: WallTime) {
        for (counter, streams) in &w.counters {
            self.days
                .entry(counter.clone())
                .or_insert_with(|| Day::new(now, streams.iter().cloned()));
        }
    }

    /// A counter's day.
    pub fn of(&mut self, counter: &CounterId) -> &mut Day {
        self.days
            .entry(counter.clone())
            .or_insert_with(|| Day::new(WallTime(0), []))
    }

    /// Counts for all counters.
    pub fn all(&mut self, mut count: impl FnMut(&mut Day)) {
        self.days.values_mut().for_each(&mut count);
    }

    /// Begins a new day, reports, or keeps the count, whatever is due.
    pub async fn tick(&mut self, w: &Watching, now: WallTime, now_us: i64) {
        let today = now.date_in(&self.zone);
        if today != self.date {
            self.report(w, true).await;
            self.days.clear();
            self.date = today;
            self.begin_missing(w, now);
        }
        if let Some((counter, read_back)) = self.read_backs.due(w, now_us).await {
            self.of(&counter).read_back = Some(read_back);
        }
        if now_us - self.reported_us >= i64::from(w.settings.report_every_s) * 1_000_000 {
            self.reported_us = now_us;
            self.saved_us = now_us;
            self.report(w, false).await;
        } else if now_us - self.saved_us >= SAVE_EVERY_US {
            self.saved_us = now_us;
            for (counter, day) in &self.days {
                self.put(w, counter, self.date, day, now, None).await;
            }
        }
    }

    /// Signs the reports of all counters.
    pub async fn report(&self, w: &Watching, is_final: bool) {
        let end = self.bounds(self.date).1.min(w.clock.wall());
        for (counter, day) in &self.days {
            self.put(w, counter, self.date, day, end, Some(is_final)).await;
        }
    }

    /// Keeps a day's count; with `report` a signed report too, final or not.
    async fn put(
        &self,
        w: &Watching,
        counter: &CounterId,
        date: Date,
        day: &Day,
        to: WallTime,
        report: Option<bool>,
    ) {
        let kept = async {
            let signed = match report {
                Some(is_final) => Some(self.sign(w, counter, date, day, to, is_final).await?),
                None => None,
            };
            let open = OpenDay {
                counter: counter.clone(),
                date,
                counted: serde_json::to_string(day).expect("a day has text keys"),
            };
            w.index
                .put_health_day(&open, signed.as_ref(), report == Some(true))
                .await
        };
        if let Err(error) = kept.await {
            tracing::error!(%counter, %date, %error, "the day's health could not be kept");
        }
    }

    async fn sign(
        &self,
        w: &Watching,
        counter: &CounterId,
        date: Date,
        day: &Day,
        to: WallTime,
        is_final: bool,
    ) -> Result<Signed, IndexError> {
        let from = day.from.max(self.bounds(date).0);
        let mut streams = day.streams();
        for stream in &mut streams {
            let gap_us = w.index.gap_us(&stream.stream, from, to).await?;
            stream.gap_s = u64::try_from(gap_us / 1_000_000).unwrap_or(0);
        }
        let report = HealthReport {
            recorder: w.recorder.clone(),
            counter: counter.clone(),
            date,
            zone: w.settings.zone.clone(),
            from,
            to,
            is_final,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            streams,
            clock: day.clock.clone(),
            disk_free_bytes: day.disk_free_bytes,
            read_back: day.read_back.clone(),
        };
        Ok(Signed::new(Purpose::Health, &w.key, &report))
    }

    /// First moment of a date and first moment behind it.
    fn bounds(&self, date: Date) -> (WallTime, WallTime) {
        let start = |date: Date| {
            let zoned = date.to_zoned(self.zone.clone());
            zoned.map_or(WallTime(i64::MAX), |z| WallTime(z.timestamp().as_microsecond()))
        };
        (start(date), start(date.tomorrow().unwrap_or(Date::MAX)))
    }
}
