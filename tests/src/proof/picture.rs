//! One frame of the proof pattern: drawn as I420, read from luma of any size.
//!
//! The picture is a grid of 32 columns and 8 rows. Rows 0 to 3 carry 128 bits, most significant first:
//! 8 bits magic, 32 bits frame number, 64 bits wall time in microseconds UTC, 16 bits CRC, 8 bits magic inverted.
//! Row 4 shows a block that moves one column a frame. Rows 5 to 7 are the flash: white or black.

use archive::time::WallTime;

const COLUMNS: usize = 32;
const ROWS: usize = 8;
const MOTION_ROW: usize = 4;
const FIRST_FLASH_ROW: usize = 5;
const MAGIC: u8 = 0b1011_0010;
const BLACK: u8 = 16;
const WHITE: u8 = 235;
const MIDDLE: u32 = 125;

/// What a frame says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The camera's frame number; grows by one a frame.
    pub number: u32,
    /// When the frame was taken, by the clock of the camera's machine.
    pub wall: WallTime,
}

/// Draws a frame as tightly packed I420; `width` and `height` in pixels, both even and at least 64.
pub fn draw(width: usize, height: usize, mark: Mark, has_flash: bool) -> Vec<u8> {
    let mut picture = vec![BLACK; width * height];
    picture.resize(width * height * 3 / 2, 128);
    let bits = encode(mark);
    let mut paint = |column: usize, row: usize, columns: usize, rows: usize| {
        let (left, right) = (column * width / COLUMNS, (column + columns) * width / COLUMNS);
        for y in row * height / ROWS..(row + rows) * height / ROWS {
            picture[y * width + left..y * width + right].fill(WHITE);
        }
    };
    for index in (0..128).filter(|index| bits >> (127 - index) & 1 == 1) {
        paint(index % COLUMNS, index / COLUMNS, 1, 1);
    }
    paint(mark.number as usize % COLUMNS, MOTION_ROW, 1, 1);
    if has_flash {
        paint(0, FIRST_FLASH_ROW, COLUMNS, ROWS - FIRST_FLASH_ROW);
    }
    picture
}

/// Reads a frame's mark from its luma, `None` if the checksum does not fit, and whether it flashes.
///
/// `luma` holds `width * height` bytes; rows are tightly packed.
pub fn read(luma: &[u8], width: usize, height: usize) -> (Option<Mark>, bool) {
    let is_white = |column: usize, row: usize| {
        // The middle half of a cell, so that blur at its edges does not matter.
        let (left, right) = (
            (4 * column + 1) * width / 4 / COLUMNS,
            (4 * column + 3) * width / 4 / COLUMNS,
        );
        let (top, bottom) = (
            (4 * row + 1) * height / 4 / ROWS,
            (4 * row + 3) * height / 4 / ROWS,
        );
        let (mut sum, mut count) = (0u32, 0u32);
        for y in top..bottom.max(top + 1) {
            for value in &luma[y * width + left..y * width + right.max(left + 1)] {
                sum += u32::from(*value);
                count += 1;
            }
        }
        sum > count * MIDDLE
    };
    let bits = (0..128).fold(0u128, |bits, i| {
        bits << 1 | u128::from(is_white(i % COLUMNS, i / COLUMNS))
    });
    let white_cells = (0..COLUMNS).filter(|c| is_white(*c, FIRST_FLASH_ROW + 1)).count();
    (decode(bits), white_cells > COLUMNS / 2)
}

fn encode(mark: Mark) -> u128 {
    let body = u128::from(mark.number) << 64 | u128::from(mark.wall.0 as u64);
    u128::from(MAGIC) << 120 | body << 24 | u128::from(crc(body)) << 8 | u128::from(!MAGIC)
}

fn decode(bits: u128) -> Option<Mark> {
    let body = bits >> 24 & ((1 << 96) - 1);
    let mark = Mark {
        number: (body >> 64) as u32,
        wall: WallTime(body as u64 as i64),
    };
    (encode(mark) == bits).then_some(mark)
}

/// CRC-16/CCITT-FALSE over the 96 bits of a mark.
fn crc(body: u128) -> u16 {
    (0..96).rev().fold(0xffff, |crc: u16, bit| {
        let top = crc >> 15 ^ (body >> bit & 1) as u16;
        (crc << 1) ^ if top == 1 { 0x1021 } else { 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        number: 4_000_000_123,
        wall: WallTime(1_795_424_591_040_000),
    };

    #[test]
    fn reads_what_was_drawn_at_any_size() {
        for (width, height) in [(640, 360), (320, 180), (1280, 720), (352, 288)] {
            let picture = draw(width, height, MARK, true);
            assert_eq!(
                read(&picture, width, height),
                (Some(MARK), true),
                "{width}x{height}"
            );
            let picture = draw(width, height, MARK, false);
            assert_eq!(
                read(&picture, width, height),
                (Some(MARK), false),
                "{width}x{height}"
            );
        }
    }

    #[test]
    fn refuses_a_mark_with_a_turned_bit() {
        let bits = encode(MARK);
        for bit in 0..128 {
            assert_eq!(decode(bits ^ 1 << bit), None, "bit {bit}");
        }
    }

    #[test]
    fn finds_no_mark_in_a_plain_picture() {
        assert_eq!(read(&vec![128; 640 * 360], 640, 360).0, None);
        assert_eq!(read(&vec![16; 640 * 360], 640, 360), (None, false));
    }
}
