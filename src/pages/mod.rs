//! Pages for people: operations in a browser, on the port of the API.
//!
//! The server renders pages, and they work without script; a small module follows a page's own event stream and
//! replaces what has changed. They know nothing that the API does not: every page calls the use cases of [`Service`] as
//! its caller, so tenants, roles and limits are the same.
//!
//! Read next: `routes` for the pages, `visit` for a request as pages see it, `live` for how pages stay current.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};

use crate::auth::Authenticator;
use crate::http::{is_from_here, read_body};
use crate::operation::Kind;
use crate::service::{Caller, Identity, Reason, Service, ServiceError};

mod assets;
mod bulk;
mod change;
mod children;
mod commands;
mod contents;
mod cookie;
mod curve;
mod deliveries;
mod facts;
mod fields;
mod limit_row;
mod live;
mod operation;
mod operations;
mod pretty;
mod problem;
mod region;
mod routes;
mod schema;
mod serve;
mod shares;
mod sign_in;
mod standing;
mod start;
mod system;
mod template;
mod timeline;
mod view;
mod visit;
mod webhooks;

use fields::Fields;
use routes::Page;
pub use schema::{InputSchema, SchemaError};
use template::Templates;
use visit::Visit;

/// The content security policy: pages load only this server's own files, and have no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The largest form, in bytes, unless it contains an input.
const FORM_BYTES: usize = 64 << 10;

/// The pages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pages(Arc<Shared>);

/// The options of pages.
#[derive(Clone, Debug, Default)]
pub struct PagesOptions {
    /// The URL under which clients reach this server, if it is not the one that they request.
    pub public_url: Option<String>,
    /// The store's URL without secrets, for operators.
    pub store: String,
    /// The URL of a trace in a viewer, with a placeholder for its id.
    pub trace_url: Option<String>,
    /// The forms of kinds whose inputs have a schema.
    pub schemas: BTreeMap<Kind, InputSchema>,
}

#[derive(Debug)]
struct Shared {
    service: Service,
    authenticator: Authenticator,
    options: PagesOptions,
    templates: Templates,
}

impl Pages {
    /// The path that all pages are under; `/` leads there.
    pub const PREFIX: &str = "/ui";

    /// Pages over these use cases, for callers that the authenticator accepts.
    pub fn new(
        service: Service,
        authenticator: Authenticator,
        options: PagesOptions,
    ) -> anyhow::Result<Self> {
        let templates = Templates::new().context("a page's template is wrong")?;
        Ok(Self(Arc::new(Shared { service, authenticator, options, templates })))
    }

