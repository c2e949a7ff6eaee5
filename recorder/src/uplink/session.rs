//! The WebSocket to the centre: hello, heartbeats, facts, live commands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use archive::time::Moment;
use archive::uplink::{
    ClockOffset, MAX_MESSAGE_BYTES, PROTOCOL, StreamHealth, ToRecorder, ToServer, challenge_bytes,
};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::clock::{Answer, Comparison};
use super::{Link, LiveCommand, LiveEnded, Uplink, UplinkError, surviving};
use crate::backoff::Backoff;

const CONNECT_WITHIN: Duration = Duration::from_secs(15);
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Heartbeats are answered, so a line that is silent for so long is dead though nobody closed it.
const SILENCE: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One session after another until shutdown.
pub(super) async fn keep(
    uplink: Arc<Uplink>,
    link: watch::Sender<Option<Link>>,
    mut live_ended: mpsc::Receiver<LiveEnded>,
) {
    let mut backoff = Backoff::default();
    let mut comparison = Comparison::default();
    loop {
        let ended = tokio::select! {
            ended = surviving(session(&uplink, &link, &mut live_ended, &mut comparison, &mut backoff)) => ended,
            () = uplink.shutdown.cancelled() => return,
        };
        let had_session = link.send_replace(None).is_some();
        metrics::gauge!("recorder_uplink_connected").set(0.0);
        if had_session {
            // Fails only if live is gone, at the end of the program.
            let _ = uplink.live.send(LiveCommand::StopAll).await;
        }
        let delay = backoff.after_failure(rand::random());
        if let Err(error) = ended {
            tracing::warn!(%error, retry_ms = delay.as_millis(), "no session with the centre");
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = uplink.shutdown.cancelled() => return,
        }
    }
}

async fn session(
    uplink: &Uplink,
    link: &watch::Sender<Option<Link>>,
    live_ended: &mut mpsc::Receiver<LiveEnded>,
    comparison: &mut Comparison,
    backoff: &mut Backoff,
) -> Result<(), UplinkError> {
    let url = uplink.url.trim_end_matches('/').to_owned();
    let opening = async {
        let mut socket = connect(&url).await?;
        let (token, through) = greet(uplink, &mut socket).await?;
        Ok::<_, UplinkError>((socket, token, through))
    };
    let (mut socket, token, mut through) = tokio::time::timeout(CONNECT_WITHIN, opening)
        .await
        .map_err(|_| UplinkError::Silent(CONNECT_WITHIN.as_secs()))??;
    backoff.reset();
    tracing::info!(facts_through = through, "session with the centre is open");
    metrics::gauge!("recorder_uplink_connected").set(1.0);
    uplink.index.continue_facts_behind(through).await?;
    uplink.index.forget_facts(through).await?;
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(120))
        .build()?;
    let link_now = Link { url, token, client };
    link.send_replace(Some(link_now.clone()));

    let mut changes = uplink.index.subscribe();
    changes.mark_changed();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut silence = std::pin::pin!(tokio::time::sleep(SILENCE));
    // Number of the last fact on its way; only one batch is, so order needs no thought.
    let mut sent_through = through;
    loop {
        tokio::select! {
            message = socket.next() => {
                silence.as_mut().reset(tokio::time::Instant::now() + SILENCE);
                let message = message.ok_or_else(|| UplinkError::Protocol("the centre hung up".to_owned()))??;
                let Some(message) = read(&message)? else { continue };
                match message {
                    ToRecorder::FactsStored { through: stored } => {
                        if stored > sent_through {
                            return Err(UplinkError::Protocol(format!(
                                "fact {stored} is acknowledged, but {sent_through} is the last that was sent"
                            )));
                        }
                        if stored > through {
                            through = stored;
                            uplink.index.forget_facts(through).await?;
                        }
                        if through == sent_through {
                            changes.mark_changed();
                        }
                    }
                    ToRecorder::HeartbeatSeen { wall, received, sent } => {
                        let answer = Answer {
                            sent,
                            server_received: received.unwrap_or(wall),
                            server_sent: wall,
                        };
                        comparison.take(&answer, &*uplink.clock, &uplink.index).await;
                        if let Some(offset) = comparison.offset() {
                            uplink.clock_seen.note(offset.offset_us, uplink.clock.monotonic_us());
                        }
                    }
                    ToRecorder::Orders { first, orders } => {
                        let through = uplink.index.store_orders(first, &orders).await?;
                        send(&mut socket, &ToServer::OrdersStored { through }).await?;
                    }
                    other => take_command(uplink, &link_now, other).await?,
                }
            }
            Ok(()) = changes.changed(), if through == sent_through => {
                changes.mark_unchanged();
                if let Some((first, facts)) = uplink.index.facts_after(through).await? {
                    sent_through = first + facts.len() as u64 - 1;
                    send(&mut socket, &ToServer::Facts { first, facts }).await?;
                }
            }
            _ = heartbeat.tick() => {
                let beat = beat(uplink, comparison.offset()).await?;
                send(&mut socket, &beat).await?;
            }
            Some(LiveEnded { stream, reason }) = live_ended.recv() => {
                send(&mut socket, &ToServer::LiveEnded { stream, reason }).await?;
            }
            () = &mut silence => return Err(UplinkError::Silent(SILENCE.as_secs())),
        }
    }
}

