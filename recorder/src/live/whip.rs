//! The HTTP half of publishing (WHIP, RFC 9725).

use std::net::{IpAddr, SocketAddr};

use archive::ids::StreamId;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{StatusCode, Url};

use super::LiveError;
use crate::uplink::Link;

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Where streams are published.
#[derive(Debug, Clone)]
pub(super) struct Whip {
    pub(super) link: Link,
}

/// An accepted publication.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) answer: String,
    resource: Url,
}

impl Whip {
    /// Sends the offer.
    pub(super) async fn offer(&self, stream: &StreamId, sdp: String) -> Result<Accepted, LiveError> {
        let url = Url::parse(&self.link.edge(&format!("streams/{stream}/whip")));
        let url = url.map_err(|e| LiveError::Server(e.to_string()))?;
        let answer = self
            .link
            .client
            .post(url.clone())
            .bearer_auth(&self.link.token)
            .header(CONTENT_TYPE, "application/sdp")
            .body(sdp)
            .send()
            .await?;
        let status = answer.status();
        let location = answer
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let resource = location
            .and_then(|location| url.join(location).ok())
            .unwrap_or(url);
        if answer
            .content_length()
            .is_some_and(|length| length > MAX_ANSWER_BYTES as u64)
        {
            return Err(LiveError::Server("the answer is too long".into()));
        }
        let body = answer.text().await?;
        match status {
            StatusCode::CREATED => Ok(Accepted {
                answer: body,
                resource,
            }),
            // Another session's token, or nobody watches: a new command would have to come.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT => {
                Err(LiveError::NotWanted)
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Err(LiveError::CodecNotPlayable),
            _ => Err(LiveError::Server(format!("answered {status}"))),
        }
    }

    /// Says that the publication is over; the server finds out by itself if this fails.
    pub(super) async fn delete(&self, accepted: Accepted) {
        let _ = self
            .link
            .client
            .delete(accepted.resource)
            .bearer_auth(&self.link.token)
            .send()
            .await;
    }

    /// The address of this machine that the way to the server starts at.
    pub(super) async fn local_address(&self) -> Result<IpAddr, LiveError> {
        let server = Url::parse(&self.link.url).map_err(|e| LiveError::Server(e.to_string()))?;
        let host = server.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = server.port_or_known_default().unwrap_or(443);
        let found = tokio::net::lookup_host((host, port))
            .await
            .map_err(LiveError::Socket)?
            .next();
        let server = found.ok_or_else(|| LiveError::Server(format!("{host} has no address")))?;
        let any = if server.is_ipv4() {
            IpAddr::from([0, 0, 0, 0])
        } else {
            IpAddr::from([0; 16])
        };
        // Connecting a UDP socket sends nothing; it only looks up the route.
        let socket = std::net::UdpSocket::bind(SocketAddr::new(any, 0)).map_err(LiveError::Socket)?;
        socket.connect(server).map_err(LiveError::Socket)?;
        Ok(socket.local_addr().map_err(LiveError::Socket)?.ip())
    }
}
