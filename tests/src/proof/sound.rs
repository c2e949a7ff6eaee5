//! The beep of the proof pattern: a 1 kHz tone that starts exactly at each full second, silence between.

/// How long a beep lasts, in microseconds.
pub const BEEP_US: i64 = 100_000;
const TONE_HZ: f64 = 1_000.0;
const AMPLITUDE: f64 = 0.5;
/// Quiet before a tone that makes it a beep of its own.
const QUIET_BEFORE_US: i64 = 300_000;
/// Energy below which a stretch holds no beep at all; a full beep has 0.125.
const LEAST_ENERGY: f64 = 0.005;

/// One sample of the pattern; `index` counts from a full second.
pub fn sample(index: u64, rate_hz: u32) -> i16 {
    let within_second = index % u64::from(rate_hz);
    let seconds = within_second as f64 / f64::from(rate_hz);
    if seconds * 1e6 >= BEEP_US as f64 {
        return 0;
    }
    ((seconds * TONE_HZ * std::f64::consts::TAU).sin() * AMPLITUDE * f64::from(i16::MAX)) as i16
}

/// A gap-free stretch of decoded mono sound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stretch {
    /// Time of the first sample in microseconds.
    pub start_us: i64,
    /// Samples a second.
    pub rate_hz: u32,
    /// Samples from -1 to 1.
    pub samples: Vec<f32>,
}

impl Stretch {
    /// Time just after the last sample in microseconds.
    pub fn end_us(&self) -> i64 {
        self.start_us + self.samples.len() as i64 * 1_000_000 / i64::from(self.rate_hz.max(1))
    }
}

/// The times at which beeps start, in microseconds, within ±2 ms.
///
/// The energy over one period of the tone rises from none to full while the window slides over the start; where
/// it is half, the middle of the window is the start. This is steady against pre-echo of a sound codec. A beep
/// that is already on when the stretch begins has no known start and is left out.
pub fn beep_starts(stretch: &Stretch) -> Vec<i64> {
    let window = (f64::from(stretch.rate_hz) / TONE_HZ) as usize;
    if window == 0 || stretch.samples.len() <= window {
        return Vec::new();
    }
    let mut energy = Vec::with_capacity(stretch.samples.len() - window);
    let mut sum: f64 = stretch.samples[..window]
        .iter()
        .map(|s| f64::from(*s).powi(2))
        .sum();
    for i in window..stretch.samples.len() {
        energy.push(sum / window as f64);
        sum += f64::from(stretch.samples[i]).powi(2) - f64::from(stretch.samples[i - window]).powi(2);
    }
    let loudest = energy.iter().copied().fold(0.0, f64::max);
    let half = loudest / 2.0;
    if loudest < LEAST_ENERGY {
        return Vec::new();
    }
    let quiet_needed = (QUIET_BEFORE_US * i64::from(stretch.rate_hz) / 1_000_000) as usize;
    let mut starts = Vec::new();
    // A stretch that begins in silence may start with a beep; one that begins loud may not.
    let mut quiet = if energy[0] < half { quiet_needed } else { 0 };
    for (i, value) in energy.iter().enumerate() {
        if *value < half {
            quiet += 1;
            continue;
        }
        if quiet >= quiet_needed {
            let middle = (i + window / 2) as i64;
            starts.push(stretch.start_us + middle * 1_000_000 / i64::from(stretch.rate_hz));
        }
        quiet = 0;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(rate_hz: u32, from: u64, count: u64) -> Vec<f32> {
        (from..from + count)
            .map(|i| f32::from(sample(i, rate_hz)) / 32768.0)
            .collect()
    }

    #[test]
    fn finds_each_beep_within_two_milliseconds() {
        for rate_hz in [8_000, 48_000] {
            let from = u64::from(rate_hz) / 2;
            let stretch = Stretch {
                start_us: 7_500_000,
                rate_hz,
                samples: pattern(rate_hz, from, u64::from(rate_hz) * 4),
            };
            let starts = beep_starts(&stretch);
            assert_eq!(starts.len(), 4);
            for (start, second) in starts.iter().zip(8..) {
                assert!(
                    (start - second * 1_000_000).abs() <= 1_000,
                    "{start} at {rate_hz} Hz"
                );
            }
        }
    }

    #[test]
    fn leaves_out_a_beep_that_was_on_before_the_stretch() {
        let stretch = Stretch {
            start_us: 0,
            rate_hz: 48_000,
            samples: pattern(48_000, 2_400, 24_000),
        };
        assert_eq!(beep_starts(&stretch), Vec::<i64>::new());
    }

    #[test]
    fn hears_nothing_in_silence() {
        let stretch = Stretch {
            start_us: 0,
            rate_hz: 48_000,
            samples: vec![0.0; 96_000],
        };
        assert_eq!(beep_starts(&stretch), Vec::<i64>::new());
    }
}
