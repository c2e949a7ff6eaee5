//! The few things read from and written into session descriptions (RFC 8866, RFC 8840).

use std::net::IpAddr;

/// A codec as an offer numbers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) payload_type: u8,
    pub(super) fmtp: String,
}

/// The `profile-level-id` of an H.264 format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProfileLevel(pub(super) [u8; 3]);

impl Format {
    /// Profile and level, if the format says them in six hexadecimal digits.
    pub(super) fn profile_level(&self) -> Option<ProfileLevel> {
        let text = self.parameter("profile-level-id")?;
        let mut bytes = [0; 3];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(ProfileLevel(bytes))
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.fmtp.split(';').filter_map(|p| p.trim().split_once('='));
        parameters
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// All formats of one codec in the order of preference; `name` as in `rtpmap`, e.g. `H264`.
pub(super) fn formats(sdp: &str, name: &str) -> Vec<Format> {
    let attribute = |kind: &str, payload_type: u8| {
        let prefix = format!("a={kind}:{payload_type} ");
        sdp.lines()
            .find_map(|line| line.trim_end().strip_prefix(&prefix).map(str::to_owned))
    };
    sdp.lines()
        .filter_map(|line| {
            let (payload_type, encoding) = line.trim_end().strip_prefix("a=rtpmap:")?.split_once(' ')?;
            let payload_type = payload_type.parse().ok()?;
            let is_wanted = encoding.split('/').next()?.eq_ignore_ascii_case(name);
            is_wanted.then(|| Format {
                payload_type,
                fmtp: attribute("fmtp", payload_type).unwrap_or_default(),
            })
        })
        .collect()
}

/// The H.264 format to send in: packetization mode 1, of the publisher's profile if it is offered,
/// else baseline, else any: decoders play what comes.
pub(super) fn choose_h264(sdp: &str, published: Option<ProfileLevel>) -> Option<Format> {
    let mut usable = formats(sdp, "H264");
    usable.retain(|f| f.parameter("packetization-mode") == Some("1") && f.profile_level().is_some());
    let rank = |format: &Format| match (format.profile_level(), published) {
        (Some(ProfileLevel(a)), Some(ProfileLevel(b))) if a[..2] == b[..2] => 0,
        (Some(ProfileLevel(a)), Some(ProfileLevel(b))) if a[0] == b[0] => 1,
        (Some(ProfileLevel([66, ..])), _) => 2,
        _ => 3,
    };
    usable.into_iter().min_by_key(rank)
}

/// Adds a candidate at each public address for each host candidate, for a server behind 1:1 NAT.
pub(super) fn with_public_candidates(answer: &str, public_ips: &[IpAddr]) -> String {
    let mut lines = Vec::new();
    for line in answer.lines() {
        lines.push(line.to_owned());
        let Some(rest) = line.strip_prefix("a=candidate:") else {
            continue;
        };
        let fields: Vec<&str> = rest.split(' ').collect();
        let [_, component, transport, priority, _, port, "typ", "host", ..] = fields[..] else {
            continue;
        };
        for (i, ip) in public_ips.iter().enumerate() {
            let candidate =
                format!("a=candidate:public{i} {component} {transport} {priority} {ip} {port} typ host");
            if !lines.contains(&candidate) {
                lines.push(candidate);
            }
        }
    }
    lines.join("\r\n") + "\r\n"
}

/// A remote candidate out of a trickle fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trickled {
    pub(super) candidate: String,
    pub(super) mid: Option<String>,
}

/// The candidates of a `application/trickle-ice-sdpfrag` body (RFC 8840 §9); those under a
/// multicast name are left out, since the browser is found by its own checks.
pub(super) fn trickled(fragment: &str) -> Vec<Trickled> {
    let mut mid = None;
    let mut found = Vec::new();
    for line in fragment.lines().map(str::trim_end) {
        if let Some(value) = line.strip_prefix("a=mid:") {
            mid = Some(value.to_owned());
        } else if let Some(candidate) = line.strip_prefix("a=candidate:") {
            let is_named = candidate
                .split(' ')
                .nth(4)
                .is_some_and(|host| host.ends_with(".local"));
            if !is_named {
                found.push(Trickled {
                    candidate: format!("candidate:{candidate}"),
                    mid: mid.clone(),
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 102 104 106 108\r\n\
        a=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:102 H264/90000\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\r\n\
        a=rtpmap:104 H264/90000\r\na=fmtp:104 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f\r\n\
        a=rtpmap:106 H264/90000\r\na=fmtp:106 packetization-mode=1; profile-level-id=42e01f\r\n\
        a=rtpmap:108 H264/90000\r\na=fmtp:108 packetization-mode=1;profile-level-id=64001f\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\n";

    #[test]
    fn chooses_the_publishers_profile_then_baseline() {
        let chosen = |published| choose_h264(OFFER, published).unwrap().payload_type;
        assert_eq!(chosen(Some(ProfileLevel([0x64, 0, 0x28]))), 108);
        assert_eq!(chosen(Some(ProfileLevel([0x4d, 0x40, 0x28]))), 104);
        assert_eq!(chosen(Some(ProfileLevel([0x58, 0, 0x28]))), 106);
        assert_eq!(chosen(None), 106);
        assert!(choose_h264("a=rtpmap:96 VP8/90000\r\n", None).is_none());
    }

    #[test]
    fn reads_formats_with_their_parameters() {
        let opus = Format {
            payload_type: 111,
            fmtp: "minptime=10".into(),
        };
        assert_eq!(formats(OFFER, "OPUS"), [opus]);
        assert!(formats("a=rtpmap:999 H264/90000\r\na=rtpmap:x\r\n", "H264").is_empty());
    }

    #[test]
    fn adds_public_addresses_beside_host_candidates() {
        let answer = "v=0\r\na=candidate:1 1 udp 2130706431 10.0.0.5 40000 typ host\r\n";
        let public = with_public_candidates(answer, &["203.0.113.7".parse().unwrap()]);
        assert_eq!(
            public,
            format!("{answer}a=candidate:public0 1 udp 2130706431 203.0.113.7 40000 typ host\r\n")
        );
        assert_eq!(with_public_candidates(answer, &[]), answer);
    }

    #[test]
    fn takes_candidates_with_an_address_from_a_fragment() {
        let fragment = "a=ice-ufrag:x\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n\
            a=candidate:2 1 udp 1 0a.local 5000 typ host\r\na=end-of-candidates\r\n";
        let expected = Trickled {
            candidate: "candidate:1 1 udp 1 192.0.2.1 5000 typ host".into(),
            mid: Some("0".into()),
        };
        assert_eq!(trickled(fragment), [expected]);
    }
}
