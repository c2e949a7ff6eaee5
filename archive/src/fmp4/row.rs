//! Scanned fragments become the rows of a segment's manifest.

use super::{Init, ScannedFragment, SegmentScan, TrackRun};
use crate::segment::{Digest, Fragment};
use crate::time::MediaTime;

/// Ticks of a track as media time: microseconds, rounded to the nearest (half goes up), minus `origin_us`.
///
/// `origin_us` is where the run's media time starts on the track's own scale; edit lists do not count.
pub fn media_time(ticks: i64, timescale: u32, origin_us: i64) -> MediaTime {
    let timescale = i128::from(timescale.max(1));
    let rounded_us = (i128::from(ticks) * 2_000_000 + timescale).div_euclid(timescale * 2);
    let us = (rounded_us - i128::from(origin_us)).clamp(i64::MIN.into(), i64::MAX.into());
    MediaTime(us as i64)
}

/// Makes rows of one segment's fragments, given in file order.
///
/// The times are those of the leading track ([`Init::leading_track`]). A fragment with a keyframe starts at its
/// first picture, which in an open GOP lies a little before the keyframe. One that continues a GOP starts as
/// far behind its decode time as that fragment did, so that the fragments of a GOP touch also where
/// pictures are reordered. Each end is rounded by itself, so touching fragments touch to the microsecond. A fragment
/// without a sample of the leading track has length 0 and starts where the one before it ended; as the
/// first of all, where another track starts.
#[derive(Debug, Clone)]
pub struct RowMaker {
    init: Init,
    origin_us: i64,
    lead_ticks: Option<i64>,
    end: Option<MediaTime>,
}

impl RowMaker {
    /// For the fragments of one file with this init segment; `origin_us` as for [`media_time`].
    pub fn new(init: &Init, origin_us: i64) -> Self {
        Self {
            init: init.clone(),
            origin_us,
            lead_ticks: None,
            end: None,
        }
    }

    /// The row of the next fragment; `bytes` are exactly its bytes.
    pub fn row(&mut self, fragment: &ScannedFragment, bytes: &[u8]) -> Fragment {
        let leading = fragment
            .track(self.init.leading_track().track.track_id)
            .filter(|run| run.sample_count > 0);
        let (start, end) = match leading {
            Some(run) => {
                let lead = match self.lead_ticks {
                    Some(lead) if !run.is_first_sync => lead,
                    _ => run.min_pts.saturating_sub(run.decode_time),
                };
                self.lead_ticks = Some(lead);
                let start = run.decode_time.saturating_add(lead);
                let end = start.saturating_add(run.duration);
                (self.at(run, start), self.at(run, end))
            }
            None => {
                let others = fragment.tracks.iter().map(|run| self.at(run, run.min_pts));
                let start = self.end.or(others.min()).unwrap_or_default();
                (start, start)
            }
        };
        self.end = Some(end);
        Fragment {
            offset_bytes: fragment.offset_bytes,
            size_bytes: fragment.size_bytes,
            start,
            duration_us: end - start,
            is_keyframe: leading.is_some_and(|run| run.is_first_sync),
            sha256: Digest::of(bytes),
        }
    }

    fn at(&self, run: &TrackRun, ticks: i64) -> MediaTime {
        let timescale = self.init.track(run.track_id).map_or(1, |t| t.track.timescale);
        media_time(ticks, timescale, self.origin_us)
    }
}

/// The rows of a scanned file.
pub fn fragment_rows(file: &[u8], scan: &SegmentScan, origin_us: i64) -> Vec<Fragment> {
    let mut maker = RowMaker::new(&scan.init, origin_us);
    let rows = scan.fragments.iter().map(|fragment| {
        let start = fragment.offset_bytes as usize;
        let end = fragment.end_bytes() as usize;
        maker.row(fragment, file.get(start..end).unwrap_or_default())
    });
    rows.collect()
}
