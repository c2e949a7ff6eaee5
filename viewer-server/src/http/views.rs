//! Interactions as the page and integrators see them.

use archive::dossier::Warning;
use archive::ids::StreamId;
use archive::interaction::Interaction;
use archive::time::WallTime;
use archive::timeline::Span;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Answer;
use crate::centre::Centre;
use crate::db::InteractionRow;
use crate::places::Places;
use crate::playback::Seen;
use crate::supervision::{OfficerView, TicketView, ticket_view};

/// A rating.
#[derive(Serialize, ToSchema)]
pub struct RatingView {
    score: f64,
    /// Worst and best.
    scale: [f64; 2],
    /// 0 worst to 100 best.
    percent: f64,
    reasons: Vec<String>,
    given_at: String,
}

/// A dossier of an interaction.
#[derive(Serialize, ToSchema)]
pub struct DossierLinkView {
    code: String,
    /// `scan`, `kiosk` or `manual`.
    provenance: &'static str,
    /// 0 to 100.
    confidence: u8,
    at: String,
    warning: Option<String>,
}

/// An interaction.
#[derive(Serialize, ToSchema)]
pub struct InteractionView {
    interaction_id: String,
    site_id: String,
    site_name: String,
    counter_id: String,
    counter_name: String,
    ticket: Option<TicketView>,
    /// `called`, `serving`, `held`, `finished`, `no_show`, `cancelled`, `transferred` or `abandoned`.
    state: &'static str,
    procedure: Option<String>,
    officer: Option<OfficerView>,
    issued_at: Option<String>,
    called_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    /// Footage to play.
    start: String,
    /// Null while open.
    end: Option<String>,
    duration_s: Option<f64>,
    rating: Option<RatingView>,
    dossiers: Vec<DossierLinkView>,
    /// How sure the binding of events to this interaction is, 0 to 100.
    confidence: u8,
    confidence_reasons: Vec<String>,
    /// `full`, `partial`, `none` or `pending`.
    coverage: &'static str,
    missing_s: f64,
    revision: u64,
    still_url: Option<String>,
}

/// Views of many.
///
/// # Errors
/// [`super::error::Problem`] 5xx.
pub async fn interaction_views(
    centre: &Centre,
    places: &Places,
    rows: Vec<InteractionRow>,
) -> Answer<Vec<InteractionView>> {
    let interactions: Vec<_> = rows.iter().map(|row| &row.interaction).collect();
    let seen = centre.seen(places, &interactions).await?;
    Ok(rows
        .into_iter()
        .zip(seen)
        .map(|(row, seen)| view(places, row, seen))
        .collect())
}

/// The view of one.
///
/// # Errors
/// [`super::error::Problem`] 5xx.
pub async fn interaction_view(
    centre: &Centre,
    places: &Places,
    row: InteractionRow,
) -> Answer<InteractionView> {
    let mut seen = centre.seen(places, &[&row.interaction]).await?;
    let seen = seen.pop().expect("there is one for each interaction");
    Ok(view(places, row, seen))
}

fn view(places: &Places, row: InteractionRow, seen: Seen) -> InteractionView {
    let InteractionRow {
        interaction: i,
        revision,
    } = row;
    let text = |time: Option<WallTime>| time.map(|t| t.to_string());
    InteractionView {
        interaction_id: i.interaction_id.to_string(),
        site_id: i.site.to_string(),
        site_name: places.site(&i.site).map_or_else(String::new, |s| s.name.clone()),
        counter_id: i.counter.to_string(),
        counter_name: places
            .counter(&i.counter)
            .map_or_else(|| i.counter.to_string(), |c| c.name.clone()),
        ticket: i.ticket.as_ref().map(ticket_view),
        state: i.state.as_str(),
        officer: i.officer.as_ref().map(|o| OfficerView {
            code: o.code.clone(),
            name: o.name.clone(),
        }),
        issued_at: text(i.issued),
        called_at: text(i.called),
        started_at: text(i.started),
        finished_at: text(i.finished),
        start: i.footage.start.to_string(),
        end: text(i.footage.end),
        duration_s: i
            .started
            .zip(i.finished)
            .map(|(start, end)| (end - start) as f64 / 1e6),
        rating: i.rating.as_ref().map(|r| RatingView {
            score: r.score,
            scale: r.scale,
            percent: r.percent,
            reasons: r.reasons.clone(),
            given_at: r.given.to_string(),
        }),
        dossiers: i
            .dossiers
            .iter()
            .map(|d| DossierLinkView {
                code: d.code.to_string(),
                provenance: d.provenance.as_str(),
                confidence: d.confidence,
                at: d.at.to_string(),
                warning: d.warnings.first().and_then(warning_name),
            })
            .collect(),
        confidence: i.confidence.percent,
        confidence_reasons: i.confidence.doubts.iter().map(ToString::to_string).collect(),
        coverage: seen.coverage,
        missing_s: seen.missing_us as f64 / 1e6,
        revision,
        still_url: seen.stream.and_then(|stream| still_url(&stream, &i, &seen.spans)),
        procedure: i.procedure,
    }
}

/// The name of a warning as JSON carries it.
pub fn warning_name(warning: &Warning) -> Option<String> {
    serde_json::to_value(warning).ok()?.as_str().map(str::to_owned)
}

/// A still of the start of service, or of the moment nearest to it that can be seen now.
fn still_url(stream: &StreamId, interaction: &Interaction, spans: &[Span]) -> Option<String> {
    let wanted = interaction.started.unwrap_or(interaction.footage.start);
    let span = spans.iter().find(|span| wanted < span.end).or(spans.last())?;
    // A millisecond inside, since the stored times of a segment may be rounded otherwise.
    let at = wanted.min(span.end - 1000).max(span.start + 1000);
    Some(format!("/api/v1/streams/{stream}/still.jpg?at={at}&width=320"))
}