async fn connect(url: &str) -> Result<Socket, UplinkError> {
    let socket_url = match url.strip_prefix("http") {
        Some(rest) => format!("ws{rest}/api/v1/edge/session"),
        None => return Err(UplinkError::Protocol(format!("{url} is no web address"))),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let (socket, _) = tokio_tungstenite::connect_async_with_config(socket_url, Some(config), true).await?;
    Ok(socket)
}

/// Challenge, hello, welcome; gives the session's token and the number of the last fact stored.
async fn greet(uplink: &Uplink, socket: &mut Socket) -> Result<(String, u64), UplinkError> {
    let nonce = match next(socket).await? {
        ToRecorder::Challenge { nonce, .. } => nonce,
        ToRecorder::Refused { reason } => return Err(UplinkError::Refused(reason)),
        other => return Err(unexpected("challenge", &other)),
    };
    let recorder = uplink.identity.recorder.clone();
    let hello = ToServer::Hello {
        protocol: PROTOCOL,
        signature: uplink.identity.sign(&challenge_bytes(&recorder, &nonce)),
        recorder,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        site: uplink.site.clone(),
        streams: uplink.streams.clone(),
        orders_through: uplink.index.orders_through().await?,
    };
    send(socket, &hello).await?;
    match next(socket).await? {
        ToRecorder::Welcome {
            session_token,
            facts_through,
        } => Ok((session_token, facts_through)),
        ToRecorder::Refused { reason } => Err(UplinkError::Refused(reason)),
        other => Err(unexpected("welcome", &other)),
    }
}

fn unexpected(expected: &str, got: &ToRecorder) -> UplinkError {
    UplinkError::Protocol(format!("{expected} was expected, not {got:?}"))
}

async fn next(socket: &mut Socket) -> Result<ToRecorder, UplinkError> {
    loop {
        let message = socket
            .next()
            .await
            .ok_or_else(|| UplinkError::Protocol("the centre hung up".to_owned()))??;
        if let Some(message) = read(&message)? {
            return Ok(message);
        }
    }
}

/// A message of the centre, `None` for what the protocol below answers by itself or what is not known.
fn read(message: &Message) -> Result<Option<ToRecorder>, UplinkError> {
    match message {
        Message::Text(text) => match serde_json::from_str(text.as_str()) {
            Ok(message) => Ok(Some(message)),
            Err(error) => {
                tracing::warn!(%error, "a message of the centre is not known");
                Ok(None)
            }
        },
        Message::Close(_) => Err(UplinkError::Protocol("the centre closed the session".to_owned())),
        _ => Ok(None),
    }
}

async fn send(socket: &mut Socket, message: &ToServer) -> Result<(), UplinkError> {
    let json = serde_json::to_string(message).map_err(|e| UplinkError::Protocol(e.to_string()))?;
    // A full socket buffer means that the centre takes nothing any more.
    tokio::time::timeout(SILENCE, socket.send(Message::text(json)))
        .await
        .map_err(|_| UplinkError::Silent(SILENCE.as_secs()))??;
    Ok(())
}

async fn take_command(uplink: &Uplink, link: &Link, message: ToRecorder) -> Result<(), UplinkError> {
    let command = match message {
        ToRecorder::LiveStart { stream } => LiveCommand::Start {
            stream,
            link: link.clone(),
        },
        ToRecorder::LiveStop { stream } => LiveCommand::Stop { stream },
        ToRecorder::LiveKeyframe { stream } => LiveCommand::Keyframe { stream },
        ToRecorder::Receipts { receipts } => {
            super::receipts::keep(uplink, receipts).await;
            return Ok(());
        }
        ToRecorder::Refused { reason } => return Err(UplinkError::Refused(reason)),
        other => return Err(unexpected("a command", &other)),
    };
    if uplink.live.try_send(command).is_err() {
        tracing::warn!("a live command was dropped: too many wait");
    }
    Ok(())
}

async fn beat(uplink: &Uplink, clock: Option<ClockOffset>) -> Result<ToServer, UplinkError> {
    let now_us = uplink.clock.monotonic_us();
    let space = crate::disk::space(&uplink.recordings).unwrap_or_default();
    let waiting = uplink.index.waiting_segments().await?;
    let mut streams = BTreeMap::new();
    for (stream, health) in &uplink.health {
        let pending = waiting.iter().find(|(name, ..)| name == stream.as_str());
        let health = StreamHealth {
            last_sample_age_ms: health.last_sample_age_ms(now_us),
            newest_sequence: uplink.index.newest_sealed(stream).await?,
            pending_segments: pending.map_or(0, |(_, pending, _)| *pending),
            fault: health.fault(),
        };
        streams.insert(stream.clone(), health);
    }
    let pending_facts = uplink.index.pending_facts().await?;
    // Last, so that the time until it is on the line is short.
    let now = Moment::now(&*uplink.clock);
    Ok(ToServer::Heartbeat {
        wall: now.wall,
        disk_free_bytes: space.free_bytes,
        disk_total_bytes: space.total_bytes,
        pending_facts,
        streams,
        chain_heads: uplink.index.chain_heads().await?,
        disk_left_s: *uplink.disk_left_s.borrow(),
        sent: now.boot,
        clock,
    })
}
