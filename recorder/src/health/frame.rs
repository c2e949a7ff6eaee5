//! One decoded picture, made small: what all judgement of pictures works on.

/// Width of the small picture.
pub const WIDTH: usize = 160;
/// Height of the small picture.
pub const HEIGHT: usize = 90;
/// Edge of a square block of the small picture.
pub const BLOCK: usize = 10;
/// Blocks in a row.
pub const BLOCK_COLUMNS: usize = WIDTH / BLOCK;
/// Blocks in the picture.
pub const BLOCKS: usize = BLOCK_COLUMNS * (HEIGHT / BLOCK);

/// Tiles of sharpness in a row.
const TILE_COLUMNS: usize = 5;
/// Tiles of sharpness in the picture.
pub const TILES: usize = 3 * TILE_COLUMNS;

/// Of so many rows one is looked at for sharpness.
const SHARPNESS_ROWS: usize = 4;
/// A picture smaller than this tells nothing.
const SMALLEST: usize = 64;

/// A decoded picture reduced to what is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Luma averaged down to [`WIDTH`] by [`HEIGHT`].
    pub grey: Vec<u8>,
    /// A hash of all full-size pixels of each block: equal only if every pixel is.
    pub block_hash: Vec<u64>,
    /// For each tile, the steepest steps between neighbouring full-size pixels, as a share of the strongest contrasts
    /// farther apart; `None` without contrast. Falls when the lens loses its focus, not when the light changes.
    pub acutance: Vec<Option<f32>>,
}

impl Frame {
    /// Reduces a plane of luma; `None` if it is too small or shorter than it says.
    pub fn new(luma: &[u8], width: usize, height: usize, stride: usize) -> Option<Self> {
        if width < SMALLEST
            || height < SMALLEST
            || stride < width
            || luma.len() < stride * (height - 1) + width
        {
            return None;
        }
        let row = |y: usize| &luma[y * stride..y * stride + width];
        let mut sums = vec![0u32; WIDTH];
        let mut grey = Vec::with_capacity(WIDTH * HEIGHT);
        let mut block_hash = vec![0u64; BLOCKS];
        for y in 0..HEIGHT {
            let (top, bottom) = span(y, HEIGHT, height);
            sums.fill(0);
            for row in (top..bottom).map(row) {
                for (x, sum) in sums.iter_mut().enumerate() {
                    let (left, right) = span(x, WIDTH, width);
                    *sum += row[left..right].iter().map(|v| u32::from(*v)).sum::<u32>();
                }
            }
            for (x, sum) in sums.iter().enumerate() {
                let (left, right) = span(x, WIDTH, width);
                let count = ((right - left) * (bottom - top)) as u32;
                grey.push(((sum + count / 2) / count) as u8);
            }
        }
        for y in 0..height {
            let block_row = y * (HEIGHT / BLOCK) / height;
            for column in 0..BLOCK_COLUMNS {
                let (left, right) = span(column, BLOCK_COLUMNS, width);
                let hash = &mut block_hash[block_row * BLOCK_COLUMNS + column];
                *hash = mix(*hash, &row(y)[left..right]);
            }
        }
        let tile = |tile: usize| {
            let (left, right) = span(tile % TILE_COLUMNS, TILE_COLUMNS, width);
            let (top, bottom) = span(tile / TILE_COLUMNS, TILES / TILE_COLUMNS, height);
            acutance(
                (top..bottom)
                    .step_by(SHARPNESS_ROWS)
                    .map(|y| &row(y)[left..right]),
                width / 20,
            )
        };
        let acutance = (0..TILES).map(tile).collect();
        Some(Self {
            grey,
            block_hash,
            acutance,
        })
    }
}

/// The pixels of a large row or column that a small one stands for; at least one.
fn span(index: usize, small: usize, large: usize) -> (usize, usize) {
    let from = index * large / small;
    (from, ((index + 1) * large / small).max(from + 1))
}

fn mix(hash: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = hash;
    for piece in bytes.chunks(8) {
        let word = piece.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(FACTOR).rotate_left(29);
    }
    hash
}

fn acutance<'a>(rows: impl Iterator<Item = &'a [u8]>, reach: usize) -> Option<f32> {
    /// The steepest two in a hundred: edges, even in a picture that is mostly plain.
    const STEEPEST: u32 = 50;
    /// Contrast below this is noise.
    const LEAST_CONTRAST: u8 = 24;
    let (mut near, mut far) = ([0u32; 256], [0u32; 256]);
    for row in rows {
        for window in row.windows(3) {
            near[usize::from(window[0].abs_diff(window[2]))] += 1;
        }
        for (left, right) in row.iter().zip(row.iter().skip(reach.max(4))) {
            far[usize::from(left.abs_diff(*right))] += 1;
        }
    }
    let steep = |counts: &[u32; 256]| {
        let wanted = counts.iter().sum::<u32>() / STEEPEST;
        let mut seen = 0;
        (0..=255u8).rev().find(|step| {
            seen += counts[usize::from(*step)];
            seen > wanted
        })
    };
    let (near, far) = (steep(&near)?, steep(&far)?);
    (far >= LEAST_CONTRAST).then(|| f32::from(near) / f32::from(far))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_down_and_finds_a_single_changed_pixel() {
        let (width, height) = (322, 180);
        let mut luma = vec![100; width * height];
        let before = Frame::new(&luma, width, height, width).unwrap();
        assert!(before.grey.iter().all(|v| *v == 100));
        assert!(before.acutance.iter().all(Option::is_none));
        luma[width * 179 + 321] = 101;
        let after = Frame::new(&luma, width, height, width).unwrap();
        let changed = (0..BLOCKS).filter(|b| before.block_hash[*b] != after.block_hash[*b]);
        assert_eq!(changed.collect::<Vec<_>>(), [BLOCKS - 1]);
    }

    #[test]
    fn a_plane_that_is_shorter_than_it_says_is_refused() {
        assert_eq!(Frame::new(&[0; 100], 320, 180, 320), None);
        assert_eq!(Frame::new(&[0; 320 * 180], 320, 180, 319), None);
    }
}
