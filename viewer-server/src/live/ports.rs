//! Which local addresses and UDP ports media uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Hands out one UDP port for each peer connection, the same on all addresses.
#[derive(Debug)]
pub(super) struct MediaPorts {
    addresses: Vec<IpAddr>,
    first: u16,
    count: u32,
    turn: AtomicU32,
}

impl MediaPorts {
    /// `bind` as configured; loopback is offered only where people reach the service through it.
    pub(super) fn new(bind: IpAddr, listen: IpAddr, [first, last]: [u16; 2]) -> Self {
        Self {
            addresses: media_addresses(bind, listen),
            first,
            count: u32::from(last.saturating_sub(first)) + 1,
            turn: AtomicU32::new(0),
        }
    }

    /// A port that is free on all addresses right now; `None` if there is none.
    pub(super) fn free(&self) -> Option<Vec<SocketAddr>> {
        (0..self.count).find_map(|_| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.count;
            let port = self.first + u16::try_from(turn).expect("a range of ports has at most 65536 of them");
            let sockets: Vec<_> = self
                .addresses
                .iter()
                .map(|ip| SocketAddr::new(*ip, port))
                .collect();
            sockets
                .iter()
                .all(|at| UdpSocket::bind(at).is_ok())
                .then_some(sockets)
        })
    }
}

/// The addresses behind a wildcard, for a wildcard's own address reaches nobody.
fn media_addresses(bind: IpAddr, listen: IpAddr) -> Vec<IpAddr> {
    if !bind.is_unspecified() {
        return vec![bind];
    }
    let all = rtc::shared::ifaces::ifaces().unwrap_or_default();
    let mut addresses: Vec<IpAddr> = all
        .iter()
        .filter_map(|interface| interface.addr.map(|at| at.ip()))
        .filter(|ip| ip.is_ipv4() == bind.is_ipv4() && !ip.is_loopback() && !is_link_local(ip))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    if listen.is_loopback() || addresses.is_empty() {
        addresses.push(if bind.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    addresses
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn passes_over_ports_in_use_and_says_when_none_is_left() {
        let held = UdpSocket::bind((LOCAL, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let ports = MediaPorts::new(LOCAL, LOCAL, [port, port]);
        assert_eq!(ports.free(), None);
        drop(held);
        assert_eq!(ports.free(), Some(vec![SocketAddr::new(LOCAL, port)]));
    }

    #[test]
    fn a_wildcard_becomes_real_addresses() {
        let any = IpAddr::from([0, 0, 0, 0]);
        assert!(media_addresses(any, LOCAL).contains(&LOCAL));
        assert!(media_addresses(any, any).iter().all(|ip| !ip.is_unspecified()));
        assert_eq!(media_addresses(LOCAL, any), [LOCAL]);
    }
}
