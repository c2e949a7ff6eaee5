//! What is wrong with a picture: rules over one look at a time, held against the scene as it was learned.
//!
//! Looks come at most once a second. One look gives one [`Condition`]; a fault counts only once it has held (see
//! [`super::spell`]). The order of the rules matters: a black picture is also blurred, a covered one has also moved.
//!
//! **Lights off or lens covered.** With a scene to compare with, a picture that got dark but still shows the scene's
//! brightness pattern is dim, which is no fault and hides focus and position. A picture in which nothing can be seen
//! is a fault while the counter serves, whatever made it dark, and none outside of service. So a lens that is covered
//! at night is found when service begins, and a hall that is fully dark while the counter is still said to serve is
//! reported.
//!
//! **Frozen** means that textured blocks come again pixel for pixel. A live camera's noise prevents that even after
//! strong denoising and coarse coding (measured: at most 4 % of the blocks), while an encoder that is given the same
//! picture again repeats itself (measured: 20 to 100 %, also with a clock burned in). A picture without texture, such
//! as a dark hall, is not judged.

use std::collections::VecDeque;

use archive::alert::AlertKind;

use super::frame::{BLOCK, BLOCK_COLUMNS, BLOCKS, Frame, WIDTH};
use super::scene::{Likeness, Measure, Scene};
use super::spell::{Patience, Spell, Turn};

const SECOND_US: i64 = 1_000_000;

/// Faults of a picture, in the order in which their rules are tried.
pub const PICTURE_FAULTS: [AlertKind; 5] = [
    AlertKind::PictureBlack,
    AlertKind::LensCovered,
    AlertKind::PictureFrozen,
    AlertKind::PictureDefocused,
    AlertKind::SceneMoved,
];

/// A camera that stays moved for so long has a new scene: somebody meant it.
const NEW_SCENE_US: i64 = 12 * 3600 * SECOND_US;

/// Keyframes that are remembered to find repetitions.
const REMEMBERED: usize = 16;

fn patience(kind: AlertKind) -> Patience {
    let raise_s = match kind {
        // People may stand close to the lens for a moment.
        AlertKind::SceneMoved | AlertKind::LensCovered => 12,
        // It takes some looks before a picture is seen to repeat itself.
        AlertKind::PictureFrozen => 5,
        _ => 8,
    };
    Patience {
        raise_us: raise_s * SECOND_US,
        raise_looks: 3,
        clear_us: 6 * SECOND_US,
        clear_looks: 3,
        cool_down_us: 120 * SECOND_US,
    }
}

/// What one look shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is wrong.
    Fine,
    /// Darker than the scene, but the scene: nothing can be said of focus and position.
    Dim,
    /// Nothing can be seen, outside of service.
    Dark,
    /// One of [`PICTURE_FAULTS`].
    Fault(AlertKind),
}

/// A fault that began or ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which.
    pub kind: AlertKind,
    /// Whether it began or ended, and when, on the scale of the looks.
    pub turn: Turn,
    /// What was measured.
    pub detail: String,
}

/// Watches the pictures of one stream.
#[derive(Debug, Clone)]
pub struct PictureWatch {
    scene: Scene,
    /// Hashes of the blocks of the last looks.
    seen: VecDeque<Vec<u64>>,
    last: Option<Frame>,
    /// Share of textured blocks that came again, smoothed.
    repeated: f32,
    spells: [Spell; PICTURE_FAULTS.len()],
    moved_since_us: Option<i64>,
    /// The scene is being learned for the first time.
    is_learning: bool,
}

impl PictureWatch {
    /// A watch that takes up the faults that were there when the program ended, and the scene as it was known.
    pub fn new(open: &[AlertKind], scene: Option<Scene>) -> Self {
        let spell = |kind| {
            if open.contains(&kind) {
                Spell::open()
            } else {
                Spell::default()
            }
        };
        Self {
            scene: scene.unwrap_or_else(Scene::unknown),
            seen: VecDeque::new(),
            last: None,
            repeated: 0.0,
            spells: PICTURE_FAULTS.map(spell),
            moved_since_us: None,
            is_learning: false,
        }
    }

