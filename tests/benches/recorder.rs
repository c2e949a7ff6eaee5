//! What recording costs: this recorder beside `ffmpeg -c copy`, on the same cameras at the same time.
//!
//! `cargo bench -p system-tests --bench recorder [-- STREAMS SECONDS]`. Eight cameras repeat one encoded file
//! (1080p25, 4 Mbit/s, with AAC), so that the cameras themselves cost little. The recorder syncs, seals and watches as it
//! does at a site; FFmpeg writes fragmented MP4 and syncs nothing, one process a stream. CPU is user and system time of the
//! processes over the measured time, memory their proportional set (PSS), which counts shared pages once, as a mean.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use archive::time::{Clock, SystemClock};
use system_tests::programs::{Program, until};
use system_tests::stage::{Cameras, Edge, StreamSource};

const WARM_UP: Duration = Duration::from_secs(15);
/// Memory is the mean of so many looks.
const MEMORY_LOOKS: u32 = 20;

fn main() -> anyhow::Result<()> {
    let numbers: Vec<u64> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let streams = numbers.first().copied().unwrap_or(8);
    let measured = Duration::from_secs(numbers.get(1).copied().unwrap_or(60));
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-recorder");
    std::fs::create_dir_all(&target)?;
    let film = film(&target)?;
    let dir = tempfile::tempdir_in(&target)?;
    let mounts: Vec<String> = (1..=streams)
        .map(|n| format!("cam{n}=file:{}", film.display()))
        .collect();
    let mounts: Vec<&str> = mounts.iter().map(String::as_str).collect();
    let cameras = Cameras::start(&dir.path().join("cameras"), &mounts)?;
    let url = |n: u64| cameras.url(&format!("cam{n}"));

    let sources: Vec<_> = (1..=streams)
        .map(|n| StreamSource::front(&format!("site-q{n:02}"), url(n)))
        .collect();
    let mut edge = Edge::create(&dir.path().join("recorder"), "site", None, 60, &sources, "")?;
    edge.start()?;
    let mut others = Vec::new();
    for n in 1..=streams {
        others.push(ffmpeg(n, &url(n), dir.path())?);
    }
    let recorder = edge.program().context("the recorder was started")?.id();
    let others_ids: Vec<u32> = others.iter().map(Program::id).collect();
    wait(WARM_UP);
    let began_us = SystemClock.monotonic_us();
    let before = (cpu_s(&[recorder])?, cpu_s(&others_ids)?, switches(recorder)?);
    let mib = |ids: &[u32]| Ok::<_, anyhow::Error>(pss_kib(ids)? as f64 / 1024.0 / streams as f64);
    let (mut own_mib, mut other_mib) = (0.0, 0.0);
    // A decoder that looks at a picture holds some for a moment.
    for _ in 0..MEMORY_LOOKS {
        wait(measured / MEMORY_LOOKS);
        own_mib += mib(&[recorder])? / f64::from(MEMORY_LOOKS);
        other_mib += mib(&others_ids)? / f64::from(MEMORY_LOOKS);
    }
    let elapsed_s = (SystemClock.monotonic_us() - began_us) as f64 / 1e6;
    let after = (cpu_s(&[recorder])?, cpu_s(&others_ids)?, switches(recorder)?);
    for other in &mut others {
        other.check_running()?;
    }
    let fragments = edge_metric(&edge, "recorder_fragments_total").unwrap_or(0.0);
    let expected = 2.0 * streams as f64 * measured.as_secs_f64();
    anyhow::ensure!(
        fragments >= expected,
        "the recorder wrote only {fragments} of {expected} fragments"
    );

    let share = |before: f64, after: f64| 100.0 * (after - before) / elapsed_s / streams as f64;
    let own_cpu = share(before.0, after.0);
    let other_cpu = share(before.1, after.1);
    println!("{streams} streams 1080p25 4 Mbit/s with AAC, {elapsed_s:.0} s, per stream:");
    println!("                      recorder   ffmpeg -c copy   ratio   goal");
    println!(
        "CPU, % of a core      {own_cpu:8.2}   {other_cpu:14.2}   {:5.2}   <= 2",
        own_cpu / other_cpu
    );
    println!(
        "memory (PSS), MiB     {own_mib:8.1}   {other_mib:14.1}   {:5.2}   <= 0.5",
        own_mib / other_mib
    );
    let a_second = (after.2 - before.2) as f64 / elapsed_s / streams as f64;
    println!("recorder: {a_second:.0} context switches a second and stream");
    Ok(())
}

