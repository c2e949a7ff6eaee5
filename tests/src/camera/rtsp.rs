//! The RTSP side: one pipeline a client, which takes encoded samples from the mount's feed and packetises them.

use std::net::SocketAddr;
use std::sync::Arc;

use gst::glib;
use gst::prelude::*;
use gst_rtsp_server::gst_rtsp::RTSPStatusCode;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPContext, RTSPMediaFactory, RTSPServer};

use super::{CameraError, Mount, packet};

const ROLE: &str = "viewer";
/// Clients that are answered at once.
const MOST_CLIENT_THREADS: i32 = 64;
/// Interval at which sessions are dropped whose client no longer answers.
const CLEANUP_SECONDS: u32 = 2;

/// The server with its own main loop; it ends when dropped.
pub(super) struct Server {
    server: RTSPServer,
    context: glib::MainContext,
    main_loop: glib::MainLoop,
    source: Option<glib::SourceId>,
    thread: Option<std::thread::JoinHandle<()>>,
    address: SocketAddr,
}

impl Server {
    pub(super) fn start(
        listen: SocketAddr,
        credentials: Option<&(String, String)>,
        mounts: &Arc<Vec<Arc<Mount>>>,
    ) -> Result<Self, CameraError> {
        let server = RTSPServer::new();
        server.set_address(&listen.ip().to_string());
        server.set_service(&listen.port().to_string());
        if let Some(pool) = server.thread_pool() {
            // A description waits for the mount's next keyframe: on one thread all other clients would wait as well.
            pool.set_max_threads(MOST_CLIENT_THREADS);
        }
        if let Some((user, password)) = credentials {
            let auth = gst_rtsp_server::RTSPAuth::new();
            let token = gst_rtsp_server::RTSPToken::builder()
                .field(gst_rtsp_server::RTSP_TOKEN_MEDIA_FACTORY_ROLE, ROLE)
                .build();
            auth.add_basic(&gst_rtsp_server::RTSPAuth::make_basic(user, password), &token);
            server.set_auth(Some(&auth));
        }
        let own_mounts = mounts.clone();
        server.connect_client_connected(move |_, client| watch(client, &own_mounts));
        let context = glib::MainContext::new();
        let source = server
            .attach(Some(&context))
            .map_err(|_| CameraError::Listen(listen))?;
        let port = u16::try_from(server.bound_port()).map_err(|_| CameraError::Listen(listen))?;
        let address = SocketAddr::new(listen.ip(), port);
        if let Some(pool) = server.session_pool() {
            let cleanup = move || {
                pool.cleanup();
                glib::ControlFlow::Continue
            };
            glib::timeout_source_new_seconds(CLEANUP_SECONDS, None, glib::Priority::DEFAULT, cleanup)
                .attach(Some(&context));
        }
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let own_loop = main_loop.clone();
        let thread = std::thread::spawn(move || own_loop.run());
        let started = Self {
            server,
            context,
            main_loop,
            source: Some(source),
            thread: Some(thread),
            address,
        };
        mounts.iter().for_each(|mount| started.mount(mount));
        Ok(started)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Offers a mount, or offers it anew after its content changed.
    pub(super) fn mount(&self, mount: &Arc<Mount>) {
        if let Some(points) = self.server.mount_points() {
            points.add_factory(&format!("/{}", mount.name), factory(mount));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(source) = self
            .source
            .take()
            .and_then(|id| self.context.find_source_by_id(&id))
        {
            source.destroy();
        }
        self.server.client_filter(Some(&mut |_, client| {
            client.close();
            gst_rtsp_server::RTSPFilterResult::Remove
        }));
        self.main_loop.quit();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

fn factory(mount: &Arc<Mount>) -> RTSPMediaFactory {
    let factory = RTSPMediaFactory::new();
    let (video, audio) = {
        let content = mount.content();
        (
            name_of(content.feed.video_caps()),
            content.feed.audio_caps().map(name_of),
        )
    };
    factory.set_launch(&launch(&video, audio.as_deref()));
    // Shared media answers 503 when several clients connect at once.
    factory.set_shared(false);
    let role = gst::Structure::builder(ROLE)
        .field(gst_rtsp_server::RTSP_PERM_MEDIA_FACTORY_ACCESS, true)
        .field(gst_rtsp_server::RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, true)
        .build();
    factory.add_role_from_structure(&role);
    let own_mount = mount.clone();
    factory.connect_media_configure(move |_, media| configure(&own_mount, media));
    factory
}

fn name_of(caps: &gst::Caps) -> String {
    caps.structure(0)
        .map(|s| s.name().to_string())
        .unwrap_or_default()
}

fn launch(video: &str, audio: Option<&str>) -> String {
    // Old samples go first if a client does not keep up, as in a camera with a bounded buffer.
    const SOURCE: &str = "is-live=true format=time max-bytes=8000000 leaky-type=downstream";
    let video_payloader = if video == "video/x-h265" {
        "rtph265pay"
    } else {
        "rtph264pay"
    };
    let audio_payloader = match audio {
        None => None,
        Some("audio/x-opus") => Some("rtpopuspay pt=97"),
        Some("audio/x-mulaw") => Some("rtppcmupay pt=0 perfect-rtptime=false"),
        Some("audio/x-alaw") => Some("rtppcmapay pt=8 perfect-rtptime=false"),
        Some(_) => Some("rtpmp4gpay pt=97"),
    };
    let audio = audio_payloader.map_or_else(String::new, |p| {
        format!("appsrc name=audio {SOURCE} ! {p} name=pay1")
    });
    format!("( appsrc name=video {SOURCE} ! {video_payloader} name=pay0 pt=96 config-interval=-1 {audio} )")
}

fn configure(mount: &Arc<Mount>, media: &gst_rtsp_server::RTSPMedia) {
    let Ok(bin) = media.element().downcast::<gst::Bin>() else {
        return;
    };
    let app_src = |name| {
        bin.by_name(name)
            .and_then(|e| e.downcast::<gst_app::AppSrc>().ok())
    };
    let feed = mount.content().feed.clone();
    let Some(video) = app_src("video") else { return };
    let subscription = feed.subscribe(&video, app_src("audio").as_ref());
    media.connect_unprepared(move |_| feed.unsubscribe(subscription));
    let faults = mount.faults.clone();
    media.connect_prepared(move |media| packet::install(media, &faults));
}

/// Notes which mount a client asks for, and refuses it if told so.
fn watch(client: &gst_rtsp_server::RTSPClient, mounts: &Arc<Vec<Arc<Mount>>>) {
    let admit = |mounts: Arc<Vec<Arc<Mount>>>| {
        move |client: &gst_rtsp_server::RTSPClient, context: &RTSPContext| {
            let Some(mount) = asked_mount(context, &mounts) else {
                return RTSPStatusCode::Ok;
            };
            if mount.faults.is_refusing() {
                return RTSPStatusCode::NotFound;
            }
            mount.add_client(client);
            RTSPStatusCode::Ok
        }
    };
    client.connect_pre_describe_request(admit(mounts.clone()));
    client.connect_pre_setup_request(admit(mounts.clone()));
}

fn asked_mount<'a>(context: &RTSPContext, mounts: &'a [Arc<Mount>]) -> Option<&'a Arc<Mount>> {
    let uri = context.uri()?.request_uri();
    let path = uri.split_once("://")?.1.split_once('/')?.1;
    let name = path.split(['/', '?']).next()?;
    mounts.iter().find(|m| m.name == name)
}
