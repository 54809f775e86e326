//! Sign-in: a form takes a key or token, and a cookie keeps it, if callers need credentials.
//!
//! The cookie is of the pages' own path, so that neither the API nor what is behind a mount ever gets it; no script can
//! read it, and no page of another site sends it along.

use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, COOKIE, REFRESH, SET_COOKIE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::visit::Visit;
use super::{fields, routes, site, to, visit};
use crate::http::Arrival;
use crate::service::ServiceError;

const NAME: &str = "longrun_key";
/// Where credentials for this server stand in a request.
pub(super) const OWN_FIELD: HeaderName = HeaderName::from_static("longrun-authorization");
/// The longest key or token that is kept, in bytes: browsers keep 4,096 with the name and the attributes.
const MAX_BYTES: usize = 3_800;

/// A mark on requests whose credentials a cookie has brought.
#[derive(Clone, Copy, Debug)]
struct ByCookie;

#[derive(Serialize)]
struct SignIn<'a> {
    next: &'a str,
    /// What was wrong with the key.
    wrong: Option<String>,
    /// Whether a connection without TLS would carry the key.
    is_plain: bool,
}

/// Puts what a cookie has to where credentials are looked for, unless the request has some there.
pub(super) fn bring_credentials(parts: &mut Parts) {
    let is_bearer = |field: &HeaderValue| {
        field.as_bytes().get(..7).is_some_and(|it| it.eq_ignore_ascii_case(b"bearer "))
    };
    let has_some = parts.headers.contains_key(OWN_FIELD)
        || parts.headers.get_all(AUTHORIZATION).iter().any(is_bearer);
    if !has_some && let Some(key) = in_cookie(parts) {
        let value = HeaderValue::try_from(format!("Bearer {key}")).ok();
        if let Some(mut value) = value {
            value.set_sensitive(true);
            parts.headers.insert(OWN_FIELD, value);
            parts.extensions.insert(ByCookie);
        }
    }
    parts.headers.remove(COOKIE);
}

fn in_cookie(parts: &Parts) -> Option<String> {
    let fields = parts.headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut cookies = fields.flat_map(|field| field.split(';')).map(str::trim);
    let key = cookies.find_map(|cookie| cookie.strip_prefix(NAME)?.strip_prefix('='))?;
    fits(key).then(|| key.to_owned())
}

/// Whether a cookie and a header field can hold it as it is.
fn fits(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    (1..=MAX_BYTES).contains(&key.len()) && key.bytes().all(plain)
}

/// Whether the caller has signed in here, and so can sign out.
pub(super) fn is_signed_in(parts: &Parts) -> bool {
    parts.extensions.get::<ByCookie>().is_some()
}

/// The answer to who asks for a page without good credentials.
pub(super) fn ask(parts: &Parts, path: &str) -> Response {
    if site(parts) == Some("cross-site") && !is_signed_in(parts) {
        // Whoever follows a link of another site has not sent the cookie; this page's own next request has it.
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

/// `POST sign-in`: keeps a key that is good.
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
    let cookie = format!("{NAME}={key}; HttpOnly; SameSite=Strict{}", secure(visit));
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

/// Where a connection is within TLS, here or in front of here, the cookie is for such connections only.
fn secure(visit: &Visit) -> &'static str {
    let is_tls = visit.parts.extensions.get::<Arrival>().is_some_and(|arrival| arrival.is_tls);
    if is_tls || visit.base().starts_with("https://") { "; Secure" } else { "" }
}

fn is_on_loopback(parts: &Parts) -> bool {
    parts.extensions.get::<Arrival>().is_some_and(|arrival| arrival.is_on_loopback)
}

/// Where to go on: a page of these, and nothing else that a link may say.
fn next(text: &str) -> &str {
    let path = text.split('?').next().unwrap_or_default();
    let is_page = routes::find(&http::Method::GET, path).is_ok();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_page && plain && !path.starts_with("sign-") { text } else { "operations" }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_cookie_brings_credentials_where_there_are_none() {
        let brought = |fields: &[(&str, &str)]| {
            let mut request = Request::builder().uri("/ui/operations");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            bring_credentials(&mut parts);
            assert!(!parts.headers.contains_key(COOKIE));
            let own = parts.headers.get(OWN_FIELD).map(|it| it.to_str().unwrap().to_owned());
            (own, is_signed_in(&parts))
        };
        let cookie = ("cookie", "a=b; longrun_key=lr_x.y; c=d");
        assert_eq!(brought(&[cookie]), (Some("Bearer lr_x.y".to_owned()), true));
        assert_eq!(brought(&[cookie, ("authorization", "bearer z")]), (None, false));
        assert!(brought(&[cookie, ("authorization", "Basic z")]).1);
        assert_eq!(brought(&[("cookie", "longrun_key=")]), (None, false));
        assert_eq!(brought(&[("cookie", "xlongrun_key=a")]), (None, false));
        let own = brought(&[cookie, ("longrun-authorization", "Bearer o")]);
        assert_eq!(own, (Some("Bearer o".to_owned()), false));
    }

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
