//! What happens at the counters, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use archive::time::DurationUs;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;

use super::auth::Person;
use super::error::{Answer, Problem};
use super::places::{is_seen, seen_states};
use crate::access::Action;
use crate::centre::Centre;
use crate::db::DbError;
use crate::supervision::CounterState;

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The session is looked up again this often.
const SESSION_EVERY_US: DurationUs = 15_000_000;

#[derive(Serialize)]
struct Snapshot {
    counters: Vec<Arc<CounterState>>,
}

/// First `snapshot` with all counters, then `counter` for each that changes; after a lag a snapshot again.
#[utoipa::path(get, path = "/api/v1/live-state", tag = "live",
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 401, body = Problem)))]
pub async fn live_state(
    State(centre): State<Arc<Centre>>,
    person: Person,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    if !person.may(Action::SeeInteractions) {
        return Err(Problem::forbidden());
    }
    // Subscribed before the snapshot is taken, so that no change falls between.
    let mut changes = centre.supervision.watch();
    let first = snapshot(&centre, &person).await?;
    let mut looked_after = centre.now();
    let stream = async_stream::stream! {
        yield Ok(first);
        loop {
            let change = tokio::select! {
                () = centre.shutdown.cancelled() => return,
                change = changes.recv() => change,
            };
            match change {
                Ok(state) => {
                    let Ok(places) = centre.places().await else { return };
                    if is_seen(&places, &person, &state.counter_id) {
                        yield Ok(event("counter", &*state));
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    let Ok(again) = snapshot(&centre, &person).await else { return };
                    yield Ok(again);
                }
                Err(RecvError::Closed) => return,
            }
            // A session that was ended sees nothing more.
            if centre.now() - looked_after >= SESSION_EVERY_US {
                looked_after = centre.now();
                if !is_signed_in(&centre, &person).await.unwrap_or(true) {
                    return;
                }
            }
        }
    };
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn snapshot(centre: &Centre, person: &Person) -> Answer<Event> {
    Ok(event(
        "snapshot",
        &Snapshot {
            counters: seen_states(centre, person).await?,
        },
    ))
}

async fn is_signed_in(centre: &Centre, person: &Person) -> Result<bool, DbError> {
    let now = centre.now();
    // While it is watched, the page is not idle.
    centre.db.touch_session(&person.session, now).await?;
    Ok(centre
        .db
        .session(&person.session, now, archive::time::WallTime(0))
        .await?
        .is_some())
}

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default()
        .event(name)
        .json_data(data)
        .expect("states have text keys only")
}
