//! Days' roots over receipts, and stamps on them by an authority.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use archive::seal::signed::Purpose;
use archive::seal::{DayRoot, PublicKey, Receipt, Signed};
use archive::time::{Clock as _, SystemClock, WallTime};
use axum::body::Bytes;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use viewer_server::access::Role;
use viewer_server::db::ReceiptRow;

use crate::sealed::Chain;
use crate::stage::{Recorder, SECOND, STREAM, Stage};

crate::on_each_database!(
    a_day_is_closed_once_and_holds_each_receipt,
    days_missed_are_caught_up_and_bound_to_each_other,
    a_receipt_behind_a_closed_day_counts_to_the_next,
    the_keys_are_shown_to_those_who_are_signed_in,
    an_authority_stamps_days_and_is_not_believed_blindly,
);

const HOUR: i64 = 3600 * SECOND;

/// A chain that grows by one entry a minute, each receipted.
async fn receipted(stage: &Stage, recorder: &mut Recorder, entries: usize) -> Chain {
    let (mut chain, facts) = Chain::open(&recorder.key, stage.now());
    recorder.facts(facts).await;
    for i in 1..entries {
        stage.advance(60 * SECOND);
        let fact = chain.lost(i as u64);
        recorder.facts(vec![fact]).await;
    }
    recorder.await_receipts(entries).await;
    chain
}

/// The receipt for an entry, from the database.
async fn kept(stage: &Stage, recorder: &Recorder, number: u64) -> ReceiptRow {
    let (db, stream) = (&stage.centre.db, Chain::stream());
    let found = db.receipt_from(&recorder.id, &stream, number).await.unwrap();
    found.unwrap()
}

async fn published(stage: &Stage) -> Vec<Value> {
    let answer = stage.get("", "/api/v1/proof/days").await;
    assert_eq!(answer.status, StatusCode::OK, "anyone may read them");
    answer.json()["items"].as_array().unwrap().clone()
}

async fn a_day_is_closed_once_and_holds_each_receipt(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    receipted(stage, &mut recorder, 7).await;
    let close = || async { stage.centre.close_days().await.unwrap() };
    assert_eq!(close().await, 0);
    // It is 08:06; a quarter of an hour after midnight the day is over.
    stage.advance(16 * HOUR + 8 * 60 * SECOND);
    assert_eq!(close().await, 0, "a quarter of an hour late");
    assert!(published(stage).await.is_empty());
    let first = recorder.receipts[0].read_unverified::<Receipt>().unwrap();
    let row = kept(stage, &recorder, first.number).await;
    assert_eq!(stage.centre.day_proof(&row).await.unwrap(), None);
    stage.advance(60 * SECOND);
    let (one, other) = tokio::join!(close(), close());
    assert_eq!(one + other, 1, "by one of two replicas");
    assert_eq!(close().await, 0);
    let days = published(stage).await;
    assert_eq!(days.len(), 1);
    assert_eq!(
        (&days[0]["date"], &days[0]["count"]),
        (&"2026-11-23".into(), &7.into())
    );
    let key = PublicKey::from(&stage.centre.key);
    for receipt in &recorder.receipts {
        let number = receipt.read_unverified::<Receipt>().unwrap().number;
        let row = kept(stage, &recorder, number).await;
        assert_eq!(row.receipt, *receipt);
        let proof = stage.centre.day_proof(&row).await.unwrap().unwrap();
        let day = proof.verify(receipt, &key).unwrap();
        assert_eq!(day.root.to_string(), days[0]["root"]);
        let other = &recorder.receipts[usize::from(row.number == 2)];
        assert!(
            proof.verify(other, &key).is_err(),
            "no other receipt is at its place"
        );
    }
    let one = stage.get("", "/api/v1/proof/days/2026-11-23").await.json();
    assert_eq!(one, days[0]);
    let open = stage.get("", "/api/v1/proof/days/2026-11-24").await;
    assert_eq!(open.code(), "not_found");
    assert_eq!(
        stage.get("", "/api/v1/proof/days/yesterday").await.code(),
        "bad_parameter"
    );
}

