//! The kinds of calls: what people type and open.

use archive::fold::fold;
use axum::http::StatusCode;

use crate::city::{self, COUNTERS, COUNTERS_PER_SITE, City};
use crate::encoded;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person {
    OfHalf,
    OfOneSite,
}

impl Person {
    pub fn name(self) -> &'static str {
        match self {
            Self::OfHalf => "half",
            Self::OfOneSite => "one-site",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::OfHalf => "north",
            Self::OfOneSite => "phuong-03",
        }
    }
}

/// One kind of call.
pub struct Class {
    pub name: &'static str,
    pub person: Person,
    path: Box<dyn Fn(i64) -> String>,
    /// Where the numbers of its calls start, so that no two kinds ask about the same visits.
    pub first: i64,
    /// Whether nothing is to be found.
    pub is_miss: bool,
    /// Whether the limit is for it.
    pub is_limited: bool,
    pub status: StatusCode,
}

impl Class {
    /// The path of one of its calls, by number.
    pub fn path(&self, i: i64) -> String {
        (self.path)(self.first + i)
    }

    fn new(name: &'static str, path: impl Fn(i64) -> String + 'static) -> Self {
        Self {
            name,
            person: Person::OfHalf,
            path: Box::new(path),
            first: 0,
            is_miss: false,
            is_limited: true,
            status: StatusCode::OK,
        }
    }

    fn typed(name: &'static str, text: impl Fn(i64) -> String + 'static) -> Self {
        Self::new(name, move |i| {
            format!("/api/v1/interactions?q={}", encoded(&text(i)))
        })
    }

    fn missing(self) -> Self {
        Self {
            is_miss: true,
            ..self
        }
    }

    fn beside(self) -> Self {
        Self {
            is_limited: false,
            ..self
        }
    }

    fn by(self, person: Person) -> Self {
        Self { person, ..self }
    }
}

/// A visit that the person of half of the city may see; another for each `i`.
fn visit(city: &City, i: i64) -> i64 {
    let n = (city::mixed(i ^ 0x5eed) % city.interactions as u64) as i64;
    n - n % COUNTERS + n % (COUNTERS / 2)
}

fn pick<'w>(words: &[&'w str], i: i64) -> &'w str {
    words[city::mixed(i) as usize % words.len()]
}

