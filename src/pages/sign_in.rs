//! Sign-in, if callers need credentials: a form takes a key or token, and a cookie holds it.

use axum::response::{IntoResponse as _, Response};
use http::header::{REFRESH, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::cookie::{self, MAX_BYTES, fits, is_signed_in};
use super::routes::Page;
use super::visit::Visit;
use super::{fields, routes, site, to, visit};
use crate::http::Arrival;
use crate::operation::Role;
use crate::service::{Caller, ServiceError};

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
    let next = visit.query.get("next");
    if visit.shared().is_open(&visit.parts) {
        return Ok(to(after(next, &visit.caller).unwrap_or("operations")));
    }
    let expired = "the key is no longer good: it was revoked or has expired";
    let wrong = visit.query.has("expired").then(|| expired.to_owned());
    show(visit, StatusCode::OK, next, wrong)
}

/// `POST sign-in`: stores a valid key in the cookie.
pub(super) async fn take(visit: &Visit) -> Result<Response, ServiceError> {
    let (key, next) = (visit.form.word("key"), visit.form.get("next"));
    let key = key.strip_prefix("Bearer ").unwrap_or(key).trim();
    let caller = match fits(key) {
        true => visit.shared().caller_with(&visit.parts, key).await.map_err(|error| error.message),
        false => Err(format!("a key is 1 to {MAX_BYTES} letters, digits and signs")),
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(wrong) => return show(visit, StatusCode::UNAUTHORIZED, next, Some(wrong)),
    };
    let Some(next) = after(next, &caller) else {
        let roles: Vec<&str> = caller.roles().iter().map(Role::as_str).collect();
        let wrong = format!("there are no pages for the role {}", roles.join(", "));
        return show(visit, StatusCode::FORBIDDEN, next, Some(wrong));
    };
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

/// Where the caller continues: at the page that a link named, if it is one of these pages and the caller may see it, or
/// at the first that it may see. `None`: it may see none.
fn after<'a>(next: &'a str, caller: &Caller) -> Option<&'a str> {
    let page = routes::shown(next).filter(|page| !matches!(page, Page::SignIn));
    match page {
        Some(page) if caller.can(page.action()) => Some(next),
        _ => routes::home(caller),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_to_pages_only() {
        let everyone = Caller::anonymous();
        for page in ["operations", "operations?filter=a%20b"] {
            assert_eq!(after(page, &everyone), Some(page));
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
            assert_eq!(after(other, &everyone), Some("operations"), "{other}");
        }
    }
}
