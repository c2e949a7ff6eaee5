//! What the chain tells of a stream's settings: all that bears on the recording, nothing that opens a camera.

use std::collections::BTreeMap;

use site_config::recorder::{RtspAudio, SegmentSettings, Source, Transport};

/// The settings of a stream as texts.
pub fn describe(source: &Source, segment: &SegmentSettings) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut put = |name: &str, value: String| drop(settings.insert(name.to_owned(), value));
    put("segment.duration_s", segment.duration_s.to_string());
    put("segment.sync_ms", segment.sync_ms.to_string());
    match source {
        Source::Rtsp {
            url,
            transport,
            audio,
            ..
        } => {
            put("kind", "rtsp".to_owned());
            put("url", without_secrets(url));
            let transport = match transport {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
            };
            put("transport", transport.to_owned());
            let audio = match audio {
                RtspAudio::Auto => "auto",
                RtspAudio::Off => "off",
            };
            put("audio", audio.to_owned());
        }
        Source::Device {
            video,
            audio,
            width,
            height,
            fps,
            bitrate_kbit,
        } => {
            put("kind", "device".to_owned());
            put("video", video.display().to_string());
            put("audio", audio.clone().unwrap_or_else(|| "off".to_owned()));
            put(
                "picture",
                format!("{width}x{height} at {fps}/s, {bitrate_kbit} kbit/s"),
            );
        }
        Source::Test => put("kind", "test".to_owned()),
    }
    settings
}

/// An address without user, password and query, which some cameras take passwords in.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_no_secrets() {
        let told = without_secrets("rtsp://admin:geheim@10.0.0.1:554/cam?password=geheim");
        assert_eq!(told, "rtsp://10.0.0.1:554/cam");
        assert_eq!(without_secrets("rtsp://10.0.0.1"), "rtsp://10.0.0.1");
    }
}
