//! The init segment: `ftyp` and `moov` with the tracks and their defaults.

use super::boxes::BoxSlice;
use super::codec::{AUDIO_ENTRY_BYTES, VISUAL_ENTRY_BYTES, codec_string};
use super::{Fmp4Error, MAX_INIT_BYTES, MAX_TRACKS};
use crate::segment::{Track, TrackKind};

/// Boxes looked at before `moov` is given up.
const MAX_BOXES_BEFORE_MOOV: usize = 16;

/// What `trex` says of samples that do not say it themselves (ISO/IEC 14496-12 §8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SampleDefaults {
    /// Length in the track's timescale.
    pub duration: u32,
    /// Length in bytes.
    pub size_bytes: u32,
    /// Sample flags; bit 16 set means that playback cannot start there.
    pub flags: u32,
}

/// One track of an init segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitTrack {
    /// What the track carries.
    pub track: Track,
    /// Defaults for its samples.
    pub defaults: SampleDefaults,
    /// `media_time` of its first edit that is not empty, in its timescale. Players subtract it from
    /// presentation times; nothing in this module does.
    pub edit_media_time: Option<i64>,
}

/// An init segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// Length of `ftyp`, `moov` and what lies between, in bytes.
    pub size_bytes: u64,
    /// Ticks per second of the movie; tracks have their own.
    pub movie_timescale: u32,
    /// Its picture and sound tracks in file order, at least one.
    pub tracks: Vec<InitTrack>,
}

impl Init {
    /// The tracks as a manifest lists them.
    pub fn tracks(&self) -> Vec<Track> {
        self.tracks.iter().map(|t| t.track.clone()).collect()
    }

    /// A track by its `track_ID`.
    pub fn track(&self, track_id: u32) -> Option<&InitTrack> {
        self.tracks.iter().find(|t| t.track.track_id == track_id)
    }

    /// The track whose times count for the stream: the first picture, or the first sound if there is none.
    pub fn leading_track(&self) -> &InitTrack {
        self.tracks
            .iter()
            .find(|t| t.track.kind == TrackKind::Video)
            .or(self.tracks.first())
            .expect("read_init refuses an init segment without tracks")
    }
}

/// Reads the init segment at the start of a file; what follows it is not looked at.
///
/// # Errors
/// [`Fmp4Error::Incomplete`] if `moov` is not whole yet, else what is wrong and where.
pub fn read_init(bytes: &[u8]) -> Result<Init, Fmp4Error> {
    let mut at = 0;
    for number in 0..MAX_BOXES_BEFORE_MOOV {
        let Some(found) = BoxSlice::top_level(bytes, at, 0, MAX_INIT_BYTES)? else {
            return Err(Fmp4Error::Incomplete {
                box_type: super::FourCc(if number == 0 { *b"ftyp" } else { *b"moov" }),
                offset_bytes: at as u64,
                needed_bytes: at as u64 + 8,
            });
        };
        at += found.size_bytes();
        match (&found.kind.0, number) {
            (b"ftyp", 0) => {}
            (_, 0) => return Err(found.invalid("a file starts with ftyp")),
            (b"moov", _) => return read_moov(&found, at as u64),
            (b"moof" | b"mdat", _) => return Err(found.invalid("comes before moov")),
            _ if at as u64 > MAX_INIT_BYTES => break,
            _ => {}
        }
    }
    Err(Fmp4Error::Missing {
        box_type: super::FourCc(*b"ftyp"),
        offset_bytes: 0,
        missing: super::FourCc(*b"moov"),
    })
}

fn read_moov(moov: &BoxSlice<'_>, size_bytes: u64) -> Result<Init, Fmp4Error> {
    let mut init = Init {
        size_bytes,
        movie_timescale: read_timescale(&moov.need(b"mvhd")?)?,
        tracks: Vec::new(),
    };
    for child in moov.children(0)? {
        let child = child?;
        if child.kind.0 != *b"trak" {
            continue;
        }
        let Some(track) = read_trak(&child)? else {
            continue;
        };
        if init.track(track.track.track_id).is_some() {
            return Err(child.invalid("two tracks have the same track_ID"));
        }
        if init.tracks.len() == MAX_TRACKS {
            return Err(child.invalid("too many tracks"));
        }
        init.tracks.push(track);
    }
    if init.tracks.is_empty() {
        return Err(moov.invalid("has neither picture nor sound"));
    }
    read_defaults(&moov.need(b"mvex")?, &mut init.tracks)?;
    Ok(init)
}

