//! Where things are: the tree of units, its sites, their counters and streams. Pure.

use std::collections::{BTreeSet, HashMap};

use archive::ids::{CounterId, RecorderId, SiteId, StreamId, UnitId};
use archive::time::WallTime;

/// A unit of the administration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name in ids.
    pub unit_id: UnitId,
    /// Its name for people.
    pub name: String,
    /// The unit above it.
    pub parent_id: Option<UnitId>,
}

/// A building with a one-stop hall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its name in ids.
    pub site_id: SiteId,
    /// The unit that it belongs to.
    pub unit_id: UnitId,
    /// Its name for people.
    pub name: String,
    /// Where it is.
    pub address: Option<String>,
}

/// A counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Its name in ids.
    pub counter_id: CounterId,
    /// Its site.
    pub site_id: SiteId,
    /// Its name for people.
    pub name: String,
}

/// A stream with the tracks of its newest run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Counter, viewpoint and quality.
    pub stream_id: StreamId,
    /// Who records it now.
    pub recorder_id: RecorderId,
    /// Whether it is set up with sound.
    pub has_audio: bool,
    /// RFC 6381 name of its picture.
    pub video_codec: Option<String>,
    /// RFC 6381 name of its sound.
    pub audio_codec: Option<String>,
    /// Width in pixels, 0 while unknown.
    pub width: i64,
    /// Height in pixels, 0 while unknown.
    pub height: i64,
    /// Where the newest footage that has arrived ends.
    pub footage_until: Option<WallTime>,
}

/// Everything that has a place.
#[derive(Debug, Clone, Default)]
pub struct Places {
    units: HashMap<UnitId, Unit>,
    sites: HashMap<SiteId, Site>,
    counters: HashMap<CounterId, Counter>,
    streams: HashMap<StreamId, Stream>,
    streams_of: HashMap<CounterId, BTreeSet<StreamId>>,
}

/// Deepest tree that is walked; a loop in the tree ends here.
const MAX_DEPTH: usize = 32;

impl Places {
    /// Puts the pieces together.
    pub fn new(
        units: HashMap<UnitId, Unit>,
        sites: HashMap<SiteId, Site>,
        counters: HashMap<CounterId, Counter>,
        streams: HashMap<StreamId, Stream>,
    ) -> Self {
        let mut streams_of: HashMap<_, BTreeSet<_>> = HashMap::new();
        for id in streams.keys() {
            streams_of.entry(id.counter()).or_default().insert(id.clone());
        }
        Self {
            units,
            sites,
            counters,
            streams,
            streams_of,
        }
    }

    /// A unit.
    pub fn unit(&self, id: &UnitId) -> Option<&Unit> {
        self.units.get(id)
    }

    /// A site.
    pub fn site(&self, id: &SiteId) -> Option<&Site> {
        self.sites.get(id)
    }

    /// A counter.
    pub fn counter(&self, id: &CounterId) -> Option<&Counter> {
        self.counters.get(id)
    }

    /// A stream.
    pub fn stream(&self, id: &StreamId) -> Option<&Stream> {
        self.streams.get(id)
    }

    /// All units, by id.
    pub fn units(&self) -> Vec<&Unit> {
        sorted(self.units.values(), |u| &u.unit_id)
    }

    /// All sites, by id.
    pub fn sites(&self) -> Vec<&Site> {
        sorted(self.sites.values(), |s| &s.site_id)
    }

    /// All counters, by id.
    pub fn counters(&self) -> Vec<&Counter> {
        sorted(self.counters.values(), |c| &c.counter_id)
    }

    /// The streams of a counter, by id: main before sub.
    pub fn streams_of(&self, counter: &CounterId) -> impl Iterator<Item = &Stream> {
        self.streams_of
            .get(counter)
            .into_iter()
            .flatten()
            .filter_map(|id| self.streams.get(id))
    }

    /// The streams that a recorder records, by id.
    pub fn streams_from(&self, recorder: &RecorderId) -> Vec<&Stream> {
        sorted(
            self.streams.values().filter(|s| s.recorder_id == *recorder),
            |s| &s.stream_id,
        )
    }

    /// A unit and all units above it, nearest first.
    pub fn ancestry(&self, unit: &UnitId) -> Vec<&UnitId> {
        let mut path = Vec::new();
        let mut next = self.units.get(unit);
        while let Some(unit) = next.filter(|_| path.len() < MAX_DEPTH) {
            path.push(&unit.unit_id);
            next = unit.parent_id.as_ref().and_then(|p| self.units.get(p));
        }
        path
    }

    /// The units above a site, nearest first.
    pub fn units_of_site(&self, site: &SiteId) -> Vec<&UnitId> {
        self.site(site)
            .map_or_else(Vec::new, |s| self.ancestry(&s.unit_id))
    }

    /// The units above a counter, nearest first.
    pub fn units_of_counter(&self, counter: &CounterId) -> Vec<&UnitId> {
        self.counter(counter)
            .map_or_else(Vec::new, |c| self.units_of_site(&c.site_id))
    }
}

fn sorted<'a, T, K: Ord>(items: impl Iterator<Item = &'a T>, key: impl Fn(&T) -> &K) -> Vec<&'a T> {
    let mut items: Vec<_> = items.collect();
    items.sort_by(|a, b| key(a).cmp(key(b)));
    items
}
