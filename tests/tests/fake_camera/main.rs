//! The fake camera, seen by a real RTSP client: what it shows is true, and each fault does what it says.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;

use std::process::Command;

use client::{Client, DEADLINE, Seen};
use system_tests::camera::{FakeCamera, Fault, MountSpec, Settings, VideoCodec};
use system_tests::programs::until;

const MOUNT: &str = "cam1";

fn camera_with(spec: &str, credentials: Option<(&str, &str)>) -> FakeCamera {
    let credentials = credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
    let mounts = vec![(MOUNT.to_owned(), spec.parse().unwrap())];
    FakeCamera::start(Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        credentials,
        mounts,
    })
    .unwrap()
}

fn camera(spec: &str) -> FakeCamera {
    camera_with(spec, None)
}

fn play(camera: &FakeCamera) -> Client {
    Client::play(&camera.url(MOUNT))
}

/// Numbers grow by one, and each flash is taken within the first 80 ms of a second.
fn assert_whole(seen: &Seen) {
    let numbers = seen.numbers();
    assert_eq!(numbers.len(), seen.frames.len(), "each frame can be read");
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{numbers:?}");
    for frame in &seen.frames {
        let into_second_us = frame.mark.unwrap().wall.0.rem_euclid(1_000_000);
        assert_eq!(frame.has_flash, into_second_us < 80_000, "{frame:?}");
    }
}

/// A client on a busy machine slides by some milliseconds towards what the sender reports say.
const HALF_A_PICTURE_US: i64 = 20_000;

fn assert_shows_whole_seconds_in_step(options: &str) {
    let camera = camera(&format!("proof{options}"));
    let client = play(&camera);
    let seen = client.wait("3 beeps and flashes", |s| {
        s.reported_beeps_us().len() >= 3 && s.reported_flashes_us().len() >= 3
    });
    assert_whole(&seen);
    for (what, taken_us) in [
        ("flash", seen.reported_flashes_us()),
        ("beep", seen.reported_beeps_us()),
    ] {
        let past_second = |us: &i64| (us + 500_000).rem_euclid(1_000_000) - 500_000;
        let mut past_second_us: Vec<i64> = taken_us.iter().map(past_second).collect();
        past_second_us.sort_unstable();
        // The middle one: a client's decoder now and then gives a picture its neighbour's time when B-frames come
        // without decoding times, as they do over RTP.
        let middle_us = past_second_us[past_second_us.len() / 2];
        assert!(
            middle_us.abs() <= HALF_A_PICTURE_US,
            "{what}: {past_second_us:?} us after the second"
        );
    }
}

#[test]
fn shows_each_frame_once_with_aac_in_step() {
    assert_shows_whole_seconds_in_step("");
}

#[test]
fn shows_each_frame_once_with_opus_in_step() {
    assert_shows_whole_seconds_in_step(",audio=opus");
}

#[test]
fn shows_each_frame_once_with_g711_and_b_frames_in_step() {
    assert_shows_whole_seconds_in_step(",audio=pcmu,b-frames=2");
}

#[test]
fn shows_h265_with_a_law_in_step() {
    assert_shows_whole_seconds_in_step(",codec=h265,audio=pcma");
}

#[test]
fn serves_several_clients_at_once() {
    let camera = camera("proof,size=320x180,gop=10,audio=none");
    let clients: Vec<Client> = (0..5).map(|_| play(&camera)).collect();
    for client in &clients {
        assert_whole(&client.wait_frames(20));
    }
    assert_eq!(camera.state()[0].clients, 5);
    drop(clients);
    until(DEADLINE, || (camera.state()[0].clients == 0).then_some(())).expect("clients leave");
}

#[test]
fn asks_for_credentials() {
    let camera = camera_with("proof,audio=none,gop=10", Some(("viewer", "secret")));
    play(&camera).wait_frames(5);
    let without = Client::play(&camera.url(MOUNT).replace("viewer:secret@", ""));
    let seen = without.wait("refusal", |s| s.end.is_some());
    assert!(seen.end.unwrap().contains("401"));
}

