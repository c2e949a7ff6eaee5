//! A made-up city: who was served where and when, what was recorded. Pure, the same at each run.
//!
//! 400 counters at 40 sites, 600 minutes of service a day, a person every ten minutes, footage without a hole
//! while the counter is open. Every dossier has two visits, three days apart.

use archive::dossier::{DossierCode, DossierPatterns, accept};
use archive::event::EventType;
use archive::ids::{CounterId, InteractionId, RunId, SiteId, StreamId, TicketKey};
use archive::interaction::{
    ClosedBy, Confidence, DossierLink, Doubt, EventKey, EventRef, FootageBounds, Interaction,
    InteractionState, LinkReason, Officer, Provenance, Rating, ServingSpan,
};
use archive::time::WallTime;
use jiff::ToSpan as _;
use jiff::civil::Date;

pub const SITES: i64 = 40;
pub const COUNTERS_PER_SITE: i64 = 10;
pub const COUNTERS: i64 = SITES * COUNTERS_PER_SITE;
pub const OFFICERS: i64 = 2 * COUNTERS;
/// Segments of a stream in a day, a minute each.
pub const MINUTES: i64 = 600;
/// Visits at a counter in a day.
pub const SLOTS: i64 = 60;
pub const PER_DAY: i64 = COUNTERS * SLOTS;
pub const MINUTE_US: i64 = 60_000_000;
/// Days between the two visits of a dossier.
const APART: i64 = 3;
/// The rarest procedure, at one counter once a day.
pub const RARE: &str = "Nhận cha, mẹ, con có yếu tố nước ngoài";
pub const RARE_COUNTER: i64 = 17;

const ACTIONS: [&str; 8] = [
    "Chứng thực",
    "Đăng ký",
    "Cấp",
    "Cấp lại",
    "Xác nhận",
    "Điều chỉnh",
    "Gia hạn",
    "Thu hồi",
];
const OBJECTS: [&str; 25] = [
    "bản sao từ bản chính",
    "khai sinh",
    "kết hôn",
    "khai tử",
    "chữ ký",
    "thường trú",
    "tạm trú",
    "tình trạng hôn nhân",
    "trích lục hộ tịch",
    "giấy phép xây dựng",
    "quyền sử dụng đất",
    "hộ kinh doanh",
    "bảo hiểm y tế",
    "trợ cấp xã hội",
    "hộ nghèo",
    "giám hộ",
    "nuôi con nuôi",
    "thay đổi họ tên",
    "di chúc",
    "hợp đồng ủy quyền",
    "văn bản thừa kế",
    "an toàn thực phẩm",
    "phòng cháy chữa cháy",
    "người có công",
    "lý lịch tư pháp",
];
const FAMILIES: [&str; 10] = [
    "Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Phan", "Vũ", "Đặng", "Bùi", "Đỗ",
];
const MIDDLES: [&str; 8] = ["Thị", "Văn", "Minh", "Thu", "Đức", "Ngọc", "Quang", "Hồng"];
const GIVEN: [&str; 20] = [
    "Hoa", "Đạt", "Lan", "Hùng", "Mai", "Dũng", "Hương", "Sơn", "Thảo", "Tuấn", "Yến", "Long", "Nga", "Phúc",
    "Trang", "Việt", "Linh", "Khánh", "Oanh", "Bình",
];

