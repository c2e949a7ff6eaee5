//! The example files are what people start from, so they must load, name every key and state true defaults.

use std::path::Path;

use site_config::recorder::RecorderSettings;
use site_config::server::ServerSettings;
use site_config::{Settings, parse};

const RECORDER: &str = include_str!("../recorder.example.toml");
const SERVER: &str = include_str!("../server.example.toml");

fn uncommented(text: &str) -> String {
    text.lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|l| !l.starts_with(' '))
                .unwrap_or(line)
        })
        .fold(String::new(), |all, line| all + line + "\n")
}

fn complaint<T: Settings + std::fmt::Debug>(text: &str) -> String {
    parse::<T>(Path::new("site.toml"), text)
        .expect_err("the settings must be refused")
        .to_string()
}

#[test]
fn examples_load_as_they_are_and_with_every_key_uncommented() {
    for text in [RECORDER.to_owned(), uncommented(RECORDER)] {
        parse::<RecorderSettings>(Path::new("recorder.example.toml"), &text).unwrap();
    }
    for text in [SERVER.to_owned(), uncommented(SERVER)] {
        parse::<ServerSettings>(Path::new("server.example.toml"), &text).unwrap();
    }
}

#[test]
fn examples_state_the_true_defaults() {
    let bare: ServerSettings =
        parse(Path::new("s"), "public_url = \"https://a\"\ndata_dir = \"/d\"").unwrap();
    let shown: ServerSettings = parse(Path::new("s"), &uncommented(SERVER)).unwrap();
    assert_eq!(bare.listen, shown.listen);
    assert_eq!(bare.zone, shown.zone);
    assert_eq!(bare.session.idle_minutes, shown.session.idle_minutes);
    assert_eq!(bare.session.absolute_hours, shown.session.absolute_hours);
    assert_eq!(bare.live.bind, shown.live.bind);
    assert_eq!(bare.live.udp_ports, shown.live.udp_ports);
    assert_eq!(bare.live.linger_s, shown.live.linger_s);
    assert_eq!(
        bare.interaction.forgotten_after_minutes,
        shown.interaction.forgotten_after_minutes
    );
    assert_eq!(
        bare.interaction.low_rating_percent,
        shown.interaction.low_rating_percent
    );
    let bare: RecorderSettings = parse(Path::new("r"), "site = \"a\"\ndata_dir = \"/d\"").unwrap();
    let mut shown: RecorderSettings = parse(Path::new("r"), &uncommented(RECORDER)).unwrap();
    assert_eq!(bare.health, shown.health);
    assert_eq!(bare.listen, shown.listen);
    assert_eq!(bare.segment.duration_s, shown.segment.duration_s);
    assert_eq!(bare.segment.sync_ms, shown.segment.sync_ms);
    let hours = std::mem::take(&mut shown.upload.office_hours);
    assert_eq!(hours.len(), 1);
    assert_eq!(bare.upload, shown.upload);
    assert_eq!(shown.counters[0].streams[0].upload, Default::default());
    assert_eq!(format!("{:?}", bare.retention), format!("{:?}", shown.retention));
}

