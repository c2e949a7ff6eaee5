//! Hours of real video at full speed through the recorder's own eyes: people, an empty counter, lights off at closing
//! time. Nothing there is a fault, so nothing may be found; and beside them the same with faults, which must be.
//!
//! Keyframes come once a second as from a camera, encoded by x264; media time is the clock. `MINHQUAY_LONG=1` takes
//! the whole hour of each kind, otherwise a quarter of it.

#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use system_tests::programs::binary;

const PEOPLE: &str = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";

/// Where each camera stands: its part of the picture, and its colours.
const CAMERAS: [&str; 4] = [
    "crop=768:432:0:72",
    "hflip,crop=640:360:100:150,hue=h=25",
    "crop=640:360:0:60,hue=s=0.5,eq=contrast=0.8",
    "hflip,crop=704:396:30:110,eq=gamma=0.8",
];

fn seconds(of_an_hour: u32) -> u32 {
    let is_long = std::env::var_os("MINHQUAY_LONG").is_some_and(|value| value == "1");
    if is_long { of_an_hour } else { of_an_hour / 4 }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

fn ffmpeg(arguments: &[&str]) {
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments));
}

/// Pictures a second apart, ten times through the video, each time a tenth of a second later: people as a camera sees
/// them once a second.
fn pictures_a_second_apart(dir: &Path) -> PathBuf {
    let list = dir.join("list.txt");
    let mut text = String::new();
    for phase in 0..10 {
        let file = dir.join(format!("phase-{phase}.mkv"));
        let pick = format!("select='eq(mod(n,10),{phase})',setpts=N/TB");
        let out = file.to_str().unwrap();
        ffmpeg(&[
            "-i", PEOPLE, "-vf", &pick, "-r", "1", "-c:v", "mjpeg", "-q:v", "2", out,
        ]);
        text.push_str(&format!("file '{out}'\n"));
    }
    std::fs::write(&list, text).unwrap();
    let all = dir.join("people.mkv");
    let (list, out) = (list.to_str().unwrap(), all.to_str().unwrap());
    ffmpeg(&["-f", "concat", "-safe", "0", "-i", list, "-c", "copy", out]);
    all
}

/// What a microphone hears.
#[derive(Clone, Copy)]
enum Sound<'a> {
    /// A conversation, again and again with half a minute's pause, in a room.
    Speech(&'a Path),
    /// The room alone, so loud (1 is full scale).
    Room(f32),
}

/// Two people talk, and are silent for half a minute.
fn conversation(dir: &Path) -> PathBuf {
    let (spoken, file) = (dir.join("spoken.wav"), dir.join("speech.wav"));
    let text = "Xin chào chị, mời chị ngồi. Chị cần làm thủ tục gì ạ? Em muốn chứng thực bản sao giấy khai sinh. \
                Chị cho xem bản chính. Hồ sơ đủ rồi, chị chờ một lát.";
    run(Command::new("espeak-ng")
        .args(["-v", "vi", "-s", "150", "-w"])
        .arg(&spoken)
        .arg(text));
    let (spoken, out) = (spoken.to_str().unwrap(), file.to_str().unwrap());
    ffmpeg(&["-i", spoken, "-af", "apad=pad_dur=30", "-ar", "48000", out]);
    file
}

/// Encodes pictures a second apart as a camera would, after a filter, with sound.
fn encode(source: &Path, seconds: u32, filter: &str, sound: Sound<'_>, to: &Path) {
    let seconds = seconds.to_string();
    let level = match sound {
        Sound::Speech(_) => 0.004,
        Sound::Room(level) => level,
    };
    let room = format!("anoisesrc=color=pink:amplitude={level}:sample_rate=48000");
    let mut filter = format!("[0:v]{filter},scale=320:180,format=yuv420p[picture]");
    filter.push_str(match sound {
        Sound::Speech(_) => ";[1:a][2:a]amix=inputs=2:normalize=0[sound]",
        Sound::Room(_) => ";[1:a]anull[sound]",
    });
    let (source, to) = (source.to_str().unwrap(), to.to_str().unwrap());
    let mut arguments = vec![
        "-stream_loop",
        "-1",
        "-r",
        "1",
        "-i",
        source,
        "-f",
        "lavfi",
        "-i",
        &room,
    ];
    if let Sound::Speech(speech) = sound {
        arguments.extend(["-stream_loop", "-1", "-i", speech.to_str().unwrap()]);
    }
    arguments.extend(["-filter_complex", &filter, "-map", "[picture]", "-map", "[sound]"]);
    arguments.extend(["-t", &seconds, "-c:a", "aac", "-b:a", "48k", "-ac", "1"]);
    arguments.extend(["-r", "1", "-c:v", "libx264", "-preset", "ultrafast", "-g", "1"]);
    arguments.extend(["-b:v", "120k", "-maxrate", "180k", "-bufsize", "180k", to]);
    ffmpeg(&arguments);
}

