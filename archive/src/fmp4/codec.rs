//! Names a sample entry the way `codecs=` wants it: RFC 6381 and ISO/IEC 14496-15 annex E.

use super::Fmp4Error;
use super::boxes::{BoxSlice, Fields};

/// Fields before the boxes of a visual sample entry (ISO/IEC 14496-12 §12.1.3).
pub(super) const VISUAL_ENTRY_BYTES: usize = 78;
/// Fields before the boxes of an audio sample entry (ISO/IEC 14496-12 §12.2.3).
pub(super) const AUDIO_ENTRY_BYTES: usize = 28;

/// The codec string of a sample entry.
///
/// An entry of a kind that the recorder does not write is named by its four characters alone.
pub(super) fn codec_string(entry: &BoxSlice<'_>) -> Result<String, Fmp4Error> {
    let config = |kind: &[u8; 4], fields_bytes: usize| {
        entry
            .children(fields_bytes)?
            .find(|c| c.as_ref().map_or(true, |c| c.kind.0 == *kind))
            .transpose()?
            .ok_or_else(|| entry.missing(kind))
    };
    match &entry.kind.0 {
        b"avc1" | b"avc3" => avc(entry, &config(b"avcC", VISUAL_ENTRY_BYTES)?),
        b"hvc1" | b"hev1" => hevc(entry, &config(b"hvcC", VISUAL_ENTRY_BYTES)?),
        b"mp4a" => aac(&config(b"esds", AUDIO_ENTRY_BYTES)?),
        b"Opus" => {
            config(b"dOps", AUDIO_ENTRY_BYTES)?;
            Ok("opus".to_owned())
        }
        other if other.iter().all(u8::is_ascii_alphanumeric) => Ok(entry.kind.to_string()),
        _ => Err(entry.invalid("its name is not four letters or digits")),
    }
}

fn avc(entry: &BoxSlice<'_>, config: &BoxSlice<'_>) -> Result<String, Fmp4Error> {
    let mut fields = config.fields();
    if fields.u8()? != 1 {
        return Err(config.invalid("its version is not 1"));
    }
    Ok(format!("{}.{}", entry.kind, hex::encode(fields.take(3)?)))
}

fn hevc(entry: &BoxSlice<'_>, config: &BoxSlice<'_>) -> Result<String, Fmp4Error> {
    let mut fields = config.fields();
    fields.skip(1)?;
    let profile = fields.u8()?;
    let space = ["", "A", "B", "C"][usize::from(profile >> 6)];
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let compatible = fields.u32()?.reverse_bits();
    let constraints = fields.take(6)?;
    let level = fields.u8()?;
    let kept = 6 - constraints.iter().rev().take_while(|byte| **byte == 0).count();
    let constraints: String = constraints.iter().take(kept).map(|b| format!(".{b:X}")).collect();
    Ok(format!(
        "{}.{space}{}.{compatible:X}.{tier}{level}{constraints}",
        entry.kind,
        profile & 0x1f
    ))
}

/// ISO/IEC 14496-1 §7.2.6: an ES descriptor, in it a decoder configuration, in it AudioSpecificConfig.
fn aac(config: &BoxSlice<'_>) -> Result<String, Fmp4Error> {
    let mut fields = config.fields();
    fields.version_and_flags()?;
    descriptor(&mut fields, 3)?;
    fields.skip(2)?;
    let flags = fields.u8()?;
    if flags & 0x80 != 0 {
        fields.skip(2)?;
    }
    if flags & 0x40 != 0 {
        let url_bytes = fields.u8()?;
        fields.skip(usize::from(url_bytes))?;
    }
    if flags & 0x20 != 0 {
        fields.skip(2)?;
    }
    descriptor(&mut fields, 4)?;
    let object_type = fields.u8()?;
    if object_type != 0x40 {
        return Ok(format!("mp4a.{object_type:x}"));
    }
    fields.skip(12)?;
    descriptor(&mut fields, 5)?;
    let first = fields.u8()?;
    let audio_object_type = match first >> 3 {
        31 => 32 + ((first & 7) << 3 | fields.u8()? >> 5),
        small => small,
    };
    Ok(format!("mp4a.40.{audio_object_type}"))
}

/// Enters a descriptor; its length is only checked not to point outside the box.
fn descriptor(fields: &mut Fields<'_>, tag: u8) -> Result<(), Fmp4Error> {
    if fields.u8()? != tag {
        return Err(fields.invalid("another descriptor was expected before this byte"));
    }
    let mut length = 0usize;
    for _ in 0..4 {
        let byte = fields.u8()?;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return if length <= fields.remaining() {
                Ok(())
            } else {
                Err(fields.invalid("a descriptor is larger than its box"))
            };
        }
    }
    Err(fields.invalid("a descriptor's length has more than four bytes"))
}
