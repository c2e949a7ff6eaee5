//! Signing in and out, and who one is.

use std::sync::Arc;

use axum::Json as Answered;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use utoipa::ToSchema;

use super::auth::{self, COOKIE, NotFromElsewhere, Person};
use super::error::{Answer, Problem};
use super::extract::Json;
use crate::access::{self, Action};
use crate::centre::Centre;

/// What one signs in with.
#[derive(Deserialize, ToSchema)]
pub struct SignIn {
    /// The account.
    username: String,
    /// Its password.
    password: String,
}

/// Opens a session and sets its cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "people", request_body = SignIn,
    responses((status = 204, description = "Signed in; the cookie is set"), (status = 401, body = Problem)))]
pub async fn sign_in(
    State(centre): State<Arc<Centre>>,
    address: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    _from: NotFromElsewhere,
    Json(SignIn { username, password }): Json<SignIn>,
) -> Answer<Response> {
    let now = centre.now();
    let username = username.trim().to_lowercase();
    let from = address.map_or_else(String::new, |a| a.0.0.ip().to_string());
    // Name and address together, so that nobody can lock another out from elsewhere.
    let attempt = format!("{username}\n{from}");
    centre.sign_ins.check(&attempt, now)?;
    let account = centre.db.account(&username).await?;
    let kept = account.as_ref().map(|a| a.password_hash.clone());
    let is_right = centre.passwords.verify(password, kept).await?;
    let Some(account) = account.filter(|_| is_right) else {
        centre.sign_ins.failed(&attempt, now);
        metrics::counter!("minhquay_sign_in_failures_total").increment(1);
        let detail = "user name or password is not right";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "bad_credentials", detail));
    };
    centre.sign_ins.succeeded(&attempt);
    let secret = access::new_secret();
    let hours = i64::from(centre.settings.session.absolute_hours);
    let expires = now + hours * 3_600_000_000;
    centre
        .db
        .open_session(&access::secret_hash(&secret), &account.username, now, expires)
        .await?;
    Ok((
        StatusCode::NO_CONTENT,
        [(header::SET_COOKIE, set_cookie(&centre, &secret, hours * 3600))],
    )
        .into_response())
}

fn set_cookie(centre: &Centre, secret: &str, max_age_s: i64) -> String {
    let secure = if centre.settings.public_url.starts_with("https://") {
        "; Secure"
    } else {
        ""
    };
    format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}")
}

/// Ends the session.
#[utoipa::path(delete, path = "/api/v1/session", tag = "people",
    responses((status = 204, description = "Signed out, or was not signed in")))]
pub async fn sign_out(State(centre): State<Arc<Centre>>, headers: HeaderMap) -> Answer<Response> {
    if let Some(secret) = auth::cookie(&headers) {
        auth::check_origin(&headers, &centre.settings.public_url)?;
        let session = access::secret_hash(secret);
        centre.db.close_session(&session).await?;
        centre.live.close_sessions_of(&session);
    }
    Ok((
        StatusCode::NO_CONTENT,
        [(header::SET_COOKIE, set_cookie(&centre, "", 0))],
    )
        .into_response())
}

/// A role over a unit and all below it.
#[derive(Serialize, ToSchema)]
pub struct GrantView {
    role: &'static str,
    unit_id: String,
    unit_name: String,
}

/// What the page shows and hides by.
#[derive(Serialize, ToSchema)]
pub struct May {
    see_footage: bool,
    hold_footage: bool,
    see_devices: bool,
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
pub struct Me {
    username: String,
    display_name: String,
    grants: Vec<GrantView>,
    /// Rooms of the page that the roles open.
    rooms: Vec<&'static str>,
    may: May,
}

/// Who one is.
#[utoipa::path(get, path = "/api/v1/me", tag = "people", responses((status = 200, body = Me), (status = 401, body = Problem)))]
pub async fn me(State(centre): State<Arc<Centre>>, person: Person) -> Answer<Answered<Me>> {
    let places = centre.places().await?;
    let rooms = [
        ("live", Action::SeeInteractions),
        ("search", Action::SeeInteractions),
        ("devices", Action::SeeDevices),
    ];
    Ok(Answered(Me {
        grants: person
            .grants
            .iter()
            .map(|g| GrantView {
                role: g.role.as_str(),
                unit_id: g.unit.to_string(),
                unit_name: places.unit(&g.unit).map_or_else(String::new, |u| u.name.clone()),
            })
            .collect(),
        rooms: rooms
            .into_iter()
            .filter(|(_, action)| person.may(*action))
            .map(|(room, _)| room)
            .collect(),
        may: May {
            see_footage: person.may(Action::SeeFootage),
            hold_footage: person.may(Action::HoldFootage),
            see_devices: person.may(Action::SeeDevices),
        },
        username: person.username,
        display_name: person.display_name,
    }))
}