/// What the recorder finds in a file, a line each, and at how many pictures and windows of sound it looked.
fn examine(file: &Path, is_closed: bool) -> (Vec<String>, usize, usize) {
    let mut command = Command::new(binary("minhquay-recorder"));
    command
        .arg("examine")
        .args(is_closed.then_some("--closed"))
        .arg(file);
    let output = run(&mut command);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let summary = lines.pop().unwrap();
    let mut numbers = summary
        .rsplit_once(": ")
        .unwrap()
        .1
        .split(' ')
        .filter_map(|word| word.parse().ok());
    let (pictures, sounds) = (numbers.next().unwrap(), numbers.next().unwrap());
    (lines, pictures, sounds)
}

fn expect_nothing(file: &Path, is_closed: bool, least: u32) {
    let (found, pictures, sounds) = examine(file, is_closed);
    assert_eq!(found, [] as [String; 0], "{}", file.display());
    assert!(
        pictures >= least as usize,
        "only {pictures} pictures were looked at"
    );
    // A second in five.
    assert!(
        sounds >= least as usize / 6,
        "only {sounds} windows of sound were looked at"
    );
}

#[test]
fn an_hour_of_people_of_four_cameras_gives_no_alert() {
    let dir = tempfile::tempdir().unwrap();
    let people = pictures_a_second_apart(dir.path());
    let speech = &conversation(dir.path());
    let each = seconds(3600) / 4;
    std::thread::scope(|scope| {
        for (number, camera) in CAMERAS.iter().enumerate() {
            let (people, file) = (&people, dir.path().join(format!("camera-{number}.mkv")));
            scope.spawn(move || {
                // The sun moves, the sensor hisses.
                let filter =
                    format!("{camera},eq=brightness='0.08*sin(t/200)':eval=frame,noise=alls=4:allf=t");
                encode(people, each, &filter, Sound::Speech(speech), &file);
                expect_nothing(&file, false, each - 2);
            });
        }
    });
}

#[test]
fn an_hour_of_an_empty_counter_gives_no_alert_however_the_camera_smooths_its_noise() {
    let dir = tempfile::tempdir().unwrap();
    let still = dir.path().join("still.png");
    ffmpeg(&[
        "-ss",
        "10",
        "-i",
        PEOPLE,
        "-frames:v",
        "1",
        still.to_str().unwrap(),
    ]);
    let each = seconds(3600) / 3;
    let noises = [
        "noise=alls=6:allf=t",
        "noise=alls=1:allf=t",
        // Strong smoothing in space and time, as cameras do it in weak light.
        "noise=alls=4:allf=t,hqdn3d=4:4:30:30",
    ];
    std::thread::scope(|scope| {
        for (number, noise) in noises.iter().enumerate() {
            let (still, file) = (&still, dir.path().join(format!("empty-{number}.mkv")));
            scope.spawn(move || {
                let filter = format!("crop=768:432:0:72,{noise}");
                encode(still, each, &filter, Sound::Room(0.003), &file);
                expect_nothing(&file, false, each - 2);
            });
        }
    });
}

#[test]
fn lights_off_at_closing_time_gives_no_alert() {
    let dir = tempfile::tempdir().unwrap();
    let people = pictures_a_second_apart(dir.path());
    let each = seconds(3600) / 3;
    let (from, to) = (each / 4, each * 3 / 4);
    // How much light is left, and whether the counter is known to be closed.
    let nights = [("0.15", false), ("0.05", false), ("0.0", true)];
    std::thread::scope(|scope| {
        for (number, (light, is_closed)) in nights.into_iter().enumerate() {
            let (people, file) = (&people, dir.path().join(format!("night-{number}.mkv")));
            scope.spawn(move || {
                let filter = format!(
                    "{},lutyuv=y='16+(val-16)*{light}':u=128:v=128:enable='between(t,{from},{to})',\
                     noise=alls=4:allf=t",
                    CAMERAS[number]
                );
                encode(people, each, &filter, Sound::Room(0.001), &file);
                expect_nothing(&file, is_closed, each - 2);
            });
        }
    });
}

#[test]
fn the_same_video_with_a_fault_gives_its_alert_within_thirty_seconds_and_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let people = pictures_a_second_apart(dir.path());
    let speech = &conversation(dir.path());
    let during = "enable='between(t,60,120)'";
    let faults = [
        ("lens_covered", format!("lutyuv=y=70:u=128:v=128:{during}")),
        ("picture_black", format!("lutyuv=y=16:u=128:v=128:{during}")),
        ("picture_defocused", format!("gblur=sigma=8:{during}")),
        ("scene_moved", format!("hflip={during}")),
    ];
    for (kind, fault) in faults {
        let file = dir.path().join(format!("{kind}.mkv"));
        encode(
            &people,
            180,
            &format!("{},{fault},noise=alls=4:allf=t", CAMERAS[0]),
            Sound::Speech(speech),
            &file,
        );
        let (found, ..) = examine(&file, false);
        let at = |line: &str| line.split(' ').next().unwrap().parse::<f64>().unwrap();
        let [began, ended] = &found[..] else {
            panic!("{kind}: {found:?}");
        };
        assert!(began.contains(&format!("{kind} began")), "{began}");
        assert!((60.0..90.0).contains(&at(began)), "{began}");
        assert!(ended.contains(&format!("{kind} ended")), "{ended}");
        assert!((120.0..150.0).contains(&at(ended)), "{ended}");
    }
}
