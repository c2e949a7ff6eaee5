//! What is wrong with sound: measures over a window of about a second, and rules over several windows.
//!
//! **Dead** means exact digital silence, which a microphone in a quiet room does not give. Some cameras gate their
//! microphone, so that silence between speakers is exact too: a microphone that has come back from silence by
//! itself three times is taken for such a one, and then counts as dead only after half an hour.
//! **Hum** is judged only where it is loud: mains hum is part of every quiet room.

use archive::alert::AlertKind;

use super::spell::{Patience, Spell};

const SECOND_US: i64 = 1_000_000;

/// Faults of sound.
pub const SOUND_FAULTS: [AlertKind; 4] = [
    AlertKind::SoundAbsent,
    AlertKind::SoundDead,
    AlertKind::SoundClipped,
    AlertKind::SoundHum,
];

/// A sample beyond this is cut off: decoders of lossy sound smear full scale a little.
const FULL_SCALE: f32 = 0.97;
/// A window that stays within this is silent: A-law's zero lies at 8 of 32768.
const SILENT: f32 = 10.0 / 32_768.0;

/// One window of sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoundMeasure {
    /// Level in dB below full scale.
    pub rms_dbfs: f32,
    /// Share of samples at full scale.
    pub clipped: f32,
    /// Whether every sample is the same, but for coding.
    pub is_silent: bool,
    /// Share of the energy at the mains frequency and its harmonics, for 50 Hz or 60 Hz.
    pub hum: f32,
}

impl SoundMeasure {
    /// Measures mono samples between -1 and 1; `None` if there are too few.
    pub fn of(samples: &[f32], rate_hz: u32) -> Option<Self> {
        if samples.len() < rate_hz as usize / 4 || rate_hz < 8_000 {
            return None;
        }
        let count = samples.len() as f32;
        let mean = samples.iter().sum::<f32>() / count;
        let (low, high) = samples
            .iter()
            .fold((f32::MAX, f32::MIN), |(low, high), s| (low.min(*s), high.max(*s)));
        let energy = samples.iter().map(|s| (s - mean) * (s - mean)).sum::<f32>() / count;
        let cut = samples.iter().filter(|s| s.abs() >= FULL_SCALE).count();
        Some(Self {
            rms_dbfs: 10.0 * (energy.max(1e-12)).log10(),
            clipped: cut as f32 / count,
            is_silent: (high - low) / 2.0 <= SILENT,
            hum: hum(samples, mean, rate_hz),
        })
    }
}

/// Share of energy at 50 Hz or 60 Hz and their first harmonics.
fn hum(samples: &[f32], mean: f32, rate_hz: u32) -> f32 {
    let share = |mains_hz: f32| {
        (1..=5)
            .map(|n| tone_share(samples, mean, rate_hz, mains_hz * n as f32))
            .sum::<f32>()
    };
    share(50.0).max(share(60.0)).min(1.0)
}

/// Share of the energy near one frequency (Goertzel, Hann window).
fn tone_share(samples: &[f32], mean: f32, rate_hz: u32, frequency_hz: f32) -> f32 {
    use std::f32::consts::TAU;
    let count = samples.len() as f32;
    let factor = 2.0 * (TAU * frequency_hz / rate_hz as f32).cos();
    let (mut before, mut last, mut energy) = (0.0f64, 0.0f64, 0.0f64);
    let factor = f64::from(factor);
    for (i, sample) in samples.iter().enumerate() {
        let window = 0.5 - 0.5 * (TAU * i as f32 / count).cos();
        let value = f64::from((sample - mean) * window);
        energy += value * value;
        (before, last) = (last, value + factor * last - before);
    }
    if energy <= 1e-12 {
        return 0.0;
    }
    let power = last * last + before * before - factor * last * before;
    // A pure tone under a Hann window: |X|² = (A·N/4)², energy = A²·3N/16.
    (power / energy * 3.0 / f64::from(count)) as f32
}

/// A fault of the sound that began or ended.
pub type Change = super::picture::Change;

