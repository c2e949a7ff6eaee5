//! Reads recordings of the proof pattern back with the `ffmpeg` command, an implementation that shares no code
//! with the programs under test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::picture::{self, Mark};
use super::sound::{self, Stretch};

const WIDTH: usize = 320;
const HEIGHT: usize = 184;
const RATE_HZ: u32 = 48_000;
/// Sound blocks further apart than this are not one stretch.
const CONTIGUOUS_US: i64 = 1_000;

/// One decoded frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofFrame {
    /// Presentation time as the file says, in microseconds.
    pub pts_us: i64,
    /// What the frame says about itself; `None` if it could not be read.
    pub mark: Option<Mark>,
    /// Whether it flashes.
    pub has_flash: bool,
}

/// What a recording of the proof pattern holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProofReading {
    /// Every frame in the order of presentation.
    pub frames: Vec<ProofFrame>,
    /// Presentation time of the start of each beep, in microseconds, within ±2 ms.
    pub beeps_us: Vec<i64>,
    /// Gap-free stretches of sound as (start, end) in microseconds.
    pub sound_us: Vec<(i64, i64)>,
}

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The command could not be run.
    #[error("cannot run ffmpeg on {input}: {source}")]
    Run {
        /// The file or address.
        input: String,
        /// Why.
        source: std::io::Error,
    },
    /// The command says that it failed.
    #[error("ffmpeg could not read {input}: {log}")]
    Failed {
        /// The file or address.
        input: String,
        /// The last lines of what it said.
        log: String,
    },
    /// Pictures and their times do not pair up.
    #[error("{input}: {pictures} pictures but {times} times")]
    Unpaired {
        /// The file or address.
        input: String,
        /// Number of decoded pictures or sound bytes.
        pictures: usize,
        /// Number of times.
        times: usize,
    },
}

/// Reads files (or addresses that `ffmpeg` understands) in the order given, each decoded on its own, and joins
/// what they hold. Times are those written in the files, not moved to start at zero.
///
/// # Errors
/// [`ReadError`] if one of them cannot be decoded; damaged frames inside are not an error but frames without mark.
pub fn read_proof<S: AsRef<OsStr>>(inputs: &[S]) -> Result<ProofReading, ReadError> {
    let mut reading = ProofReading::default();
    let mut stretches: Vec<Stretch> = Vec::new();
    for input in inputs {
        reading.frames.extend(read_frames(input.as_ref())?);
        for block in read_sound(input.as_ref())? {
            match stretches.last_mut() {
                Some(last) if (block.start_us - last.end_us()).abs() <= CONTIGUOUS_US => {
                    last.samples.extend(block.samples);
                }
                _ => stretches.push(block),
            }
        }
    }
    reading.beeps_us = stretches.iter().flat_map(sound::beep_starts).collect();
    reading.sound_us = stretches.iter().map(|s| (s.start_us, s.end_us())).collect();
    Ok(reading)
}

impl ProofReading {
    /// The numbers of all readable frames in order.
    pub fn numbers(&self) -> Vec<u32> {
        self.frames
            .iter()
            .filter_map(|f| f.mark)
            .map(|m| m.number)
            .collect()
    }

    /// Places where the number does not grow by one, as (before, after); frames without mark are skipped over and
    /// so show up here too.
    pub fn breaks(&self) -> Vec<(u32, u32)> {
        let numbers = self.numbers();
        numbers
            .windows(2)
            .filter(|w| w[1] != w[0].wrapping_add(1))
            .map(|w| (w[0], w[1]))
            .collect()
    }

    /// The first frame of each flash whose start was seen, i.e. with a frame without flash before it.
    pub fn flashes(&self) -> Vec<ProofFrame> {
        self.frames
            .windows(2)
            .filter(|w| !w[0].has_flash && w[1].has_flash)
            .map(|w| w[1])
            .collect()
    }

