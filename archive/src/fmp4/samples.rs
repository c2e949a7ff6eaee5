//! Where each single sample of a fragment lies.

use super::boxes::BoxSlice;
use super::fragment::{NON_SYNC, SampleLayout, TrackHeader, read_tfhd};
use super::{Fmp4Error, Init, MAX_BOX_BYTES};

/// One sample: a picture or a unit of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleRef {
    /// `track_ID`.
    pub track_id: u32,
    /// First byte in the file.
    pub offset_bytes: u64,
    /// Length in bytes.
    pub size_bytes: u32,
    /// Decode time in the track's timescale.
    pub decode_time: i64,
    /// Presentation time in the track's timescale.
    pub presentation_time: i64,
    /// Whether decoding can start here.
    pub is_sync: bool,
}

impl SampleRef {
    /// The sample's bytes out of bytes that lie at `offset_bytes` of the file; `None` if they are not among them.
    pub fn bytes<'a>(&self, bytes: &'a [u8], offset_bytes: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset_bytes.checked_sub(offset_bytes)?).ok()?;
        bytes.get(start..start.checked_add(self.size_bytes as usize)?)
    }
}

/// The samples of the fragment at the start of `bytes`, which lie at `offset_bytes` of their file, in file order.
///
/// # Errors
/// As [`super::next_fragment`]; also if a sample lies outside the bytes.
pub fn fragment_samples(bytes: &[u8], offset_bytes: u64, init: &Init) -> Result<Vec<SampleRef>, Fmp4Error> {
    let mut at = 0;
    loop {
        let Some(found) = BoxSlice::top_level(bytes, at, offset_bytes, MAX_BOX_BYTES)? else {
            return Ok(Vec::new());
        };
        if found.kind.0 == *b"moof" {
            let moof_offset = offset_bytes.saturating_add(at as u64);
            let samples = moof_samples(&found, moof_offset, bytes.len(), init)?;
            let is_inside = |sample: &SampleRef| sample.bytes(bytes, offset_bytes).is_some();
            return if samples.iter().all(is_inside) {
                Ok(samples)
            } else {
                Err(found.invalid("a sample lies outside the fragment"))
            };
        }
        at += found.size_bytes();
    }
}

fn moof_samples(
    moof: &BoxSlice<'_>,
    moof_offset: u64,
    most: usize,
    init: &Init,
) -> Result<Vec<SampleRef>, Fmp4Error> {
    let mut samples: Vec<SampleRef> = Vec::new();
    // Without any other word, data of a track follows that of the track before it.
    let mut data_end = moof_offset;
    for child in moof.children(0)? {
        let traf = child?;
        if traf.kind.0 != *b"traf" {
            continue;
        }
        let header = read_tfhd(&traf, init)?;
        let base = match header.base_offset {
            Some(base) => base,
            None if header.is_base_moof => moof_offset,
            None => data_end,
        };
        let mut decode_time = match traf.find(b"tfdt")? {
            Some(tfdt) => {
                let mut fields = tfdt.fields();
                let (version, _) = fields.version_and_flags()?;
                i64::try_from(fields.u32_or_u64(version)?)
                    .map_err(|_| tfdt.invalid("the decode time has 64 bits"))?
            }
            None => 0,
        };
        let mut at = base;
        for child in traf.children(0)? {
            let trun = child?;
            if trun.kind.0 == *b"trun" {
                let mut place = Place {
                    base,
                    at,
                    decode_time,
                };
                trun_samples(&trun, &header, &mut place, most, &mut samples)?;
                at = place.at;
                decode_time = place.decode_time;
            }
        }
        data_end = at;
    }
    Ok(samples)
}

struct Place {
    base: u64,
    at: u64,
    decode_time: i64,
}

fn trun_samples(
    trun: &BoxSlice<'_>,
    header: &TrackHeader,
    place: &mut Place,
    most: usize,
    samples: &mut Vec<SampleRef>,
) -> Result<(), Fmp4Error> {
    let mut fields = trun.fields();
    let (version, flags) = fields.version_and_flags()?;
    let count = fields.u32()? as usize;
    // A sample has a byte at least; what the bytes claim must not decide over memory.
    if samples.len().saturating_add(count) > most {
        return Err(trun.invalid("too many samples"));
    }
    if flags & 0x1 != 0 {
        let offset = i64::from(fields.u32()? as i32);
        place.at = place
            .base
            .checked_add_signed(offset)
            .ok_or_else(|| trun.invalid("its data lies before the file"))?;
    }
    let first_flags = if flags & 0x4 != 0 {
        Some(fields.u32()?)
    } else {
        None
    };
    let layout = SampleLayout { version, flags };
    for number in 0..count {
        let sample = layout.read(&mut fields, &header.defaults)?;
        let flags = first_flags.filter(|_| number == 0).unwrap_or(sample.flags);
        samples.push(SampleRef {
            track_id: header.track_id,
            offset_bytes: place.at,
            size_bytes: sample.size_bytes,
            decode_time: place.decode_time,
            presentation_time: place.decode_time.saturating_add(sample.composition_offset),
            is_sync: flags & NON_SYNC == 0,
        });
        place.at = place.at.saturating_add(u64::from(sample.size_bytes));
        place.decode_time = place.decode_time.saturating_add(i64::from(sample.duration));
    }
    Ok(())
}
