//! How urgent a counter is, from what is wrong there. Pure.

use archive::alert::AlertKind;
use archive::ids::{CounterId, RecorderId};

use super::state::{Alert, StreamState};
use crate::db::AlertRow;

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

/// What the recorders tell is wrong with a counter's streams, each kind once, and with themselves as far as it
/// endangers the recording. The rest is for who looks after the devices.
pub fn edge_alerts(counter: &CounterId, recorders: &[&RecorderId], at_edge: &[AlertRow]) -> Vec<Alert> {
    let concerns = |row: &&AlertRow| match &row.alert.stream {
        Some(stream) => stream.counter() == *counter,
        None => {
            recorders.contains(&&row.recorder)
                && matches!(row.alert.kind, AlertKind::DiskLow | AlertKind::DiskFailed)
        }
    };
    let mut alerts: Vec<Alert> = Vec::new();
    for row in at_edge.iter().filter(concerns) {
        let kind = row.alert.kind.as_str();
        if alerts.iter().all(|a| a.kind != kind) {
            alerts.push(Alert {
                kind,
                since: Some(row.alert.start.to_string()),
                detail: row.alert.detail.clone(),
            });
        }
    }
    alerts
}

/// Larger is worse: the worst alert counts first, further ones a little.
pub fn of(alerts: &[Alert]) -> i64 {
    let weight = |alert: &Alert| match alert.kind {
        "recording_fault" | "disk_failed" => 500,
        "disk_low" | "picture_black" | "picture_frozen" | "lens_covered" => 450,
        "recorder_offline" => 400,
        "scene_moved" | "picture_defocused" | "sound_dead" | "sound_absent" => 350,
        "low_rating" => 300,
        "long_service" => 200,
        "long_wait" | "sound_clipped" | "sound_hum" => 100,
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

    fn told(recorder: &str, stream: Option<&str>, kind: AlertKind) -> AlertRow {
        AlertRow {
            recorder: recorder.parse().unwrap(),
            alert: archive::alert::Alert {
                alert_id: uuid::Uuid::nil(),
                kind,
                stream: stream.map(|s| s.parse().unwrap()),
                start: archive::time::WallTime(0),
                end: None,
                detail: String::new(),
            },
        }
    }

    #[test]
    fn a_counter_shows_what_is_wrong_with_its_streams_and_with_the_disk_they_lie_on() {
        let at_edge = [
            told("r1", Some("q01.front.main"), AlertKind::PictureBlack),
            told("r1", Some("q01.desk.main"), AlertKind::PictureBlack),
            told("r1", Some("q02.front.main"), AlertKind::SoundDead),
            told("r1", None, AlertKind::DiskLow),
            told("r1", None, AlertKind::DiskForecast),
            told("r2", None, AlertKind::DiskFailed),
        ];
        let r1 = "r1".parse().unwrap();
        let shown = edge_alerts(&"q01".parse().unwrap(), &[&r1], &at_edge);
        let kinds: Vec<_> = shown.iter().map(|a| a.kind).collect();
        assert_eq!(kinds, ["picture_black", "disk_low"]);
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
