//! The thread on which all cameras are read, in one beat.
//!
//! A camera's packets come one by one, hundreds a second, and to wake for each costs more than all that is done with
//! it. So nobody is woken: in each beat the thread looks once at all connections and takes what has come. The kernel
//! keeps it until then.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use archive::time::{Clock as _, SystemClock};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::CaptureError;

/// No multiple of it is the time between two pictures or two packets of sound, so that over a few seconds some packet
/// comes just before the beat and the smallest delay (see [`super::delay`]) is a true one.
const PERIOD_US: i64 = 19_000;

struct Beat {
    runtime: Handle,
    /// How many tasks there are; without any the thread rests.
    tasks: watch::Sender<usize>,
}

static BEAT: OnceLock<Result<Beat, String>> = OnceLock::new();

/// Runs a task in the beat until it ends or what is returned is dropped. It must not block.
pub(super) fn spawn(
    task: impl Future<Output = ()> + Send + 'static,
) -> Result<AbortOnDropHandle<()>, CaptureError> {
    let beat = BEAT
        .get_or_init(|| start().map_err(|e| e.to_string()))
        .as_ref()
        .map_err(|e| CaptureError::Start(e.clone()))?;
    let counted = Counted::new(&beat.tasks);
    Ok(AbortOnDropHandle::new(beat.runtime.spawn(async move {
        task.await;
        drop(counted);
    })))
}

struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(tasks: &watch::Sender<usize>) -> Self {
        tasks.send_modify(|count| *count += 1);
        Self(tasks.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

fn start() -> std::io::Result<Beat> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("rtsp-blocking")
        .build()?;
    let beat = Beat {
        runtime: runtime.handle().clone(),
        tasks: watch::Sender::new(0),
    };
    let tasks = beat.tasks.subscribe();
    // A task like the others, behind those that the runtime's look wakes; the future that it blocks on would come first.
    runtime.spawn(keep(tasks));
    std::thread::Builder::new()
        .name("rtsp".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(beat)
}

/// Holds the thread between two beats, on purpose: while it sleeps here the runtime can't be woken by a packet.
async fn keep(mut tasks: watch::Receiver<usize>) {
    // Fails only without the sender, which lives as long as the program.
    while tasks.wait_for(|count| *count > 0).await.is_ok() {
        let since_us = SystemClock.monotonic_us().rem_euclid(PERIOD_US);
        std::thread::sleep(Duration::from_micros(PERIOD_US.abs_diff(since_us)));
        // Lets the runtime look at all connections, and every task that has something run.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_comes_between_two_beats_is_read_at_once_and_a_dropped_task_ends() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reads, mut read) = tokio::sync::mpsc::channel(4096);
        let task = spawn(async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count) = stream.read(&mut buffer).await {
                if count == 0 || reads.try_send(count).is_err() {
                    break;
                }
            }
        });
        let task = task.unwrap();
        let (mut camera, _) = listener.accept().await.unwrap();
        camera.set_nodelay(true).unwrap();
        for _ in 0..500 {
            camera.write_all(&[7; 100]).await.unwrap();
        }
        let (mut bytes, mut count) = (0, 0);
        while bytes < 50_000 {
            bytes += read.recv().await.unwrap();
            count += 1;
        }
        assert!(count < 100, "{count} reads");
        drop(task);
        assert_eq!(camera.read(&mut [0]).await.unwrap(), 0);
    }
}
