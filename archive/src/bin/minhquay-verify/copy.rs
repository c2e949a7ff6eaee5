//! A film that is said to be a copy of an exported one.

use std::path::Path;

use archive::segment::TrackKind;

use crate::Unreadable;
use crate::export;
use crate::keys::Keys;
use crate::report::{Report, Verdict};
use crate::samples::{Samples, read_samples};

/// Checks the original, then compares picture by picture.
pub fn verify(copy: &Path, original: &Path, keys: &Keys) -> Result<Report, Unreadable> {
    let mut report = Report::default();
    let proven = export::verify(original, keys)?;
    let is_proven = proven.verdict() == Verdict::Proven;
    report.take("original", proven);
    if !is_proven {
        report.note("the original itself is not proven, so nothing is said of the copy");
        return Ok(report);
    }
    let recorded = read(original)?;
    let copied = match read(copy) {
        Ok(copied) => copied,
        Err(unreadable) => {
            report.finding("copy", unreadable.reason);
            report.conclude(Verdict::Unproven);
            return Ok(report);
        }
    };
    if same_file(copy, original)? {
        report.fact("copy", "the same bytes as the original");
        return Ok(report);
    }
    let picture = compare("picture", &recorded, &copied, TrackKind::Video, &mut report);
    let sound = compare("sound", &recorded, &copied, TrackKind::Audio, &mut report);
    report.conclude(match (picture, sound) {
        (Likeness::Same | Likeness::Absent, Likeness::Same | Likeness::Absent) => Verdict::Remuxed,
        (Likeness::Other, _) | (_, Likeness::Other) => Verdict::Reencoded,
        _ => Verdict::Tampered,
    });
    Ok(report)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    /// Every sample is there, in order.
    Same,
    /// Some are those recorded, some are not or are missing.
    Partly,
    /// None is one that was recorded.
    Other,
    /// The copy has no such track.
    Absent,
}

fn read(path: &Path) -> Result<Samples, Unreadable> {
    let bytes = std::fs::read(path).map_err(|e| Unreadable::new(path, e))?;
    read_samples(&bytes).map_err(|reason| Unreadable::new(path, reason))
}

fn same_file(one: &Path, other: &Path) -> Result<bool, Unreadable> {
    let bytes = |path: &Path| std::fs::read(path).map_err(|e| Unreadable::new(path, e));
    Ok(bytes(one)? == bytes(other)?)
}

fn compare(
    what: &str,
    recorded: &Samples,
    copied: &Samples,
    kind: TrackKind,
    report: &mut Report,
) -> Likeness {
    let none = Vec::new();
    let recorded = recorded.get(&kind).unwrap_or(&none);
    let Some(copied) = copied.get(&kind).filter(|samples| !samples.is_empty()) else {
        if !recorded.is_empty() {
            report.note(format!("the copy has no {what}"));
        }
        return Likeness::Absent;
    };
    let known: std::collections::BTreeSet<_> = recorded.iter().map(|s| s.digest).collect();
    let kept = copied.iter().filter(|s| known.contains(&s.digest)).count();
    report.fact(
        &format!("{what} of the copy"),
        format!(
            "{kept} of {} samples are among the {} recorded",
            copied.len(),
            recorded.len()
        ),
    );
    if kept == 0 {
        report.finding(
            what,
            "nothing of it was recorded so: it was encoded anew, or is of something else",
        );
        return Likeness::Other;
    }
    let pairs = recorded
        .iter()
        .zip(copied)
        .position(|(r, c)| r.digest != c.digest);
    match pairs {
        None if recorded.len() == copied.len() => Likeness::Same,
        None => {
            report.finding(
                what,
                format!(
                    "the copy has {} samples, {} were recorded",
                    copied.len(),
                    recorded.len()
                ),
            );
            Likeness::Partly
        }
        Some(first) => {
            let at_s = recorded.get(first).map_or(0.0, |s| s.time_s);
            report.finding(
                what,
                format!("the first that differs is number {}, at {at_s:.3} s", first + 1),
            );
            Likeness::Partly
        }
    }
}