/// A number that looks random and is the same for the same input (SplitMix64).
pub fn mixed(n: i64) -> u64 {
    let mut z = (n as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub fn procedures() -> Vec<String> {
    let crossed = OBJECTS
        .iter()
        .flat_map(|object| ACTIONS.iter().map(move |action| format!("{action} {object}")));
    crossed.chain([RARE.to_owned()]).collect()
}

pub fn officer(n: i64) -> Officer {
    let pick = |words: &[&'static str], salt: i64| words[mixed(n * 31 + salt) as usize % words.len()];
    Officer {
        code: format!("nv{n:03}"),
        name: Some(format!(
            "{} {} {}",
            pick(&FAMILIES, 1),
            pick(&MIDDLES, 2),
            pick(&GIVEN, 3)
        )),
    }
}

pub fn site(n: i64) -> SiteId {
    format!("phuong-{n:02}").parse().unwrap()
}

pub fn counter(n: i64) -> CounterId {
    format!(
        "phuong-{:02}-q{:02}",
        n / COUNTERS_PER_SITE,
        n % COUNTERS_PER_SITE + 1
    )
    .parse()
    .unwrap()
}

pub fn stream(n: i64) -> StreamId {
    format!("{}.front.main", counter(n)).parse().unwrap()
}

pub fn recorder(n: i64) -> String {
    format!("rec-{n:02}")
}

/// One run a day.
pub fn run(counter: i64, day: i64) -> RunId {
    let id = u128::from(mixed(counter * 1000 + day)) << 64 | u128::from(mixed(-counter * 1000 - day - 1));
    RunId::from_uuid(uuid::Uuid::from_u128(id))
}

/// How big the city is and when its last day is.
#[derive(Debug, Clone)]
pub struct City {
    pub interactions: i64,
    pub segments: i64,
    procedures: Vec<String>,
    patterns: DossierPatterns,
}

/// 2026-11-23, a Monday.
const LAST_DAY: Date = Date::constant(2026, 11, 23);
/// 07:30 in Hà Nội on that day.
const LAST_OPENING: WallTime = WallTime(1_795_393_800_000_000);
const DAY_US: i64 = 86_400_000_000;

impl City {
    pub fn new(segments: i64) -> Self {
        Self {
            segments,
            interactions: segments / 10,
            procedures: procedures(),
            patterns: DossierPatterns::default(),
        }
    }

    /// Days, the last one cut short.
    pub fn days(&self) -> i64 {
        (self.interactions + PER_DAY - 1) / PER_DAY
    }

    pub fn opening(&self, day: i64) -> WallTime {
        LAST_OPENING - (self.days() - 1 - day) * DAY_US
    }

    pub fn date(&self, day: i64) -> Date {
        LAST_DAY
            .checked_sub((self.days() - 1 - day).days())
            .expect("a few weeks back there is a date")
    }

    /// Shortly after the last thing happened.
    pub fn now(&self) -> WallTime {
        let of_last_day = self.interactions - (self.days() - 1) * PER_DAY;
        self.opening(self.days() - 1) + (of_last_day / COUNTERS + 2) * 10 * MINUTE_US
    }

    /// Day, slot and counter of a visit; visits are numbered as they come in over the whole city.
    pub fn place(n: i64) -> (i64, i64, i64) {
        (n / PER_DAY, n % PER_DAY / COUNTERS, n % COUNTERS)
    }

    pub fn ticket_number(n: i64) -> String {
        let (_, slot, counter) = Self::place(n);
        format!(
            "{:04}",
            slot * COUNTERS_PER_SITE + counter % COUNTERS_PER_SITE + 1
        )
    }

    pub fn procedure(&self, n: i64) -> &str {
        let (_, slot, counter) = Self::place(n);
        if counter == RARE_COUNTER && slot == 7 {
            return RARE;
        }
        // Some are asked for far more often than others: the cube of an even share.
        let share = (mixed(n) >> 11) as f64 / (1_u64 << 53) as f64;
        let common = self.procedures.len() - 1;
        &self.procedures[(share.powi(3) * common as f64) as usize]
    }

    pub fn officer(n: i64) -> Officer {
        let (day, _, counter) = Self::place(n);
        officer(2 * counter + day % 2)
    }

    pub fn dossier(&self, n: i64) -> DossierCode {
        let (day, slot, counter) = Self::place(n);
        let is_second = day % (2 * APART) >= APART;
        let first_day = if is_second { day - APART } else { day };
        // At the second visit it is the next counter's turn.
        let at = if is_second {
            counter - counter % COUNTERS_PER_SITE + (counter + 1) % COUNTERS_PER_SITE
        } else {
            counter
        };
        let code = format!(
            "H26.{:02}.05-{}-{:04}",
            counter / COUNTERS_PER_SITE,
            self.date(first_day).strftime("%y%m%d"),
            slot * COUNTERS_PER_SITE + at % COUNTERS_PER_SITE + 1
        );
        accept(&code, &self.patterns).code
    }

    /// When the visit begins and ends.
    pub fn span(&self, n: i64) -> (WallTime, WallTime) {
        let (day, slot, _) = Self::place(n);
        let called = self.opening(day) + slot * 10 * MINUTE_US + (mixed(n) % 60 + 15) as i64 * 1_000_000;
        (called, called + (mixed(n + 1) % 300 + 180) as i64 * 1_000_000)
    }

    pub fn interaction(&self, n: i64) -> Interaction {
        let (day, _, at) = Self::place(n);
        let (called, finished) = self.span(n);
        let started = called + 12_000_000;
        let scanned = started + 20_000_000;
        let date = self.date(day);
        let source = format!("/qms/{}", site(at / COUNTERS_PER_SITE));
        let event = |event_type, at| EventRef {
            at,
            event_type,
            key: EventKey {
                source: source.clone(),
                id: format!("{:016x}", mixed(n * 8 + event_type as i64)),
            },
        };
        let is_rated = mixed(n + 2).is_multiple_of(4);
        let score = if mixed(n + 3).is_multiple_of(20) { 0.0 } else { 2.0 };
        let mut events = vec![
            event(EventType::TicketCalled, called),
            event(EventType::TicketServingStarted, started),
            event(EventType::DossierScanned, scanned),
            event(EventType::TicketFinished, finished),
        ];
        if is_rated {
            events.push(event(EventType::RatingGiven, finished));
        }
        let id = u128::from(mixed(n)) << 64 | u128::from(mixed(-n - 1));
        Interaction {
            interaction_id: InteractionId::from_uuid(uuid::Uuid::from_u128(id)),
            site: site(at / COUNTERS_PER_SITE),
            counter: counter(at),
            ticket: Some(TicketKey {
                site: site(at / COUNTERS_PER_SITE),
                business_date: date,
                series: "A".into(),
                number: Self::ticket_number(n),
            }),
            predecessor: None,
            transferred_to: None,
            state: InteractionState::Finished,
            procedure: Some(self.procedure(n).to_owned()),
            officer: Some(Self::officer(n)),
            issued: None,
            called: Some(called),
            recalls: 0,
            started: Some(started),
            finished: Some(finished),
            closed_by: Some(ClosedBy::FinishEvent),
            open_until: None,
            served: vec![ServingSpan {
                start: started,
                end: Some(finished),
            }],
            rating: is_rated.then(|| Rating {
                score,
                scale: [0.0, 2.0],
                percent: score * 50.0,
                reasons: Vec::new(),
                given: finished,
            }),
            dossiers: vec![DossierLink {
                code: self.dossier(n),
                provenance: Provenance::Scan,
                confidence: 95,
                reason: LinkReason::DuringService,
                at: scanned,
                warnings: Vec::new(),
            }],
            confidence: Confidence {
                percent: 95,
                doubts: vec![Doubt::FinishLate],
            },
            footage: FootageBounds {
                start: called - 10_000_000,
                end: Some(finished + 15_000_000),
            },
            events,
        }
    }
}
