//! Which of the pictures and packets of a stream are looked at.

/// A picture of so many pixels is looked at once a second; a larger one less often, so that each stream costs alike.
const PIXELS_A_SECOND: i64 = 320 * 240;
/// Pictures are looked at at least so often, whatever their size.
const LONGEST_PICTURE_US: i64 = 8_000_000;
const SECOND_US: i64 = 1_000_000;
/// From the start of a window of sound to the start of the next; in doubt it is every other second.
const SOUND_EVERY_US: i64 = 5_000_000;
const SOUND_IN_DOUBT_US: i64 = 2_000_000;

/// Chooses for one stream.
#[derive(Default)]
pub(super) struct Sampler {
    picture_us: Option<i64>,
    /// When the last window of sound began.
    window_us: Option<i64>,
    /// The window that is being filled.
    window: Option<(gst::Caps, Vec<gst::Buffer>)>,
}

impl Sampler {
    /// Whether a keyframe is to be looked at; it then counts as looked at.
    pub fn is_picture_due(&mut self, caps: &gst::CapsRef, now_us: i64, is_in_doubt: bool) -> bool {
        let every_us = if is_in_doubt { SECOND_US } else { spacing_us(caps) };
        // Keyframes come a little early or late.
        let is_due = self
            .picture_us
            .is_none_or(|last| !(0..every_us - SECOND_US / 5).contains(&(now_us - last)));
        if is_due {
            self.picture_us = Some(now_us);
        }
        is_due
    }

    /// Takes a packet of sound; gives a window once it is full.
    pub fn add_sound(
        &mut self,
        caps: &gst::CapsRef,
        packet: &gst::Buffer,
        now_us: i64,
        is_in_doubt: bool,
    ) -> Option<(gst::Caps, Vec<gst::Buffer>)> {
        let every_us = if is_in_doubt {
            SOUND_IN_DOUBT_US
        } else {
            SOUND_EVERY_US
        };
        if self.window.is_none() {
            if self
                .window_us
                .is_some_and(|last| (0..every_us).contains(&(now_us - last)))
            {
                return None;
            }
            self.window_us = Some(now_us);
        }
        let (_, packets) = self.window.get_or_insert_with(|| (caps.to_owned(), Vec::new()));
        packets.push(packet.clone());
        let is_full = self.window_us.is_none_or(|start| now_us - start >= SECOND_US);
        if is_full { self.window.take() } else { None }
    }

    /// Drops the window that is being filled.
    pub fn forget_sound(&mut self) {
        self.window = None;
    }
}

fn spacing_us(caps: &gst::CapsRef) -> i64 {
    let size = |field| {
        caps.structure(0)
            .and_then(|s| s.get::<i32>(field).ok())
            .unwrap_or(0)
    };
    let pixels = i64::from(size("width")) * i64::from(size("height"));
    (pixels * SECOND_US / PIXELS_A_SECOND).clamp(SECOND_US, LONGEST_PICTURE_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(width: i32, height: i32) -> gst::Caps {
        gst::init().unwrap();
        gst::Caps::builder("video/x-h264")
            .field("width", width)
            .field("height", height)
            .build()
    }

    fn looks(caps: &gst::Caps, is_in_doubt: bool) -> usize {
        let mut sampler = Sampler::default();
        // A keyframe each second, give or take, for half a minute.
        let keyframes = (0..30).map(|i| i * SECOND_US + i % 3 * 40_000);
        keyframes
            .filter(|at| sampler.is_picture_due(caps, *at, is_in_doubt))
            .count()
    }

    #[test]
    fn large_pictures_are_looked_at_less_often_unless_in_doubt() {
        assert_eq!(looks(&caps(320, 180), false), 30);
        assert_eq!(looks(&caps(640, 360), false), 10);
        assert_eq!(looks(&caps(1920, 1080), false), 4);
        assert_eq!(looks(&caps(1920, 1080), true), 30);
    }

    #[test]
    fn a_second_of_sound_is_taken_every_five() {
        let caps = caps(0, 0);
        let mut sampler = Sampler::default();
        let packet = gst::Buffer::new();
        let windows: Vec<usize> = (0..1_500)
            .filter_map(|i| sampler.add_sound(&caps, &packet, i * 20_000, false))
            .map(|(_, packets)| packets.len())
            .collect();
        assert_eq!(windows, [51; 6]);
    }
}