/// Text about a visit.
fn about(city: &City, write: impl Fn(&City, i64) -> String + 'static) -> impl Fn(i64) -> String + 'static {
    let city = city.clone();
    move |i| write(&city, visit(&city, i))
}

fn date(city: &City, n: i64) -> String {
    city.date(City::place(n).0).strftime("%d/%m/%Y").to_string()
}

fn name_of(n: i64) -> String {
    City::officer(n).name.unwrap_or_default()
}

/// Every kind of call that is measured.
pub fn all(city: &City) -> Vec<Class> {
    let mut classes = kinds(city);
    for (first, class) in (0..).step_by(100_000).zip(&mut classes) {
        class.first = first;
    }
    classes
}

fn kinds(city: &City) -> Vec<Class> {
    let dossier = |city: &City, n| city.dossier(n).as_str().to_owned();
    vec![
        Class::new(
            "dossier",
            about(city, move |c, n| {
                format!("/api/v1/interactions?dossier={}", dossier(c, n))
            }),
        ),
        Class::typed(
            "q: dossier in lower case",
            about(city, move |c, n| dossier(c, n).to_lowercase()),
        ),
        Class::typed("q: dossier that nobody has", |i| {
            format!(
                "H26.17.05-99{:02}01-{:04}",
                i.rem_euclid(12) + 1,
                i.rem_euclid(9999)
            )
        })
        .missing(),
        Class::typed(
            "q: beginning of a dossier",
            about(city, move |c, n| dossier(c, n)[..14].to_owned()),
        )
        .missing(),
        Class::new(
            "dossier's page",
            about(city, move |c, n| format!("/api/v1/dossiers/{}", dossier(c, n))),
        ),
        Class::typed(
            "q: ticket and day",
            about(city, |c, n| format!("A{} {}", City::ticket_number(n), date(c, n))),
        ),
        Class::new(
            "ticket, any day",
            about(city, |_, n| {
                format!("/api/v1/interactions?ticket=A{}", City::ticket_number(n))
            }),
        ),
        Class::typed(
            "q: A0123 hôm nay",
            about(city, |_, n| format!("A{} hôm nay", City::ticket_number(n))),
        ),
        Class::typed(
            "q: A0123 quầy 3",
            about(city, |_, n| {
                format!("A{} quầy {}", City::ticket_number(n), n % COUNTERS_PER_SITE + 1)
            }),
        ),
        Class::typed(
            "q: ticket and officer",
            about(city, |_, n| {
                format!("A{} {}", City::ticket_number(n), City::officer(n).code)
            }),
        ),
        Class::typed(
            "q: officer's code",
            about(city, |_, n| City::officer(n).code.to_uppercase()),
        ),
        Class::typed("q: officer's name, folded", about(city, |_, n| fold(&name_of(n)))),
        Class::typed("q: part of officers' names", |i| {
            pick(
                &["nguyen thi", "tran van", "bui ngoc", "do quang", "phan minh"],
                i,
            )
            .to_owned()
        }),
        Class::typed(
            "q: officer, procedure, month",
            about(city, |c, n| {
                format!("{} {} tháng này", fold(&name_of(n)), fold(c.procedure(n)))
            }),
        ),
        Class::typed("q: common words", |i| {
            pick(&["chung thuc", "ban sao", "khai sinh", "dang ky", "cap lai"], i).to_owned()
        }),
        Class::typed("q: rare procedure", |_| {
            "nhan cha me con co yeu to nuoc ngoai".to_owned()
        }),
        Class::typed("q: word that nobody has", |i| {
            format!("khongco{}", city::mixed(i) % 100_000)
        })
        .missing(),
        Class::new(
            "q: procedure at a counter",
            about(city, |c, n| {
                format!(
                    "/api/v1/interactions?q={}&counter={}",
                    encoded(&fold(c.procedure(n))),
                    city::counter(n % COUNTERS)
                )
            }),
        ),
        Class::new("q: rare procedure at a counter", |i| {
            format!(
                "/api/v1/interactions?q=nhan%20cha%20me%20con&counter={}",
                city::counter(if i % 3 == 0 {
                    i.rem_euclid(200)
                } else {
                    city::RARE_COUNTER
                })
            )
        }),
        Class::typed(
            "q: day, hour, counter",
            about(city, |c, n| format!("{} 9h quầy 3", date(c, n))),
        ),
        Class::typed(
            "q: procedure on a day",
            about(city, |c, n| format!("{} {}", fold(c.procedure(n)), date(c, n))),
        ),
        Class::new("newest", |_| "/api/v1/interactions".to_owned()),
        Class::new("badly rated", |_| "/api/v1/interactions?rating_max=25".to_owned()),
        Class::typed("q: common words, one site's person", |i| {
            pick(&["chung thuc", "ban sao", "khai sinh", "dang ky"], i).to_owned()
        })
        .by(Person::OfOneSite),
        Class::typed("q: rare procedure, another site's person", |_| {
            "nhan cha me con co yeu to nuoc ngoai".to_owned()
        })
        .by(Person::OfOneSite)
        .missing(),
        Class::new("badly rated, one site's person", |_| {
            "/api/v1/interactions?rating_max=25".to_owned()
        })
        .by(Person::OfOneSite),
        Class::new(
            "interaction's page",
            about(city, |c, n| {
                format!("/api/v1/interactions/{}", c.interaction(n).interaction_id)
            }),
        ),
        Class::new(
            "playlist of an interaction",
            about(city, |c, n| {
                let footage = c.interaction(n).footage;
                let stream = city::stream(n % COUNTERS);
                format!(
                    "/api/v1/streams/{stream}/playlist.m3u8?from={}&to={}",
                    footage.start,
                    footage.end.unwrap()
                )
            }),
        ),
        Class::new(
            "timeline of a counter, a day (no limit)",
            about(city, |c, n| {
                let opening = c.opening(City::place(n).0);
                let end = opening + city::MINUTES * city::MINUTE_US;
                format!(
                    "/api/v1/counters/{}/timeline?from={opening}&to={end}",
                    city::counter(n % COUNTERS)
                )
            }),
        )
        .beside(),
    ]
}
