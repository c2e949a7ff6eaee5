//! A broker that carries counter events, QoS 1: a message is acknowledged after it is on the disk.

use std::time::Duration;

use archive::ids::SiteId;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, Transport};
use serde_json::Value;
use site_config::recorder::MqttInput;

use super::Inputs;
use crate::backoff::Backoff;

/// Listens until shutdown.
pub(super) async fn run(inputs: Inputs, settings: MqttInput, site: SiteId) {
    let mut backoff = Backoff::default();
    loop {
        let error = tokio::select! {
            error = listen(&inputs, &settings, &site, &mut backoff) => error,
            () = inputs.shutdown.cancelled() => return,
        };
        tracing::warn!(broker = settings.url, error, "broker is away");
        tokio::select! {
            () = tokio::time::sleep(backoff.after_failure(rand::random())) => {}
            () = inputs.shutdown.cancelled() => return,
        }
    }
}

fn options(settings: &MqttInput, site: &SiteId) -> Result<MqttOptions, String> {
    let (is_secret, host, port) =
        address(&settings.url).ok_or_else(|| format!("{} is not mqtt[s]://host[:port]", settings.url))?;
    // A fixed name and a kept session: the broker holds what comes while this recorder is away.
    let mut options = MqttOptions::new(format!("minhquay-recorder-{site}"), host, port);
    if is_secret {
        options.set_transport(Transport::tls_with_default_config());
    }
    options.set_keep_alive(Duration::from_secs(15));
    options.set_clean_session(false);
    options.set_manual_acks(true);
    options.set_max_packet_size(1024 * 1024, 64 * 1024);
    if let (Some(username), Some(file)) = (&settings.username, &settings.password_file) {
        let password = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        options.set_credentials(username, password.trim_end_matches(['\r', '\n']));
    }
    Ok(options)
}

/// Whether TLS is wanted, host and port.
fn address(url: &str) -> Option<(bool, &str, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let is_secret = scheme == "mqtts";
    let place = rest.trim_end_matches('/');
    match place.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => Some((is_secret, host, port.parse().ok()?)),
        Some(_) => None,
        None => Some((is_secret, place, if is_secret { 8883 } else { 1883 })),
    }
}

/// One connection; gives why it ended.
async fn listen(inputs: &Inputs, settings: &MqttInput, site: &SiteId, backoff: &mut Backoff) -> String {
    let options = match options(settings, site) {
        Ok(options) => options,
        Err(error) => return error,
    };
    let (client, mut connection) = AsyncClient::new(options, 16);
    loop {
        let packet = match connection.poll().await {
            Ok(Event::Incoming(packet)) => packet,
            Ok(Event::Outgoing(_)) => continue,
            Err(error) => return error.to_string(),
        };
        match packet {
            Packet::ConnAck(_) => {
                tracing::info!(broker = settings.url, "broker is connected");
                backoff.reset();
                if let Err(error) = client.subscribe(&settings.topic, QoS::AtLeastOnce).await {
                    return error.to_string();
                }
            }
            Packet::Publish(message) => {
                let events = match serde_json::from_slice::<Value>(&message.payload) {
                    Ok(Value::Array(events)) => events,
                    Ok(event) => vec![event],
                    Err(error) => {
                        tracing::warn!(topic = message.topic, %error, "a message is no JSON");
                        Vec::new()
                    }
                };
                // Without an acknowledgement the broker sends it again on the next connection.
                if let Err(error) = inputs.store("mqtt", &events).await {
                    return error.to_string();
                }
                if let Err(error) = client.ack(&message).await {
                    return error.to_string();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_has_the_usual_ports() {
        assert_eq!(address("mqtt://broker"), Some((false, "broker", 1883)));
        assert_eq!(address("mqtts://broker:9000/"), Some((true, "broker", 9000)));
        assert_eq!(address("mqtt://:1883"), None);
    }
}
