//! What is missing here but lies at the recorder. Pure.

use archive::time::DurationUs;
use archive::timeline::{Hole, Window};

/// Shorter pieces are rounding.
const SEAM_US: DurationUs = 100_000;

/// Parts holes into those that stay holes and what of them is away, given in order of time.
pub fn part(holes: &[Hole], away: &[Window]) -> (Vec<Hole>, Vec<Window>) {
    let mut still = Vec::new();
    let mut found: Vec<Window> = Vec::new();
    for hole in holes {
        let mut at = hole.start;
        for window in away {
            let part = Window {
                start: window.start.max(at),
                end: window.end.min(hole.end),
            };
            if part.end - part.start <= 0 {
                continue;
            }
            if part.start - at > SEAM_US {
                still.push(Hole {
                    start: at,
                    end: part.start,
                    ..*hole
                });
            }
            match found.last_mut() {
                Some(last) if part.start - last.end <= SEAM_US => last.end = part.end,
                _ => found.push(part),
            }
            at = part.end;
        }
        let least_us = if at == hole.start { 0 } else { SEAM_US };
        if hole.end - at > least_us {
            still.push(Hole { start: at, ..*hole });
        }
    }
    found.retain(|window| window.duration_us() > SEAM_US);
    (still, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::time::WallTime;

    fn window(start_s: i64, end_s: i64) -> Window {
        Window {
            start: WallTime(start_s * 1_000_000),
            end: WallTime(end_s * 1_000_000),
        }
    }

    fn hole(start_s: i64, end_s: i64) -> Hole {
        let Window { start, end } = window(start_s, end_s);
        Hole {
            start,
            end,
            cause: None,
            gap_id: None,
        }
    }

    #[test]
    fn what_is_at_the_recorder_is_no_hole() {
        let away = [window(0, 20), window(20, 40), window(70, 80), window(95, 200)];
        let (still, found) = part(&[hole(10, 60), hole(90, 100), hole(300, 310)], &away);
        assert_eq!(still, [hole(40, 60), hole(90, 95), hole(300, 310)]);
        assert_eq!(found, [window(10, 40), window(95, 100)]);
    }

    #[test]
    fn nothing_away_leaves_all_as_it_is() {
        let holes = [hole(0, 1), hole(5, 9)];
        assert_eq!(part(&holes, &[]), (holes.to_vec(), vec![]));
    }
}
