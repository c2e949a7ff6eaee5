//! Chains of recorders at the centre, and receipts for them.

use archive::seal::signed::Purpose;
use archive::seal::{ChainBody, PublicKey, Receipt, Signed};
use archive::segment::Digest;
use archive::uplink::Fact;
use axum::http::{Method, StatusCode};
use ed25519_dalek::SigningKey;
use serde_json::Value;
use viewer_server::access::Role;

use crate::edge::{segment, start_run, upload_whole};
use crate::sealed::{Chain, seal};
use crate::stage::{Recorder, SECOND, STREAM, Stage};

crate::on_each_database!(
    a_chain_is_kept_verbatim_and_its_head_receipted,
    entries_that_come_again_change_nothing,
    a_fork_is_kept_as_evidence_and_the_facts_go_on,
    an_entry_of_another_key_or_behind_a_hole_is_set_aside,
    receipts_come_again_with_a_new_session,
    a_segment_that_is_not_as_sealed_is_refused,
    a_seal_that_comes_later_and_differs_is_flagged,
);

fn receipts(stage: &Stage, recorder: &Recorder) -> Vec<Receipt> {
    let key = PublicKey::from(&stage.centre.key);
    recorder
        .receipts
        .iter()
        .map(|r| r.open(Purpose::Receipt, &key).unwrap())
        .collect()
}

fn entry(fact: &Fact) -> &Signed {
    match fact {
        Fact::Chained { entry, .. } => entry,
        other => panic!("{other:?}"),
    }
}

async fn device(stage: &Stage) -> Value {
    let username = format!("quan-tri-{}", rand::random::<u32>());
    let cookie = stage.sign_in(&username, Role::Administrator, "ha-noi").await;
    stage.get(&cookie, "/api/v1/recorders").await.json()["items"][0].clone()
}

async fn a_chain_is_kept_verbatim_and_its_head_receipted(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let (mut chain, mut facts) = Chain::open(&recorder.key, stage.now());
    facts.push(chain.lost(1));
    assert_eq!(recorder.facts(facts.clone()).await, 3);
    recorder.await_receipts(1).await;
    let [receipt] = &receipts(stage, &recorder)[..] else {
        panic!("one receipt for the newest head alone");
    };
    assert_eq!((receipt.number, receipt.head), (3, chain.head.hash));
    assert_eq!(
        (&receipt.recorder, &receipt.stream),
        (&recorder.id, &Chain::stream())
    );
    assert_eq!(receipt.recorder_key, PublicKey::from(&recorder.key));
    assert_eq!(receipt.received, stage.now());
    stage.advance(60 * SECOND);
    let more = chain.lost(2);
    recorder.facts(vec![more.clone()]).await;
    recorder.await_receipts(2).await;
    assert_eq!(receipts(stage, &recorder)[1].number, 4);
    let kept = stage
        .centre
        .db
        .chain(&recorder.id, &Chain::stream(), 1, 99, 100)
        .await
        .unwrap();
    let told: Vec<_> = facts.iter().chain([&more]).map(|f| entry(f).clone()).collect();
    assert_eq!(kept, told);
    let device = device(stage).await;
    assert_eq!(device["chains"][0]["entries"], 4);
    assert_eq!(device["chains"][0]["receipted"], 4);
    assert_eq!(device["chain_conflicts"], 0);
    assert!(device["key_fingerprint"].is_string());
}

async fn entries_that_come_again_change_nothing(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let (mut chain, facts) = Chain::open(&recorder.key, stage.now());
    recorder.facts(facts.clone()).await;
    recorder.await_receipts(1).await;
    // As after a loss of the recorder's index: the same entries under new numbers of facts, then a new one.
    let mut again = facts;
    again.push(chain.lost(1));
    recorder.facts(again).await;
    recorder.await_receipts(2).await;
    assert_eq!(receipts(stage, &recorder)[1].number, 3);
    assert_eq!(device(stage).await["chain_conflicts"], 0);
}

async fn a_fork_is_kept_as_evidence_and_the_facts_go_on(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let (mut chain, facts) = Chain::open(&recorder.key, stage.now());
    recorder.facts(facts).await;
    recorder.await_receipts(1).await;
    let mut rewritten = chain.clone();
    recorder.facts(vec![chain.lost(1)]).await;
    recorder.await_receipts(2).await;
    let fork = rewritten.lost(7);
    let follows_fork = rewritten.lost(8);
    let through = recorder
        .facts(vec![fork.clone(), fork, follows_fork, chain.lost(2)])
        .await;
    assert_eq!(through, 7, "the stream of facts goes on");
    recorder.await_receipts(3).await;
    assert_eq!(
        receipts(stage, &recorder)[2].head,
        chain.head.hash,
        "the chain goes on where it was"
    );
    let device = device(stage).await;
    assert_eq!(device["chain_conflicts"], 2, "{device}");
    assert_eq!(device["chains"][0]["entries"], 4);
    let newest = &device["chain_conflict"];
    assert_eq!(newest["stream_id"], STREAM);
    assert!(newest["reason"].as_str().unwrap().contains("entry"), "{newest}");
}