    /// The scene as it is known.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Whether something may begin or end, so that the next look should come soon.
    pub fn is_in_doubt(&self) -> bool {
        self.is_learning || self.spells.iter().any(Spell::is_turning) || (0.07..0.9).contains(&self.repeated)
    }

    /// The faults that are there.
    pub fn open(&self) -> impl Iterator<Item = AlertKind> + '_ {
        let pairs = PICTURE_FAULTS.iter().zip(&self.spells);
        pairs.filter(|(_, spell)| spell.is_open()).map(|(kind, _)| *kind)
    }

    /// Takes a look. `at_us` grows with the media, never with a clock that can be set.
    pub fn look(&mut self, frame: Frame, at_us: i64, is_serving: bool) -> (Condition, Vec<Change>) {
        let measure = Measure::of(&frame);
        let likeness = self.scene.compare(&frame, &measure);
        self.note_repetition(&frame, &measure);
        let condition = self.judge(&measure, likeness.as_ref(), is_serving);
        let detail = describe(&measure, likeness.as_ref(), self.repeated);
        let mut changes = Vec::new();
        for (rank, kind) in PICTURE_FAULTS.into_iter().enumerate() {
            let is_seen = can_tell(condition, kind, rank);
            if let Some(turn) = self.spells[rank].look(at_us, is_seen, &patience(kind)) {
                let detail = detail.clone();
                changes.push(Change { kind, turn, detail });
            }
        }
        self.follow_scene(&frame, &measure, condition, at_us, &mut changes);
        self.last = Some(frame);
        (condition, changes)
    }

    fn note_repetition(&mut self, frame: &Frame, measure: &Measure) {
        /// A block with less contrast would repeat itself by chance.
        const TEXTURE: f32 = 3.0;
        const LEAST_TEXTURED: usize = 8;
        /// Content that moves; a clock that is burned in changes less.
        const MOVING: f32 = 0.03;
        const WEIGHT: f32 = 0.4;
        let textured: Vec<usize> = (0..BLOCKS).filter(|b| spread(frame, *b) >= TEXTURE).collect();
        let again = textured
            .iter()
            .filter(|b| self.seen.iter().any(|seen| seen[**b] == frame.block_hash[**b]))
            .count();
        let is_judged = textured.len() >= LEAST_TEXTURED
            && measure.detail > 0.0
            && moving(frame, self.last.as_ref()) < MOVING;
        let share = if is_judged {
            again as f32 / textured.len() as f32
        } else {
            0.0
        };
        self.repeated += (share - self.repeated) * WEIGHT;
        self.seen.push_back(frame.block_hash.clone());
        if self.seen.len() > REMEMBERED {
            self.seen.pop_front();
        }
    }

    fn judge(&self, m: &Measure, likeness: Option<&Likeness>, is_serving: bool) -> Condition {
        let is_open = |kind| self.open().any(|open| open == kind);
        // What is open ends only beyond a wider bound than the one by which it began.
        let bound = |kind, begins: f32, ends: f32| if is_open(kind) { ends } else { begins };
        let shows_scene = likeness.is_some_and(|l| l.correlation >= 0.5);
        let brightest = bound(AlertKind::PictureBlack, 36.0, 44.0);
        if f32::from(m.brightest) <= brightest && !shows_scene {
            return if is_serving {
                Condition::Fault(AlertKind::PictureBlack)
            } else {
                Condition::Dark
            };
        }
        let flat = match likeness {
            Some(l) => l.detail < bound(AlertKind::LensCovered, 0.12, 0.25) && !shows_scene,
            None => m.detail < bound(AlertKind::LensCovered, 0.002, 0.004) && m.spread < 12.0,
        };
        if flat {
            /// Mean luma of a hall without light, with the camera's gain turned up.
            const DARK: f32 = 60.0;
            let is_night = !is_serving && m.mean < DARK;
            return if is_night {
                Condition::Dark
            } else {
                Condition::Fault(AlertKind::LensCovered)
            };
        }
        if self.repeated >= bound(AlertKind::PictureFrozen, 0.15, 0.08) {
            return Condition::Fault(AlertKind::PictureFrozen);
        }
        let Some(l) = likeness else { return Condition::Fine };
        if l.brightness < 0.5 {
            return Condition::Dim;
        }
        let soft = bound(AlertKind::PictureDefocused, 0.68, 0.8);
        if shows_scene && l.sharpness.is_none_or(|sharpness| sharpness < soft) {
            return Condition::Fault(AlertKind::PictureDefocused);
        }
        let least = bound(AlertKind::SceneMoved, 0.36, 0.5);
        if l.recognised.is_some_and(|share| share < least) {
            return Condition::Fault(AlertKind::SceneMoved);
        }
        Condition::Fine
    }

    /// Learns from what is fine; takes a scene anew when the light came on or somebody meant to move the camera.
    fn follow_scene(
        &mut self,
        frame: &Frame,
        m: &Measure,
        condition: Condition,
        at_us: i64,
        changes: &mut Vec<Change>,
    ) {
        const MOVED: usize = 4;
        let was_dark =
            self.scene.is_known() && self.scene.brightness() < 50.0 && m.mean > 1.8 * self.scene.brightness();
        if was_dark && condition != Condition::Dark {
            self.scene = Scene::unknown();
        }
        let is_moved = self.spells[MOVED].is_open();
        if !is_moved {
            self.moved_since_us = None;
        } else if at_us - *self.moved_since_us.get_or_insert(at_us) >= NEW_SCENE_US {
            self.scene = Scene::unknown();
            self.moved_since_us = None;
            self.spells[MOVED] = Spell::default();
            changes.push(Change {
                kind: AlertKind::SceneMoved,
                turn: Turn::Ended(at_us),
                detail: "the camera kept its new view for 12 h, so it is the scene from now on".to_owned(),
            });
        }
        let is_quiet = self.open().next().is_none() && !self.spells.iter().any(Spell::is_turning);
        if condition == Condition::Fine && is_quiet {
            self.scene.learn(frame, at_us);
        }
        self.is_learning = condition == Condition::Fine && !self.scene.is_known();
    }
}

