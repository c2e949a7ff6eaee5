//! Material that looks and sounds like service counters, made once from what Debian ships: people walking
//! (opencv-doc's `vtest.avi`) and Vietnamese conversations (espeak-ng), four counters that differ.
//!
//! Every file lasts 80 s: a whole number of frames, of GOPs (2 s) and of AAC samples at 48 kHz (3750), so it repeats
//! without a hole.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// How many counters there is material for.
pub const COUNTERS: usize = 4;

const PEOPLE: &str = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";
const SECONDS: usize = 80;
/// Rate at which espeak-ng speaks, in samples a second.
const SPEECH_RATE_HZ: usize = 22_050;
const WAV_HEADER_BYTES: usize = 44;
/// Changes whenever the recipe does, so that old files are made anew.
const RECIPE: &str = "1";

/// A folder of complete material.
#[derive(Debug, Clone)]
pub struct Material {
    dir: PathBuf,
}

/// Why material could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The video of people is not installed.
    #[error("{PEOPLE} is missing: install the package opencv-doc")]
    NoPeople,
    /// A command is missing or failed.
    #[error("{command}: {reason}")]
    Command {
        /// Which command.
        command: &'static str,
        /// What it said.
        reason: String,
    },
}

impl Material {
    /// The large picture of a counter, from 1: 1280x720, 25 frames a second, H.264 without B-frames, AAC.
    pub fn main(&self, counter: usize) -> PathBuf {
        self.dir.join(format!("counter-{counter}.main.mp4"))
    }

    /// The small picture of the same: 640x360, 12 frames a second, same sound.
    pub fn sub(&self, counter: usize) -> PathBuf {
        self.dir.join(format!("counter-{counter}.sub.mp4"))
    }

    /// All files.
    pub fn paths(&self) -> Vec<PathBuf> {
        (1..=COUNTERS).flat_map(|n| [self.main(n), self.sub(n)]).collect()
    }
}

/// Makes the material in `dir`, or finds it there. Files appear whole or not at all, also if two make them at once.
///
/// # Errors
/// [`MaterialError`] names what is missing.
pub fn make(dir: &Path) -> Result<Material, MaterialError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| MaterialError::Io { path, source }
    };
    std::fs::create_dir_all(dir).map_err(at(dir))?;
    let material = Material { dir: dir.to_owned() };
    let recipe = dir.join("recipe");
    let is_current = std::fs::read_to_string(&recipe).is_ok_and(|text| text == RECIPE);
    if is_current && material.paths().iter().all(|p| p.exists()) {
        return Ok(material);
    }
    if !Path::new(PEOPLE).exists() {
        return Err(MaterialError::NoPeople);
    }
    let work = tempfile::tempdir_in(dir).map_err(at(dir))?;
    for (counter, scene) in (1..).zip(&SCENES) {
        let speech = work.path().join("speech.pcm");
        std::fs::write(&speech, converse(scene, work.path())?).map_err(at(&speech))?;
        let (main, sub) = (work.path().join("main.mp4"), work.path().join("sub.mp4"));
        encode(scene, &speech, &main, &sub)?;
        for (made, kept) in [(main, material.main(counter)), (sub, material.sub(counter))] {
            std::fs::rename(&made, &kept).map_err(at(&kept))?;
        }
    }
    let written = work.path().join("recipe");
    std::fs::write(&written, RECIPE).map_err(at(&written))?;
    std::fs::rename(&written, &recipe).map_err(at(&recipe))?;
    Ok(material)
}

/// What makes one counter differ from the next.
struct Scene {
    /// Where in the source it begins, in seconds.
    start_seconds: &'static str,
    /// Filters that cut and colour the picture.
    look: &'static str,
    /// Voices of espeak-ng: the officer's and the citizen's.
    voices: [&'static str; 2],
    /// What they say, the officer first, in turns.
    turns: &'static [&'static str],
}

