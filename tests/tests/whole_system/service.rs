//! Under a service manager: the programs say when they are ready and that they are alive, and a recorder whose writer
//! hangs does not say so any more.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use system_tests::programs::until;

use crate::site::{STREAM, Site};

/// The service manager's end of the line.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn listen(dir: &Path) -> Self {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            path: path.to_str().unwrap().to_owned(),
        }
    }

    fn environment(&self, watchdog: Duration) -> Vec<(String, String)> {
        vec![
            ("NOTIFY_SOCKET".to_owned(), self.path.clone()),
            ("WATCHDOG_USEC".to_owned(), watchdog.as_micros().to_string()),
        ]
    }

    /// What was told since the last call.
    fn told(&self) -> String {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while let Ok(size) = self.socket.recv(&mut buffer) {
            text.push_str(&String::from_utf8_lossy(&buffer[..size]));
            text.push('\n');
        }
        text
    }

    /// Waits until something is told; gives all that was told until then.
    fn wait_for(&self, what: &str, deadline: Duration) -> String {
        let mut all = String::new();
        let found = until(deadline, || {
            all.push_str(&self.told());
            all.contains(what).then_some(())
        });
        assert!(found.is_some(), "no {what} within {deadline:?}, only: {all}");
        all
    }
}

const WATCHDOG: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_only_while_the_writer_makes_progress() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::listen(dir.path());
    let mut site = Site::start("proof,audio=none,gop=25", 4).await;
    site.edge.stop().unwrap();
    site.edge.set_environment(manager.environment(WATCHDOG));
    site.edge.start().unwrap();
    manager.wait_for("READY=1", Duration::from_secs(10));
    let alive = manager.wait_for("recording 1 of 1 streams", Duration::from_secs(30));
    assert!(alive.contains("WATCHDOG=1"), "{alive}");
    site.wait_for_metric(
        "recorder_segments_sealed_total",
        Duration::from_secs(60),
        |sealed| sealed >= 1.0,
    );

    // To open a pipe for writing that nobody reads waits for ever, as a disk that hangs does.
    let newest = site.recordings(STREAM).into_iter().next_back().unwrap();
    let trap = newest.1.with_file_name(format!("{}.mp4", newest.0 + 2));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &trap,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    manager.wait_for("the writer hangs", Duration::from_secs(60));
    manager.told();
    let fed = until(WATCHDOG, || manager.told().contains("WATCHDOG=1").then_some(()));
    assert!(fed.is_none(), "the watchdog is fed though the writer hangs");
    site.edge.program().unwrap().check_running().unwrap();

    // What the service manager does then.
    site.edge.kill();
    std::fs::remove_file(&trap).unwrap();
    site.edge.start().unwrap();
    manager.wait_for("READY=1", Duration::from_secs(30));
    site.wait_for_metric(
        "recorder_last_sample_age_seconds",
        Duration::from_secs(60),
        |age| age < 1.0,
    );
    manager.told();
    site.edge.stop().unwrap();
    manager.wait_for("STOPPING=1", Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_centre_says_that_it_is_ready_alive_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::listen(dir.path());
    let mut centre = system_tests::stage::Centre::create(&dir.path().join("centre"), "").unwrap();
    centre.set_environment(manager.environment(Duration::from_secs(2)));
    centre.start().unwrap();
    manager.wait_for("READY=1", Duration::from_secs(10));
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1", Duration::from_secs(10));
    }
    centre.stop().unwrap();
    manager.wait_for("STOPPING=1", Duration::from_secs(1));
}