async fn an_entry_of_another_key_or_behind_a_hole_is_set_aside(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let (_, foreign) = Chain::open(&SigningKey::from_bytes(&[9; 32]), stage.now());
    let (mut chain, facts) = Chain::open(&recorder.key, stage.now());
    chain.lost(1);
    let behind_a_hole = chain.lost(2);
    assert_eq!(recorder.facts(foreign).await, 2);
    assert_eq!(recorder.facts(facts).await, 4);
    recorder.await_receipts(1).await;
    assert_eq!(recorder.facts(vec![behind_a_hole]).await, 5);
    assert_eq!(receipts(stage, &recorder).len(), 1);
    let mut damaged = chain.lost(3);
    if let Fact::Chained { entry, .. } = &mut damaged {
        entry.signature = "no\0signature".into();
    }
    assert_eq!(recorder.facts(vec![damaged]).await, 6);
    let device = device(stage).await;
    assert_eq!(device["chain_conflicts"], 4);
    assert_eq!(device["chains"][0]["entries"], 2);
    let elsewhere = Fact::Chained {
        stream: "tay-ho-q01.front.main".parse().unwrap(),
        number: 1,
        entry: chain
            .head
            .append(
                &recorder.key,
                &Chain::stream(),
                stage.now(),
                ChainBody::Resumed { reason: "x".into() },
            )
            .1,
    };
    assert_eq!(
        recorder.facts(vec![elsewhere]).await,
        7,
        "a foreign stream is no conflict"
    );
}

async fn receipts_come_again_with_a_new_session(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let (mut chain, mut facts) = Chain::open(&recorder.key, stage.now());
    recorder.facts(facts.clone()).await;
    recorder.await_receipts(1).await;
    facts = vec![chain.lost(1)];
    recorder.facts(facts).await;
    recorder.await_receipts(2).await;
    let mut again = stage
        .connect(
            &recorder.id.clone(),
            &recorder.key.clone(),
            "ba-dinh-1",
            &[STREAM],
        )
        .await;
    again.await_receipts(1).await;
    assert_eq!(
        again.receipts[..],
        recorder.receipts[1..],
        "the newest, and no new one"
    );
}

async fn a_segment_that_is_not_as_sealed_is_refused(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    let (mut chain, mut facts) = Chain::open(&recorder.key, stage.now());
    let (sealed, good) = (segment(&run, 1, 0), segment(&run, 2, 4));
    facts.extend([chain.seal(&sealed), chain.seal(&good)]);
    recorder.facts(facts).await;
    let mut other = segment(&run, 1, 0);
    other.1[1500] ^= 1;
    other.0.fragments[1].sha256 = Digest::of(&other.1[1100..2100]);
    other.0.sha256 = Digest::of(&other.1);
    let body = serde_json::to_string(&other.0).unwrap();
    let begin = recorder.request(Method::POST, "/api/v1/edge/segments", body);
    assert_eq!(stage.send(begin).await.status, StatusCode::CREATED);
    let path = format!("/api/v1/edge/segments/{STREAM}/1");
    let mut patch = recorder.request(Method::PATCH, &path, other.1.clone());
    patch.headers_mut().insert("upload-offset", 0.into());
    let refused = stage.send(patch).await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::CONFLICT, "not_as_sealed".to_owned())
    );
    let device = device(stage).await;
    assert_eq!(device["chain_conflicts"], 1);
    assert!(
        device["chain_conflict"]["reason"]
            .as_str()
            .unwrap()
            .contains("SHA-256"),
        "{device}"
    );
    upload_whole(stage, &recorder, &good).await;
}

async fn a_seal_that_comes_later_and_differs_is_flagged(stage: &Stage) {
    let mut recorder = stage.recorder("ba-dinh-1", &[STREAM]).await;
    let run = start_run(stage, &mut recorder, 0).await;
    let (mut chain, facts) = Chain::open(&recorder.key, stage.now());
    recorder.facts(facts).await;
    let (first, second) = (segment(&run, 1, 0), segment(&run, 2, 4));
    upload_whole(stage, &recorder, &first).await;
    upload_whole(stage, &recorder, &second).await;
    let good = chain.seal(&first);
    recorder.facts(vec![good]).await;
    assert_eq!(device(stage).await["chain_conflicts"], 0);
    let mut otherwise = seal(&second);
    otherwise.root = Digest([3; 32]);
    let fact = chain.append(ChainBody::Segment(otherwise));
    let through = recorder.facts(vec![fact]).await;
    assert_eq!(through, 5);
    recorder.await_receipts(3).await;
    let device = device(stage).await;
    assert_eq!(device["chain_conflicts"], 1);
    assert_eq!(device["chains"][0]["entries"], 4, "the entry itself holds");
    assert!(
        device["chain_conflict"]["reason"]
            .as_str()
            .unwrap()
            .contains("Merkle root")
    );
}
