//! A fake camera: an RTSP server with one or many mounts, and faults by command.
//!
//! A mount shows the proof pattern ([`crate::proof`]), real pictures that can be spoilt, or repeats an encoded file. Samples carry the time at which
//! they were taken; RTCP sender reports tell it truly unless [`Fault::ClockOff`] is on.

mod control;
mod fault;
mod feed;
mod file_source;
mod live_source;
mod packet;
mod room;
mod rtsp;
mod spec;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use gst::prelude::*;
use serde::Serialize;

pub use control::router;
pub use fault::{ActiveFaults, Fault};
pub use room::{PictureFault, SoundFault};
pub use spec::{AudioCodec, InvalidSpec, MountSpec, Source, VideoCodec};

use fault::Faults;
use feed::Feed;

/// What a camera is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where RTSP listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Name and password that every client must give (HTTP basic), if any.
    pub credentials: Option<(String, String)>,
    /// Name and content of each mount; a name is one piece of a path.
    pub mounts: Vec<(String, MountSpec)>,
}

/// Why the camera does not run or a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// A GStreamer element is missing or refuses a value.
    #[error("cannot build a pipeline: {0}")]
    Pipeline(#[source] gst::glib::Error),
    /// A piece did not start.
    #[error("{0} did not come up")]
    Start(&'static str),
    /// A source file cannot be used.
    #[error("cannot use {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr),
    /// No such mount.
    #[error("there is no mount {0:?}")]
    NoMount(String),
    /// A mount's description is out of range.
    #[error(transparent)]
    Spec(#[from] InvalidSpec),
}

/// A source at work; it stops when dropped.
struct Running {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the source has been printed already.
            let _ = thread.join();
        }
    }
}

/// One mount. The lock of `content` may be held while that of `clients` is taken, not the other way round.
struct Mount {
    name: String,
    faults: Arc<Faults>,
    content: Mutex<Content>,
    clients: Mutex<Vec<gst::glib::WeakRef<gst_rtsp_server::RTSPClient>>>,
}

struct Content {
    spec: MountSpec,
    feed: Arc<Feed>,
    /// Held so that the source ends with the mount's content.
    _running: Running,
}

/// What a mount is doing, as `GET /mounts` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MountState {
    /// Its name.
    pub name: String,
    /// Its address without credentials.
    pub url: String,
    /// What it shows.
    pub spec: MountSpec,
    /// Clients connected now.
    pub clients: usize,
    /// Frames handed to clients since the content was last changed, each client counted.
    pub frames_sent: u64,
    /// Number of the last frame made.
    pub last_frame: u64,
    /// What is wrong on purpose.
    pub faults: ActiveFaults,
}

/// A camera at work; it ends when dropped.
pub struct FakeCamera {
    mounts: Arc<Vec<Arc<Mount>>>,
    server: rtsp::Server,
    credentials: Option<(String, String)>,
}

impl FakeCamera {
    /// Starts every mount, then listens.
    ///
    /// # Errors
    /// [`CameraError`] if a mount cannot be shown or the address is not free.
    pub fn start(settings: Settings) -> Result<Self, CameraError> {
        gst::init().map_err(CameraError::Pipeline)?;
        let mut mounts = Vec::new();
        for (name, spec) in settings.mounts {
            spec.check()?;
            let faults: Arc<Faults> = Arc::default();
            let content = Mutex::new(start_content(spec, 0, &faults)?);
            mounts.push(Arc::new(Mount {
                name,
                faults,
                content,
                clients: Mutex::default(),
            }));
        }
        let mounts = Arc::new(mounts);
        let server = rtsp::Server::start(settings.listen, settings.credentials.as_ref(), &mounts)?;
        Ok(Self {
            mounts,
            server,
            credentials: settings.credentials,
        })
    }

    /// Address of a mount, with credentials if clients need them.
    pub fn url(&self, mount: &str) -> String {
        let user = self
            .credentials
            .as_ref()
            .map_or_else(String::new, |(user, word)| format!("{user}:{word}@"));
        format!("rtsp://{user}{}/{mount}", self.server.address())
    }

    /// Switches a fault of a mount on.
    ///
    /// # Errors
    /// [`CameraError::NoMount`].
    pub fn apply(&self, mount: &str, fault: Fault) -> Result<(), CameraError> {
        let mount = self.mount(mount)?;
        mount.faults.apply(fault);
        if fault == Fault::DropConnection {
            mount.close_clients();
        }
        Ok(())
    }

    /// Switches every lasting fault of a mount off.
    ///
    /// # Errors
    /// [`CameraError::NoMount`].
    pub fn clear(&self, mount: &str) -> Result<(), CameraError> {
        self.mount(mount)?.faults.clear();
        Ok(())
    }

    /// Changes what a mount shows, as a camera does that restarts with new settings: clients are cut off and find
    /// the new content when they come back. Frame numbers of the proof pattern go on.
    ///
    /// # Errors
    /// [`CameraError`]; the mount then still shows the old content.
    pub fn reconfigure(&self, mount: &str, spec: MountSpec) -> Result<(), CameraError> {
        let mount = self.mount(mount)?;
        spec.check()?;
        let next_number = mount.content().feed.last_frame() + 1;
        let content = start_content(spec, next_number as u32, &mount.faults)?;
        let old = std::mem::replace(&mut *mount.content(), content);
        self.server.mount(mount);
        mount.close_clients();
        drop(old);
        Ok(())
    }

    /// What every mount is doing.
    pub fn state(&self) -> Vec<MountState> {
        let state = |mount: &Arc<Mount>| {
            let content = mount.content();
            MountState {
                name: mount.name.clone(),
                url: format!("rtsp://{}/{}", self.server.address(), mount.name),
                spec: content.spec.clone(),
                clients: content.feed.clients(),
                frames_sent: content.feed.frames_sent(),
                last_frame: content.feed.last_frame(),
                faults: mount.faults.active(),
            }
        };
        self.mounts.iter().map(state).collect()
    }

    fn mount(&self, name: &str) -> Result<&Arc<Mount>, CameraError> {
        self.mounts
            .iter()
            .find(|m| m.name == name)
            .ok_or_else(|| CameraError::NoMount(name.to_owned()))
    }
}

impl Mount {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_client(&self, client: &gst_rtsp_server::RTSPClient) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|known| known.upgrade().is_some_and(|known| known != *client));
        clients.push(client.downgrade());
    }

    fn close_clients(&self) {
        let clients = std::mem::take(&mut *self.clients.lock().unwrap_or_else(PoisonError::into_inner));
        for client in clients.iter().filter_map(|c| c.upgrade()) {
            use gst_rtsp_server::prelude::RTSPClientExt;
            client.close();
        }
    }
}

fn start_content(spec: MountSpec, first_number: u32, faults: &Arc<Faults>) -> Result<Content, CameraError> {
    let (feed, running) = match &spec.source {
        Source::Proof | Source::Room(_) => live_source::start(&spec, first_number, faults)?,
        Source::File(path) => file_source::start(path, spec.audio != AudioCodec::None)?,
    };
    Ok(Content {
        spec,
        feed,
        _running: running,
    })
}