/// The film that all cameras show, made once.
fn film(target: &Path) -> anyhow::Result<PathBuf> {
    let film = target.join("1080p25-4mbit.mp4");
    if film.exists() {
        return Ok(film);
    }
    let half = target.join("making.mp4");
    let made = Command::new("ffmpeg")
        .args(["-y", "-loglevel", "error", "-stream_loop", "-1"])
        .args(["-i", "/usr/share/doc/opencv-doc/examples/data/vtest.avi"])
        .args([
            "-f",
            "lavfi",
            "-i",
            "anoisesrc=color=pink:amplitude=0.1:sample_rate=48000",
        ])
        .args([
            "-t",
            "20.48",
            "-vf",
            "scale=1920:1080,fps=25,noise=alls=6:allf=t",
            "-pix_fmt",
            "yuv420p",
        ])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-bf", "0"])
        .args([
            "-b:v",
            "4M",
            "-maxrate",
            "4M",
            "-bufsize",
            "4M",
            "-x264-params",
            "nal-hrd=cbr:sliced-threads=0",
        ])
        .args(["-c:a", "aac", "-b:a", "64k", "-ac", "1"])
        .arg(&half)
        .status()?;
    anyhow::ensure!(made.success(), "ffmpeg could not make the film");
    std::fs::rename(&half, &film)?;
    Ok(film)
}

fn ffmpeg(number: u64, url: &str, dir: &Path) -> anyhow::Result<Program> {
    let mut command = Command::new("ffmpeg");
    command
        .args([
            "-loglevel",
            "error",
            "-nostdin",
            "-rtsp_transport",
            "tcp",
            "-i",
            url,
            "-c",
            "copy",
        ])
        .args([
            "-f",
            "mp4",
            "-movflags",
            "+frag_keyframe+empty_moov+default_base_moof",
        ])
        .arg(dir.join(format!("ffmpeg-{number}.mp4")))
        .stdin(Stdio::null());
    Ok(Program::spawn(&format!("ffmpeg-{number}"), command, dir)?)
}

fn wait(duration: Duration) {
    let end_us = SystemClock.monotonic_us() + duration.as_micros() as i64;
    until(2 * duration, || {
        (SystemClock.monotonic_us() >= end_us).then_some(())
    });
}

/// User and system time of processes so far, in seconds.
fn cpu_s(ids: &[u32]) -> anyhow::Result<f64> {
    let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
    let mut ticks = 0;
    for id in ids {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("stat names the program")?;
        let field = |place: usize| fields.split_whitespace().nth(place)?.parse::<u64>().ok();
        // proc(5): utime and stime are fields 14 and 15; the first behind the name is field 3.
        ticks += field(11)
            .zip(field(12))
            .map(|(user, system)| user + system)
            .context("stat has times")?;
    }
    Ok(ticks as f64 / ticks_per_s)
}

/// Context switches of all threads of a process so far.
fn switches(id: u32) -> anyhow::Result<u64> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
        total += counts
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(total)
}

fn pss_kib(ids: &[u32]) -> anyhow::Result<u64> {
    let mut kib = 0;
    for id in ids {
        let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let value = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib += value.context("smaps_rollup has Pss")?;
    }
    Ok(kib)
}

fn edge_metric(edge: &Edge, name: &str) -> Option<f64> {
    let text = system_tests::programs::http_text(&format!("{}/metrics", edge.url()))?;
    let of_name = text.lines().filter(|line| line.starts_with(name));
    Some(
        of_name
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum(),
    )
}