/// Fills in what `mvex` says of samples that do not say it themselves.
pub(super) fn read_defaults(mvex: &BoxSlice<'_>, tracks: &mut [InitTrack]) -> Result<(), Fmp4Error> {
    for child in mvex.children(0)? {
        let child = child?;
        if child.kind.0 == *b"trex" {
            let mut fields = child.fields();
            fields.version_and_flags()?;
            let track_id = fields.u32()?;
            fields.skip(4)?;
            let defaults = SampleDefaults {
                duration: fields.u32()?,
                size_bytes: fields.u32()?,
                flags: fields.u32()?,
            };
            if let Some(track) = tracks.iter_mut().find(|t| t.track.track_id == track_id) {
                track.defaults = defaults;
            }
        }
    }
    Ok(())
}

/// `None` for a track that is neither picture nor sound.
pub(super) fn read_trak(trak: &BoxSlice<'_>) -> Result<Option<InitTrack>, Fmp4Error> {
    let mdia = trak.need(b"mdia")?;
    let hdlr = mdia.need(b"hdlr")?;
    let mut fields = hdlr.fields();
    fields.skip(8)?;
    let kind = match fields.take(4)? {
        b"vide" => TrackKind::Video,
        b"soun" => TrackKind::Audio,
        _ => return Ok(None),
    };
    let stsd = mdia.need(b"minf")?.need(b"stbl")?.need(b"stsd")?;
    let entry = stsd
        .children(8)?
        .next()
        .transpose()?
        .ok_or_else(|| stsd.invalid("describes no samples"))?;
    let mut track = Track {
        track_id: read_track_id(&trak.need(b"tkhd")?)?,
        kind,
        codec: codec_string(&entry)?,
        timescale: read_timescale(&mdia.need(b"mdhd")?)?,
        width: 0,
        height: 0,
        sample_rate: 0,
        channels: 0,
    };
    let mut fields = entry.fields();
    match kind {
        TrackKind::Video => {
            let mut fixed = fields.take(VISUAL_ENTRY_BYTES)?.iter().skip(24).copied();
            let mut number =
                || u32::from(fixed.next().unwrap_or(0)) << 8 | u32::from(fixed.next().unwrap_or(0));
            (track.width, track.height) = (number(), number());
        }
        TrackKind::Audio => {
            if fields.remaining() < AUDIO_ENTRY_BYTES {
                return Err(entry.invalid("ends inside a field"));
            }
            fields.skip(16)?;
            track.channels = fields.u16()?;
            fields.skip(6)?;
            // 16.16 fixed point; rates above 65,535 are written as 0 and stand in the timescale.
            track.sample_rate = match fields.u32()? >> 16 {
                0 => track.timescale,
                rate => rate,
            };
        }
    }
    Ok(Some(InitTrack {
        track,
        defaults: SampleDefaults::default(),
        edit_media_time: read_edit(trak)?,
    }))
}

fn read_track_id(tkhd: &BoxSlice<'_>) -> Result<u32, Fmp4Error> {
    let mut fields = tkhd.fields();
    let (version, _) = fields.version_and_flags()?;
    fields.skip(if version == 0 { 8 } else { 16 })?;
    match fields.u32()? {
        0 => Err(tkhd.invalid("track_ID is 0")),
        id => Ok(id),
    }
}

/// `mvhd` and `mdhd` have the timescale at the same place.
fn read_timescale(header: &BoxSlice<'_>) -> Result<u32, Fmp4Error> {
    let mut fields = header.fields();
    let (version, _) = fields.version_and_flags()?;
    fields.skip(if version == 0 { 8 } else { 16 })?;
    match fields.u32()? {
        0 => Err(header.invalid("timescale is 0")),
        timescale => Ok(timescale),
    }
}

fn read_edit(trak: &BoxSlice<'_>) -> Result<Option<i64>, Fmp4Error> {
    let Some(edts) = trak.find(b"edts")? else {
        return Ok(None);
    };
    let Some(elst) = edts.find(b"elst")? else {
        return Ok(None);
    };
    let mut fields = elst.fields();
    let (version, _) = fields.version_and_flags()?;
    for _ in 0..fields.u32()? {
        fields.u32_or_u64(version)?;
        let media_time = match version {
            0 => i64::from(fields.u32()? as i32),
            _ => fields.u64()? as i64,
        };
        fields.skip(4)?;
        if media_time >= 0 {
            return Ok(Some(media_time));
        }
    }
    Ok(None)
}