const SCENES: [Scene; COUNTERS] = [
    Scene {
        start_seconds: "0",
        look: "crop=768:432:0:72",
        voices: ["vi", "vi+f3"],
        turns: &[
            "Xin chào chị, mời chị ngồi. Chị cần làm thủ tục gì ạ?",
            "Chào anh, tôi đến đăng ký khai sinh cho cháu.",
            "Vâng. Chị cho tôi xem giấy chứng sinh và căn cước công dân.",
            "Giấy tờ của tôi đây, anh kiểm tra giúp.",
            "Hồ sơ đã đủ. Chị đọc lại họ tên và ngày sinh của cháu giúp tôi.",
            "Cháu tên là Nguyễn Minh An, sinh ngày mười hai tháng mười một.",
            "Cảm ơn chị. Tôi quét mã hồ sơ, chị nhận kết quả ngay trong buổi sáng.",
            "Vâng, cảm ơn anh nhiều.",
            "Mời chị đánh giá mức độ hài lòng trên máy tính bảng.",
        ],
    },
    Scene {
        start_seconds: "20",
        look: "hflip,crop=640:360:100:150,hue=h=25",
        voices: ["vi-vn-x-south+f2", "vi"],
        turns: &[
            "Xin mời số thứ tự tiếp theo. Chào bác ạ.",
            "Chào cô, tôi muốn chứng thực bản sao từ bản chính.",
            "Bác cần chứng thực bao nhiêu bản ạ?",
            "Ba bản sao bằng tốt nghiệp và hai bản sao hộ chiếu.",
            "Bác cho cháu xem bản chính để đối chiếu.",
            "Bản chính đây, cô xem giúp tôi.",
            "Lệ phí là mười nghìn đồng. Bác ngồi chờ khoảng mười lăm phút.",
            "Được rồi, tôi chờ ở ghế bên kia.",
        ],
    },
    Scene {
        start_seconds: "40",
        look: "crop=640:360:0:60,hue=s=0.5",
        voices: ["vi+f4", "vi-vn-x-central"],
        turns: &[
            "Chào anh, anh đến nộp hồ sơ hay nhận kết quả ạ?",
            "Tôi đến hỏi về hồ sơ đăng ký biến động đất đai.",
            "Anh cho em xin phiếu hẹn trả kết quả.",
            "Phiếu hẹn ghi hôm qua, nhưng tôi chưa nhận được tin nhắn.",
            "Em xin lỗi anh. Hồ sơ đang chờ văn phòng đăng ký đất đai xác nhận.",
            "Vậy bao giờ thì tôi có kết quả?",
            "Chậm nhất là chiều thứ năm. Em sẽ gửi thư xin lỗi và hẹn lại ngày trả.",
            "Thôi được, mong là lần này đúng hẹn.",
        ],
    },
    Scene {
        start_seconds: "60",
        look: "hflip,crop=704:396:30:110,hue=h=-35:s=1.2",
        voices: ["vi-vn-x-central", "vi-vn-x-south+f5"],
        turns: &[
            "Chào chị, chị đăng ký hộ kinh doanh phải không ạ?",
            "Vâng, tôi mở cửa hàng bán hoa ở phố bên cạnh.",
            "Chị đã điền giấy đề nghị đăng ký chưa?",
            "Tôi điền trên cổng dịch vụ công rồi, mã hồ sơ đây.",
            "Để tôi kiểm tra. Tên cửa hàng và địa chỉ đã đúng.",
            "Còn thiếu giấy tờ gì nữa không anh?",
            "Không thiếu. Ba ngày làm việc nữa chị nhận giấy chứng nhận.",
            "Cảm ơn anh, tôi nhận qua bưu điện được không?",
            "Được ạ. Chị ghi địa chỉ nhận vào tờ này giúp tôi.",
        ],
    },
];

/// The conversation as 16-bit mono, repeated until the time is full, with pauses as people make them.
fn converse(scene: &Scene, work: &Path) -> Result<Vec<u8>, MaterialError> {
    let silence = |tenths: usize| vec![0; SPEECH_RATE_HZ / 10 * tenths * 2];
    let size_bytes = SECONDS * SPEECH_RATE_HZ * 2;
    let mut turns = Vec::new();
    for (index, text) in scene.turns.iter().enumerate() {
        let wav = work.join("turn.wav");
        let mut speak = Command::new("espeak-ng");
        speak
            .args(["-v", scene.voices[index % 2], "-s", "150", "-w"])
            .arg(&wav)
            .arg(text);
        run("espeak-ng", &mut speak)?;
        let bytes = std::fs::read(&wav).map_err(|source| MaterialError::Io { path: wav, source })?;
        turns.push(bytes.get(WAV_HEADER_BYTES..).unwrap_or_default().to_vec());
    }
    let mut sound = silence(10);
    for (index, turn) in turns.iter().enumerate().cycle() {
        if sound.len() + turn.len() > size_bytes {
            break;
        }
        sound.extend(turn);
        let is_last = index + 1 == turns.len();
        sound.extend(silence(if is_last { 50 } else { 6 + index % 3 * 4 }));
    }
    sound.resize(size_bytes, 0);
    Ok(sound)
}

fn encode(scene: &Scene, speech: &Path, main: &Path, sub: &Path) -> Result<(), MaterialError> {
    // The source lasts 79.5 s; stretched, it meets its own start where the material does.
    let filter = format!(
        "[0:v]setpts=PTS*80/79.5,{},split[a][b];\
         [a]scale=1280:720,fps=25,format=yuv420p[main];[b]scale=640:360,fps=12,format=yuv420p[sub]",
        scene.look
    );
    let rate = SPEECH_RATE_HZ.to_string();
    let seconds = SECONDS.to_string();
    let mut command = Command::new("ffmpeg");
    command.args([
        "-hide_banner",
        "-nostdin",
        "-loglevel",
        "error",
        "-y",
        "-stream_loop",
        "-1",
    ]);
    command.args(["-ss", scene.start_seconds, "-i", PEOPLE]);
    command
        .args(["-f", "s16le", "-ar", &rate, "-ac", "1", "-i"])
        .arg(speech);
    command.args(["-filter_complex", &filter]);
    let outputs = [
        ("[main]", main, "high", "50", ["1800k", "2500k", "3600k"]),
        ("[sub]", sub, "main", "24", ["300k", "400k", "600k"]),
    ];
    for (picture, path, profile, gop, [bitrate, most, buffer]) in outputs {
        command.args([
            "-map",
            picture,
            "-map",
            "1:a",
            "-t",
            &seconds,
            "-c:v",
            "libx264",
            "-preset",
            "superfast",
        ]);
        command.args([
            "-profile:v",
            profile,
            "-bf",
            "0",
            "-g",
            gop,
            "-keyint_min",
            gop,
            "-sc_threshold",
            "0",
        ]);
        command.args(["-b:v", bitrate, "-maxrate", most, "-bufsize", buffer]);
        command
            .args([
                "-c:a", "aac", "-ar", "48000", "-ac", "1", "-b:a", "64k", "-f", "mp4",
            ])
            .arg(path);
    }
    run("ffmpeg", &mut command).map(drop)
}

fn run(name: &'static str, command: &mut Command) -> Result<Output, MaterialError> {
    let failed = |reason: String| MaterialError::Command {
        command: name,
        reason,
    };
    let output = command.output().map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(output)
}
