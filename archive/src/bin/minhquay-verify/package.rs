//! An exported ZIP: every film in it is checked as if it had come alone.

use std::fs::File;
use std::path::Path;

use crate::keys::Keys;
use crate::report::{Report, Verdict};
use crate::{Unreadable, export};

/// Checks each MP4 of a package, and that the package's structure is whole.
pub fn verify(path: &Path, keys: &Keys) -> Result<Report, Unreadable> {
    let file = File::open(path).map_err(|e| Unreadable::new(path, e))?;
    let mut report = Report::default();
    let mut archive = match zip::ZipArchive::new(file) {
        Ok(archive) => archive,
        Err(error) => {
            report.finding(
                path.display(),
                format!("the package's directory is damaged: {error}"),
            );
            return Ok(report);
        }
    };
    let mut films = 0;
    for index in 0..archive.len() {
        let mut member = match archive.by_index(index) {
            Ok(member) => member,
            Err(error) => {
                report.finding(format!("member {}", index + 1), error);
                continue;
            }
        };
        let name = match member.name() {
            Ok(name) => name.into_owned(),
            Err(error) => {
                report.finding(format!("member {}", index + 1), error);
                continue;
            }
        };
        // Into a file of its own: it may be larger than the memory, and its check goes back and forth.
        let mut copy = tempfile::tempfile().map_err(|e| Unreadable::new(path, e))?;
        if let Err(error) = std::io::copy(&mut member, &mut copy) {
            report.finding(&name, format!("it can't be unpacked: {error}"));
            continue;
        }
        if !name.ends_with(".mp4") {
            continue;
        }
        films += 1;
        let size = member.size();
        let found = export::check(&mut copy, size, keys).map_err(|e| Unreadable::new(path, e))?;
        report.take(&name, found);
    }
    report.fact("films in the package", films);
    if films == 0 {
        report.finding(path.display(), "there is no film in it");
        report.conclude(Verdict::Unproven);
    }
    Ok(report)
}
