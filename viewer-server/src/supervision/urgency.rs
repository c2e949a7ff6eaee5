//! How urgent a counter is, from what is wrong there. Pure.

use super::state::{Alert, StreamState};

/// What a counter's streams give cause to alert about.
pub fn stream_alerts(streams: &[StreamState]) -> Vec<Alert> {
    let kind = |stream: &StreamState| match stream.state {
        "fault" => Some("recording_fault"),
        "offline" => Some("recorder_offline"),
        _ => None,
    };
    let mut alerts: Vec<Alert> = Vec::new();
    for stream in streams {
        if let Some(kind) = kind(stream).filter(|kind| alerts.iter().all(|a| a.kind != *kind)) {
            alerts.push(Alert {
                kind,
                since: stream.since.clone(),
                detail: stream.fault_cause.clone().unwrap_or_default(),
            });
        }
    }
    alerts
}

/// Larger is worse: the worst alert counts first, further ones a little.
pub fn of(alerts: &[Alert]) -> i64 {
    let weight = |alert: &Alert| match alert.kind {
        "recording_fault" => 500,
        "recorder_offline" => 400,
        "low_rating" => 300,
        "long_service" => 200,
        "long_wait" => 100,
        _ => 0,
    };
    let worst = alerts.iter().map(weight).max().unwrap_or(0);
    worst + 10 * i64::try_from(alerts.len()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(kind: &'static str) -> Alert {
        Alert {
            kind,
            since: None,
            detail: String::new(),
        }
    }

    #[test]
    fn one_grave_alert_outweighs_several_light_ones() {
        assert!(
            of(&[alert("recording_fault")])
                > of(&[alert("long_service"), alert("long_wait"), alert("low_rating")])
        );
        assert_eq!(of(&[]), 0);
    }
}