    /// Whether the request is for a page: under the path of pages, or for `/` from a client that accepts HTML.
    pub fn take(&self, parts: &Parts) -> bool {
        let path = parts.uri.path();
        match path.strip_prefix(Self::PREFIX) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => {
                let is_read = [Method::GET, Method::HEAD].contains(&parts.method);
                path == "/" && is_read && reads_html(parts)
            }
        }
    }

    /// Copies the credentials of a signed-in caller from the cookie to the header field for credentials. Only for
    /// requests that [`Pages::take`] accepts.
    pub fn bring_credentials(&self, parts: &mut Parts) {
        cookie::bring_credentials(parts);
    }

    /// Responds to a request that [`Pages::take`] accepts, whose caller is known.
    pub fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let mut response = shared.answer(request).await;
            let headers = response.headers_mut();
            for (name, value) in [
                (CONTENT_SECURITY_POLICY, POLICY),
                (CACHE_CONTROL, "no-store"),
                // Forms need the referrer; links to other sites must not get it.
                (REFERRER_POLICY, "same-origin"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
                (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            ] {
                headers.entry(name).or_insert(HeaderValue::from_static(value));
            }
            response
        })
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let rest = path.strip_prefix(Pages::PREFIX).unwrap_or_default().trim_start_matches('/');
        if rest.is_empty() {
            let there = front(&parts);
            return ([(VARY, HeaderValue::from_static("accept"))], to(&there)).into_response();
        }
        if let Some(asset) = assets::answer(&parts, rest) {
            return asset;
        }
        let (page, places) = match routes::find(&parts.method, rest) {
            Ok(found) => found,
            Err(None) => {
                let message = format!("there is nothing at {path}");
                let error = ServiceError::new(Reason::RouteNotFound, message);
                return problem::answer(&self, &parts, error);
            }
            Err(Some(allow)) => {
                let error =
                    ServiceError::new(Reason::MethodNotAllowed, "this method is not allowed here");
                let mut response = problem::answer(&self, &parts, error);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
                return response;
            }
        };
        let visit = match self.visit(&parts, page, places) {
            Ok(visit) => visit,
            Err(error) if error.reason == Reason::Unauthenticated && page.is_shown() => {
                return sign_in::ask(&parts, rest);
            }
            Err(error) => return problem::answer(&self, &parts, error),
        };
        let answer = match self.form(&visit, page, body).await {
            Ok(form) => serve::answer(page, visit.with(form)).await,
            Err(error) => Err(error),
        };
        answer.unwrap_or_else(|error| problem::answer(&self, &parts, error))
    }

    fn visit(
        self: &Arc<Self>,
        parts: &Parts,
        page: Page,
        places: Vec<String>,
    ) -> Result<Visit, ServiceError> {
        let is_change = !parts.method.is_safe();
        let is_strangers = !is_from_here(self.options.public_url.as_deref(), parts)
            || site(parts).is_some_and(|site| !matches!(site, "same-origin" | "none"));
        if is_strangers && (is_change || page.is_costly()) {
            let message = "pages of other sites may not ask for this";
            return Err(ServiceError::new(Reason::OriginRefused, message));
        }
        let identity = parts.extensions.get::<Identity>().cloned().unwrap_or_default();
        let caller = identity.caller(Some(page.action()), parts.uri.path())?;
        Ok(Visit::new(Arc::clone(self), caller, parts.clone(), places))
    }

    /// The form of a change; refused unless a page of this server made it for this caller.
    async fn form(&self, visit: &Visit, page: Page, body: Body) -> Result<Fields, ServiceError> {
        if visit.parts.method.is_safe() {
            return Ok(Fields::default());
        }
        let input = self.service.limits().max_message_payload_bytes();
        let limit = if page.takes_input() { 3 * input + FORM_BYTES } else { FORM_BYTES };
        let form = read_body(&self.service, body, limit).await?;
        let form = Fields::parse(&String::from_utf8_lossy(&form));
        if !visit.is_own_form(form.get("token")) {
            let message = "the form is not of this page, or of another caller: load the page again";
            return Err(ServiceError::new(Reason::OriginRefused, message));
        }
        Ok(form)
    }

    /// Whether callers need no credentials.
    fn is_open(&self, parts: &Parts) -> bool {
        self.authenticator.identify_at_once(parts).is_some()
    }

    /// The caller with this key, or why the key is not valid.
    async fn caller_with(&self, parts: &Parts, key: &str) -> Result<Caller, ServiceError> {
        let mut parts = parts.clone();
        parts.headers.remove(cookie::OWN_FIELD);
        if let Ok(credentials) = HeaderValue::try_from(format!("Bearer {key}")) {
            parts.headers.insert(cookie::OWN_FIELD, credentials);
        }
        self.authenticator.identify(&parts).await.who().cloned().map_err(Clone::clone)
    }
}

/// The first page that the caller may see, for a request of `/` or of the path of all pages. Relative, so that it is
/// right behind any proxy.
fn front(parts: &Parts) -> String {
    let caller = parts.extensions.get::<Identity>().and_then(|identity| identity.who().ok());
    let (is_inside, home) = (parts.uri.path().ends_with("/ui/"), caller.map(routes::home));
    match (is_inside, home) {
        // Browsers send the cookie under the path of all pages only.
        (false, None) => "ui/".to_owned(),
        (false, Some(home)) => format!("ui/{}", home.unwrap_or("sign-in")),
        // The page asks for credentials, and knows where to go on with them.
        (true, None) => "operations".to_owned(),
        (true, Some(home)) => home.unwrap_or("sign-in").to_owned(),
    }
}

/// Redirects.
fn to(place: &str) -> Response {
    let place = HeaderValue::try_from(place).unwrap_or(HeaderValue::from_static("operations"));
    (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response()
}

/// The site of the requesting page, as the browser reports it.
fn site(parts: &Parts) -> Option<&str> {
    parts.headers.get(SEC_FETCH_SITE).and_then(|site| site.to_str().ok())
}

/// Whether the client's `Accept` names HTML: browsers' does, and no API client's.
fn reads_html(parts: &Parts) -> bool {
    let fields = parts.headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
    let mut ranges = fields.flat_map(|field| field.split(','));
    ranges.any(|range| {
        let mut parameters = range.split(';').map(str::trim);
        let is_html = parameters.next().is_some_and(|it| it.eq_ignore_ascii_case("text/html"));
        is_html && !parameters.any(|it| it.replace(' ', "").eq_ignore_ascii_case("q=0"))
    })
}
