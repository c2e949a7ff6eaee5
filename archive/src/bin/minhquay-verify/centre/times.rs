//! Times that are shown: each must follow from what the recorder said and from the centre's sightings of its clock.

use std::collections::{BTreeMap, BTreeSet};

use archive::ids::{RecorderId, RunId};
use archive::time::{
    Anchor, BootClock, BootTime, DurationUs, MAX_SLEW_PPM, MediaTime, RunClock, Sighting, WallTime,
};
use sqlx::Row as _;

use super::id;
use crate::database::Database;
use crate::index::{KeptAnchor, boot, state_name, word};
use crate::report::Report;

/// No setting lets a recorder's clock be further off without a correction.
const MOST_TOLERATED_US: DurationUs = 10_000_000;

/// The true time over each boot of each recorder.
pub struct Clocks(BTreeMap<(RecorderId, uuid::Uuid), BootClock>);

impl Clocks {
    /// Reads the sightings; where the centre itself was ever heard, its word alone counts.
    pub fn read(database: &mut Database, report: &mut Report) -> Self {
        let rows = database.rows("clock_sighting", "select * from clock_sighting", report, |row| {
            let boot: (RecorderId, uuid::Uuid) = (id(row, "recorder_id")?, id(row, "boot_id")?);
            let is_server = row.try_get::<String, _>("source")? == "server";
            let sighting = Sighting {
                boot_us: row.try_get("boot_us")?,
                wall: WallTime(row.try_get("server_wall_us")?),
                uncertainty_us: row.try_get::<i64, _>("round_trip_us")? / 2 + 1,
            };
            Ok((boot, is_server, sighting))
        });
        let heard: BTreeSet<_> = rows
            .iter()
            .filter(|(_, is_server, _)| *is_server)
            .map(|(boot, ..)| boot.clone())
            .collect();
        let mut by_boot: BTreeMap<_, Vec<Sighting>> = BTreeMap::new();
        for (boot, is_server, sighting) in rows {
            if is_server || !heard.contains(&boot) {
                by_boot.entry(boot).or_default().push(sighting);
            }
        }
        let clocks = by_boot
            .into_iter()
            .map(|(boot, seen)| (boot, BootClock::new(seen)));
        Self(clocks.collect())
    }

    /// Whether a shown time follows from what was said at a moment of a boot.
    pub fn explains(
        &self,
        recorder: &RecorderId,
        shown: WallTime,
        said: WallTime,
        boot: Option<BootTime>,
    ) -> Result<(), &'static str> {
        let truth = boot.and_then(|boot| self.0.get(&(recorder.clone(), boot.boot))?.at(boot.us));
        match truth {
            Some((truth, _)) if shown != said => {
                if shown == truth {
                    Ok(())
                } else {
                    Err("it was corrected to a time that no sighting of the clock gives")
                }
            }
            Some((truth, doubt_us)) if (said - truth).abs() > MOST_TOLERATED_US + doubt_us => {
                Err("it should have been corrected and was not")
            }
            None if shown != said => Err("it was corrected without a sighting of the clock"),
            _ => Ok(()),
        }
    }
}

/// What an anchor's row says.
pub struct AnchorRow {
    media_us: i64,
    wall_us: i64,
    steered_us: i64,
    state: &'static str,
    boot: Option<BootTime>,
    corrected_us: Option<i64>,
}

/// Anchors by run, in order.
pub type Anchors = BTreeMap<RunId, Vec<AnchorRow>>;

/// Reads all anchors.
pub fn read_anchors(database: &mut Database, report: &mut Report) -> Anchors {
    let sql = "select a.*, r.boot_id from anchor a left join run r on r.run_id = a.run_id
               order by a.run_id, a.media_us";
    let rows = database.rows("anchor", sql, report, |row| {
        let anchor = AnchorRow {
            media_us: row.try_get("media_us")?,
            wall_us: row.try_get("wall_us")?,
            steered_us: row.try_get("steered_us")?,
            state: state_name(word(row, "clock_state")?),
            boot: boot(row, "boot_id", "boot_us")?,
            corrected_us: row.try_get("corrected_us")?,
        };
        Ok((id::<RunId>(row, "run_id")?, anchor))
    });
    let mut anchors = Anchors::new();
    for (run, anchor) in rows {
        anchors.entry(run).or_default().push(anchor);
    }
    anchors
}

/// The anchors as the recorder said them.
pub fn as_said(rows: &[AnchorRow]) -> BTreeSet<KeptAnchor> {
    rows.iter()
        .map(|row| (row.media_us, row.wall_us, row.state, row.boot))
        .collect()
}

/// Checks how a run's anchors were corrected and steered.
pub fn check_anchors(rows: &[AnchorRow], recorder: &RecorderId, clocks: &Clocks) -> Result<(), &'static str> {
    let mut before: Option<(i64, i64)> = None;
    for row in rows {
        let believed = row.corrected_us.unwrap_or(row.wall_us);
        clocks.explains(recorder, WallTime(believed), WallTime(row.wall_us), row.boot)?;
        let steered = match before {
            None => believed,
            Some((media_us, steered_us)) => {
                let passed = row.media_us.saturating_sub(media_us);
                let most = passed / 1_000_000 * MAX_SLEW_PPM;
                let held = steered_us.saturating_add(passed);
                believed.clamp(held.saturating_sub(most), held.saturating_add(most))
            }
        };
        if steered != row.steered_us {
            return Err("its steered times do not follow from its anchors");
        }
        before = Some((row.media_us, steered));
    }
    Ok(())
}

/// The clock that a run's footage is shown by.
pub fn run_clock(rows: &[AnchorRow]) -> RunClock {
    let anchors: Vec<Anchor> = rows
        .iter()
        .map(|row| Anchor {
            media: MediaTime(row.media_us),
            wall: WallTime(row.steered_us),
            clock_state: archive::time::ClockState::Synchronized,
            boot: None,
        })
        .collect();
    RunClock::new(&anchors)
}