#[test]
fn recorder_complaints_name_file_key_and_what_is_allowed() {
    let cases = [
        (
            ("site = \"ba-dinh\"", "site = \"Ba Đình\""),
            ["site (line 4)", "1 to 64 of a-z"],
        ),
        (
            ("#duration_s = 60", "duration_s = 2"),
            ["segment.duration_s", "4 to 600"],
        ),
        (
            ("#transport = \"tcp\"", "transport = \"quic\""),
            ["counter[0].stream[0].main", "expected `tcp` or `udp`"],
        ),
        (
            ("kind = \"rtsp\"", "kind = \"onvif\""),
            [
                "counter[0].stream[0].main",
                "expected one of `rtsp`, `device`, `test`",
            ],
        ),
        (
            ("rtsp://10.20.0.11/stream1", "rtsp://u:p@10.20.0.11/"),
            ["counter[0].stream[0].main.url", "password_file"],
        ),
        (
            ("#width = 1280", "width = 3"),
            ["counter[0].stream[1].main.width", "160 to 7680"],
        ),
        (
            ("counter = \"ba-dinh-q02\"", "counter = \"q9\""),
            ["input.hid[0].counter", "ba-dinh-q01, ba-dinh-q02"],
        ),
        (
            ("https://minhquay", "ftp://minhquay"),
            ["server.url", "https:// or http://"],
        ),
        (
            ("id = \"ba-dinh-q02\"", "id = \"ba-dinh-q01\""),
            ["counter[1].id", "stands twice"],
        ),
        (
            ("[segment]", "[segments]"),
            ["segments", "unknown field `segments`"],
        ),
        (
            ("#budget_kbit = 0", "budget_kbit = 7"),
            ["upload.budget_kbit", "at least 16"],
        ),
        (
            ("#pre_roll_s = 30", "pre_roll_s = 4000"),
            ["upload.pre_roll_s", "0 to 3600"],
        ),
        (
            ("#zone = \"Asia/Ho_Chi_Minh\"", "zone = \"Hanoi\""),
            ["upload.zone", "Asia/Ho_Chi_Minh"],
        ),
        (
            (
                "#[[upload.office_hours]]",
                "office_hours = [{ days = [\"mon\"], from = \"17:00\", to = \"08:00\", budget_kbit = 0 }]",
            ),
            ["upload.office_hours[0].to", "later than from"],
        ),
        (
            (
                "#[[upload.office_hours]]",
                "office_hours = [{ days = [], from = \"8:00\", to = \"24:01\", budget_kbit = 0 }]",
            ),
            ["upload.office_hours[0].from", "00:00"],
        ),
        (
            (
                "#upload = { main = \"everything\"",
                "upload = { main = \"nothing\"",
            ),
            [
                "counter[0].stream[0].upload.main",
                "`everything`, `interactions`, `on_demand`",
            ],
        ),
        (
            ("#low_percent = 92", "low_percent = 96"),
            ["retention.low_percent", "below retention.high_percent, 95"],
        ),
        (
            ("#interaction_days = 120", "interaction_days = 29"),
            [
                "retention.interaction_days",
                "not be below retention.continuous_days, 30",
            ],
        ),
        (
            ("#forecast_days = 7", "forecast_days = 0"),
            ["retention.forecast_days", "1 to 365 days"],
        ),
        (
            ("#when_full = \"drop", "when_full = \"delete"),
            ["retention", "expected `stop` or `drop_oldest_continuous`"],
        ),
        (("[segment]", "[segment"), ["line ", "]"]),
    ];
    for ((from, to), expected) in cases {
        assert!(RECORDER.contains(from), "{from}");
        let text = complaint::<RecorderSettings>(&RECORDER.replacen(from, to, 1));
        for part in ["site.toml", expected[0], expected[1]] {
            assert!(text.contains(part), "{to}: {text:?} does not say {part:?}");
        }
    }
}

#[test]
fn server_complaints_name_file_key_and_what_is_allowed() {
    let cases = [
        (
            "public_url = \"x\"\ndata_dir = \"/d\"",
            ["public_url", "https:// or http://"],
        ),
        (
            "public_url = \"https://a\"",
            ["missing field `data_dir`", "line 1"],
        ),
        (
            "public_url = \"https://a\"\ndata_dir = \"/d\"\nzone = \"Hanoi\"",
            ["zone", "Asia/Ho_Chi_Minh"],
        ),
        (
            "public_url = \"https://a\"\ndata_dir = \"/d\"\nlisten = \"8080\"",
            ["listen", "socket address"],
        ),
        (
            "public_url = \"https://a\"\ndata_dir = \"/d\"\n[database]\nurl = \"mysql://\"",
            ["database.url", "sqlite://"],
        ),
        (
            "public_url = \"https://a\"\ndata_dir = \"/d\"\n[live]\nudp_ports = [9, 3]",
            ["live.udp_ports", "first below last"],
        ),
        (
            "public_url = \"https://a\"\ndata_dir = \"/d\"\n[dossier]\npatterns = [\"(\"]",
            ["dossier.patterns[0]", "regular expression"],
        ),
    ];
    for (text, expected) in cases {
        let complaint = complaint::<ServerSettings>(text);
        for part in ["site.toml", expected[0], expected[1]] {
            assert!(complaint.contains(part), "{complaint:?} does not say {part:?}");
        }
    }
}

#[test]
fn missing_file_is_named() {
    let error = site_config::load::<ServerSettings>(Path::new("/nowhere/server.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/server.toml: can't be read: ")
    );
}