    /// For each beep that has a flash within half a second: how much later the sound is, in microseconds.
    pub fn sound_behind_picture_us(&self) -> Vec<i64> {
        let flashes = self.flashes();
        let nearest = |beep: &i64| {
            flashes
                .iter()
                .map(|f| beep - f.pts_us)
                .min_by_key(|d| d.abs())
                .filter(|d| d.abs() < 500_000)
        };
        self.beeps_us.iter().filter_map(nearest).collect()
    }
}

fn read_frames(input: &OsStr) -> Result<Vec<ProofFrame>, ReadError> {
    let filter = format!("scale={WIDTH}:{HEIGHT}:flags=area,settb=1/1000000,showinfo");
    let (pictures, log) = decode(
        input,
        &[
            "-map",
            "0:v:0?",
            "-vf",
            &filter,
            "-fps_mode",
            "passthrough",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
        ],
        |pipe| {
            let mut marks = Vec::new();
            let mut luma = vec![0; WIDTH * HEIGHT];
            while pipe.read_exact(&mut luma).is_ok() {
                marks.push(picture::read(&luma, WIDTH, HEIGHT));
            }
            marks
        },
    )?;
    let times: Vec<i64> = log
        .iter()
        .filter_map(|line| field(line, "] n:", " pts:"))
        .collect();
    if times.len() != pictures.len() {
        return Err(ReadError::Unpaired {
            input: input.to_string_lossy().into_owned(),
            pictures: pictures.len(),
            times: times.len(),
        });
    }
    let frame = |(pts_us, (mark, has_flash))| ProofFrame {
        pts_us,
        mark,
        has_flash,
    };
    Ok(times.into_iter().zip(pictures).map(frame).collect())
}

fn read_sound(input: &OsStr) -> Result<Vec<Stretch>, ReadError> {
    let rate = RATE_HZ.to_string();
    let filter = format!("aresample={RATE_HZ},asettb=1/{RATE_HZ},ashowinfo");
    let (bytes, log) = decode(
        input,
        &[
            "-map", "0:a:0?", "-af", &filter, "-f", "s16le", "-ac", "1", "-ar", &rate,
        ],
        |pipe| {
            let mut bytes = Vec::new();
            // A broken pipe shows as a failed command.
            let _ = pipe.read_to_end(&mut bytes);
            bytes
        },
    )?;
    let mut samples = bytes
        .chunks_exact(2)
        .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0);
    let mut stretches: Vec<Stretch> = Vec::new();
    for line in &log {
        let (Some(pts), Some(count)) = (
            field::<i64>(line, "] n:", " pts:"),
            field::<usize>(line, "] n:", " nb_samples:"),
        ) else {
            continue;
        };
        let start_us = pts * 1_000_000 / i64::from(RATE_HZ);
        let block = samples.by_ref().take(count);
        match stretches.last_mut() {
            Some(last) if (start_us - last.end_us()).abs() <= CONTIGUOUS_US => last.samples.extend(block),
            _ => stretches.push(Stretch {
                start_us,
                rate_hz: RATE_HZ,
                samples: block.collect(),
            }),
        }
    }
    Ok(stretches)
}

/// Runs the command, hands its output to `read` and gives that back with the lines of its log.
fn decode<T>(
    input: &OsStr,
    output: &[&str],
    read: impl FnOnce(&mut dyn Read) -> T,
) -> Result<(T, Vec<String>), ReadError> {
    let name = || input.to_string_lossy().into_owned();
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-nostats", "-copyts", "-i"])
        .arg(input)
        .args(output)
        .arg("pipe:1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| ReadError::Run {
            input: name(),
            source,
        })?;
    let stderr = child.stderr.take().expect("stderr is piped");
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let log = std::thread::spawn(move || {
        BufReader::new(stderr)
            .split(b'\n')
            .map_while(Result::ok)
            .map(|l| String::from_utf8_lossy(&l).into_owned())
            .collect::<Vec<_>>()
    });
    let result = read(&mut stdout);
    let log = log.join().expect("reading lines does not panic");
    let status = child.wait().map_err(|source| ReadError::Run {
        input: name(),
        source,
    })?;
    // A file without the asked track is no fault: it holds nothing of that kind.
    let lacks_track = log.iter().any(|l| l.contains("does not contain any stream"));
    if !status.success() && !lacks_track {
        let tail = log[log.len().saturating_sub(5)..].join(" | ");
        return Err(ReadError::Failed {
            input: name(),
            log: tail,
        });
    }
    Ok((result, log))
}

