//! Who waits at a site: numbers that were taken and that no counter has answered.
//!
//! Sources may never say that somebody left. So a number that its queue has passed over, in that one taken later
//! was answered, does not count as waiting: an alert that nobody can end is of no use.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use archive::ids::{CounterId, SiteId};
use archive::time::{DurationUs, WallTime};

use crate::centre::Centre;
use crate::db::{Answered, DbError, Taken};
use crate::ingest::day_window;

/// Nobody's wait is told to the second.
const AGE_US: DurationUs = 5_000_000;

/// A site's queue today.
#[derive(Debug, Default)]
pub struct Queue {
    /// Series with the counter that the report named, and since when somebody waits.
    waiting: Vec<(String, CounterId, WallTime)>,
    /// The series that a counter has called.
    called: HashMap<CounterId, HashSet<String>>,
}

/// A site's queue and when it was read.
pub type KnownQueue = (WallTime, Arc<Queue>);

impl Queue {
    /// Puts together what was taken, by time, and what was answered.
    pub fn new(taken: &[Taken], answered: &[Answered]) -> Self {
        let mut called: HashMap<_, HashSet<_>> = HashMap::new();
        let mut done = HashSet::new();
        for ticket in answered {
            called
                .entry(ticket.counter.clone())
                .or_default()
                .insert(ticket.series.clone());
            done.insert((ticket.series.as_str(), ticket.number.as_str()));
        }
        let cancelled = taken.iter().filter(|t| t.is_cancelled);
        let cancelled: HashSet<_> = cancelled.map(|t| (&t.series, &t.number)).collect();
        let mut passed: HashMap<&str, WallTime> = HashMap::new();
        let mut first: HashMap<_, &Taken> = HashMap::new();
        for number in taken.iter().filter(|t| !t.is_cancelled) {
            let first = *first.entry((&number.series, &number.number)).or_insert(number);
            if done.contains(&(number.series.as_str(), number.number.as_str())) {
                let latest = passed.entry(&number.series).or_insert(first.at);
                *latest = first.at.max(*latest);
            }
        }
        let waiting = first
            .values()
            .filter(|t| !cancelled.contains(&(&t.series, &t.number)))
            .filter(|t| !done.contains(&(t.series.as_str(), t.number.as_str())))
            .filter(|t| passed.get(t.series.as_str()).is_none_or(|passed| t.at > *passed))
            .map(|t| (t.series.clone(), t.counter.clone(), t.at))
            .collect();
        Self { waiting, called }
    }

    /// Since when the first waits whom this counter would call: of a series that it has called today, or with
    /// a number that was taken for it.
    pub fn oldest_for(&self, counter: &CounterId) -> Option<WallTime> {
        let series = self.called.get(counter);
        let is_for = |of: &String, at: &CounterId| at == counter || series.is_some_and(|s| s.contains(of));
        let waiting = self.waiting.iter().filter(|(of, at, _)| is_for(of, at));
        waiting.map(|(_, _, since)| *since).min()
    }
}

impl Centre {
    /// A site's queue, a few seconds old at most.
    pub(super) async fn queue(&self, site: &SiteId) -> Result<Arc<Queue>, DbError> {
        let now = self.now();
        if let Some((read, queue)) = self.supervision.known_queue(site)
            && (0..AGE_US).contains(&(now - read))
        {
            return Ok(queue);
        }
        let today = self.date_of(now);
        let queue = match day_window(today, &self.zone) {
            Some(day) => Queue::new(
                &self.db.numbers_taken(site, day.start).await?,
                &self.db.tickets_answered(site, today).await?,
            ),
            None => Queue::default(),
        };
        let queue = Arc::new(queue);
        self.supervision.keep_queue(site, (now, Arc::clone(&queue)));
        Ok(queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(name: &str) -> CounterId {
        name.parse().unwrap()
    }

    fn taken(number: &str, at: i64, name: &str) -> Taken {
        Taken {
            at: WallTime(at),
            counter: counter(name),
            series: number[..1].to_owned(),
            number: number[1..].to_owned(),
            is_cancelled: false,
        }
    }

    fn answered(number: &str, name: &str) -> Answered {
        Answered {
            counter: counter(name),
            series: number[..1].to_owned(),
            number: number[1..].to_owned(),
        }
    }

    #[test]
    fn the_first_not_called_waits_at_every_counter_of_its_series() {
        let numbers = [
            taken("a1", 10, "kiosk"),
            taken("a2", 20, "kiosk"),
            taken("b1", 15, "kiosk"),
        ];
        let queue = Queue::new(&numbers, &[answered("a1", "q1")]);
        assert_eq!(queue.oldest_for(&counter("q1")), Some(WallTime(20)));
        assert_eq!(
            queue.oldest_for(&counter("q2")),
            None,
            "nobody knows yet what it calls"
        );
        let queue = Queue::new(&[taken("a1", 10, "q2")], &[]);
        assert_eq!(queue.oldest_for(&counter("q2")), Some(WallTime(10)));
    }

    #[test]
    fn who_was_passed_over_or_gave_the_number_back_does_not_wait() {
        let mut back = taken("a3", 35, "q1");
        back.is_cancelled = true;
        let numbers = [
            taken("a1", 10, "q1"),
            taken("a2", 20, "q1"),
            taken("a3", 30, "q1"),
            back,
        ];
        let queue = Queue::new(&numbers, &[answered("a2", "q1")]);
        assert_eq!(queue.oldest_for(&counter("q1")), None);
    }

    #[test]
    fn a_number_that_is_reported_again_waits_since_the_first_report() {
        let numbers = [taken("a1", 10, "q1"), taken("a1", 40, "q1")];
        assert_eq!(
            Queue::new(&numbers, &[]).oldest_for(&counter("q1")),
            Some(WallTime(10))
        );
    }
}