async fn days_missed_are_caught_up_and_bound_to_each_other(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    receipted(stage, &mut recorder, 2).await;
    stage.advance(3 * 24 * HOUR);
    assert_eq!(stage.centre.close_days().await.unwrap(), 3);
    let days = published(stage).await;
    let dates: Vec<_> = days.iter().map(|d| d["date"].as_str().unwrap()).collect();
    assert_eq!(dates, ["2026-11-25", "2026-11-24", "2026-11-23"]);
    let key = PublicKey::from(&stage.centre.key);
    let mut previous = None;
    for (day, count) in days.iter().rev().zip([2, 0, 0]) {
        let text = |name: &str| day[name].as_str().unwrap().to_owned();
        let signed = Signed {
            text: text("text"),
            signature: text("signature"),
        };
        let root: DayRoot = signed.open(Purpose::Day, &key).unwrap();
        assert_eq!((root.count, root.previous), (count, previous));
        let hash = signed.hash(Purpose::Day);
        assert_eq!(text("hash"), hash.to_string());
        previous = Some(hash);
    }
    let page = stage.get("", "/api/v1/proof/days?limit=2").await.json();
    assert_eq!(page["items"].as_array().unwrap()[..], days[..2]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = stage
        .get("", &format!("/api/v1/proof/days?limit=2&cursor={cursor}"))
        .await
        .json();
    assert_eq!(rest["items"].as_array().unwrap()[..], days[2..]);
    assert!(rest["next_cursor"].is_null());
}

async fn a_receipt_behind_a_closed_day_counts_to_the_next(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let mut chain = receipted(stage, &mut recorder, 2).await;
    stage.advance(24 * HOUR);
    assert_eq!(stage.centre.close_days().await.unwrap(), 1);
    // The clock is set back into the day that is closed.
    stage.advance(-24 * HOUR);
    recorder.facts(vec![chain.lost(9)]).await;
    recorder.await_receipts(3).await;
    stage.advance(48 * HOUR);
    assert_eq!(stage.centre.close_days().await.unwrap(), 1);
    let days = published(stage).await;
    let counts: Vec<_> = days.iter().map(|d| d["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 2], "none is left out");
}

async fn the_keys_are_shown_to_those_who_are_signed_in(stage: &Stage) {
    let recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let path = "/api/v1/proof/keys";
    assert_eq!(stage.get("", path).await.code(), "not_signed_in");
    let near = stage.sign_in("lan", Role::Auditor, "ba-dinh").await;
    let keys = stage.get(&near, path).await.json();
    let centre = PublicKey::from(&stage.centre.key);
    assert_eq!(keys["centre"]["public_key"], centre.to_string());
    assert_eq!(keys["centre"]["fingerprint"], centre.fingerprint());
    let of_recorder = &keys["recorders"][0];
    assert_eq!(of_recorder["recorder_id"], recorder.id.as_str());
    assert_eq!(
        of_recorder["key"]["fingerprint"],
        PublicKey::from(&recorder.key).fingerprint()
    );
    let far = stage.sign_in("minh", Role::Auditor, "tay-ho").await;
    let keys = stage.get(&far, path).await.json();
    assert!(keys["recorders"].as_array().unwrap().is_empty());
}

/// How the authority of the test behaves.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Away,
    Refusing,
    Replaying,
    Honest,
}

struct Authority {
    folder: tempfile::TempDir,
    mood: Mutex<Mood>,
}

impl Authority {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, arguments: &str) -> std::process::Output {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .output();
        output.expect("openssl is installed")
    }

    fn new() -> Self {
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
            mood: Mutex::new(Mood::Away),
        };
        let write = |name: &str, text: &str| std::fs::write(authority.path(name), text).unwrap();
        write("serial", "01\n");
        write(
            "conf",
            "[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\nbasicConstraints=critical,CA:FALSE\n\
             keyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n\
             [tsa]\ndefault_tsa=t\n[t]\ndir=.\nserial=./serial\ncrypto_device=builtin\nsigner_cert=./cert.pem\n\
             signer_key=./key.pem\nsigner_digest=sha256\ndefault_policy=1.2.3.4.1\ndigests=sha256\naccuracy=secs:1\n\
             clock_precision_digits=3\nordering=yes\ntsa_name=yes\ness_cert_id_chain=no\n",
        );
        let made = authority.openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=TSA -config conf",
        );
        assert!(made.status.success(), "{made:?}");
        authority
    }

    fn answer(&self, question: &[u8]) -> (StatusCode, Vec<u8>) {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Away => return (StatusCode::SERVICE_UNAVAILABLE, Vec::new()),
            Mood::Refusing => return (StatusCode::OK, vec![0x30, 5, 0x30, 3, 2, 1, 2]),
            Mood::Replaying => {}
            Mood::Honest => std::fs::write(self.path("question"), question).unwrap(),
        }
        if !self.path("question").exists() {
            let asked = self.openssl("ts -query -digest 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -sha256 -cert -out question");
            assert!(asked.status.success(), "{asked:?}");
        }
        let replied = self.openssl("ts -reply -queryfile question -config conf -section t -out reply");
        assert!(replied.status.success(), "{replied:?}");
        (StatusCode::OK, std::fs::read(self.path("reply")).unwrap())
    }

    async fn listen(self: &Arc<Self>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tsr", listener.local_addr().unwrap());
        let authority = Arc::clone(self);
        let answer = move |body: Bytes| {
            let authority = Arc::clone(&authority);
            async move {
                tokio::task::spawn_blocking(move || authority.answer(&body))
                    .await
                    .unwrap()
            }
        };
        let app = axum::Router::new().route("/tsr", axum::routing::post(answer));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }

    fn accepts(&self, digest: &str, token: &Path) -> bool {
        let arguments = format!(
            "ts -verify -digest {digest} -in {} -token_in -CAfile cert.pem",
            token.display()
        );
        self.openssl(&arguments).status.success()
    }
}

