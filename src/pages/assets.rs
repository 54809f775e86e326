//! The files of pages: one stylesheet, one script, one picture. A page names them with a digest of their contents, so
//! that browsers cache them until they change.

use std::sync::LazyLock;

use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method};
use sha2::{Digest as _, Sha256};

struct Asset {
    name: &'static str,
    media_type: &'static str,
    contents: &'static str,
}

const STYLE: Asset =
    Asset { name: "style.css", media_type: "text/css", contents: include_str!("style.css") };
const SCRIPT: Asset =
    Asset { name: "live.js", media_type: "text/javascript", contents: include_str!("live.js") };
const ICON: Asset =
    Asset { name: "icon.svg", media_type: "image/svg+xml", contents: include_str!("icon.svg") };

static STYLE_NAME: LazyLock<String> = LazyLock::new(|| named(&STYLE));
static SCRIPT_NAME: LazyLock<String> = LazyLock::new(|| named(&SCRIPT));

/// The stylesheet's path.
pub(super) fn style() -> String {
    STYLE_NAME.clone()
}

/// The script's path.
pub(super) fn script() -> String {
    SCRIPT_NAME.clone()
}

fn named(asset: &Asset) -> String {
    let digest = Sha256::digest(asset.contents);
    let digest: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{}?{digest}", asset.name)
}

/// The file at this path, relative to the path of all pages.
pub(super) fn answer(parts: &Parts, path: &str) -> Option<Response> {
    let asset = [STYLE, SCRIPT, ICON].into_iter().find(|asset| asset.name == path)?;
    if ![Method::GET, Method::HEAD].contains(&parts.method) {
        return None;
    }
    // Without the digest, another version may have this path tomorrow.
    let age =
        if parts.uri.query().is_some() { "max-age=31536000, immutable" } else { "max-age=60" };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.media_type)),
        (CACHE_CONTROL, HeaderValue::from_static(age)),
    ];
    Some((headers, asset.contents).into_response())
}
