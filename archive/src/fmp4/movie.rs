//! All samples of any MP4, whether it lists them in tables (ISO/IEC 14496-12 §8.6, §8.7) or in fragments.
//!
//! The recorder writes no such tables; a copy that somebody made may have them.

use super::boxes::BoxSlice;
use super::init::{read_defaults, read_trak};
use super::{Fmp4Error, Init, InitTrack, SampleRef, fragment_samples};

/// A file's tracks and samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movie {
    /// Its picture and sound tracks.
    pub tracks: Vec<InitTrack>,
    /// Their samples, those of each track in decode order.
    pub samples: Vec<SampleRef>,
}

/// Reads a whole file.
///
/// # Errors
/// What is wrong and where; a file without `moov` is [`Fmp4Error::Missing`].
pub fn read_movie(bytes: &[u8]) -> Result<Movie, Fmp4Error> {
    let mut at = 0;
    let mut init: Option<Init> = None;
    let mut samples = Vec::new();
    while let Some(found) = BoxSlice::top_level(bytes, at, 0, u64::MAX)? {
        match (&found.kind.0, &init) {
            (b"moov", None) => init = Some(read_moov(&found, bytes.len(), &mut samples)?),
            (b"moof", Some(init)) => {
                let rest = bytes.get(at..).unwrap_or_default();
                samples.extend(fragment_samples(rest, at as u64, init)?);
                check_count(&found, samples.len(), bytes.len())?;
            }
            _ => {}
        }
        at += found.size_bytes();
    }
    let init = init.ok_or(Fmp4Error::Missing {
        box_type: super::FourCc(*b"ftyp"),
        offset_bytes: 0,
        missing: super::FourCc(*b"moov"),
    })?;
    Ok(Movie {
        tracks: init.tracks,
        samples,
    })
}

/// A sample has a byte at least, so no file has more samples than bytes; what it claims must not decide over memory.
fn check_count(at: &BoxSlice<'_>, count: usize, file_bytes: usize) -> Result<(), Fmp4Error> {
    if count > file_bytes {
        return Err(at.invalid("too many samples"));
    }
    Ok(())
}

fn read_moov(
    moov: &BoxSlice<'_>,
    file_bytes: usize,
    samples: &mut Vec<SampleRef>,
) -> Result<Init, Fmp4Error> {
    let mut init = Init {
        size_bytes: 0,
        movie_timescale: 0,
        tracks: Vec::new(),
    };
    for child in moov.children(0)? {
        let trak = child?;
        if trak.kind.0 != *b"trak" {
            continue;
        }
        if let Some(track) = read_trak(&trak)? {
            read_tables(&trak, track.track.track_id, file_bytes, samples)?;
            init.tracks.push(track);
        }
    }
    if init.tracks.is_empty() {
        return Err(moov.invalid("has neither picture nor sound"));
    }
    if let Some(mvex) = moov.find(b"mvex")? {
        read_defaults(&mvex, &mut init.tracks)?;
    }
    Ok(init)
}

/// A table of pairs that each stand for a number of samples: `stts` and `ctts`.
fn read_runs(table: Option<BoxSlice<'_>>) -> Result<impl Iterator<Item = i64>, Fmp4Error> {
    let mut runs = Vec::new();
    if let Some(table) = table {
        let mut fields = table.fields();
        fields.version_and_flags()?;
        let count = fields.u32()? as usize;
        if count > fields.remaining() / 8 {
            return Err(table.invalid("ends before its last entry"));
        }
        for _ in 0..count {
            runs.push((fields.u32()?, i64::from(fields.u32()? as i32)));
        }
    }
    Ok(runs
        .into_iter()
        .flat_map(|(count, value)| std::iter::repeat_n(value, count as usize)))
}

fn read_sizes(stsz: &BoxSlice<'_>, file_bytes: usize) -> Result<Vec<u32>, Fmp4Error> {
    let mut fields = stsz.fields();
    fields.version_and_flags()?;
    let common = fields.u32()?;
    let count = fields.u32()? as usize;
    check_count(stsz, count, file_bytes)?;
    if common != 0 {
        return Ok(vec![common; count]);
    }
    if count > fields.remaining() / 4 {
        return Err(stsz.invalid("ends before its last entry"));
    }
    (0..count).map(|_| fields.u32()).collect()
}

/// Offsets of the chunks, from `stco` or `co64`.
fn read_chunks(stbl: &BoxSlice<'_>) -> Result<Vec<u64>, Fmp4Error> {
    let (table, is_large) = match stbl.find(b"co64")? {
        Some(table) => (table, true),
        None => (stbl.need(b"stco")?, false),
    };
    let mut fields = table.fields();
    fields.version_and_flags()?;
    let count = fields.u32()? as usize;
    if count > fields.remaining() / 4 {
        return Err(table.invalid("ends before its last entry"));
    }
    (0..count)
        .map(|_| fields.u32_or_u64(u8::from(is_large)))
        .collect()
}

/// First chunk (from 1) and samples in each chunk from there on.
fn read_chunk_runs(stsc: &BoxSlice<'_>) -> Result<Vec<(u32, u32)>, Fmp4Error> {
    let mut fields = stsc.fields();
    fields.version_and_flags()?;
    let count = fields.u32()? as usize;
    if count > fields.remaining() / 12 {
        return Err(stsc.invalid("ends before its last entry"));
    }
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        runs.push((fields.u32()?, fields.u32()?));
        fields.skip(4)?;
    }
    Ok(runs)
}

fn read_tables(
    trak: &BoxSlice<'_>,
    track_id: u32,
    file_bytes: usize,
    samples: &mut Vec<SampleRef>,
) -> Result<(), Fmp4Error> {
    let stbl = trak.need(b"mdia")?.need(b"minf")?.need(b"stbl")?;
    let Some(stsz) = stbl.find(b"stsz")? else {
        return Ok(());
    };
    let sizes = read_sizes(&stsz, file_bytes)?;
    if sizes.is_empty() {
        return Ok(());
    }
    check_count(&stsz, samples.len() + sizes.len(), file_bytes)?;
    let mut durations = read_runs(stbl.find(b"stts")?)?;
    let mut compositions = read_runs(stbl.find(b"ctts")?)?;
    let chunks = read_chunks(&stbl)?;
    let chunk_runs = read_chunk_runs(&stbl.need(b"stsc")?)?;
    let mut sizes = sizes.into_iter().enumerate();
    let mut decode_time = 0i64;
    let mut run = 0;
    for (index, chunk) in chunks.iter().enumerate() {
        while chunk_runs
            .get(run + 1)
            .is_some_and(|(first, _)| *first as usize <= index + 1)
        {
            run += 1;
        }
        let in_chunk = chunk_runs.get(run).map_or(0, |(_, count)| *count);
        let mut at = *chunk;
        for _ in 0..in_chunk {
            let Some((number, size_bytes)) = sizes.next() else {
                return Ok(());
            };
            samples.push(SampleRef {
                track_id,
                offset_bytes: at,
                size_bytes,
                decode_time,
                presentation_time: decode_time.saturating_add(compositions.next().unwrap_or(0)),
                is_sync: number == 0,
            });
            at = at.saturating_add(u64::from(size_bytes));
            decode_time = decode_time.saturating_add(durations.next().unwrap_or(0));
        }
    }
    Ok(())
}