/// Whether a condition shows a fault, shows that it is not there, or hides it.
fn can_tell(condition: Condition, kind: AlertKind, rank: usize) -> Option<bool> {
    match condition {
        Condition::Fine => Some(false),
        Condition::Fault(seen) if seen == kind => Some(true),
        Condition::Fault(seen) => {
            let seen_rank = PICTURE_FAULTS.iter().position(|k| *k == seen)?;
            (rank < seen_rank).then_some(false)
        }
        Condition::Dim => (rank < 3).then_some(false),
        // Outside of service darkness is no fault, but it hides all others.
        Condition::Dark => (rank < 2).then_some(false),
    }
}

fn spread(frame: &Frame, block: usize) -> f32 {
    let (top, left) = (block / BLOCK_COLUMNS * BLOCK, block % BLOCK_COLUMNS * BLOCK);
    let rows = (top..top + BLOCK).flat_map(|y| &frame.grey[y * WIDTH + left..y * WIDTH + left + BLOCK]);
    let (sum, squares) = rows.fold((0.0, 0.0), |(sum, squares), value| {
        let value = f32::from(*value);
        (sum + value, squares + value * value)
    });
    let count = (BLOCK * BLOCK) as f32;
    (squares / count - (sum / count) * (sum / count)).max(0.0).sqrt()
}

