//! Compact coding of a segment's GOPs for one database value.
//!
//! A version byte, the number of GOPs, then for each: a byte of flags, the size, the change of the
//! length against the GOP before, and only if the flags say so the distance of its first byte and of its start from
//! the end of the GOP before. Numbers are LEB128, signed ones zigzag. A GOP of a camera takes 5 to 6
//! bytes. There is exactly one coding for each list, and [`decode`] refuses all others.

use crate::segment::GopRange;
use crate::time::MediaTime;

const VERSION: u8 = 1;
const HAS_OFFSET_JUMP: u8 = 1;
const HAS_TIME_JUMP: u8 = 2;
/// Flags, size and change of length take at least a byte each.
const MIN_GOP_BYTES: usize = 3;

/// Why bytes are not a coded index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Written by another version of this code, or no index at all.
    #[error("index version {0} is not known: {VERSION}")]
    Version(u8),
    /// The bytes end too early.
    #[error("the index ends at byte {offset_bytes} inside a GOP")]
    Truncated {
        /// Length of the bytes.
        offset_bytes: usize,
    },
    /// A number or a flag is not written in the one way that it may be.
    #[error("byte {offset_bytes} of the index: {reason}")]
    Invalid {
        /// Where.
        offset_bytes: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Something follows the last GOP.
    #[error("the index goes on behind its last GOP at byte {offset_bytes}")]
    Trailing {
        /// Where the last GOP ends.
        offset_bytes: usize,
    },
}

/// Codes the GOPs of a segment; any list can be coded.
pub fn encode(gops: &[GopRange]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    put(&mut bytes, gops.len() as u64);
    let mut before = Before::default();
    for gop in gops {
        // Wrapping, so that there is no list that cannot be coded; decoding wraps back.
        let offset_jump = gop.offset_bytes.wrapping_sub(before.end_bytes) as i64;
        let time_jump = gop.start.0.wrapping_sub(before.end_us);
        let mut flags = 0;
        flags |= if offset_jump == 0 { 0 } else { HAS_OFFSET_JUMP };
        flags |= if time_jump == 0 { 0 } else { HAS_TIME_JUMP };
        bytes.push(flags);
        put(&mut bytes, gop.size_bytes);
        put(
            &mut bytes,
            zigzag(gop.duration_us.wrapping_sub(before.duration_us)),
        );
        for jump in [offset_jump, time_jump].into_iter().filter(|jump| *jump != 0) {
            put(&mut bytes, zigzag(jump));
        }
        before = Before::of(gop);
    }
    bytes
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`IndexError`] for every sequence of bytes that [`encode`] cannot have written.
pub fn decode(bytes: &[u8]) -> Result<Vec<GopRange>, IndexError> {
    let mut input = Input { bytes, at: 0 };
    let version = input.byte()?;
    if version != VERSION {
        return Err(IndexError::Version(version));
    }
    let count = input.number()?;
    let most = (bytes.len() - input.at) / MIN_GOP_BYTES;
    let count = usize::try_from(count).ok().filter(|c| *c <= most);
    let count = count.ok_or(IndexError::Truncated {
        offset_bytes: bytes.len(),
    })?;
    let mut gops = Vec::with_capacity(count);
    let mut before = Before::default();
    for _ in 0..count {
        let flags_at = input.at;
        let flags = input.byte()?;
        if flags & !(HAS_OFFSET_JUMP | HAS_TIME_JUMP) != 0 {
            return Err(IndexError::Invalid {
                offset_bytes: flags_at,
                reason: "a flag is not known",
            });
        }
        let size_bytes = input.number()?;
        let duration_us = before.duration_us.wrapping_add(unzigzag(input.number()?));
        let offset_jump = input.jump(flags & HAS_OFFSET_JUMP)?;
        let time_jump = input.jump(flags & HAS_TIME_JUMP)?;
        let gop = GopRange {
            offset_bytes: before.end_bytes.wrapping_add(offset_jump as u64),
            size_bytes,
            start: MediaTime(before.end_us.wrapping_add(time_jump)),
            duration_us,
        };
        before = Before::of(&gop);
        gops.push(gop);
    }
    if input.at < bytes.len() {
        return Err(IndexError::Trailing {
            offset_bytes: input.at,
        });
    }
    Ok(gops)
}

