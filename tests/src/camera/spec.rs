//! What a mount of the camera offers, and how that is written on a command line.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a mount's pictures and sound come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The proof pattern, encoded live.
    Proof,
    /// The start of a video, decoded, spoilt as told, and encoded live.
    Room(PathBuf),
    /// An encoded MP4 or MKV, repeated without end and never encoded again.
    File(PathBuf),
}

/// How the proof pattern's pictures are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
}

/// How the proof pattern's sound is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioCodec {
    /// No sound track at all.
    None,
    /// AAC-LC, 48 kHz mono.
    Aac,
    /// Opus, 48 kHz mono.
    Opus,
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
}

/// Everything that can be chosen for a mount. For a file, only `audio: none` has a meaning beside the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MountSpec {
    /// Pictures and sound.
    pub source: Source,
    /// Codec of the pictures.
    pub codec: VideoCodec,
    /// Codec of the sound.
    pub audio: AudioCodec,
    /// Width in pixels, even, 64 to 3840.
    pub width: u32,
    /// Height in pixels, even, 64 to 2160.
    pub height: u32,
    /// Frames a second, 1 to 60.
    pub fps: u32,
    /// Bit rate of the pictures in kbit/s.
    pub bitrate_kbps: u32,
    /// Frames from one keyframe to the next.
    pub gop: u32,
    /// B-frames between two others, 0 to 4.
    pub b_frames: u32,
}

impl Default for MountSpec {
    fn default() -> Self {
        Self {
            source: Source::Proof,
            codec: VideoCodec::H264,
            audio: AudioCodec::Aac,
            width: 640,
            height: 360,
            fps: 25,
            bitrate_kbps: 600,
            gop: 50,
            b_frames: 0,
        }
    }
}

/// A mount that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {value:?} is not valid: {expected}")]
pub struct InvalidSpec {
    /// Which option.
    pub key: String,
    /// What was given.
    pub value: String,
    /// What is allowed.
    pub expected: &'static str,
}

fn invalid(key: &str, value: impl ToString, expected: &'static str) -> InvalidSpec {
    InvalidSpec {
        key: key.to_owned(),
        value: value.to_string(),
        expected,
    }
}

impl MountSpec {
    /// Checks that all values are in range.
    ///
    /// # Errors
    /// [`InvalidSpec`] names the first that is not.
    pub fn check(&self) -> Result<(), InvalidSpec> {
        let is_size = |n: u32, most: u32| (64..=most).contains(&n) && n.is_multiple_of(2);
        match self {
            s if !is_size(s.width, 3840) => Err(invalid("width", s.width, "an even number from 64 to 3840")),
            s if !is_size(s.height, 2160) => {
                Err(invalid("height", s.height, "an even number from 64 to 2160"))
            }
            s if !(1..=60).contains(&s.fps) => Err(invalid("fps", s.fps, "1 to 60")),
            s if !(32..=50_000).contains(&s.bitrate_kbps) => {
                Err(invalid("bitrate", s.bitrate_kbps, "32 to 50000 kbit/s"))
            }
            s if !(1..=1_000).contains(&s.gop) => Err(invalid("gop", s.gop, "1 to 1000 frames")),
            s if s.b_frames > 4 => Err(invalid("b-frames", s.b_frames, "0 to 4")),
            _ => Ok(()),
        }
    }
}

/// Reads `proof`, `room:PATH` or `file:PATH`, followed by options: `,codec=h264|h265` `,audio=none|aac|opus|pcmu|pcma`
/// `,size=WxH` `,fps=N` `,bitrate=KBPS` `,gop=FRAMES` `,b-frames=N`.
impl FromStr for MountSpec {
    type Err = InvalidSpec;

    fn from_str(text: &str) -> Result<Self, InvalidSpec> {
        let mut pieces = text.split(',');
        let source = pieces.next().unwrap_or_default();
        let mut spec = Self {
            source: match source.split_once(':') {
                None if source == "proof" => Source::Proof,
                Some(("room", path)) if !path.is_empty() => Source::Room(path.into()),
                Some(("file" | "people", path)) if !path.is_empty() => Source::File(path.into()),
                _ => return Err(invalid("source", source, "proof, room:PATH or file:PATH")),
            },
            ..Self::default()
        };
        for piece in pieces {
            let (key, value) = piece
                .split_once('=')
                .ok_or_else(|| invalid("option", piece, "KEY=VALUE"))?;
            let number = || value.parse::<u32>().map_err(|_| invalid(key, value, "a number"));
            match key {
                "codec" => spec.codec = word(key, value, "h264 or h265")?,
                "audio" => spec.audio = word(key, value, "none, aac, opus, pcmu or pcma")?,
                "size" => {
                    let size = value
                        .split_once('x')
                        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
                    (spec.width, spec.height) = size.ok_or_else(|| invalid(key, value, "WIDTHxHEIGHT"))?;
                }
                "fps" => spec.fps = number()?,
                "bitrate" => spec.bitrate_kbps = number()?,
                "gop" => spec.gop = number()?,
                "b-frames" => spec.b_frames = number()?,
                _ => {
                    return Err(invalid(
                        "option",
                        key,
                        "codec, audio, size, fps, bitrate, gop or b-frames",
                    ));
                }
            }
        }
        spec.check()?;
        Ok(spec)
    }
}

fn word<T: serde::de::DeserializeOwned>(
    key: &str,
    value: &str,
    expected: &'static str,
) -> Result<T, InvalidSpec> {
    serde_json::from_value(serde_json::Value::String(value.to_owned()))
        .map_err(|_| invalid(key, value, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_source_and_options() {
        let spec: MountSpec = "proof,codec=h265,audio=pcmu,size=320x180,fps=12,b-frames=2"
            .parse()
            .unwrap();
        let expected = MountSpec {
            codec: VideoCodec::H265,
            audio: AudioCodec::Pcmu,
            width: 320,
            height: 180,
            fps: 12,
            b_frames: 2,
            ..MountSpec::default()
        };
        assert_eq!(spec, expected);
        let spec: MountSpec = "file:a/b.mp4,audio=none".parse().unwrap();
        assert_eq!(
            (spec.source, spec.audio),
            (Source::File("a/b.mp4".into()), AudioCodec::None)
        );
    }

    #[test]
    fn refusal_names_option_and_what_is_allowed() {
        let error = "proof,codec=vp8".parse::<MountSpec>().unwrap_err();
        assert_eq!(error.to_string(), "codec: \"vp8\" is not valid: h264 or h265");
        for text in [
            "",
            "file:",
            "webcam",
            "proof,fps=0",
            "proof,size=641x360",
            "proof,fps",
            "proof,zoom=2",
        ] {
            assert!(text.parse::<MountSpec>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn json_leaves_out_what_is_default() {
        let spec: MountSpec = serde_json::from_str(r#"{"source":{"file":"a.mp4"},"audio":"none"}"#).unwrap();
        assert_eq!(spec.source, Source::File("a.mp4".into()));
        assert!(serde_json::from_str::<MountSpec>(r#"{"b_frames":2}"#).is_err());
    }
}