/// Share of pixels that differ much from the look before.
fn moving(frame: &Frame, last: Option<&Frame>) -> f32 {
    const MUCH: u8 = 25;
    let Some(last) = last else { return 1.0 };
    let pairs = frame.grey.iter().zip(&last.grey);
    pairs.filter(|(a, b)| a.abs_diff(**b) > MUCH).count() as f32 / frame.grey.len() as f32
}

fn describe(m: &Measure, likeness: Option<&Likeness>, repeated: f32) -> String {
    let percent = |share: f32| format!("{:.0} %", share * 100.0);
    let mut text = format!(
        "luma {:.0} of 255, deviation {:.1}, edges {}, repeated {}",
        m.mean,
        m.spread,
        percent(m.detail),
        percent(repeated)
    );
    if let Some(l) = likeness {
        let recognised = l.recognised.map_or_else(|| "–".to_owned(), percent);
        let sharpness = l.sharpness.map_or_else(|| "–".to_owned(), percent);
        text.push_str(&format!(
            "; of the known scene: recognised {recognised}, brightness {}, sharpness {sharpness}, correlation {:.2}",
            percent(l.brightness),
            l.correlation
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (320, 180);

    /// A generator of noise that is the same in every run.
    struct Noise(u32);

    impl Noise {
        fn next(&mut self, amplitude: f32) -> f32 {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((self.0 >> 8) as f32 / (1u32 << 24) as f32 - 0.5) * 2.0 * amplitude
        }
    }

    /// A room of rectangles, each of its own grey.
    fn room(x: f32, y: f32) -> f32 {
        let cell = ((x / 23.0).floor() * 7.0 + (y / 17.0).floor() * 13.0).rem_euclid(11.0);
        50.0 + cell * 15.0
    }

    /// One look a second: what each pixel shows, with the noise of a sensor.
    fn looks(noise: &mut Noise, amplitude: f32, count: usize, pixel: impl Fn(f32, f32) -> f32) -> Vec<Frame> {
        let (width, height) = SIZE;
        let one = |noise: &mut Noise| {
            let luma: Vec<u8> = (0..width * height)
                .map(|at| pixel((at % width) as f32, (at / width) as f32) + noise.next(amplitude))
                .map(|value| value.round().clamp(0.0, 255.0) as u8)
                .collect();
            Frame::new(&luma, width, height, width).unwrap()
        };
        (0..count).map(|_| one(noise)).collect()
    }

    fn blurred_room(x: f32, y: f32) -> f32 {
        let around = [-9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0];
        let values = around.iter().flat_map(|dy| around.map(|dx| room(x + dx, y + dy)));
        values.sum::<f32>() / 49.0
    }

    /// Faults that began and ended, with the second at which each was known.
    fn watch(looks: impl IntoIterator<Item = Frame>, is_serving: bool) -> Vec<(usize, AlertKind, bool)> {
        let mut watch = PictureWatch::new(&[], None);
        let mut found = Vec::new();
        for (second, frame) in looks.into_iter().enumerate() {
            let (_, changes) = watch.look(frame, second as i64 * SECOND_US, is_serving);
            found.extend(
                changes
                    .into_iter()
                    .map(|c| (second, c.kind, matches!(c.turn, Turn::Began(_)))),
            );
        }
        found
    }

    /// A known room, half a minute of something else, the room again.
    fn with_fault(amplitude: f32, pixel: impl Fn(f32, f32) -> f32) -> Vec<Frame> {
        let mut noise = Noise(7);
        let mut all = looks(&mut noise, 3.0, 20, room);
        all.extend(looks(&mut noise, amplitude, 30, pixel));
        all.extend(looks(&mut noise, 3.0, 30, room));
        all
    }

    type Pixel = fn(f32, f32) -> f32;

    #[test]
    fn each_fault_is_found_and_ends_with_its_cause() {
        let cases: [(AlertKind, f32, Pixel); 5] = [
            (AlertKind::PictureBlack, 3.0, |_, _| 16.0),
            (AlertKind::LensCovered, 3.0, |x, _| 60.0 + x / 20.0),
            // The same picture to the bit, again and again.
            (AlertKind::PictureFrozen, 0.0, room),
            (AlertKind::PictureDefocused, 2.0, blurred_room),
            (AlertKind::SceneMoved, 3.0, |x, y| room(x + 61.0, y + 29.0)),
        ];
        for (kind, amplitude, pixel) in cases {
            let found = watch(with_fault(amplitude, pixel), true);
            let [(began, first, true), (ended, last, false)] = found[..] else {
                panic!("{kind:?}: {found:?}");
            };
            assert_eq!((first, last), (kind, kind));
            assert!((20..40).contains(&began), "{kind:?} was known after {began} s");
            assert!((50..70).contains(&ended), "{kind:?} was over after {ended} s");
        }
    }

    #[test]
    fn lights_off_is_no_fault_and_a_black_picture_is_none_outside_of_service() {
        let dim: Pixel = |x, y| 16.0 + (room(x, y) - 16.0) * 0.1;
        for is_serving in [true, false] {
            assert_eq!(watch(with_fault(4.0, dim), is_serving), []);
        }
        let dark: [Pixel; 2] = [|_, _| 16.0, |_, _| 45.0];
        for pixel in dark {
            assert_eq!(watch(with_fault(4.0, pixel), false), []);
            assert_eq!(watch(with_fault(4.0, pixel), true).len(), 2);
        }
    }

    #[test]
    fn an_empty_room_and_somebody_close_to_the_lens_for_a_moment_are_no_faults() {
        let mut noise = Noise(3);
        // Half a level of noise, as strong denoising leaves it.
        assert_eq!(watch(looks(&mut noise, 0.6, 120, room), true), []);
        let mut all = looks(&mut noise, 3.0, 20, room);
        all.extend(looks(&mut noise, 3.0, 8, |_, _| 90.0));
        all.extend(looks(&mut noise, 3.0, 20, room));
        assert_eq!(watch(all, true), []);
        // Half of the picture is taken by somebody who stays.
        let half = |x: f32, y: f32| if x < 170.0 { 80.0 + y / 4.0 } else { room(x, y) };
        assert_eq!(watch(with_fault(3.0, half), true), []);
    }

    #[test]
    fn a_fault_that_comes_and_goes_makes_one_alert_at_most() {
        let mut noise = Noise(5);
        let mut all = looks(&mut noise, 3.0, 20, room);
        for _ in 0..10 {
            all.extend(looks(&mut noise, 3.0, 5, |_, _| 16.0));
            all.extend(looks(&mut noise, 3.0, 4, room));
        }
        let found = watch(all, true);
        assert!(
            found.iter().filter(|(_, _, began)| *began).count() <= 1,
            "{found:?}"
        );
    }

    #[test]
    fn a_known_scene_survives_a_restart_and_shows_that_the_camera_was_moved_meanwhile() {
        let mut noise = Noise(9);
        let mut before = PictureWatch::new(&[], None);
        for (second, frame) in looks(&mut noise, 3.0, 20, room).into_iter().enumerate() {
            before.look(frame, second as i64 * SECOND_US, true);
        }
        let scene = Scene::from_bytes(&before.scene().to_bytes());
        let mut after = PictureWatch::new(&[], scene);
        let moved = looks(&mut noise, 3.0, 20, |x, y| room(x + 61.0, y + 29.0));
        let found: Vec<_> = moved
            .into_iter()
            .enumerate()
            .flat_map(|(second, frame)| after.look(frame, second as i64 * SECOND_US, true).1)
            .map(|change| change.kind)
            .collect();
        assert_eq!(found, [AlertKind::SceneMoved]);
        assert!(Scene::from_bytes(b"something else").is_none());
    }
}