/// What the next GOP is expected to follow.
#[derive(Default)]
struct Before {
    end_bytes: u64,
    end_us: i64,
    duration_us: i64,
}

impl Before {
    fn of(gop: &GopRange) -> Self {
        Self {
            end_bytes: gop.offset_bytes.wrapping_add(gop.size_bytes),
            end_us: gop.start.0.wrapping_add(gop.duration_us),
            duration_us: gop.duration_us,
        }
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(coded: u64) -> i64 {
    (coded >> 1) as i64 ^ -((coded & 1) as i64)
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn byte(&mut self) -> Result<u8, IndexError> {
        let byte = self.bytes.get(self.at).copied().ok_or(IndexError::Truncated {
            offset_bytes: self.bytes.len(),
        })?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, IndexError> {
        let start = self.at;
        let invalid = |reason| IndexError::Invalid {
            offset_bytes: start,
            reason,
        };
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(invalid("a number has more than 64 bits"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(invalid("a number is longer than it need be"))
                } else {
                    Ok(number)
                };
            }
        }
        Err(invalid("a number has more than 64 bits"))
    }

    fn jump(&mut self, flag: u8) -> Result<i64, IndexError> {
        if flag == 0 {
            return Ok(0);
        }
        let offset_bytes = self.at;
        match self.number()? {
            0 => Err(IndexError::Invalid {
                offset_bytes,
                reason: "a jump of nothing",
            }),
            jump => Ok(unzigzag(jump)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gop(offset_bytes: u64, size_bytes: u64, start: i64, duration_us: i64) -> GopRange {
        GopRange {
            offset_bytes,
            size_bytes,
            start: MediaTime(start),
            duration_us,
        }
    }

    #[test]
    fn takes_about_six_bytes_a_gop() {
        let mut gops = Vec::new();
        let (mut at, mut start) = (1_400, 3_600_000_000_000);
        for number in 0..60i64 {
            let size = 480_000 + 3_171 * (number as u64 % 13);
            // Most cameras keep the length but for rounding, and now and then slip a picture.
            let duration = 1_000_000 + if number % 10 == 9 { 40_000 } else { number % 2 };
            gops.push(gop(at, size, start, duration));
            (at, start) = (at + size, start + duration);
        }
        let bytes = encode(&gops);
        assert!(bytes.len() <= 60 * 6, "{} bytes", bytes.len());
        assert_eq!(decode(&bytes), Ok(gops));
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        let bytes = encode(&[gop(100, 50, 0, 10), gop(150, 50, 10, 10)]);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut to {length}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        let trailing = IndexError::Trailing {
            offset_bytes: bytes.len(),
        };
        assert_eq!(decode(&longer), Err(trailing));
        assert_eq!(decode(&[9, 0]), Err(IndexError::Version(9)));
        // A count that the bytes cannot hold must not reserve memory for it.
        let huge = [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert!(matches!(decode(&huge), Err(IndexError::Truncated { .. })));
        let padded = [1, 0x80, 0x00];
        assert!(matches!(decode(&padded), Err(IndexError::Invalid { .. })));
    }

    proptest! {
        #[test]
        fn decodes_what_it_encoded(list in proptest::collection::vec(
            (any::<u64>(), any::<u64>(), any::<i64>(), any::<i64>()), 0..20,
        )) {
            let gops: Vec<_> = list.into_iter().map(|(o, s, t, d)| gop(o, s, t, d)).collect();
            prop_assert_eq!(decode(&encode(&gops)), Ok(gops));
        }

        #[test]
        fn each_list_has_one_coding(mut bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            bytes.insert(0, VERSION);
            if let Ok(gops) = decode(&bytes) {
                prop_assert_eq!(encode(&gops), bytes);
            }
        }
    }
}
