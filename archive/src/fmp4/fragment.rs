//! Finds fragments: `moof` and `mdat` with the small boxes that may stand before them.

use super::boxes::{BoxSlice, Fields};
use super::prft::{ProducerReference, parse_prft};
use super::{Fmp4Error, FourCc, Init, MAX_BOX_BYTES, SampleDefaults, read_init};

/// Boxes looked at before `moof` is given up.
const MAX_BOXES_BEFORE_MOOF: usize = 64;

/// `sample_is_non_sync_sample` of the sample flags (ISO/IEC 14496-12 §8.8.3.1).
pub(super) const NON_SYNC: u32 = 0x0001_0000;

/// The samples of one track in a fragment; times are in the track's timescale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackRun {
    /// `track_ID`, one of the init segment's.
    pub track_id: u32,
    /// Decode time of the first sample (`tfdt`).
    pub decode_time: i64,
    /// Number of samples, may be 0.
    pub sample_count: u64,
    /// Sum of the samples' lengths.
    pub duration: i64,
    /// Presentation minus decode time of the first sample, 0 if there is none.
    pub first_composition_offset: i64,
    /// Smallest presentation time, `decode_time` if there is no sample.
    pub min_pts: i64,
    /// Whether the first sample is one where decoding can start; false if there is none.
    pub is_first_sync: bool,
}

impl TrackRun {
    /// Presentation time of the first sample in decode order.
    pub fn first_pts(&self) -> i64 {
        self.decode_time.saturating_add(self.first_composition_offset)
    }
}

/// One whole fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedFragment {
    /// Where it starts: at the first box in front of `moof` that belongs to it.
    pub offset_bytes: u64,
    /// Length to the end of `mdat`, in bytes.
    pub size_bytes: u64,
    /// `sequence_number` of `mfhd`.
    pub sequence_number: u32,
    /// Its first `prft`, if it has one.
    pub reference: Option<ProducerReference>,
    /// What it has of each track, in file order, each track once.
    pub tracks: Vec<TrackRun>,
}

impl ScannedFragment {
    /// What it has of a track.
    pub fn track(&self, track_id: u32) -> Option<&TrackRun> {
        self.tracks.iter().find(|t| t.track_id == track_id)
    }

    /// Offset of the byte after it.
    pub fn end_bytes(&self) -> u64 {
        self.offset_bytes.saturating_add(self.size_bytes)
    }
}

/// A file as far as it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentScan {
    /// Its init segment.
    pub init: Init,
    /// Its whole fragments in file order.
    pub fragments: Vec<ScannedFragment>,
    /// Length of the init segment and the whole fragments: where salvage truncates.
    pub usable_bytes: u64,
    /// Why scanning ended before the end of the bytes, if it did.
    pub stopped_by: Option<Fmp4Error>,
}

/// Reads a whole file: the init segment and every whole fragment up to the first fault.
///
/// # Errors
/// Only if the init segment cannot be read; a fault behind it is in [`SegmentScan::stopped_by`].
pub fn scan_segment(bytes: &[u8]) -> Result<SegmentScan, Fmp4Error> {
    let init = read_init(bytes)?;
    let mut scan = SegmentScan {
        usable_bytes: init.size_bytes,
        fragments: Vec::new(),
        stopped_by: None,
        init,
    };
    loop {
        let at = usize::try_from(scan.usable_bytes).unwrap_or(usize::MAX);
        let rest = bytes.get(at..).unwrap_or_default();
        match next_fragment(rest, scan.usable_bytes, &scan.init) {
            Ok(Some(fragment)) => {
                scan.usable_bytes = fragment.end_bytes();
                scan.fragments.push(fragment);
            }
            Ok(None) => return Ok(scan),
            Err(error) => {
                scan.stopped_by = Some(error);
                return Ok(scan);
            }
        }
    }
}

