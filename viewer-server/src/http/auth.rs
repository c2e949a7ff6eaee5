//! Who calls: a person by cookie, an integrator or a recorder by bearer token.

use std::sync::Arc;

use archive::ids::{CounterId, RecorderId, SiteId, UnitId};
use archive::time::DurationUs;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use super::error::{Answer, Problem};
use crate::access::{self, Action, Decision, Grant, Role, decide};
use crate::centre::Centre;
use crate::places::Places;

/// Name of the session cookie.
pub const COOKIE: &str = "minhquay_session";
const MINUTE_US: DurationUs = 60_000_000;

/// A person who is signed in.
#[derive(Debug, Clone)]
pub struct Person {
    /// Lower case.
    pub username: String,
    /// For people.
    pub display_name: String,
    /// What the person may do.
    pub grants: Vec<Grant>,
    /// Digest of the session's secret.
    pub session: String,
}

impl Person {
    /// The role by which an action at a unit is allowed.
    pub fn role_for(&self, action: Action, place: &[&UnitId]) -> Option<Role> {
        match decide(&self.grants, action, place) {
            Decision::Allowed(role) => Some(role),
            Decision::Denied => None,
        }
    }

    /// Refuses unless an action is allowed at a counter; a counter out of sight is not found.
    ///
    /// # Errors
    /// [`Problem`] 403 or 404.
    pub fn require_at(&self, places: &Places, counter: &CounterId, action: Action) -> Answer<Role> {
        let place = places.units_of_counter(counter);
        if self.role_for(Action::SeePlaces, &place).is_none() {
            return Err(Problem::not_found("counter"));
        }
        self.role_for(action, &place).ok_or_else(Problem::forbidden)
    }

    /// Whether any grant carries the right, wherever.
    pub fn may(&self, action: Action) -> bool {
        self.grants.iter().any(|g| g.role.allows(action))
    }

    /// The sites where an action is allowed; `None`: all there are.
    pub fn sites_for(&self, places: &Places, action: Action) -> Option<Vec<SiteId>> {
        let sites = places.sites();
        let all = sites.len();
        let allowed: Vec<_> = sites
            .into_iter()
            .map(|s| s.site_id.clone())
            .filter(|id| self.role_for(action, &places.units_of_site(id)).is_some())
            .collect();
        (allowed.len() < all).then_some(allowed)
    }
}

impl FromRequestParts<Arc<Centre>> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, centre: &Arc<Centre>) -> Answer<Self> {
        let secret = cookie(&parts.headers).ok_or_else(Problem::not_signed_in)?;
        if parts.method != Method::GET && parts.method != Method::HEAD {
            check_origin(&parts.headers, &centre.settings.public_url)?;
        }
        let session = access::secret_hash(secret);
        let now = centre.now();
        let idle_since = now - i64::from(centre.settings.session.idle_minutes) * MINUTE_US;
        let found = centre
            .db
            .session(&session, now, idle_since)
            .await?
            .ok_or_else(Problem::not_signed_in)?;
        if now - found.last_used > MINUTE_US {
            centre.db.touch_session(&session, now).await?;
        }
        Ok(Self {
            username: found.username,
            display_name: found.display_name,
            grants: found.grants,
            session,
        })
    }
}

/// The session's secret in the cookie header.
pub fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, secret)| secret)
}

/// Refuses calls that another site's page makes a browser send along with our cookie.
///
/// # Errors
/// [`Problem`] 403.
pub fn check_origin(headers: &HeaderMap, public_url: &str) -> Answer<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_ours = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = text("host").unwrap_or_default();
            origin == public_url.trim_end_matches('/')
                || origin.split_once("://").is_some_and(|(_, o)| o == host)
        }
        (None, None) => false,
    };
    is_ours.then_some(()).ok_or_else(|| {
        Problem::new(
            axum::http::StatusCode::FORBIDDEN,
            "cross_site",
            "the call came from another site's page",
        )
    })
}

/// A call that no other site's page made; programs that send neither header may call.
#[derive(Debug, Clone, Copy)]
pub struct NotFromElsewhere;

impl FromRequestParts<Arc<Centre>> for NotFromElsewhere {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, centre: &Arc<Centre>) -> Answer<Self> {
        let is_browser =
            parts.headers.contains_key("sec-fetch-site") || parts.headers.contains_key(header::ORIGIN);
        if is_browser {
            check_origin(&parts.headers, &centre.settings.public_url)?;
        }
        Ok(Self)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn bad_token() -> Problem {
    Problem::new(
        axum::http::StatusCode::UNAUTHORIZED,
        "bad_token",
        "a valid bearer token is needed",
    )
    .with_header(header::WWW_AUTHENTICATE, "Bearer")
}

/// A program that may write events.
#[derive(Debug, Clone, Copy)]
pub struct EventWriter;

impl FromRequestParts<Arc<Centre>> for EventWriter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, centre: &Arc<Centre>) -> Answer<Self> {
        let hash = access::secret_hash(bearer(&parts.headers).ok_or_else(bad_token)?);
        let (kept, scope) = centre.db.token(&hash).await?.ok_or_else(bad_token)?;
        if !access::is_same(&kept, &hash) {
            return Err(bad_token());
        }
        if scope != "events:write" {
            return Err(Problem::forbidden());
        }
        Ok(Self)
    }
}

/// A recorder in its session.
#[derive(Debug, Clone)]
pub struct ConnectedRecorder {
    /// Its name.
    pub recorder: RecorderId,
}

impl FromRequestParts<Arc<Centre>> for ConnectedRecorder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, centre: &Arc<Centre>) -> Answer<Self> {
        let token = bearer(&parts.headers).ok_or_else(bad_token)?;
        let (recorder, _) = centre.recorders.by_token(token).ok_or_else(bad_token)?;
        Ok(Self { recorder })
    }
}
