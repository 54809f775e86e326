//! Sign-in, if callers need credentials: a form takes a key or token, and a cookie holds it.

use axum::response::{IntoResponse as _, Response};
use http::header::{REFRESH, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::cookie::{self, MAX_BYTES, fits, is_signed_in};
use super::visit::Visit;
use super::{fields, routes, site, to, visit};
use crate::http::Arrival;
use crate::service::ServiceError;

#[derive(Serialize)]
struct SignIn<'a> {
    next: &'a str,
    /// Why the key was refused.
    wrong: Option<String>,
    /// Whether a connection without TLS would carry the key.
    is_plain: bool,
}

/// The response to a request for a page without valid credentials.
pub(super) fn ask(parts: &Parts, path: &str) -> Response {
    if site(parts) == Some("cross-site") && !is_signed_in(parts) {
        // A browser that follows another site's link does not send the cookie; this page's own next request has it.
        let again = HeaderValue::from_static("0");
        return (StatusCode::OK, [(REFRESH, again)], "one moment\n").into_response();
    }
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let next = fields::encode(&format!("{path}{query}"));
    let wrong = if is_signed_in(parts) { "&expired=1" } else { "" };
    to(&format!("{}sign-in?next={next}{wrong}", visit::root(parts)))
}

/// `GET sign-in`.
pub(super) fn page(visit: &Visit) -> Result<Response, ServiceError> {
    let next = next(visit.query.get("next"));
    if visit.shared().is_open(&visit.parts) {
        return Ok(to(next));
    }
    let expired = "the key is no longer good: it was revoked or has expired";
    let wrong = visit.query.has("expired").then(|| expired.to_owned());
    show(visit, StatusCode::OK, next, wrong)
}

/// `POST sign-in`: stores a valid key in the cookie.
pub(super) async fn take(visit: &Visit) -> Result<Response, ServiceError> {
    let (key, next) = (visit.form.word("key"), next(visit.form.get("next")));
    let key = key.strip_prefix("Bearer ").unwrap_or(key).trim();
    let wrong = match fits(key) {
        true => visit.shared().refusal_of(&visit.parts, key).await.map(|error| error.message),
        false => Some(format!("a key is 1 to {MAX_BYTES} letters, digits and signs")),
    };
    if wrong.is_some() {
        return show(visit, StatusCode::UNAUTHORIZED, next, wrong);
    }
    let cookie = format!("{}={key}; HttpOnly; SameSite=Strict{}", cookie::NAME, secure(visit));
    let mut response = to(next);
    if let Ok(mut cookie) = HeaderValue::try_from(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `POST sign-out`.
pub(super) fn out() -> Response {
    let mut response = to("sign-in");
    let cookie = HeaderValue::from_static("longrun_key=; HttpOnly; SameSite=Strict; Max-Age=0");
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

fn show(
    visit: &Visit,
    status: StatusCode,
    next: &str,
    wrong: Option<String>,
) -> Result<Response, ServiceError> {
    let is_plain = secure(visit).is_empty() && !is_on_loopback(&visit.parts);
    let view = SignIn { next, wrong, is_plain };
    visit.show(status, "sign_in.html", &visit.frame("Sign in", "sign-in"), view)
}

/// The attribute that restricts the cookie to TLS, if the connection uses TLS here or at a proxy in front.
fn secure(visit: &Visit) -> &'static str {
    let is_tls = visit.parts.extensions.get::<Arrival>().is_some_and(|arrival| arrival.is_tls);
    if is_tls || visit.base().starts_with("https://") { "; Secure" } else { "" }
}

fn is_on_loopback(parts: &Parts) -> bool {
    parts.extensions.get::<Arrival>().is_some_and(|arrival| arrival.is_on_loopback)
}

/// Where to continue: one of these pages, and nothing else that a link may name.
fn next(text: &str) -> &str {
    if routes::is_shown(text) && !text.starts_with("sign-") { text } else { "operations" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_to_pages_only() {
        for page in ["operations", "operations?filter=a%20b"] {
            assert_eq!(next(page), page);
        }
        for other in [
            "",
            "//evil.example",
            "https://evil.example",
            "sign-out",
            "sign-in",
            "x",
            "operations?\r\na",
        ] {
            assert_eq!(next(other), "operations", "{other}");
        }
    }
}
