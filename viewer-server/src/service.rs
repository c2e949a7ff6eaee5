//! What the service manager is told (`sd_notify(3)`): ready, alive, stopping. Without one nothing happens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::centre::Centre;

/// How often the status text is told.
const STATUS: Duration = Duration::from_secs(10);

/// Tells the service manager until shutdown. The watchdog is fed only while the service answers a call over its own
/// listener; whether the database answers is for `/readyz`, since starting again would not bring it back.
pub async fn tell(centre: Arc<Centre>, address: SocketAddr) {
    notify(&[NotifyState::Ready]);
    let patience = sd_notify::watchdog_enabled();
    let every = patience.map_or(STATUS, |patience| (patience / 4).min(STATUS));
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = centre.shutdown.cancelled() => break,
        }
        if !matches!(tokio::time::timeout(every, answers(address)).await, Ok(Ok(true))) {
            tracing::error!("the service does not answer its own call: the watchdog is not fed");
            continue;
        }
        let status = format!("{} recorders connected", centre.recorders.count());
        notify(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
    }
    notify(&[NotifyState::Stopping]);
}

async fn answers(address: SocketAddr) -> std::io::Result<bool> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let mut stream = TcpStream::connect((ip, address.port())).await?;
    stream
        .write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(status.ends_with(b" 200"))
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager can't be told");
    }
}
