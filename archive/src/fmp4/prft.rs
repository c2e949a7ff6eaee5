//! Producer reference time (ISO/IEC 14496-12 §8.16.5): ties a track's time to the wall clock inside the file.

use super::boxes::BoxSlice;
use super::{Fmp4Error, FourCc, MAX_INIT_BYTES};
use crate::time::WallTime;

/// Seconds from 1900-01-01, where NTP starts, to 1970-01-01.
const NTP_TO_UNIX_S: i128 = 2_208_988_800;

/// Flags 24: the time at which the sample was captured, by a clock that is consistent over the file.
const CAPTURE_TIME: u32 = 24;

/// What a `prft` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerReference {
    /// The track whose time it ties.
    pub track_id: u32,
    /// When the sample of that time was captured.
    pub wall: WallTime,
    /// Time in the track's timescale.
    pub media_time: u64,
}

/// Writes a `prft` of version 1.
///
/// The wall time survives to the microsecond between 1968-01-20 and 2104-02-26; outside, the 32 bits of NTP's
/// seconds wrap around.
pub fn write_prft(track_id: u32, wall: WallTime, media_time: u64) -> [u8; 32] {
    let since_1900_us = i128::from(wall.0) + NTP_TO_UNIX_S * 1_000_000;
    // The low 64 bits are seconds modulo 2^32 and the fraction, as NTP has them.
    let ntp = (since_1900_us << 32).div_euclid(1_000_000) as u64;
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&32u32.to_be_bytes());
    bytes[4..8].copy_from_slice(b"prft");
    bytes[8..12].copy_from_slice(&(1 << 24 | CAPTURE_TIME).to_be_bytes());
    bytes[12..16].copy_from_slice(&track_id.to_be_bytes());
    bytes[16..24].copy_from_slice(&ntp.to_be_bytes());
    bytes[24..].copy_from_slice(&media_time.to_be_bytes());
    bytes
}

/// Reads the `prft` at the start of `bytes`, whatever its flags.
///
/// # Errors
/// What is wrong and where; [`Fmp4Error::Incomplete`] if the box is cut off.
pub fn read_prft(bytes: &[u8]) -> Result<ProducerReference, Fmp4Error> {
    match BoxSlice::top_level(bytes, 0, 0, MAX_INIT_BYTES)? {
        Some(found) if found.kind.0 == *b"prft" => parse_prft(&found),
        Some(found) => Err(found.invalid("prft was expected")),
        None => Err(Fmp4Error::Incomplete {
            box_type: FourCc(*b"prft"),
            offset_bytes: 0,
            needed_bytes: 8,
        }),
    }
}

pub(super) fn parse_prft(prft: &BoxSlice<'_>) -> Result<ProducerReference, Fmp4Error> {
    let mut fields = prft.fields();
    let (version, _) = fields.version_and_flags()?;
    let track_id = fields.u32()?;
    let ntp = fields.u64()?;
    let media_time = fields.u32_or_u64(version)?;
    // RFC 4330 §3: without the top bit the seconds belong to the era that starts in 2036.
    let era = if ntp >> 63 == 0 { 1i128 << 64 } else { 0 };
    let since_1900_us = ((i128::from(ntp) + era) * 1_000_000 + (1 << 31)) >> 32;
    Ok(ProducerReference {
        track_id,
        wall: WallTime((since_1900_us - NTP_TO_UNIX_S * 1_000_000) as i64),
        media_time,
    })
}
