//! Walks boxes (ISO/IEC 14496-12 §4.2) and their fields without believing any length.

use super::{Fmp4Error, FourCc};

/// One whole box.
#[derive(Clone, Copy)]
pub(super) struct BoxSlice<'a> {
    pub kind: FourCc,
    /// Where its header starts.
    pub offset_bytes: u64,
    /// What follows the header.
    pub payload: &'a [u8],
    header_bytes: u64,
}

impl<'a> BoxSlice<'a> {
    /// Reads the box at `at` of a file of which `bytes` lies at `offset_bytes`; `None` at the end.
    ///
    /// Bytes that end too early give [`Fmp4Error::Incomplete`].
    pub fn top_level(
        bytes: &'a [u8],
        at: usize,
        offset_bytes: u64,
        most_bytes: u64,
    ) -> Result<Option<Self>, Fmp4Error> {
        let start = offset_bytes.saturating_add(at as u64);
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let cut_off = |kind, needed: u64| Fmp4Error::Incomplete {
            box_type: kind,
            offset_bytes: start,
            needed_bytes: start.saturating_add(needed),
        };
        let header = Header::read(rest, start)?.map_err(|needed| cut_off(FourCc::UNKNOWN, needed))?;
        if header.size_bytes > most_bytes {
            return Err(invalid(
                header.kind,
                start,
                "larger than any that a recorder writes",
            ));
        }
        match header.slice(rest, start) {
            Some(found) => Ok(Some(found)),
            None => Err(cut_off(header.kind, header.size_bytes)),
        }
    }

    /// Length with its header.
    pub fn size_bytes(&self) -> usize {
        self.header_bytes as usize + self.payload.len()
    }

    pub fn fields(&self) -> Fields<'a> {
        Fields {
            kind: self.kind,
            start: self.offset_bytes.saturating_add(self.header_bytes),
            data: self.payload,
            at: 0,
        }
    }

    /// The boxes in it, behind `skip_bytes` of fields.
    pub fn children(&self, skip_bytes: usize) -> Result<Children<'a>, Fmp4Error> {
        let mut fields = self.fields();
        fields.skip(skip_bytes)?;
        Ok(Children {
            parent: self.kind,
            start: fields.start,
            data: self.payload,
            at: skip_bytes,
        })
    }

    /// The first box of a kind in it.
    pub fn find(&self, kind: &[u8; 4]) -> Result<Option<BoxSlice<'a>>, Fmp4Error> {
        self.children(0)?
            .find(|c| c.as_ref().map_or(true, |c| c.kind.0 == *kind))
            .transpose()
    }

    /// The first box of a kind in it, which must be there.
    pub fn need(&self, kind: &[u8; 4]) -> Result<BoxSlice<'a>, Fmp4Error> {
        self.find(kind)?.ok_or_else(|| self.missing(kind))
    }

    pub fn missing(&self, kind: &[u8; 4]) -> Fmp4Error {
        Fmp4Error::Missing {
            box_type: self.kind,
            offset_bytes: self.offset_bytes,
            missing: FourCc(*kind),
        }
    }

    pub fn invalid(&self, reason: &'static str) -> Fmp4Error {
        invalid(self.kind, self.offset_bytes, reason)
    }
}

struct Header {
    kind: FourCc,
    size_bytes: u64,
    header_bytes: u64,
}

impl Header {
    /// The inner error is the number of bytes that a header needs.
    fn read(rest: &[u8], start: u64) -> Result<Result<Self, u64>, Fmp4Error> {
        let Some((short, rest)) = rest.split_first_chunk::<8>() else {
            return Ok(Err(8));
        };
        let [s0, s1, s2, s3, k0, k1, k2, k3] = *short;
        let kind = FourCc([k0, k1, k2, k3]);
        let (size_bytes, header_bytes) = match u32::from_be_bytes([s0, s1, s2, s3]) {
            // Reaching to the end of the file: legal, but nothing that grows can be checked then.
            0 => return Err(invalid(kind, start, "has no size")),
            1 => match rest.first_chunk::<8>() {
                Some(large) => (u64::from_be_bytes(*large), 16),
                None => return Ok(Err(16)),
            },
            small => (u64::from(small), 8),
        };
        if size_bytes < header_bytes {
            return Err(invalid(kind, start, "smaller than its header"));
        }
        Ok(Ok(Self {
            kind,
            size_bytes,
            header_bytes,
        }))
    }

    fn slice<'a>(&self, rest: &'a [u8], start: u64) -> Option<BoxSlice<'a>> {
        let size = usize::try_from(self.size_bytes).ok()?;
        Some(BoxSlice {
            kind: self.kind,
            offset_bytes: start,
            payload: rest.get(self.header_bytes as usize..size)?,
            header_bytes: self.header_bytes,
        })
    }
}

/// The boxes inside a box; stops for good after the first fault.
pub(super) struct Children<'a> {
    parent: FourCc,
    start: u64,
    data: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<BoxSlice<'a>, Fmp4Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.data.get(self.at..)?;
        if rest.is_empty() {
            return None;
        }
        let start = self.start.saturating_add(self.at as u64);
        let found = Header::read(rest, start).and_then(|header| {
            let header = header.map_err(|_| invalid(self.parent, start, "ends inside a header"))?;
            header
                .slice(rest, start)
                .ok_or_else(|| invalid(header.kind, start, "larger than the box around it"))
        });
        self.at = match &found {
            Ok(found) => self.at + found.size_bytes(),
            Err(_) => self.data.len(),
        };
        Some(found)
    }
}

/// Big-endian fields of a box, read in order.
pub(super) struct Fields<'a> {
    kind: FourCc,
    start: u64,
    data: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Fmp4Error> {
        let taken = self
            .at
            .checked_add(length)
            .and_then(|end| self.data.get(self.at..end))
            .ok_or_else(|| self.invalid("ends inside a field"))?;
        self.at += length;
        Ok(taken)
    }

    pub fn skip(&mut self, length: usize) -> Result<(), Fmp4Error> {
        self.take(length).map(|_| ())
    }

    pub fn remaining(&self) -> usize {
        self.data.len() - self.at
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fmp4Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8, Fmp4Error> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Fmp4Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Fmp4Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Fmp4Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// A field that has 64 bits from version 1 on and 32 before.
    pub fn u32_or_u64(&mut self, version: u8) -> Result<u64, Fmp4Error> {
        if version == 0 {
            self.u32().map(u64::from)
        } else {
            self.u64()
        }
    }

    /// Version and flags of a full box.
    pub fn version_and_flags(&mut self) -> Result<(u8, u32), Fmp4Error> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    pub fn invalid(&self, reason: &'static str) -> Fmp4Error {
        invalid(self.kind, self.start.saturating_add(self.at as u64), reason)
    }
}

pub(super) fn invalid(kind: FourCc, offset_bytes: u64, reason: &'static str) -> Fmp4Error {
    Fmp4Error::Invalid {
        box_type: kind,
        offset_bytes,
        reason,
    }
}
