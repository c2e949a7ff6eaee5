//! How queries are understood. Now is Monday 23/11/2026, 10:00 in Hà Nội.

use std::sync::LazyLock;

use proptest::strategy::Strategy as _;

use super::*;

static KNOWN: LazyLock<Vocabulary> = LazyLock::new(known);

fn known() -> Vocabulary {
    let counter = |id: &str, name: &str| KnownCounter {
        counter: id.parse().unwrap(),
        name: name.to_owned(),
    };
    let officer = |code: &str, name: &str| KnownOfficer {
        code: code.to_owned(),
        name: name.to_owned(),
    };
    Vocabulary::new(
        vec![
            counter("ba-dinh-q01", "Quầy 01"),
            counter("ba-dinh-q03", "Quầy 03 · Tư pháp"),
            counter("tay-ho-q03", "Quầy 03"),
            counter("tay-ho-hop", "Quầy Hộ tịch"),
        ],
        vec![
            officer("NV017", "Trần Thị Hoa"),
            officer("NV018", "Đỗ Văn Đạt"),
            officer("CB-2", "Nguyễn Văn Đạt"),
        ],
        vec![
            "Đăng ký khai sinh".to_owned(),
            "Đăng ký khai tử".to_owned(),
            "Chứng thực chữ ký".to_owned(),
        ],
        DossierPatterns::default(),
    )
}

fn read(query: &str) -> Vec<Chip> {
    let now = WallTime::parse_rfc3339("2026-11-23T10:00:00+07:00").unwrap();
    let zone = TimeZone::get("Asia/Ho_Chi_Minh").unwrap();
    understand(query, now, &zone, &KNOWN)
}

/// Chips as `kind=label`.
fn kinds(query: &str) -> String {
    let name = |chip: &Chip| match &chip.value {
        ChipValue::Dossier { .. } => "dossier",
        ChipValue::Ticket { .. } => "ticket",
        ChipValue::Officer { .. } => "officer",
        ChipValue::Procedure { .. } => "procedure",
        ChipValue::Counter { .. } => "counter",
        ChipValue::Date { .. } => "date",
        ChipValue::Time { .. } => "time",
        ChipValue::Text { .. } => "text",
    };
    let chips = read(query);
    chips
        .iter()
        .map(|c| format!("{}={}", name(c), c.label))
        .collect::<Vec<_>>()
        .join(" | ")
}

#[test]
fn understands_the_words_people_type() {
    let cases = [
        (
            "hôm qua 9h quầy 1",
            "date=22/11/2026 | time=09:00 – 10:00 | counter=Quầy 01",
        ),
        (
            "hom qua 9h quay 1",
            "date=22/11/2026 | time=09:00 – 10:00 | counter=Quầy 01",
        ),
        (
            "HÔM QUA, 9H, QUẦY SỐ 01",
            "date=22/11/2026 | time=09:00 – 10:00 | counter=Quầy 01",
        ),
        (
            "yesterday at 9am counter 1",
            "date=22/11/2026 | time=09:00 – 10:00 | counter=Quầy 01",
        ),
        ("hôm nay lúc 14:20", "date=23/11/2026 | time=14:20"),
        ("hôm kia", "date=21/11/2026"),
        ("ngày 23/11/2026", "date=23/11/2026"),
        ("23/11", "date=23/11/2026"),
        ("24/11", "date=24/11/2025"),
        ("29/02", "date=29/02/2024"),
        ("1/2/26", "date=01/02/2026"),
        ("2026-11-05 9h30", "date=05/11/2026 | time=09:30"),
        ("5.11.2026", "date=05/11/2026"),
        ("tuần trước", "date=16/11/2026 – 22/11/2026"),
        ("this month", "date=01/11/2026 – 23/11/2026"),
        ("tháng trước", "date=01/10/2026 – 31/10/2026"),
        ("9 giờ 30 phút", "time=09:30"),
        ("9 giờ", "time=09:00 – 10:00"),
        ("2h chiều", "time=14:00 – 15:00"),
        ("2 pm", "time=14:00 – 15:00"),
        ("2:15pm", "time=14:15"),
        ("8h tối", "time=20:00 – 21:00"),
        ("từ 8h tới 9h30", "time=08:00 – 09:30"),
        ("8-9h", "time=08:00 – 09:00"),
        ("sáng nay", "time=00:00 – 12:00 | date=23/11/2026"),
        ("chiều hôm qua", "time=12:00 – 18:00 | date=22/11/2026"),
        ("hôm qua tôi", "date=22/11/2026 | text=tôi"),
        ("A0123", "ticket=A0123"),
        ("a-123", "ticket=A123"),
        ("số 123", "ticket=123"),
        ("so 7", "ticket=7"),
        ("số thứ tự A 12", "ticket=A12"),
        ("phiếu số B045", "ticket=B045"),
        ("ticket 12", "ticket=12"),
        ("#12", "ticket=12"),
        ("0123", "ticket=0123"),
        ("2026", "text=2026"),
        ("000.00.17.h26-180615-0001", "dossier=000.00.17.H26-180615-0001"),
        (
            "h26.17.05-250701-0001 hôm qua",
            "dossier=H26.17.05-250701-0001 | date=22/11/2026",
        ),
        (
            "https://dvc.example.vn/tra-cuu?ma=H26.17.05-250701-0001",
            "dossier=H26.17.05-250701-0001",
        ),
        ("nv017", "officer=NV017 Trần Thị Hoa"),
        ("cb-2", "officer=CB-2 Nguyễn Văn Đạt"),
        ("tran thi hoa", "officer=NV017 Trần Thị Hoa"),
        ("cán bộ hoa", "officer=NV017 Trần Thị Hoa"),
        ("Văn Đạt", "officer=Văn Đạt"),
        ("Hoa", "text=Hoa"),
        ("khai sinh", "procedure=Đăng ký khai sinh"),
        ("dang ky khai", "procedure=dang ky khai"),
        ("quầy hộ tịch", "counter=Quầy Hộ tịch"),
        ("q03", "counter=Quầy 3"),
        ("q12", "ticket=Q12"),
        ("quầy 99", "counter=Quầy 99"),
        (
            "thái độ không tốt quầy 1",
            "text=thái độ không tốt | counter=Quầy 01",
        ),
        ("số điện thoại", "text=số điện thoại"),
        ("31/02", "text=31/02"),
        ("25h", "text=25h"),
        ("", ""),
        ("  ,; ", ""),
    ];
    for (query, expected) in cases {
        assert_eq!(kinds(query), expected, "{query:?}");
    }
}

