//! A centre on a database of its own, with people, a site, and a recorder that speaks the real protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use archive::ids::RecorderId;
use archive::seal::Signed;
use archive::time::{Clock, WallTime};
use archive::uplink::{Fact, Order, PROTOCOL, StreamDescription, ToRecorder, ToServer, challenge_bytes};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use ed25519_dalek::{Signer as _, SigningKey};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use site_config::server::ServerSettings;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tower::ServiceExt as _;
use viewer_server::access::{Grant, Role};
use viewer_server::centre::Centre;
use viewer_server::db::Why;
use viewer_server::{commands, http};

/// 2026-11-23T01:00:00Z, 08:00 at the sites.
pub const MORNING: WallTime = WallTime(1_795_395_600_000_000);
pub const SECOND: i64 = 1_000_000;
pub const PASSWORD: &str = "mật-khẩu-thử";
pub const STREAM: &str = "ba-dinh-q01.front.main";

pub struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn wall(&self) -> WallTime {
        WallTime(self.0.load(Ordering::SeqCst))
    }
    fn monotonic_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub struct Stage {
    pub centre: Arc<Centre>,
    pub clock: Arc<TestClock>,
    pub app: Router,
    pub token: String,
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
    settings: String,
    _folder: Option<tempfile::TempDir>,
    /// Server and name of the database to drop.
    database: Option<(String, String)>,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub bytes: bytes::Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.to_vec()).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The code of a problem document; fails if it is none.
    pub fn code(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{} {}",
            self.status,
            self.text()
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(problem["title"].is_string() && problem["type"].is_string());
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl Stage {
    pub async fn on_sqlite() -> Self {
        Self::new(None).await
    }

    pub async fn on_postgres() -> Option<Self> {
        let server = std::env::var("TEST_POSTGRES_URL").ok()?;
        sqlx::any::install_default_drivers();
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        admin(&server, format!("CREATE DATABASE {name}")).await;
        Some(Self::new(Some((server, name))).await)
    }

    async fn new(database: Option<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().display();
        let url = database.as_ref().map_or_else(String::new, |(server, name)| {
            let (before, _) = server.rsplit_once('/').unwrap();
            format!("database.url = \"{before}/{name}\"\n")
        });
        let text = format!("public_url = \"http://127.0.0.1:8080\"\ndata_dir = \"{data_dir}\"\n{url}");
        let settings: ServerSettings = site_config::parse("test.toml".as_ref(), &text).unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(MORNING.0)));
        let centre = Centre::open(settings, clock.clone()).await.unwrap();
        let db = &centre.db;
        for (unit, parent) in [
            ("ha-noi", None),
            ("ba-dinh", Some("ha-noi")),
            ("tay-ho", Some("ha-noi")),
        ] {
            let parent = parent.map(|p: &str| p.parse().unwrap());
            commands::add_unit(db, &*clock, &unit.parse().unwrap(), unit, parent.as_ref())
                .await
                .unwrap();
        }
        for (site, unit) in [("ba-dinh-1", "ba-dinh"), ("tay-ho-1", "tay-ho")] {
            commands::add_site(db, &site.parse().unwrap(), &unit.parse().unwrap(), site)
                .await
                .unwrap();
        }
        let token = commands::add_token(db, &*clock, "events:write").await.unwrap();
        let mut stage = Self::serving(centre, clock, token, text).await;
        stage._folder = Some(folder);
        stage.database = database;
        stage
    }

    async fn serving(centre: Arc<Centre>, clock: Arc<TestClock>, token: String, settings: String) -> Self {
        let app = http::router(Arc::clone(&centre), None, None);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = app.clone().into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self {
            centre,
            clock,
            app,
            token,
            address,
            server,
            settings,
            _folder: None,
            database: None,
        }
    }

    /// Another server on the same database and folder, with more settings.
    pub async fn reopened(&self, more: &str) -> Self {
        let text = format!("{}{more}", self.settings);
        let settings: ServerSettings = site_config::parse("test.toml".as_ref(), &text).unwrap();
        let centre = Centre::open(settings, self.clock.clone()).await.unwrap();
        Self::serving(centre, self.clock.clone(), self.token.clone(), text).await
    }

    pub async fn end(self) {
        self.centre.shutdown.cancel();
        self.server.abort();
        self.centre.db.close().await;
        if let Some((server, name)) = self.database {
            admin(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }

    pub fn now(&self) -> WallTime {
        self.clock.wall()
    }

    pub fn advance(&self, duration_us: i64) {
        self.clock.0.fetch_add(duration_us, Ordering::SeqCst);
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            bytes: axum::body::to_bytes(body, 64 * 1024 * 1024).await.unwrap(),
        }
    }

    pub async fn get(&self, cookie: &str, path: &str) -> Answer {
        let request = Request::get(path).header(header::COOKIE, cookie);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn add_user(&self, name: &str, role: Role, unit: &str) {
        let grant = Grant {
            role,
            unit: unit.parse().unwrap(),
        };
        commands::add_user(&self.centre.db, &*self.clock, name, None, &grant, PASSWORD.into())
            .await
            .unwrap();
    }

    /// Adds a person and signs in; returns the cookie.
    pub async fn sign_in(&self, name: &str, role: Role, unit: &str) -> String {
        self.add_user(name, role, unit).await;
        let answer = self.try_sign_in(name, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    pub async fn try_sign_in(&self, name: &str, password: &str) -> Answer {
        let body = json!({"username": name, "password": password}).to_string();
        let request = Request::post("/api/v1/session").header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Posts events and derives what they touch.
    pub async fn post_events(&self, events: &Value) -> Answer {
        let request = Request::post("/api/v1/events")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let answer = self.send(request.body(events.to_string().into()).unwrap()).await;
        self.centre.derive_due(Why::EventsCame).await.unwrap();
        answer
    }

    /// Enrols a recorder of a site and opens its session.
    pub async fn recorder(&self, site: &str, streams: &[&str]) -> Recorder {
        let code = commands::enrol_code(&self.centre.db, &*self.clock, &site.parse().unwrap())
            .await
            .unwrap();
        let key = SigningKey::from_bytes(&rand::random());
        let answer = self.enrol(&code.code, site, &key).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        let id: RecorderId = answer.json()["recorder_id"].as_str().unwrap().parse().unwrap();
        self.connect(&id, &key, site, streams).await
    }

    pub async fn enrol(&self, code: &str, site: &str, key: &SigningKey) -> Answer {
        let body = json!({"code": code, "site": site, "name": "Máy ghi 1",
            "public_key": hex::encode(key.verifying_key().as_bytes())});
        let request = Request::post("/api/v1/edge/enrol").header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body.to_string().into()).unwrap()).await
    }

    pub async fn connect(&self, id: &RecorderId, key: &SigningKey, site: &str, streams: &[&str]) -> Recorder {
        self.connect_with_orders(id, key, site, streams, 0).await
    }

    /// Opens the session of a recorder that has the orders through a number.
    pub async fn connect_with_orders(
        &self,
        id: &RecorderId,
        key: &SigningKey,
        site: &str,
        streams: &[&str],
        orders_through: u64,
    ) -> Recorder {
        let url = format!("ws://{}/api/v1/edge/session", self.address);
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let mut recorder = Recorder {
            id: id.clone(),
            key: key.clone(),
            socket,
            session_token: String::new(),
            next_fact: 1,
            receipts: Vec::new(),
            orders: Vec::new(),
        };
        let ToRecorder::Challenge { nonce, .. } = recorder.receive().await else {
            panic!("the challenge comes first");
        };
        let hello = ToServer::Hello {
            protocol: PROTOCOL,
            recorder: id.clone(),
            signature: hex::encode(key.sign(&challenge_bytes(id, &nonce)).to_bytes()),
            software: "test".into(),
            site: site.parse().unwrap(),
            streams: streams
                .iter()
                .map(|stream| StreamDescription {
                    stream: stream.parse().unwrap(),
                    counter_name: "Quầy 01".into(),
                    has_audio: true,
                })
                .collect(),
            orders_through,
        };
        recorder.tell(&hello).await;
        match recorder.receive().await {
            ToRecorder::Welcome {
                session_token,
                facts_through,
            } => {
                recorder.session_token = session_token;
                recorder.next_fact = facts_through + 1;
            }
            other => panic!("not welcome: {other:?}"),
        }
        recorder
    }
}

async fn admin(server: &str, sql: String) {
    let pool = sqlx::AnyPool::connect(server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

/// A recorder with an open session.
pub struct Recorder {
    pub id: RecorderId,
    pub key: SigningKey,
    pub session_token: String,
    /// Every receipt that came.
    pub receipts: Vec<Signed>,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_fact: u64,
    /// Orders that came, with the number of the first of each batch.
    orders: Vec<(u64, Vec<Order>)>,
}

impl Recorder {
    pub async fn tell(&mut self, message: &ToServer) {
        let text = serde_json::to_string(message).unwrap();
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub async fn receive(&mut self) -> ToRecorder {
        self.try_receive().await.expect("the server closed the session")
    }

    /// The next batch of orders, which is not acknowledged by that; receipts are kept.
    pub async fn next_orders(&mut self) -> (u64, Vec<Order>) {
        while self.orders.is_empty() {
            match self.next_message().await.expect("the server closed the session") {
                ToRecorder::Orders { first, orders } => return (first, orders),
                ToRecorder::Receipts { receipts } => self.receipts.extend(receipts),
                other => panic!("orders were expected: {other:?}"),
            }
        }
        self.orders.remove(0)
    }

    /// The next message but receipts and orders, which are kept; `None` if the server closed the session.
    pub async fn try_receive(&mut self) -> Option<ToRecorder> {
        loop {
            match self.next_message().await? {
                ToRecorder::Receipts { receipts } => self.receipts.extend(receipts),
                ToRecorder::Orders { first, orders } => self.orders.push((first, orders)),
                other => return Some(other),
            }
        }
    }

    /// Waits until so many receipts have come in all; any other message fails the test.
    pub async fn await_receipts(&mut self, count: usize) {
        while self.receipts.len() < count {
            match self.next_message().await {
                Some(ToRecorder::Receipts { receipts }) => self.receipts.extend(receipts),
                other => panic!("no receipt but {other:?}"),
            }
        }
    }

    async fn next_message(&mut self) -> Option<ToRecorder> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.socket.next());
            match next.await.expect("the server says nothing")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Tells facts and returns the number through which they are stored.
    pub async fn facts(&mut self, facts: Vec<Fact>) -> u64 {
        let first = self.next_fact;
        self.next_fact += facts.len() as u64;
        self.facts_from(first, facts).await
    }

    pub async fn facts_from(&mut self, first: u64, facts: Vec<Fact>) -> u64 {
        self.tell(&ToServer::Facts { first, facts }).await;
        match self.receive().await {
            ToRecorder::FactsStored { through } => through,
            other => panic!("{other:?}"),
        }
    }

    pub fn request(&self, method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.session_token))
            .body(body.into())
            .unwrap()
    }
}

/// A counter event of counter `ba-dinh-q01`.
pub fn event(id: &str, event_type: &str, at: WallTime, data: Value) -> Value {
    json!({"specversion": "1.0", "type": event_type, "source": "/test", "id": id, "time": at.to_string(),
        "subject": "ba-dinh-q01", "data": data})
}

/// The events of one served ticket: called, served for two minutes with a scan, finished, rated.
pub fn visit(number: &str, at: WallTime, dossier: &str) -> Value {
    let ticket = json!({"series": "A", "number": number});
    let id = |what: &str| format!("{number}-{}-{what}", at.0);
    json!([
        event(
            &id("called"),
            "ticket.called",
            at,
            json!({"ticket": ticket, "waiting": 4})
        ),
        event(
            &id("started"),
            "ticket.serving_started",
            at + 10 * SECOND,
            json!({"ticket": ticket, "officer": "nv017", "officer_name": "Trần Thị Hoa", "procedure": "Đăng ký khai sinh"})
        ),
        event(
            &id("scanned"),
            "dossier.scanned",
            at + 40 * SECOND,
            json!({"dossier": dossier, "symbology": "code128"})
        ),
        event(
            &id("finished"),
            "ticket.finished",
            at + 130 * SECOND,
            json!({"ticket": ticket})
        ),
        event(
            &id("rated"),
            "rating.given",
            at + 140 * SECOND,
            json!({"ticket": ticket, "score": 2, "scale": [0, 2], "reasons": []})
        ),
    ])
}
