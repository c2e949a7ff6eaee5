//! The page: from a folder, or from inside the program.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::error::Problem;

#[cfg(feature = "bundled-ui")]
#[derive(rust_embed::RustEmbed)]
#[folder = "../web-viewer/dist"]
struct Bundle;

/// Where the page is.
#[derive(Debug, Clone)]
pub struct Assets {
    folder: Option<Arc<PathBuf>>,
}

impl Assets {
    /// From a folder, else from inside the program, if it was built with the page.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder: folder.map(Arc::new),
        }
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        let is_plain =
            |piece: &str| !piece.is_empty() && piece != "." && piece != ".." && !piece.contains('\\');
        if !path.split('/').all(is_plain) {
            return None;
        }
        if let Some(folder) = &self.folder {
            return tokio::fs::read(folder.join(path)).await.ok();
        }
        bundled(path)
    }

    /// Answers whatever is not of the API: a file, or the page itself for its own addresses.
    pub async fn answer(&self, method: Method, uri: Uri) -> Response {
        let path = uri.path().trim_start_matches('/');
        if path.starts_with("api/") || !matches!(method, Method::GET | Method::HEAD) {
            return Problem::not_found("call").into_response();
        }
        if !path.is_empty()
            && let Some(bytes) = self.read(path).await
        {
            let caching = if path.starts_with("assets/") {
                "public, max-age=31536000, immutable"
            } else {
                "no-cache"
            };
            return file(path, bytes, caching);
        }
        if names_a_file(path) {
            return Problem::not_found("file").into_response();
        }
        match self.read("index.html").await {
            Some(bytes) => file("index.html", bytes, "no-cache"),
            None => {
                let detail = "this program was built without the page; give --ui-dir";
                Problem::new(StatusCode::NOT_FOUND, "no_page", detail).into_response()
            }
        }
    }
}

/// Whether a path can only be that of a file; dossier codes in the page's own addresses have dots too.
fn names_a_file(path: &str) -> bool {
    path.starts_with("assets/") || (!path.contains('/') && Path::new(path).extension().is_some())
}

#[cfg(feature = "bundled-ui")]
fn bundled(path: &str) -> Option<Vec<u8>> {
    Bundle::get(path).map(|file| file.data.into_owned())
}

#[cfg(not(feature = "bundled-ui"))]
fn bundled(_path: &str) -> Option<Vec<u8>> {
    None
}

fn file(path: &str, bytes: Vec<u8>, caching: &'static str) -> Response {
    let kind = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("woff") => "font/woff",
        Some("json" | "webmanifest") => "application/json",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        _ => "application/octet-stream",
    };
    let mut response = Body::from(bytes).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_answers_its_own_addresses_and_missing_files_are_not_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("assets")).unwrap();
        std::fs::write(folder.path().join("index.html"), "page").unwrap();
        std::fs::write(folder.path().join("assets/a.js"), "script").unwrap();
        let assets = Assets::new(Some(folder.path().to_owned()));
        for (path, status, kind) in [
            ("/", 200, "text/html; charset=utf-8"),
            ("/live", 200, "text/html; charset=utf-8"),
            ("/dossiers/H26.17.05-261123-0007", 200, "text/html; charset=utf-8"),
            ("/assets/a.js", 200, "text/javascript; charset=utf-8"),
            ("/assets/b.js", 404, "application/problem+json"),
            ("/assets/../index.html", 404, "application/problem+json"),
            ("/favicon.ico", 404, "application/problem+json"),
            ("/api/v1/nothing", 404, "application/problem+json"),
        ] {
            let answer = assets.answer(Method::GET, path.parse().unwrap()).await;
            let given = answer.headers().get(header::CONTENT_TYPE).unwrap();
            assert_eq!(
                (answer.status().as_u16(), given.to_str().unwrap()),
                (status, kind),
                "{path}"
            );
        }
    }
}