async fn an_authority_stamps_days_and_is_not_believed_blindly(stage: &Stage) {
    let authority = Arc::new(Authority::new());
    let url = authority.listen().await;
    let stage = &stage
        .reopened(&format!("[proof]\ntimestamp_url = \"{url}\"\n"))
        .await;
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    receipted(stage, &mut recorder, 3).await;
    stage.advance(2 * 24 * HOUR);
    assert_eq!(stage.centre.close_days().await.unwrap(), 2);
    for (mood, reason) in [
        (Mood::Away, "503"),
        (Mood::Refusing, "refuses"),
        (Mood::Replaying, "imprint"),
    ] {
        *authority.mood.lock().unwrap() = mood;
        let error = stage.centre.stamp_days().await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(published(stage).await.iter().all(|d| d["timestamp"].is_null()));
    }
    *authority.mood.lock().unwrap() = Mood::Honest;
    assert_eq!(stage.centre.stamp_days().await.unwrap(), 2);
    assert_eq!(stage.centre.stamp_days().await.unwrap(), 0, "once each");
    for day in published(stage).await {
        let token = authority.path("token");
        std::fs::write(
            &token,
            STANDARD.decode(day["timestamp"].as_str().unwrap()).unwrap(),
        )
        .unwrap();
        assert!(authority.accepts(day["hash"].as_str().unwrap(), &token));
        assert!(!authority.accepts(&"0".repeat(64), &token));
        let at = WallTime::parse_rfc3339(day["stamped_at"].as_str().unwrap()).unwrap();
        let now = SystemClock.wall();
        assert!((now - at).abs() < HOUR, "{at} by the authority's own clock");
    }
}