#[test]
fn drop_connection_cuts_off_once() {
    let camera = camera("proof,audio=none,gop=10");
    let client = play(&camera);
    client.wait_frames(5);
    camera.apply(MOUNT, Fault::DropConnection).unwrap();
    client.wait("end", |s| s.end.is_some());
    play(&camera).wait_frames(5);
}

#[test]
fn hang_sends_nothing_but_keeps_the_connection() {
    let camera = camera("proof,gop=10");
    let client = play(&camera);
    client.wait_frames(5);
    camera.apply(MOUNT, Fault::Hang).unwrap();
    let last_made = camera.state()[0].last_frame;
    // What is on its way arrives within the client's 200 ms of buffer; two seconds of frames do not.
    until(DEADLINE, || {
        (camera.state()[0].last_frame > last_made + 50).then_some(())
    })
    .expect("camera goes on");
    let seen = client.seen();
    assert_eq!(seen.end, None);
    assert!(u64::from(*seen.numbers().last().unwrap()) <= last_made + 10);
    camera.clear(MOUNT).unwrap();
    client.wait_frames(5);
}

#[test]
fn refuse_answers_404_until_cleared() {
    let camera = camera("proof,audio=none,gop=10");
    camera.apply(MOUNT, Fault::Refuse { seconds: 600 }).unwrap();
    let seen = play(&camera).wait("refusal", |s| s.end.is_some());
    assert!(seen.end.as_ref().unwrap().contains("404"), "{:?}", seen.end);
    camera.clear(MOUNT).unwrap();
    play(&camera).wait_frames(5);
}

#[test]
fn loss_leaves_holes_in_the_sequence() {
    let camera = camera("proof,audio=none,gop=10");
    let client = play(&camera);
    client.wait_frames(5);
    camera.apply(MOUNT, Fault::Loss { percent: 20.0 }).unwrap();
    let holes = |s: &Seen| {
        s.video_packets
            .windows(2)
            .filter(|w| w[1].sequence.wrapping_sub(w[0].sequence) > 1)
            .count()
    };
    client.wait("5 holes", |s| holes(s) >= 5);
}

#[test]
fn garbage_damages_pictures_but_not_the_sequence() {
    let camera = camera("proof,audio=none,gop=10");
    let client = play(&camera);
    client.wait_frames(5);
    camera.apply(MOUNT, Fault::Garbage { percent: 100.0 }).unwrap();
    let before = client.seen();
    let seen = client.wait("50 more packets", |s| {
        s.video_packets.len() >= before.video_packets.len() + 50
    });
    assert!(
        seen.video_packets
            .windows(2)
            .all(|w| w[1].sequence == w[0].sequence.wrapping_add(1))
    );
    let readable = seen.numbers().len() - before.numbers().len();
    assert!(readable < 25, "{readable} frames were still readable");
}

#[test]
fn pts_jump_moves_rtp_time_of_those_connected() {
    let camera = camera("proof,audio=none,gop=10");
    let client = play(&camera);
    client.wait_frames(5);
    camera.apply(MOUNT, Fault::PtsJump { seconds: -30 }).unwrap();
    let jumps = |s: &Seen| -> Vec<i32> {
        let steps = s
            .video_packets
            .windows(2)
            .map(|w| w[1].rtp_time.wrapping_sub(w[0].rtp_time) as i32);
        steps.filter(|step| step.abs() > 90_000).collect()
    };
    let seen = client.wait("jump", |s| !jumps(s).is_empty());
    assert!(
        (jumps(&seen)[0] + 30 * 90_000).abs() < 90_000,
        "{:?}",
        jumps(&seen)
    );
    let later = play(&camera).wait_frames(10);
    assert_eq!(jumps(&later), Vec::<i32>::new());
}

#[test]
fn ssrc_change_shows_as_another_source() {
    let camera = camera("proof,audio=none,gop=10");
    let client = play(&camera);
    let before = client.wait_frames(5).video_packets[0].ssrc;
    camera.apply(MOUNT, Fault::SsrcChange).unwrap();
    client.wait("another ssrc", |s| {
        s.video_packets.iter().any(|p| p.ssrc != before)
    });
}

