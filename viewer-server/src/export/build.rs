//! An export from its plan to its file.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use archive::ids::StreamId;
use archive::time::WallTime;
use archive::timeline::Hole;
use tokio_util::sync::CancellationToken;

use super::film::file_error;
use super::zipped::zip;
use super::{Content, ExportError, FilmView, HoleView};
use crate::centre::Centre;
use crate::db::{ExportFile, ExportRow};

/// Beside the films of an export that has several.
const MANIFEST: &str = "manifest.json";

impl Centre {
    /// Builds an export in a folder of its own; its file is then `file` there.
    pub(super) async fn build_export(
        &self,
        export: &ExportRow,
        folder: &Path,
        progress: &AtomicU64,
        cancelled: &CancellationToken,
    ) -> Result<(ExportFile, Content), ExportError> {
        let mut content = Content::default();
        let mut written = Vec::new();
        for stream in &export.streams {
            let planned = match self.plan_export(stream, export.window).await {
                // Of a counter's streams some may have none.
                Err(ExportError::NoRecording) if export.streams.len() > 1 => continue,
                planned => planned?,
            };
            content
                .holes
                .extend(planned.holes.iter().map(|hole| hole_view(stream, hole)));
            for film in &planned.films {
                let path = folder.join(format!("film-{}", written.len()));
                let made = self.write_film(export, film, &path, progress).await?;
                let name = self.film_name(stream, made.from, written.len());
                content.films.push(FilmView {
                    name: name.clone(),
                    stream_id: stream.to_string(),
                    recorder_id: film.recorder.to_string(),
                    from: made.from.to_string(),
                    to: made.to.to_string(),
                    size_bytes: made.size_bytes,
                    sha256: made.sha256.to_string(),
                });
                written.push((path, name, made.size_bytes, made.sha256));
            }
        }
        let file = folder.join("file");
        match &mut written[..] {
            [] => Err(ExportError::NoRecording),
            [(path, name, size_bytes, sha256)] => {
                tokio::fs::rename(&*path, &file)
                    .await
                    .map_err(|source| file_error(&file, source))?;
                let file = ExportFile {
                    name: std::mem::take(name),
                    size_bytes: *size_bytes,
                    sha256: *sha256,
                };
                Ok((file, content))
            }
            _ => {
                let manifest = manifest(export, &content, self.now());
                let films: Vec<_> = written.into_iter().map(|(path, name, ..)| (path, name)).collect();
                let (target, cancelled) = (file.clone(), cancelled.clone());
                let zipped = tokio::task::spawn_blocking(move || {
                    zip(&target, &films, (MANIFEST, &manifest), &cancelled)
                });
                let (size_bytes, sha256) = zipped
                    .await
                    .map_err(|e| file_error(&file, std::io::Error::other(e)))??;
                let name = format!("{}_{}.zip", export.counter, self.stamp(export.window.start));
                let file = ExportFile {
                    name,
                    size_bytes,
                    sha256,
                };
                Ok((file, content))
            }
        }
    }

    fn film_name(&self, stream: &StreamId, from: WallTime, number: usize) -> String {
        let (counter, viewpoint) = (stream.counter(), stream.viewpoint());
        let quality = stream.quality().as_str();
        // The number keeps apart what starts in the same second.
        format!(
            "{counter}_{viewpoint}_{quality}_{}_{:02}.mp4",
            self.stamp(from),
            number + 1
        )
    }

    /// A moment in the sites' zone, as names of files bear it.
    fn stamp(&self, at: WallTime) -> String {
        let local = at.timestamp().to_zoned(self.zone.clone());
        local.strftime("%Y%m%d-%H%M%S").to_string()
    }
}

fn hole_view(stream: &StreamId, hole: &Hole) -> HoleView {
    let cause = hole.cause.and_then(|cause| serde_json::to_value(cause).ok());
    HoleView {
        stream_id: stream.to_string(),
        from: hole.start.to_string(),
        to: hole.end.to_string(),
        cause: cause.and_then(|cause| Some(cause.as_str()?.to_owned())),
    }
}

fn manifest(export: &ExportRow, content: &Content, now: WallTime) -> Vec<u8> {
    let manifest = serde_json::json!({
        "version": 1,
        "export_id": export.export_id,
        "exported": now.to_string(),
        "counter": export.counter,
        "asked_from": export.window.start.to_string(),
        "asked_to": export.window.end.to_string(),
        "films": content.films,
        "holes": content.holes,
        "check": "minhquay-verify FILM",
    });
    serde_json::to_vec_pretty(&manifest).expect("manifests have text keys only")
}