/// The number after `key` in a line of showinfo or ashowinfo, which pads numbers with spaces.
fn field<T: std::str::FromStr>(line: &str, marker: &str, key: &str) -> Option<T> {
    let after = &line[line.find(marker)?..];
    let text = after[after.find(key)? + key.len()..].trim_start();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '-')
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::time::WallTime;
    use std::path::Path;

    const FPS: i64 = 25;
    const START_S: i64 = 7;

    /// Encodes `seconds` of the pattern into fragmented MP4 that starts at `START_S`, without the frames in `left_out`.
    fn encode(dir: &Path, seconds: i64, left_out: std::ops::Range<i64>) -> std::path::PathBuf {
        let (video, audio, file) = (dir.join("v.yuv"), dir.join("a.pcm"), dir.join("proof.mp4"));
        let frames = (0..seconds * FPS).filter(|n| !left_out.contains(n));
        let pictures: Vec<u8> = frames
            .flat_map(|n| {
                let mark = Mark {
                    number: n as u32,
                    wall: WallTime(n * 1_000_000 / FPS),
                };
                picture::draw(640, 360, mark, mark.wall.0.rem_euclid(1_000_000) < 80_000)
            })
            .collect();
        std::fs::write(&video, pictures).unwrap();
        let samples = (0..seconds as u64 * 48_000).flat_map(|i| sound::sample(i, 48_000).to_le_bytes());
        std::fs::write(&audio, samples.collect::<Vec<u8>>()).unwrap();
        let status = Command::new("ffmpeg")
            .args([
                "-loglevel",
                "error",
                "-f",
                "rawvideo",
                "-pix_fmt",
                "yuv420p",
                "-s",
                "640x360",
                "-r",
                "25",
                "-i",
            ])
            .arg(video)
            .args(["-f", "s16le", "-ar", "48000", "-ac", "1", "-i"])
            .arg(audio)
            .args([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-b:v",
                "500k",
                "-c:a",
                "aac",
                "-b:a",
                "64k",
            ])
            .args([
                "-output_ts_offset",
                &START_S.to_string(),
                "-movflags",
                "+frag_keyframe+empty_moov+delay_moov",
            ])
            .arg(&file)
            .status()
            .unwrap();
        assert!(status.success());
        file
    }

    #[test]
    fn reads_back_every_frame_and_beep_after_encoding() {
        let dir = tempfile::tempdir().unwrap();
        let file = encode(dir.path(), 4, 0..0);
        let reading = read_proof(&[file]).unwrap();
        assert_eq!(reading.numbers(), (0..4 * FPS as u32).collect::<Vec<_>>());
        assert_eq!(reading.breaks(), []);
        for frame in &reading.frames {
            let mark = frame.mark.unwrap();
            assert!(
                (frame.pts_us - START_S * 1_000_000 - mark.wall.0).abs() <= 1_000,
                "{frame:?}"
            );
        }
        assert_eq!(reading.flashes().len(), 3);
        let behind_us = reading.sound_behind_picture_us();
        assert_eq!(behind_us.len(), 3);
        assert!(behind_us.iter().all(|us| us.abs() <= 2_000), "{behind_us:?}");
    }

    #[test]
    fn shows_where_frames_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let file = encode(dir.path(), 2, 30..33);
        assert_eq!(read_proof(&[file]).unwrap().breaks(), [(29, 33)]);
    }

    #[test]
    fn names_a_file_that_cannot_be_read() {
        let error = read_proof(&["no-such-file.mp4"]).unwrap_err();
        assert!(error.to_string().contains("no-such-file.mp4"), "{error}");
    }
}