#[test]
fn a_number_that_several_counters_bear_means_all_of_them() {
    let chips = read("quầy 3");
    let ChipValue::Counter { counters } = &chips[0].value else {
        panic!("{chips:?}")
    };
    assert_eq!(counters.len(), 2);
}

#[test]
fn spans_count_characters_of_the_query() {
    let chips = read("  hôm  qua, “quầy 3” thật");
    let spans: Vec<_> = chips.iter().map(|c| (c.start, c.end)).collect();
    assert_eq!(spans, [(2, 10), (13, 19), (21, 25)]);
}

#[test]
fn chips_are_json_with_kind_and_value() {
    let json = serde_json::to_value(read("A0123 hôm nay")).unwrap();
    let expected = serde_json::json!([
        {"kind": "ticket", "value": {"series": "A", "number": "0123"}, "label": "A0123", "start": 0, "end": 5},
        {"kind": "date", "value": {"from": "2026-11-23", "to": "2026-11-23"}, "label": "23/11/2026",
         "start": 6, "end": 13},
    ]);
    assert_eq!(json, expected);
    assert_eq!(
        serde_json::from_value::<Vec<Chip>>(json).unwrap(),
        read("A0123 hôm nay")
    );
}

proptest::proptest! {
    #[test]
    fn each_word_ends_up_in_exactly_one_chip(
        pieces in proptest::collection::vec(proptest::prop_oneof![
            proptest::sample::select(vec![
                "hôm", "qua", "nay", "9h", "30", "quầy", "số", "a", "sáng", "tới", "đến", "từ", "ngày", "lúc",
                "cán", "bộ", "Hoa", "Đạt", "ticket", "pm", "-", "9h-10h", "23/11", "#", "đăng", "ký",
            ]).prop_map(str::to_owned),
            "\\PC{1,6}",
        ], 0..8),
    ) {
        let query = pieces.join(" ");
        let chips = read(&query);
        let mut covered = vec![0; query.chars().count()];
        for chip in &chips {
            proptest::prop_assert!(chip.start < chip.end);
            for count in &mut covered[chip.start..chip.end] {
                *count += 1;
            }
        }
        proptest::prop_assert!(covered.iter().all(|c| *c <= 1));
        for word in words::split(&query) {
            proptest::prop_assert!(covered[word.start..word.end].iter().all(|c| *c == 1), "{}", word.text);
        }
    }
}
