//! The scene as it was learned, and how much of it a picture still shows.

use super::frame::{BLOCK, BLOCK_COLUMNS, BLOCKS, Frame, HEIGHT, TILES, WIDTH};

/// Pictures after which the scene counts as known.
const KNOWN_AFTER: u32 = 6;
/// The scene follows slow changes with this time constant.
const LEARN_US: i64 = 600_000_000;
/// Gradients of the scene below this are noise, in levels a pixel.
const LEAST_GRADIENT: f32 = 4.0;
/// Gradients of a picture below this say nothing of their direction.
const LEAST_SEEN: f32 = 2.0;
/// Pixels with a gradient that make a block one that can be recognised.
const LEAST_PIXELS: u32 = 12;
/// A block whose edges point the same way to this degree is recognised.
const SAME: f32 = 0.4;
/// A scene with fewer blocks to recognise can't be judged.
const LEAST_BLOCKS: usize = 8;

/// The first bytes of a scene on the disk.
const MAGIC: &[u8] = b"minhquay-scene-1\n";

/// How a picture compares with the scene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likeness {
    /// Share of the scene's recognisable blocks that are seen, 0 to 1: edges that point the same way, whatever the
    /// light. `None` if the scene has too few.
    pub recognised: Option<f32>,
    /// Correlation of the brightness over the picture, -1 to 1, whatever its gain.
    pub correlation: f32,
    /// Mean brightness above black, as a share of the scene's.
    pub brightness: f32,
    /// Share of pixels at edges, as a share of the scene's.
    pub detail: f32,
    /// Sharpness of edges, as a share of the scene's; `None` without edges.
    pub sharpness: Option<f32>,
}

/// A slowly learned picture of what the camera should show.
#[derive(Debug, Clone)]
pub struct Scene {
    mean: Vec<f32>,
    acutance: Vec<Option<f32>>,
    looks: u32,
    last_us: i64,
}

/// Mean brightness above black, standard deviation, brightest spot and share of edges of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// Mean luma.
    pub mean: f32,
    /// Standard deviation of luma.
    pub spread: f32,
    /// The luma that only two pixels in a thousand exceed.
    pub brightest: u8,
    /// Share of pixels at an edge.
    pub detail: f32,
}

/// Black of video with limited range, as cameras give it.
const BLACK: f32 = 16.0;
/// A gradient that counts as an edge, in levels a pixel of the small picture.
const EDGE: f32 = 6.0;

impl Measure {
    /// Measures a small picture.
    pub fn of(frame: &Frame) -> Self {
        let grey: Vec<f32> = frame.grey.iter().map(|v| f32::from(*v)).collect();
        let mut counts = [0u32; 256];
        frame.grey.iter().for_each(|v| counts[usize::from(*v)] += 1);
        let count = grey.len() as f32;
        let mean = grey.iter().sum::<f32>() / count;
        let variance = grey.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count;
        let mut seen = 0;
        let brightest = (0..=255u8).rev().find(|level| {
            seen += counts[usize::from(*level)];
            seen * 500 > (WIDTH * HEIGHT) as u32
        });
        Self {
            mean,
            spread: variance.sqrt(),
            brightest: brightest.unwrap_or(0),
            detail: detail(&grey),
        }
    }
}

fn detail(grey: &[f32]) -> f32 {
    let edges = gradients(grey)
        .filter(|(_, dx, dy)| dx * dx + dy * dy >= EDGE * EDGE)
        .count();
    edges as f32 / (WIDTH * HEIGHT) as f32
}

/// Position and gradient of all pixels but those at the border, in levels a pixel.
fn gradients(grey: &[f32]) -> impl Iterator<Item = (usize, f32, f32)> + '_ {
    (1..HEIGHT - 1).flat_map(move |y| {
        (1..WIDTH - 1).map(move |x| {
            let at = y * WIDTH + x;
            let dx = (grey[at + 1] - grey[at - 1]) / 2.0;
            let dy = (grey[at + WIDTH] - grey[at - WIDTH]) / 2.0;
            (at, dx, dy)
        })
    })
}

/// Blurs by a pixel or two, so that a camera that trembles still shows the same.
fn blurred(grey: &[f32]) -> Vec<f32> {
    let mut once = grey.to_vec();
    for _ in 0..2 {
        let from = once.clone();
        for y in 1..HEIGHT - 1 {
            for x in 1..WIDTH - 1 {
                let at = y * WIDTH + x;
                let row = |at: usize| from[at - 1] + from[at] + from[at + 1];
                once[at] = (row(at - WIDTH) + row(at) + row(at + WIDTH)) / 9.0;
            }
        }
    }
    once
}

impl Scene {
    /// A scene that nothing is known of.
    pub fn unknown() -> Self {
        Self {
            mean: vec![0.0; WIDTH * HEIGHT],
            acutance: vec![None; TILES],
            looks: 0,
            last_us: 0,
        }
    }