/// Watches the sound of one stream.
#[derive(Debug, Clone)]
pub struct SoundWatch {
    spells: [Spell; SOUND_FAULTS.len()],
    silent_since_us: Option<i64>,
    returns: u32,
}

/// Returns from silence after which a microphone is taken for one with a gate.
const GATED_AFTER: u32 = 3;

fn patience(kind: AlertKind, is_gated: bool) -> Patience {
    let raise_s = match kind {
        AlertKind::SoundDead if is_gated => 1800,
        AlertKind::SoundAbsent => 10,
        AlertKind::SoundClipped => 6,
        _ => 14,
    };
    Patience {
        raise_us: raise_s * SECOND_US,
        raise_looks: 3,
        clear_us: if kind == AlertKind::SoundClipped { 20 } else { 5 } * SECOND_US,
        clear_looks: 2,
        cool_down_us: 120 * SECOND_US,
    }
}

impl SoundWatch {
    /// A watch that takes up the faults that were there when the program ended.
    pub fn new(open: &[AlertKind]) -> Self {
        let spell = |kind| {
            if open.contains(&kind) {
                Spell::open()
            } else {
                Spell::default()
            }
        };
        Self {
            spells: SOUND_FAULTS.map(spell),
            silent_since_us: None,
            returns: 0,
        }
    }

    /// Whether something may begin or end, so that the next look should come soon.
    pub fn is_in_doubt(&self) -> bool {
        self.spells.iter().any(Spell::is_turning)
    }

