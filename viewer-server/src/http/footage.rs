//! Footage: playlists, bytes and stills. Each read is decided and written down before it is answered.

use std::io::SeekFrom;
use std::ops::Range;
use std::sync::Arc;

use archive::ids::StreamId;
use archive::time::WallTime;
use archive::timeline::Window;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;

use super::auth::Person;
use super::error::{Answer, Problem};
use super::extract::{Path, Query, name, time, window};
use super::stored::{Stored, answer};
use crate::access::{Action, Role};
use crate::centre::Centre;
use crate::db::{FootageRead, SegmentRow};
use crate::playback::{Ending, SegmentId, plan, playlist, reason};
use crate::storage::media_key;

/// A window of wall time.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PlaylistQuery {
    /// RFC 3339; playback starts with the keyframe at or before it.
    from: String,
    /// RFC 3339, at most 31 days later.
    to: String,
}

/// Whether a person may see footage of a stream, and by which role.
///
/// # Errors
/// [`Problem`] 403, 404 or 5xx.
pub async fn may_see(centre: &Centre, person: &Person, stream: &StreamId) -> Answer<Role> {
    let places = centre.places().await?;
    if places.stream(stream).is_none() {
        return Err(Problem::not_found("stream"));
    }
    person.require_at(&places, &stream.counter(), Action::SeeFootage)
}

/// Lets a person see footage, and writes it down first.
///
/// # Errors
/// [`Problem`] 403, 404 or 5xx; then nothing may be shown.
pub async fn admit(
    centre: &Centre,
    person: &Person,
    stream: &StreamId,
    action: &'static str,
    span: Option<(WallTime, WallTime)>,
) -> Answer<()> {
    let role = may_see(centre, person, stream).await?;
    let read = FootageRead {
        username: &person.username,
        role,
        action,
        stream,
        span,
    };
    Ok(centre.db.log_footage_read(&read, centre.now()).await?)
}

/// An HLS playlist of what was recorded in a window.
#[utoipa::path(get, path = "/api/v1/streams/{id}/playlist.m3u8", tag = "footage",
    params(("id" = String, Path), PlaylistQuery),
    responses((status = 200, content_type = "application/vnd.apple.mpegurl", body = String), (status = 404, body = Problem)))]
pub async fn get_playlist(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
    Query(query): Query<PlaylistQuery>,
) -> Answer<Response> {
    let stream: StreamId = name("id", &id)?;
    let Window { start, end } = window(&query.from, &query.to)?;
    admit(&centre, &person, &stream, "playlist", Some((start, end))).await?;
    let window = Window { start, end };
    let mut segments = centre.db.segments(&stream, window).await?;
    let arriving = centre.arriving(&stream, window).await?;
    segments.extend(arriving.into_iter().map(|a| a.row));
    // Where something is still to come, the playlist ends for now, so that it only ever grows.
    let awaited = centre.awaited(&stream, window).await?;
    let shown = Window {
        end: awaited.map_or(end, |at| at.clamp(start, end)),
        ..window
    };
    let pieces = plan(&segments, shown)?;
    if pieces.is_empty() {
        let gaps = centre.db.gaps(&stream, Window { start, end }).await?;
        let gap = reason(&gaps, Window { start, end });
        return Err(gap.map_or_else(Problem::no_recording, Problem::not_recorded));
    }
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.apple.mpegurl"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let ending = awaited.map_or(Ending::Here, |_| Ending::MoreToCome);
    Ok((headers, playlist(&pieces, ending)).into_response())
}

/// Bytes of a stored file, as a playlist names them.
#[utoipa::path(get, path = "/api/v1/segments/{id}/media.mp4", tag = "footage", params(("id" = String, Path)),
    responses((status = 200, content_type = "video/mp4"), (status = 206, content_type = "video/mp4"),
        (status = 404, body = Problem), (status = 416, body = Problem)))]
pub async fn media(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let id: SegmentId = name("id", &id)?;
    may_see(&centre, &person, &id.key.stream).await?;
    let Source { segment, readable } = find(&centre, &id).await?;
    let stored = Stored {
        size_bytes: segment.size_bytes,
        sha256: &segment.sha256,
        content_type: "video/mp4",
        cache_control: "private, max-age=86400, immutable",
        save_as: None,
    };
    answer(&stored, &headers, |bytes| {
        read(&centre, &segment, readable, bytes)
    })
    .await
}

async fn read(centre: &Centre, segment: &SegmentRow, readable: Readable, bytes: Range<u64>) -> Answer<Body> {
    match readable {
        Readable::Stored => {
            let key = media_key(&segment.recorder, &segment.key);
            Ok(Body::from_stream(centre.storage.read(&key, bytes).await?))
        }
        Readable::Part {
            mut file,
            verified_bytes,
        } => {
            if bytes.end > verified_bytes {
                let detail = format!("only the first {verified_bytes} bytes have come");
                return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", detail));
            }
            file.seek(SeekFrom::Start(bytes.start))
                .await
                .map_err(part_failed)?;
            Ok(Body::from_stream(ReaderStream::new(
                file.take(bytes.end - bytes.start),
            )))
        }
    }
}

/// A segment and where its bytes can be read.
struct Source {
    segment: SegmentRow,
    readable: Readable,
}

enum Readable {
    Stored,
    /// It is still coming up.
    Part {
        file: tokio::fs::File,
        verified_bytes: u64,
    },
}

async fn find(centre: &Centre, id: &SegmentId) -> Answer<Source> {
    // It may be stored between the two looks.
    for _ in 0..2 {
        if let Some(segment) = centre.db.segment(&id.recorder, &id.key).await? {
            let readable = Readable::Stored;
            return Ok(Source { segment, readable });
        }
        let Some(arriving) = centre.arriving_segment(&id.recorder, &id.key).await? else {
            continue;
        };
        match tokio::fs::File::open(&arriving.part).await {
            Ok(file) => {
                let readable = Readable::Part {
                    file,
                    verified_bytes: arriving.verified_bytes,
                };
                let segment = arriving.row;
                return Ok(Source { segment, readable });
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(part_failed(e)),
        }
    }
    Err(Problem::not_found("segment"))
}

fn part_failed(source: std::io::Error) -> Problem {
    let path = "a segment that is coming up".into();
    crate::storage::StorageError::File { path, source }.into()
}

/// Which still.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StillQuery {
    /// RFC 3339.
    at: String,
    /// At most so many pixels wide, 16 to 1920.
    width: Option<u32>,
}

/// The keyframe at or before a moment.
#[utoipa::path(get, path = "/api/v1/streams/{id}/still.jpg", tag = "footage", params(("id" = String, Path), StillQuery),
    responses((status = 200, content_type = "image/jpeg"), (status = 404, body = Problem)))]
pub async fn still(
    State(centre): State<Arc<Centre>>,
    person: Person,
    Path(id): Path<String>,
    Query(query): Query<StillQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let stream: StreamId = name("id", &id)?;
    let at = time("at", &query.at)?;
    let width = query.width.unwrap_or(1920);
    if !(16..=1920).contains(&width) {
        return Err(Problem::parameter("width", "must be 16 to 1920"));
    }
    admit(&centre, &person, &stream, "still", Some((at, at))).await?;
    let still = centre.still(&stream, at, width).await?;
    let tag = format!("\"{}\"", still.tag);
    let caching = [
        (
            header::ETAG,
            HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\"")),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=60"),
        ),
    ];
    if headers
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|tags| tags.contains(&tag))
    {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    Ok((caching, [(header::CONTENT_TYPE, "image/jpeg")], still.jpeg).into_response())
}