/// Reads the fragment at the start of `bytes`, which lie at `offset_bytes` of their file.
///
/// `styp`, `sidx`, `ssix`, `prft`, `emsg`, `free`, `skip` and `uuid` may stand before `moof` and belong to the
/// fragment. `None` if the bytes are at their end, or only `mfra`, `free` and `skip` are left.
///
/// # Errors
/// [`Fmp4Error::Incomplete`] if the fragment is cut off; every other error means that the bytes are
/// not a fragment of this init segment.
pub fn next_fragment(
    bytes: &[u8],
    offset_bytes: u64,
    init: &Init,
) -> Result<Option<ScannedFragment>, Fmp4Error> {
    let mut at = 0;
    let mut reference = None;
    let mut is_begun = false;
    for _ in 0..MAX_BOXES_BEFORE_MOOF {
        let Some(found) = BoxSlice::top_level(bytes, at, offset_bytes, MAX_BOX_BYTES)? else {
            return if is_begun {
                Err(cut_off(b"moof", offset_bytes, at))
            } else {
                Ok(None)
            };
        };
        at += found.size_bytes();
        match &found.kind.0 {
            b"free" | b"skip" | b"mfra" => {}
            b"styp" | b"sidx" | b"ssix" | b"emsg" | b"uuid" => is_begun = true,
            b"prft" => {
                is_begun = true;
                reference = reference.or(Some(parse_prft(&found)?));
            }
            b"moof" => {
                let (sequence_number, tracks, sample_bytes) = read_moof(&found, init)?;
                let Some(mdat) = BoxSlice::top_level(bytes, at, offset_bytes, MAX_BOX_BYTES)? else {
                    return Err(cut_off(b"mdat", offset_bytes, at));
                };
                if mdat.kind.0 != *b"mdat" {
                    return Err(mdat.invalid("mdat was expected behind moof"));
                }
                if sample_bytes > mdat.payload.len() as u64 {
                    return Err(mdat.invalid("smaller than the samples that moof lists"));
                }
                return Ok(Some(ScannedFragment {
                    offset_bytes,
                    size_bytes: (at + mdat.size_bytes()) as u64,
                    sequence_number,
                    reference,
                    tracks,
                }));
            }
            _ => return Err(found.invalid("moof was expected")),
        }
    }
    Err(Fmp4Error::Invalid {
        box_type: FourCc(*b"moof"),
        offset_bytes: offset_bytes.saturating_add(at as u64),
        reason: "too many boxes before it",
    })
}

fn cut_off(kind: &[u8; 4], offset_bytes: u64, at: usize) -> Fmp4Error {
    let start = offset_bytes.saturating_add(at as u64);
    Fmp4Error::Incomplete {
        box_type: FourCc(*kind),
        offset_bytes: start,
        needed_bytes: start.saturating_add(8),
    }
}

/// Sequence number, tracks, and the bytes that all samples need.
fn read_moof(moof: &BoxSlice<'_>, init: &Init) -> Result<(u32, Vec<TrackRun>, u64), Fmp4Error> {
    let mut fields = moof.need(b"mfhd")?.fields();
    fields.version_and_flags()?;
    let sequence_number = fields.u32()?;
    let mut tracks: Vec<TrackRun> = Vec::new();
    let mut sample_bytes = 0u64;
    for child in moof.children(0)? {
        let traf = child?;
        if traf.kind.0 != *b"traf" {
            continue;
        }
        let (run, run_bytes) = read_traf(&traf, init, &tracks)?;
        sample_bytes = sample_bytes
            .checked_add(run_bytes)
            .ok_or_else(|| traf.invalid("its samples are too large"))?;
        match tracks.iter_mut().find(|t| t.track_id == run.track_id) {
            Some(before) => join(before, &run),
            None => tracks.push(run),
        }
    }
    if tracks.is_empty() {
        return Err(moof.missing(b"traf"));
    }
    Ok((sequence_number, tracks, sample_bytes))
}

/// A track may come in several `traf`, one behind the other.
fn join(before: &mut TrackRun, run: &TrackRun) {
    if run.sample_count == 0 {
        return;
    }
    if before.sample_count == 0 {
        *before = *run;
        return;
    }
    before.sample_count = before.sample_count.saturating_add(run.sample_count);
    before.duration = before.duration.saturating_add(run.duration);
    before.min_pts = before.min_pts.min(run.min_pts);
}

fn read_traf(traf: &BoxSlice<'_>, init: &Init, earlier: &[TrackRun]) -> Result<(TrackRun, u64), Fmp4Error> {
    let TrackHeader {
        track_id, defaults, ..
    } = read_tfhd(traf, init)?;
    let decode_time = match (
        traf.find(b"tfdt")?,
        earlier.iter().find(|t| t.track_id == track_id),
    ) {
        (Some(tfdt), _) => {
            let mut fields = tfdt.fields();
            let (version, _) = fields.version_and_flags()?;
            i64::try_from(fields.u32_or_u64(version)?)
                .map_err(|_| tfdt.invalid("the decode time has 64 bits"))?
        }
        (None, Some(before)) => before.decode_time.saturating_add(before.duration),
        (None, None) => return Err(traf.missing(b"tfdt")),
    };
    let mut run = TrackRun {
        track_id,
        decode_time,
        sample_count: 0,
        duration: 0,
        first_composition_offset: 0,
        min_pts: decode_time,
        is_first_sync: false,
    };
    let mut sample_bytes = 0u64;
    for child in traf.children(0)? {
        let trun = child?;
        if trun.kind.0 == *b"trun" {
            read_trun(&trun, &defaults, &mut run, &mut sample_bytes)?;
        }
    }
    Ok((run, sample_bytes))
}

/// What `tfhd` says (ISO/IEC 14496-12 §8.8.7).
pub(super) struct TrackHeader {
    pub track_id: u32,
    pub defaults: SampleDefaults,
    /// Where in the file the data offsets count from, if it says so.
    pub base_offset: Option<u64>,
    /// Whether data offsets count from the start of the `moof`.
    pub is_base_moof: bool,
}