    /// The faults that are there.
    pub fn open(&self) -> impl Iterator<Item = AlertKind> + '_ {
        let pairs = SOUND_FAULTS.iter().zip(&self.spells);
        pairs.filter(|(_, spell)| spell.is_open()).map(|(kind, _)| *kind)
    }

    /// Notes whether sound comes at all, while pictures come.
    pub fn look_whether_it_comes(&mut self, comes: bool, at_us: i64) -> Vec<Change> {
        let detail = if comes {
            "sound comes"
        } else {
            "no sound comes though it is set up"
        };
        self.turn(at_us, [Some(!comes), None, None, None], detail)
    }

    /// Takes a look at a window.
    pub fn look(&mut self, m: &SoundMeasure, at_us: i64) -> Vec<Change> {
        let is_gated = self.note_silence(m, at_us);
        let is_hum = !m.is_silent && m.hum >= 0.9 && m.rms_dbfs >= -45.0;
        let seen = [Some(false), Some(m.is_silent), self.is_clipped(m), Some(is_hum)];
        let detail = format!(
            "level {:.0} dBFS, {:.1} % of the samples cut off, {:.0} % of the energy is mains hum{}",
            m.rms_dbfs,
            m.clipped * 100.0,
            m.hum * 100.0,
            if is_gated { ", the microphone is gated" } else { "" }
        );
        self.turn(at_us, seen, &detail)
    }

    fn turn(&mut self, at_us: i64, seen: [Option<bool>; SOUND_FAULTS.len()], detail: &str) -> Vec<Change> {
        let is_gated = self.returns >= GATED_AFTER;
        let mut changes = Vec::new();
        for ((kind, spell), is_seen) in SOUND_FAULTS.into_iter().zip(&mut self.spells).zip(seen) {
            if let Some(turn) = spell.look(at_us, is_seen, &patience(kind, is_gated)) {
                let detail = detail.to_owned();
                changes.push(Change { kind, turn, detail });
            }
        }
        changes
    }

    /// Counts how often the sound came back from silence by itself.
    fn note_silence(&mut self, m: &SoundMeasure, at_us: i64) -> bool {
        const A_PAUSE_US: i64 = 2 * SECOND_US;
        if m.is_silent {
            self.silent_since_us.get_or_insert(at_us);
        } else if let Some(since_us) = self.silent_since_us.take()
            && at_us - since_us >= A_PAUSE_US
        {
            self.returns = self.returns.saturating_add(1);
        }
        self.returns >= GATED_AFTER
    }

    /// Speech comes and goes, so windows without it say nothing; one loud knock does not make a fault.
    fn is_clipped(&self, m: &SoundMeasure) -> Option<bool> {
        const LOUD_DBFS: f32 = -30.0;
        const CUT: f32 = 0.005;
        if m.clipped >= CUT {
            return Some(true);
        }
        let is_open = self.open().any(|kind| kind == AlertKind::SoundClipped);
        // Quiet windows end the fault too, only later.
        (m.rms_dbfs >= LOUD_DBFS || is_open).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::spell::Turn;
    use super::*;

    const RATE_HZ: u32 = 16_000;

    fn window(sample: impl Fn(f32) -> f32) -> Vec<f32> {
        (0..RATE_HZ).map(|i| sample(i as f32 / RATE_HZ as f32)).collect()
    }

    /// Noise that is the same in every run.
    fn noise(level: f32) -> Vec<f32> {
        let mut state = 1u32;
        window(|_| 0.0)
            .iter()
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state as f32 / u32::MAX as f32 - 0.5) * 2.0 * level
            })
            .collect()
    }

    fn tone(hz: f32, level: f32) -> Vec<f32> {
        window(|t| level * (std::f32::consts::TAU * hz * t).sin())
    }

    fn changes(windows: &[Vec<f32>], every_s: i64) -> Vec<(AlertKind, bool)> {
        let mut watch = SoundWatch::new(&[]);
        let looks = windows.iter().enumerate().flat_map(|(i, samples)| {
            let m = SoundMeasure::of(samples, RATE_HZ);
            let at_us = i as i64 * every_s * SECOND_US;
            match m {
                Some(m) => watch.look(&m, at_us),
                None => watch.look_whether_it_comes(false, at_us),
            }
        });
        looks
            .map(|c| (c.kind, matches!(c.turn, Turn::Began(_))))
            .collect()
    }

    #[test]
    fn measures_hum_by_its_share_of_the_energy() {
        let hum = |samples: &[f32]| SoundMeasure::of(samples, RATE_HZ).unwrap().hum;
        assert!(hum(&tone(50.0, 0.1)) > 0.98);
        assert!(hum(&tone(120.0, 0.1)) > 0.98);
        assert!(hum(&tone(440.0, 0.1)) < 0.01);
        assert!(hum(&noise(0.1)) < 0.02);
    }

    #[test]
    fn finds_dead_hum_clipped_and_absent_within_thirty_seconds() {
        let cut: Vec<f32> = tone(440.0, 3.0).iter().map(|s| s.clamp(-1.0, 1.0)).collect();
        let cases = [
            (vec![0.0; RATE_HZ as usize], AlertKind::SoundDead),
            (tone(100.0, 0.2), AlertKind::SoundHum),
            (cut, AlertKind::SoundClipped),
            (Vec::new(), AlertKind::SoundAbsent),
        ];
        for (fault, kind) in cases {
            let mut windows = vec![noise(0.02); 4];
            windows.extend(std::iter::repeat_n(fault, 6));
            windows.extend(std::iter::repeat_n(noise(0.02), 10));
            assert_eq!(changes(&windows, 5), [(kind, true), (kind, false)]);
        }
    }

    #[test]
    fn a_quiet_room_a_knock_and_soft_hum_are_no_faults() {
        let mut windows = vec![noise(0.0008); 20];
        windows.push(tone(440.0, 5.0).iter().map(|s| s.clamp(-1.0, 1.0)).collect());
        windows.extend(vec![tone(50.0, 0.003); 20]);
        assert_eq!(changes(&windows, 5), []);
    }

    #[test]
    fn a_gated_microphone_counts_as_dead_only_after_long_silence() {
        let silence = vec![0.0; RATE_HZ as usize];
        let mut windows = Vec::new();
        for _ in 0..40 {
            windows.extend(std::iter::repeat_n(noise(0.05), 3));
            windows.extend(std::iter::repeat_n(silence.clone(), 6));
        }
        // It takes three pauses to know it.
        let begun = changes(&windows, 5).iter().filter(|(_, began)| *began).count();
        assert!(begun <= 3, "{begun}");
        windows.extend(std::iter::repeat_n(silence, 400));
        assert_eq!(changes(&windows, 5).last(), Some(&(AlertKind::SoundDead, true)));
    }
}
