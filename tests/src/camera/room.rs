//! Real pictures and speech, spoilt on command before they are encoded: what lenses, sensors and microphones do.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::CameraError;
use super::spec::MountSpec;

/// So much of the file is shown, again and again.
const SECONDS: usize = 20;
const BLACK: f32 = 16.0;
/// The noise of a sensor and of a microphone's room, in levels either way.
const PICTURE_NOISE: i32 = 3;
const SOUND_NOISE: i32 = 40;

/// What is wrong with the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureFault {
    /// Something lies on the lens.
    Cover,
    /// No light falls on the sensor.
    Black,
    /// The same picture again and again, to the bit.
    Freeze,
    /// The lens is out of focus.
    Defocus,
    /// The camera was pushed aside.
    Move,
    /// The hall's lights are off; no fault of the camera.
    LightsOff,
    /// Nobody is there, only the sensor's noise; no fault at all.
    Empty,
}

/// What is wrong with the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoundFault {
    /// Exact silence.
    Dead,
    /// Far too loud, cut off at full scale.
    Clip,
    /// Nothing but 50 Hz and its harmonics.
    Hum,
}

/// A piece of a file, decoded.
pub struct Room {
    width: usize,
    height: usize,
    frames: Vec<Vec<u8>>,
    sound: Vec<i16>,
    rate_hz: u32,
    frozen: Mutex<Option<Vec<u8>>>,
}

impl Room {
    /// Decodes the start of a file.
    ///
    /// # Errors
    /// [`CameraError::File`] if it has no picture.
    pub fn load(path: &Path, spec: &MountSpec, rate_hz: u32) -> Result<Self, CameraError> {
        let (width, height) = (spec.width as usize, spec.height as usize);
        let look = format!("scale={width}:{height},fps={}", spec.fps);
        let pixels = decode(
            path,
            &["-an", "-vf", &look, "-pix_fmt", "yuv420p", "-f", "rawvideo"],
        )?;
        let frames: Vec<Vec<u8>> = pixels
            .chunks_exact(width * height * 3 / 2)
            .map(<[u8]>::to_vec)
            .collect();
        if frames.is_empty() {
            return Err(CameraError::File {
                path: path.to_owned(),
                reason: "holds no picture".to_owned(),
            });
        }
        let rate = rate_hz.to_string();
        // Without sound in the file there is only the room's noise.
        let sound = decode(path, &["-vn", "-ac", "1", "-ar", &rate, "-f", "s16le"]).unwrap_or_default();
        let sound = sound
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        Ok(Self {
            width,
            height,
            frames,
            sound,
            rate_hz,
            frozen: Mutex::new(None),
        })
    }

    /// Frame `number` as I420.
    pub fn picture(&self, number: u64, fault: Option<PictureFault>) -> Vec<u8> {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        if fault == Some(PictureFault::Freeze)
            && let Some(picture) = frozen.as_ref()
        {
            return picture.clone();
        }
        let place = if fault == Some(PictureFault::Empty) {
            0
        } else {
            number as usize % self.frames.len()
        };
        let mut picture = self.frames[place].clone();
        self.spoil(&mut picture, fault);
        let mut noise = rand::rngs::SmallRng::seed_from_u64(number);
        for value in &mut picture[..self.width * self.height] {
            let noisy = i32::from(*value) + noise.random_range(-PICTURE_NOISE..=PICTURE_NOISE);
            *value = noisy.clamp(16, 235) as u8;
        }
        *frozen = Some(picture.clone());
        picture
    }

    fn spoil(&self, picture: &mut [u8], fault: Option<PictureFault>) {
        let (luma, chroma) = picture.split_at_mut(self.width * self.height);
        match fault {
            None | Some(PictureFault::Freeze | PictureFault::Empty) => {}
            Some(PictureFault::Black) => {
                luma.fill(BLACK as u8);
                chroma.fill(128);
            }
            Some(PictureFault::Cover) => {
                // A hand lets some light in at one side.
                for row in luma.chunks_exact_mut(self.width) {
                    for (x, value) in row.iter_mut().enumerate() {
                        *value = (55 + 20 * x / self.width) as u8;
                    }
                }
                chroma.fill(120);
            }
            Some(PictureFault::LightsOff) => {
                for value in luma.iter_mut() {
                    *value = ((f32::from(*value) - BLACK).max(0.0) * 0.12 + BLACK) as u8;
                }
                chroma.fill(128);
            }
            Some(PictureFault::Move) => {
                let (right, down) = (self.width / 5, self.height / 8);
                let before = luma.to_vec();
                for (y, row) in luma.chunks_exact_mut(self.width).enumerate() {
                    let from = &before[(y + down) % self.height * self.width..][..self.width];
                    row[right..].copy_from_slice(&from[..self.width - right]);
                    row[..right].copy_from_slice(&from[self.width - right..]);
                }
            }
            Some(PictureFault::Defocus) => {
                for _ in 0..3 {
                    blur(luma, self.width, self.height, self.width / 80);
                }
            }
        }
    }

    /// Sample `index` of the sound.
    pub fn sample(&self, index: u64, fault: Option<SoundFault>) -> i16 {
        let speech = if self.sound.is_empty() {
            0
        } else {
            i32::from(self.sound[index as usize % self.sound.len()])
        };
        // A cheap noise of each index's own.
        let mixed = (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i32;
        let heard = speech + mixed % (2 * SOUND_NOISE + 1) - SOUND_NOISE;
        let sample = match fault {
            None => heard,
            Some(SoundFault::Dead) => 0,
            Some(SoundFault::Clip) => heard * 40,
            Some(SoundFault::Hum) => {
                let turn = std::f64::consts::TAU * (index % u64::from(self.rate_hz)) as f64
                    / f64::from(self.rate_hz);
                let tone = |hz: f64, level: f64| (turn * hz).sin() * level;
                (tone(50.0, 4_000.0) + tone(100.0, 2_500.0) + tone(150.0, 1_500.0)) as i32
            }
        };
        sample.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
    }
}

fn decode(path: &Path, how: &[&str]) -> Result<Vec<u8>, CameraError> {
    let seconds = SECONDS.to_string();
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-t", &seconds, "-i"])
        .arg(path)
        .args(how)
        .arg("-")
        .output();
    let unusable = |reason: String| CameraError::File {
        path: path.to_owned(),
        reason,
    };
    let output = output.map_err(|e| unusable(format!("ffmpeg: {e}")))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(unusable(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }
}

/// Averages over `2 * reach + 1` pixels, along rows and then along columns.
fn blur(luma: &mut [u8], width: usize, height: usize, reach: usize) {
    let average = |line: &[u8]| -> Vec<u8> {
        let at = |index: isize| u32::from(line[index.clamp(0, line.len() as isize - 1) as usize]);
        let reach = reach as isize;
        let mut sum: u32 = (-reach..=reach).map(at).sum();
        (0..line.len() as isize)
            .map(|index| {
                let value = sum / (2 * reach as u32 + 1);
                sum = sum + at(index + reach + 1) - at(index - reach);
                value as u8
            })
            .collect()
    };
    for row in luma.chunks_exact_mut(width) {
        let blurred = average(row);
        row.copy_from_slice(&blurred);
    }
    for x in 0..width {
        let column: Vec<u8> = (0..height).map(|y| luma[y * width + x]).collect();
        for (y, value) in average(&column).into_iter().enumerate() {
            luma[y * width + x] = value;
        }
    }
}
