//! One recorder's WebSocket: proof of its key, then facts and heartbeats in, commands out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use archive::ids::{RecorderId, SiteId, StreamId};
use archive::seal::Signed;
use archive::uplink::{
    Fact, MAX_FACTS, PROTOCOL, StreamDescription, StreamHealth, ToRecorder, ToServer, challenge_bytes,
};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use ed25519_dalek::{Signature, VerifyingKey};
use rand::RngCore as _;
use tokio::time::timeout;

use super::orders::Orders;
use super::sessions::Opened;
use crate::centre::Centre;
use crate::db::{DbError, FactsRefused, FactsStored, OrdersResumed, RecorderRow, RecorderSeen, Teller};
use crate::proof;

/// A recorder has so long to say hello.
const HELLO_WAIT: Duration = Duration::from_secs(10);
/// Heartbeats come every 10 s; after this silence the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(35);
const SEND_WAIT: Duration = Duration::from_secs(10);
const MAX_STREAMS: usize = 256;
const MAX_COUNTER_NAME_CHARS: usize = 200;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the recorder closed the connection")]
    Closed,
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silent,
    #[error("a newer session of the same recorder took over")]
    Replaced,
    #[error("the server stops")]
    Shutdown,
    #[error("the recorder does not read")]
    Stuck,
    #[error("refused: {0}")]
    Refused(String),
    #[error("message not understood: {0}")]
    NotUnderstood(String),
    #[error(transparent)]
    Socket(#[from] axum::Error),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Serves one recorder until either side ends.
pub async fn serve(centre: Arc<Centre>, mut socket: WebSocket) {
    let ended = match greet(&centre, &mut socket).await {
        Ok((recorder, opened, orders)) => {
            metrics::counter!("minhquay_recorder_sessions_total").increment(1);
            tracing::info!(recorder = %recorder.recorder_id, "recorder connected");
            let number = opened.number;
            if let Ok(places) = centre.places().await {
                let streams = places.streams_from(&recorder.recorder_id);
                let streams: Vec<_> = streams.iter().map(|s| s.stream_id.clone()).collect();
                centre.live.recorder_connected(&streams).await;
            }
            let ended = converse(&centre, &mut socket, &recorder, opened, orders).await;
            centre.recorders.close(&recorder.recorder_id, number);
            centre.supervision.poke();
            tracing::info!(recorder = %recorder.recorder_id, reason = %ended, "recorder disconnected");
            ended
        }
        Err(ended) => {
            if let Ended::Refused(reason) = &ended {
                let refusal = ToRecorder::Refused {
                    reason: reason.clone(),
                };
                // It is refused either way.
                drop(send(&mut socket, &refusal).await);
            }
            tracing::warn!(reason = %ended, "recorder not admitted");
            ended
        }
    };
    let frame = CloseFrame {
        code: close_code::NORMAL,
        reason: ended.to_string().chars().take(100).collect::<String>().into(),
    };
    drop(timeout(SEND_WAIT, socket.send(Message::Close(Some(frame)))).await);
}

async fn greet(centre: &Centre, socket: &mut WebSocket) -> Result<(RecorderRow, Opened, Orders), Ended> {
    let mut nonce = [0; 32];
    rand::rng().fill_bytes(&mut nonce);
    let nonce = hex::encode(nonce);
    let challenge = ToRecorder::Challenge {
        nonce: nonce.clone(),
        wall: centre.now(),
    };
    send(socket, &challenge).await?;
    let hello = timeout(HELLO_WAIT, receive(socket))
        .await
        .map_err(|_| Ended::Silent)??;
    let ToServer::Hello {
        protocol,
        recorder,
        signature,
        software,
        site,
        streams,
        orders_through,
    } = hello
    else {
        return Err(Ended::NotUnderstood("hello must come first".into()));
    };
    if protocol != PROTOCOL {
        return Err(Ended::Refused(format!(
            "protocol {protocol} is not spoken here, only {PROTOCOL}"
        )));
    }
    let row = centre
        .db
        .recorder(&recorder)
        .await?
        .filter(|row| proves(&row.public_key, &recorder, &nonce, &signature))
        .ok_or_else(|| Ended::Refused("the recorder is not enrolled here or its key is another".into()))?;
    if row.site_id != site {
        return Err(Ended::Refused(format!(
            "the recorder is enrolled for site {}",
            row.site_id
        )));
    }
    check_streams(&streams)?;
    if let Err(counter) = centre.db.register_streams(&recorder, &site, &streams).await? {
        return Err(Ended::Refused(format!(
            "counter {counter} belongs to another site"
        )));
    }
    let software: String = software.chars().take(100).collect();
    let now = centre.now();
    centre.db.recorder_connected(&recorder, &software, now).await?;
    centre.forget_places().await;
    match centre.db.resume_orders(&recorder, orders_through, now).await? {
        OrdersResumed::Behind => {}
        resumed => tracing::warn!(%recorder, orders_through, ?resumed, "orders do not simply go on"),
    }
    let opened = centre.recorders.open(&recorder, &site, now);
    centre.supervision.poke();
    let welcome = ToRecorder::Welcome {
        session_token: opened.token.clone(),
        facts_through: row.facts_through,
    };
    if let Err(e) = send(socket, &welcome).await {
        centre.recorders.close(&recorder, opened.number);
        return Err(e);
    }
    Ok((row, opened, Orders::new(recorder, orders_through)))
}

fn proves(public_key: &str, recorder: &RecorderId, nonce: &str, signature: &str) -> bool {
    let mut key = [0; 32];
    let mut bytes = [0; 64];
    if hex::decode_to_slice(public_key, &mut key).is_err()
        || hex::decode_to_slice(signature, &mut bytes).is_err()
    {
        return false;
    }
    VerifyingKey::from_bytes(&key).is_ok_and(|key| {
        key.verify_strict(&challenge_bytes(recorder, nonce), &Signature::from_bytes(&bytes))
            .is_ok()
    })
}

fn check_streams(streams: &[StreamDescription]) -> Result<(), Ended> {
    if streams.len() > MAX_STREAMS {
        return Err(Ended::Refused(format!(
            "a recorder has at most {MAX_STREAMS} streams"
        )));
    }
    let is_named =
        |s: &StreamDescription| (1..=MAX_COUNTER_NAME_CHARS).contains(&s.counter_name.chars().count());
    match streams.iter().find(|s| !is_named(s)) {
        Some(stream) => Err(Ended::Refused(format!(
            "the counter's name of {} must have 1 to {MAX_COUNTER_NAME_CHARS} characters",
            stream.stream
        ))),
        None => Ok(()),
    }
}

async fn converse(
    centre: &Arc<Centre>,
    socket: &mut WebSocket,
    recorder: &RecorderRow,
    opened: Opened,
    mut orders: Orders,
) -> Ended {
    let Opened {
        number,
        mut inbox,
        ended,
        orders: ordered,
        ..
    } = opened;
    // What it was given before may not have reached it.
    let greeted = match centre.newest_receipts(&recorder.recorder_id).await {
        Ok(receipts) => send_receipts(socket, receipts).await,
        Err(e) => Err(e.into()),
    };
    if let Err(ended) = greeted {
        return ended;
    }
    loop {
        let step = tokio::select! {
            () = ended.cancelled() => Err(Ended::Replaced),
            () = centre.shutdown.cancelled() => Err(Ended::Shutdown),
            Some(message) = inbox.recv() => send(socket, &message).await,
            () = ordered.notified() => give_orders(centre, socket, &mut orders).await,
            heard = timeout(SILENCE, receive(socket)) => match heard {
                Err(_) => Err(Ended::Silent),
                Ok(Err(e)) => Err(e),
                Ok(Ok(ToServer::OrdersStored { through })) => {
                    orders_stored(centre, socket, &mut orders, through).await
                }
                Ok(Ok(message)) => {
                    // Whoever shares the database may have given orders.
                    if matches!(message, ToServer::Heartbeat { .. }) {
                        ordered.notify_one();
                    }
                    take(centre, socket, recorder, number, message).await
                }
            },
        };
        if let Err(ended) = step {
            return ended;
        }
    }
}

async fn give_orders(centre: &Centre, socket: &mut WebSocket, orders: &mut Orders) -> Result<(), Ended> {
    match orders.next(&centre.db).await? {
        Some(batch) => send(socket, &batch).await,
        None => Ok(()),
    }
}

async fn orders_stored(
    centre: &Centre,
    socket: &mut WebSocket,
    orders: &mut Orders,
    through: u64,
) -> Result<(), Ended> {
    let stored = orders.stored(&centre.db, through).await?;
    stored.map_err(|never_sent| Ended::NotUnderstood(never_sent.to_string()))?;
    give_orders(centre, socket, orders).await
}

async fn take(
    centre: &Arc<Centre>,
    socket: &mut WebSocket,
    recorder: &RecorderRow,
    number: u64,
    message: ToServer,
) -> Result<(), Ended> {
    match message {
        ToServer::Hello { .. } => Err(Ended::NotUnderstood("hello came twice".into())),
        ToServer::Heartbeat {
            wall,
            disk_free_bytes,
            disk_total_bytes,
            pending_facts,
            streams,
            disk_left_s,
            sent,
            clock,
            ..
        } => {
            let now = centre.now();
            let seen = RecorderSeen {
                clock_offset_us: clock.map_or(wall - now, |clock| clock.offset_us),
                clock_round_trip_us: clock.map(|clock| clock.round_trip_us),
                disk_free_bytes,
                disk_total_bytes,
                pending_facts,
                disk_left_s,
            };
            centre.db.recorder_seen(&recorder.recorder_id, &seen, now).await?;
            let streams = own_streams(centre, &recorder.recorder_id, streams).await?;
            centre
                .recorders
                .heard(&recorder.recorder_id, number, streams, now);
            centre.supervision.poke();
            if let Err(error) = centre.settle_fetches(&recorder.recorder_id).await {
                tracing::error!(recorder = %recorder.recorder_id, %error, "fetches could not be looked after");
            }
            let answer = ToRecorder::HeartbeatSeen {
                wall: centre.now(),
                received: Some(now),
                sent,
            };
            send(socket, &answer).await
        }
        ToServer::Facts { first, facts } => {
            let stored = store(centre, &recorder.recorder_id, &recorder.site_id, first, &facts).await?;
            let through = stored.through;
            send(socket, &ToRecorder::FactsStored { through }).await?;
            if stored.chained > 0 {
                let receipts = centre.give_receipts(&recorder.recorder_id).await?;
                send_receipts(socket, receipts).await?;
            }
            Ok(())
        }
        // Taken where the orders are known.
        ToServer::OrdersStored { .. } => Ok(()),
        ToServer::LiveEnded { stream, reason } => {
            let reason: String = reason.chars().take(200).collect();
            tracing::info!(recorder = %recorder.recorder_id, %stream, reason, "live ended at the recorder");
            let places = centre.places().await?;
            if places
                .stream(&stream)
                .is_some_and(|s| s.recorder_id == recorder.recorder_id)
            {
                centre.live.live_ended(&stream, &reason);
            }
            Ok(())
        }
    }
}

async fn own_streams(
    centre: &Centre,
    recorder: &RecorderId,
    streams: BTreeMap<StreamId, StreamHealth>,
) -> Result<BTreeMap<StreamId, StreamHealth>, DbError> {
    let places = centre.places().await?;
    let is_own = |id: &StreamId| places.stream(id).is_some_and(|s| s.recorder_id == *recorder);
    Ok(streams.into_iter().filter(|(id, _)| is_own(id)).collect())
}

async fn store(
    centre: &Arc<Centre>,
    recorder: &RecorderId,
    site: &SiteId,
    first: u64,
    facts: &[Fact],
) -> Result<FactsStored, Ended> {
    if facts.len() > MAX_FACTS {
        return Err(Ended::NotUnderstood(format!("more than {MAX_FACTS} facts")));
    }
    let teller = Teller {
        recorder,
        site,
        zone: &centre.zone,
        settings: &centre.interaction,
        now: centre.now(),
    };
    let stored = centre.db.store_facts(&teller, first, facts).await?;
    let stored = match stored {
        Ok(stored) => stored,
        Err(FactsRefused { through }) => {
            tracing::warn!(%recorder, first, through, "facts leave a hole; the recorder must go back");
            return Ok(FactsStored {
                through,
                ..FactsStored::default()
            });
        }
    };
    for reason in &stored.unusable {
        metrics::counter!("minhquay_unusable_facts_total").increment(1);
        tracing::warn!(%recorder, reason, "fact not usable");
    }
    for conflict in &stored.chain_conflicts {
        proof::count_conflict(recorder, conflict);
    }
    metrics::counter!("minhquay_chain_entries_total").increment(stored.chained);
    if stored.new_events > 0 {
        metrics::counter!("minhquay_events_total", "from" => "edge").increment(stored.new_events);
        centre.ingest.poke();
    }
    if stored.alerts_changed {
        centre.supervision.poke();
    }
    if stored.times_moved {
        centre.ingest.poke();
    }
    if stored.tracks_changed {
        centre.forget_places().await;
        centre.supervision.poke();
    }
    Ok(stored)
}

async fn send_receipts(socket: &mut WebSocket, receipts: Vec<Signed>) -> Result<(), Ended> {
    for receipts in receipts.chunks(MAX_FACTS) {
        let receipts = receipts.to_vec();
        send(socket, &ToRecorder::Receipts { receipts }).await?;
    }
    Ok(())
}

async fn receive(socket: &mut WebSocket) -> Result<ToServer, Ended> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(text.as_str()).map_err(|e| Ended::NotUnderstood(e.to_string()));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(Ended::NotUnderstood("binary".into())),
            Some(Ok(Message::Close(_))) | None => return Err(Ended::Closed),
            Some(Err(e)) => return Err(e.into()),
        }
    }
}

async fn send(socket: &mut WebSocket, message: &ToRecorder) -> Result<(), Ended> {
    let text = serde_json::to_string(message).expect("messages have text keys only");
    timeout(SEND_WAIT, socket.send(Message::text(text)))
        .await
        .map_err(|_| Ended::Stuck)??;
    Ok(())
}