pub(super) fn read_tfhd(traf: &BoxSlice<'_>, init: &Init) -> Result<TrackHeader, Fmp4Error> {
    let tfhd = traf.need(b"tfhd")?;
    let mut fields = tfhd.fields();
    let (_, flags) = fields.version_and_flags()?;
    let track_id = fields.u32()?;
    let track = init
        .track(track_id)
        .ok_or_else(|| tfhd.invalid("the init segment has no such track"))?;
    let base_offset = if flags & 0x1 != 0 {
        Some(fields.u64()?)
    } else {
        None
    };
    fields.skip(if flags & 0x2 != 0 { 4 } else { 0 })?;
    let mut defaults = track.defaults;
    if flags & 0x8 != 0 {
        defaults.duration = fields.u32()?;
    }
    if flags & 0x10 != 0 {
        defaults.size_bytes = fields.u32()?;
    }
    if flags & 0x20 != 0 {
        defaults.flags = fields.u32()?;
    }
    Ok(TrackHeader {
        track_id,
        defaults,
        base_offset,
        is_base_moof: flags & 0x0002_0000 != 0,
    })
}

/// Adds the samples of one `trun` (ISO/IEC 14496-12 §8.8.8).
fn read_trun(
    trun: &BoxSlice<'_>,
    defaults: &SampleDefaults,
    run: &mut TrackRun,
    sample_bytes: &mut u64,
) -> Result<(), Fmp4Error> {
    let overflow = || trun.invalid("times or sizes add up to more than 63 bits");
    let mut fields = trun.fields();
    let (version, flags) = fields.version_and_flags()?;
    let count = fields.u32()?;
    fields.skip(if flags & 0x1 != 0 { 4 } else { 0 })?;
    let first_flags = if flags & 0x4 != 0 {
        Some(fields.u32()?)
    } else {
        None
    };
    let layout = SampleLayout { version, flags };
    // A row without fields takes no bytes, so the count alone must not decide how long this takes.
    let distinct = if layout.row_bytes() == 0 {
        count.min(1)
    } else {
        count
    };
    let row_bytes = u64::from(distinct) * layout.row_bytes() as u64;
    if row_bytes > fields.remaining() as u64 {
        return Err(trun.invalid("ends before its last sample"));
    }
    for number in 0..distinct {
        let sample = layout.read(&mut fields, defaults)?;
        let dts = run.decode_time.checked_add(run.duration).ok_or_else(overflow)?;
        let pts = dts.checked_add(sample.composition_offset).ok_or_else(overflow)?;
        if run.sample_count == 0 {
            let flags = first_flags.filter(|_| number == 0).unwrap_or(sample.flags);
            run.is_first_sync = flags & NON_SYNC == 0;
            run.first_composition_offset = sample.composition_offset;
            run.min_pts = pts;
        }
        run.min_pts = run.min_pts.min(pts);
        let repeats = if distinct == count { 1 } else { count };
        run.sample_count = run.sample_count.saturating_add(u64::from(repeats));
        let length = i64::from(sample.duration) // below 2^32 each, so the product fits
            .checked_mul(i64::from(repeats))
            .ok_or_else(overflow)?;
        run.duration = run.duration.checked_add(length).ok_or_else(overflow)?;
        *sample_bytes = u64::from(sample.size_bytes)
            .checked_mul(u64::from(repeats))
            .and_then(|bytes| sample_bytes.checked_add(bytes))
            .ok_or_else(overflow)?;
    }
    run.decode_time
        .checked_add(run.duration)
        .map(|_| ())
        .ok_or_else(overflow)
}

/// Which fields each row of a `trun` has.
pub(super) struct SampleLayout {
    pub version: u8,
    pub flags: u32,
}

/// A row of a `trun`.
pub(super) struct Sample {
    pub duration: u32,
    pub size_bytes: u32,
    pub flags: u32,
    pub composition_offset: i64,
}

impl SampleLayout {
    pub fn row_bytes(&self) -> usize {
        (self.flags & 0xf00).count_ones() as usize * 4
    }

    pub fn read(&self, fields: &mut Fields<'_>, defaults: &SampleDefaults) -> Result<Sample, Fmp4Error> {
        let mut field = |flag| {
            if self.flags & flag == 0 {
                Ok(None)
            } else {
                fields.u32().map(Some)
            }
        };
        Ok(Sample {
            duration: field(0x100)?.unwrap_or(defaults.duration),
            size_bytes: field(0x200)?.unwrap_or(defaults.size_bytes),
            flags: field(0x400)?.unwrap_or(defaults.flags),
            composition_offset: match (field(0x800)?, self.version) {
                (None, _) => 0,
                (Some(offset), 0) => i64::from(offset),
                (Some(offset), _) => i64::from(offset as i32),
            },
        })
    }
}