    /// Whether enough was seen to compare with.
    pub fn is_known(&self) -> bool {
        self.looks >= KNOWN_AFTER
    }

    /// Mean luma.
    pub fn brightness(&self) -> f32 {
        self.mean.iter().sum::<f32>() / self.mean.len() as f32
    }

    /// Takes in a picture that shows it.
    pub fn learn(&mut self, frame: &Frame, at_us: i64) {
        self.looks = self.looks.saturating_add(1);
        let passed_us = (at_us - self.last_us).clamp(0, LEARN_US / 20);
        self.last_us = at_us;
        let share = (1.0 / self.looks as f32).max(passed_us as f32 / LEARN_US as f32);
        for (mean, value) in self.mean.iter_mut().zip(&frame.grey) {
            *mean += (f32::from(*value) - *mean) * share;
        }
        for (known, seen) in self.acutance.iter_mut().zip(&frame.acutance) {
            if let Some(seen) = seen {
                let before = known.unwrap_or(*seen);
                *known = Some(before + (seen - before) * share);
            }
        }
    }

    /// To be kept over a restart.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for acutance in &self.acutance {
            bytes.extend_from_slice(&acutance.unwrap_or(f32::NAN).to_le_bytes());
        }
        bytes.extend(self.mean.iter().map(|value| value.round() as u8));
        bytes
    }

    /// What was kept; `None` if it is something else, or nothing was known.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (acutance, mean) = bytes.strip_prefix(MAGIC)?.split_at_checked(4 * TILES)?;
        let acutance = acutance
            .chunks_exact(4)
            .map(|b| Some(f32::from_le_bytes([b[0], b[1], b[2], b[3]])).filter(|value| value.is_finite()));
        (mean.len() == WIDTH * HEIGHT).then(|| Self {
            mean: mean.iter().map(|value| f32::from(*value)).collect(),
            acutance: acutance.collect(),
            looks: KNOWN_AFTER,
            last_us: 0,
        })
    }

    /// How a picture compares; `None` while the scene is unknown.
    pub fn compare(&self, frame: &Frame, measure: &Measure) -> Option<Likeness> {
        if !self.is_known() {
            return None;
        }
        let grey: Vec<f32> = frame.grey.iter().map(|v| f32::from(*v)).collect();
        let (seen, known) = (blurred(&grey), blurred(&self.mean));
        let own_mean = self.brightness();
        Some(Likeness {
            recognised: recognised(&seen, &known),
            correlation: correlation(&seen, &known),
            brightness: (measure.mean - BLACK).max(0.0) / (own_mean - BLACK).max(1.0),
            detail: measure.detail / detail(&self.mean).max(1e-4),
            sharpness: self.sharpness(frame),
        })
    }

    /// Sharpness of the tiles that are sharpest against what is known of them: somebody before the lens hides some
    /// tiles, a lens out of focus blurs all.
    fn sharpness(&self, frame: &Frame) -> Option<f32> {
        let pairs = self.acutance.iter().zip(&frame.acutance);
        let mut ratios: Vec<f32> = pairs
            .filter_map(|(known, seen)| Some((*seen)? / (*known)?.max(0.01)))
            .collect();
        ratios.sort_by(f32::total_cmp);
        ratios.get(ratios.len() * 7 / 10).copied()
    }
}

/// Share of the known picture's blocks with edges whose edges are seen.
fn recognised(seen: &[f32], known: &[f32]) -> Option<f32> {
    let mut agreement = [(0.0f32, 0.0f32, 0u32); BLOCKS];
    for ((at, kx, ky), (_, sx, sy)) in gradients(known).zip(gradients(seen)) {
        let known_length = (kx * kx + ky * ky).sqrt();
        if known_length < LEAST_GRADIENT {
            continue;
        }
        let seen_length = (sx * sx + sy * sy).sqrt().max(LEAST_SEEN);
        let block = at / WIDTH / BLOCK * BLOCK_COLUMNS + at % WIDTH / BLOCK;
        let (sum, weight, pixels) = &mut agreement[block];
        *sum += (kx * sx + ky * sy) / seen_length;
        *weight += known_length;
        *pixels += 1;
    }
    let blocks = agreement.iter().filter(|(_, _, pixels)| *pixels >= LEAST_PIXELS);
    let (same, all) = blocks.fold((0, 0), |(same, all), (sum, weight, _)| {
        (same + usize::from(*sum > SAME * weight), all + 1)
    });
    (all >= LEAST_BLOCKS).then(|| same as f32 / all as f32)
}

fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let count = a.len() as f32;
    let (mean_a, mean_b) = (a.iter().sum::<f32>() / count, b.iter().sum::<f32>() / count);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    if aa * bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}