#[test]
fn absent_audio_is_announced_but_never_sent() {
    let camera = camera("proof,gop=10");
    camera.apply(MOUNT, Fault::AudioAbsent).unwrap();
    let client = play(&camera);
    let seen = client.wait_frames(50);
    assert!(seen.sdp.contains("m=audio"));
    assert!(seen.audio_packets.is_empty());
    camera.clear(MOUNT).unwrap();
    client.wait("sound", |s| !s.audio_packets.is_empty());
}

/// How far the sender reports' wall time is from the time at which a frame was taken, in microseconds.
fn reported_minus_true_us(seen: &Seen) -> Option<i64> {
    let packet = seen
        .video_packets
        .iter()
        .rev()
        .find(|p| p.reported_wall_us.is_some())?;
    let frame = seen
        .frames
        .iter()
        .find(|f| (f.pts_us - packet.pts_us).abs() <= 1_000)?;
    Some(packet.reported_wall_us? - frame.mark?.wall.0)
}

#[test]
fn sender_reports_tell_when_a_frame_was_taken() {
    let camera = camera("proof,gop=10");
    let client = play(&camera);
    let seen = client.wait("sender report", |s| reported_minus_true_us(s).is_some());
    let off_us = reported_minus_true_us(&seen).unwrap();
    assert!(off_us.abs() <= 20_000, "{off_us} us");
}

#[test]
fn clock_off_shows_in_sender_reports_only() {
    let camera = camera("proof,gop=10");
    camera.apply(MOUNT, Fault::ClockOff { seconds: 3_600 }).unwrap();
    let client = play(&camera);
    let seen = client.wait("sender report", |s| reported_minus_true_us(s).is_some());
    let off_us = reported_minus_true_us(&seen).unwrap() - 3_600_000_000;
    assert!(off_us.abs() <= 20_000, "{off_us} us");
    assert_whole(&seen);
}

#[test]
fn reconfigured_mount_cuts_off_and_goes_on_with_its_numbers() {
    let camera = camera("proof,audio=none,gop=10");
    let client = play(&camera);
    client.wait_frames(5);
    let spec = MountSpec {
        codec: VideoCodec::H265,
        ..camera.state()[0].spec.clone()
    };
    camera.reconfigure(MOUNT, spec).unwrap();
    let before = client.wait("end", |s| s.end.is_some());
    let seen = play(&camera).wait_frames(5);
    assert!(seen.sdp.contains("H265"));
    assert!(seen.numbers()[0] > *before.numbers().last().unwrap());
}

#[test]
fn repeats_a_file_without_a_hole_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("short.mp4");
    // 0.64 s: 16 frames and 30 AAC samples.
    let status = Command::new("ffmpeg")
        .args([
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=s=320x180:r=25",
            "-f",
            "lavfi",
            "-i",
        ])
        .args([
            "sine=r=48000",
            "-t",
            "0.64",
            "-c:v",
            "libx264",
            "-bf",
            "0",
            "-g",
            "16",
            "-pix_fmt",
            "yuv420p",
        ])
        .args(["-c:a", "aac"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(status.success());
    let camera = camera(&format!("file:{}", file.display()));
    let seen = play(&camera).wait("three rounds", |s| {
        s.frames.len() >= 48 && s.audio_packets.len() >= 90
    });
    let steps = |packets: &[client::Packet]| -> Vec<u32> {
        let steps = packets
            .windows(2)
            .map(|w| w[1].rtp_time.wrapping_sub(w[0].rtp_time));
        steps.filter(|step| *step != 0).collect()
    };
    for step in steps(&seen.video_packets) {
        assert!(step.abs_diff(3_600) <= 2, "{step}");
    }
    for step in steps(&seen.audio_packets) {
        assert!(step.abs_diff(1_024) <= 2, "{step}");
    }
}
