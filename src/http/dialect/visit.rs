//! A request to a mount of a dialect, and its responses in the dialect's words.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use super::super::Http;
use super::super::call::Call;
use super::super::documents::{Answer, header_value};
use super::super::links::Links;
use super::super::problem::Problem;
use super::super::query;
use crate::config::dialect::Mount;
use crate::dialect::{About, Answered, Document, Places, Request, Route, Scene, TemplateError};
use crate::operation::http::is_credential;
use crate::operation::query::segment;
use crate::operation::{IdempotencyKey, Operation, Timestamp};
use crate::service::{Caller, Reason, ServiceError, Violations};

/// The longest value of a placeholder, in bytes.
const MAX_PLACE_BYTES: usize = 256;

/// A request to a mount, as the mount's dialect sees it.
#[derive(Debug)]
pub(in crate::http) struct Visit<'a> {
    pub(in crate::http) mount: &'a Mount,
    /// The undecoded value of the placeholder `{id}`; empty if the path has none.
    pub(super) id: String,
    pub(super) asked: Asked,
    /// Violations of path and query; the wrong values are left out.
    found: Violations,
}

/// The parts of the request that templates see.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The values of the path's other placeholders.
    pub(super) places: Places,
    pub(super) request: Request,
    base: String,
    relay_prefix: String,
}

impl Asked {
    /// The request, as templates see it.
    pub(super) fn scene<'s>(&'s self, mount: &'s Mount, now: Timestamp) -> Scene<'s> {
        Scene {
            now,
            base: &self.base,
            mount: &mount.name,
            site: &mount.site,
            relay_prefix: &self.relay_prefix,
            request: &self.request,
            places: &self.places,
        }
    }
}

impl<'a> Visit<'a> {
    /// The request under `mount`, with the undecoded values of its path's placeholders.
    pub(in crate::http) fn of(
        http: &'a Http,
        mount: &'a Mount,
        parts: &Parts,
        places: &[(&str, &str)],
    ) -> Self {
        let mut found = Violations::default();
        let mut decoded = Places::new();
        for (name, value) in places.iter().filter(|(name, _)| *name != "id") {
            decoded.extend(found.take(place(name, value)).map(|value| ((*name).to_owned(), value)));
        }
        let parameters = query::pairs(&parts.uri).filter_map(|pair| found.take(pair)).collect();
        let id = places.iter().find(|(name, _)| *name == "id").map_or("", |(_, id)| id);
        let relay = mount.relay.as_deref().and_then(|name| http.options.relay.named(name));
        Self {
            mount,
            id: id.to_owned(),
            asked: Asked {
                places: decoded,
                request: Request {
                    method: parts.method.as_str().to_owned(),
                    path: parts.uri.path().to_owned(),
                    parameters,
                    headers: headers(parts, mount),
                },
                base: Links::new(http.options.public_url.as_deref(), parts).base().to_owned(),
                relay_prefix: relay.map(|relay| relay.mount.prefix.clone()).unwrap_or_default(),
            },
            found,
        }
    }

    /// The violations of path and query, to which others can be added.
    pub(in crate::http) fn violations(&self) -> Violations {
        self.found.clone()
    }

    /// The first value of a query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.asked.request.parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The name of the query parameter whose value is `text`.
    pub(super) fn parameter_with(&self, text: &str) -> Option<&str> {
        let found = self.asked.request.parameters.iter().find(|(_, value)| value == text);
        found.map(|(name, _)| name.as_str())
    }

    /// The request, as templates see it.
    pub(super) fn scene(&self, now: Timestamp) -> Scene<'_> {
        self.asked.scene(self.mount, now)
    }

    /// Refuses an operation that was not submitted here: by this mount, with these values in the placeholders.
    pub(super) fn require(&self, operation: &Operation) -> Result<(), Problem> {
        let is_same = |(name, value): (&String, &String)| {
            let mut stored = operation.places().filter(|(known, _)| known == name);
            match stored.next() {
                Some((_, stored)) => stored == value,
                None => !self.mount.site.prefix.has(name),
            }
        };
        if operation.is_of_mount(&self.mount.name) && self.asked.places.iter().all(is_same) {
            return Ok(());
        }
        Err(super::not_found(&operation.id().name()))
    }

    /// The route's answer.
    pub(super) fn answer(
        &self,
        call: &Call,
        route: &Route,
        about: About<'_>,
    ) -> Result<Answered, Problem> {
        let scene = self.scene(call.service().now());
        let answered = self.mount.dialect.answer(route, &scene, about);
        answered.map_err(|error| self.unwritable(&error))
    }

    /// The problem for a template that was valid at start but fails for this request.
    pub(super) fn unwritable(&self, error: &TemplateError) -> Problem {
        unwritable(self.mount, error)
    }

    /// A refusal in the dialect's words, if it has any for it.
    pub(super) fn refused(&self, problem: &Problem, now: Timestamp) -> Option<Answer> {
        let refused = self.mount.dialect.refused(&self.scene(now), &problem.refusal());
        let mut response = match refused {
            Ok(document) => match response(document?, problem.status()) {
                Ok(response) => response,
                Err(problem) => return Some(Err(problem)),
            },
            Err(error) => return Some(Err(self.unwritable(&error))),
        };
        problem.mark(&mut response);
        keep(&mut response, |response| response.headers_mut().extend(problem.headers().clone()));
        Some(Ok(response))
    }
}

/// The problem for a template that was valid at start but fails now.
pub(super) fn unwritable(mount: &Mount, error: &TemplateError) -> Problem {
    tracing::error!(mount = %mount.name, %error, "a dialect's document cannot be written");
    ServiceError::new(Reason::Internal, "the answer cannot be written").into()
}

/// The decoded value of a placeholder.
fn place(name: &str, value: &str) -> Result<String, ServiceError> {
    let decoded = segment(value)
        .filter(|text| text.len() <= MAX_PLACE_BYTES && !text.chars().any(char::is_control));
    decoded.ok_or_else(|| {
        let rule =
            format!("must be UTF-8 of at most {MAX_PLACE_BYTES} bytes without control characters");
        ServiceError::invalid_field(name, rule)
    })
}

/// The header fields that templates may see.
fn headers(parts: &Parts, mount: &Mount) -> Vec<(String, String)> {
    let shown = parts.headers.iter().filter_map(|(name, value)| {
        let is_secret = is_credential(name.as_str()) || *name == mount.credentials;
        let value = std::str::from_utf8(value.as_bytes()).ok().filter(|_| !is_secret)?;
        Some((name.as_str().replace('-', "_"), value.to_owned()))
    });
    shown.collect()
}

/// The response made from a document. `status` is used if the document names none.
pub(super) fn response(document: Document, status: StatusCode) -> Result<Response, Problem> {
    let named = document.status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = named.unwrap_or(status).into_response();
    if let Some((media_type, text)) = document.body {
        *response.body_mut() = Body::from(text);
        response.headers_mut().insert(CONTENT_TYPE, header_value(&media_type)?);
        let nosniff = HeaderValue::from_static("nosniff");
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    }
    for (name, value) in document.headers {
        // A client's value may be invalid in a header: then the field is left out.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

/// Adds fields to a response that it does not have itself.
pub(super) fn keep(response: &mut Response, add: impl FnOnce(&mut Response)) {
    let own = response.headers().clone();
    add(response);
    for name in own.keys() {
        response.headers_mut().remove(name);
    }
    response.headers_mut().extend(own);
}

/// The idempotency key of the submission. Keys belong to the tenant, so the key includes the mount, the values of the
/// prefix's placeholders, and the owner.
pub(super) fn idempotency_key(
    call: &Call,
    visit: &Visit<'_>,
    caller: &Caller,
) -> Result<Option<IdempotencyKey>, ServiceError> {
    let Some(key) = call.idempotency_key("")? else { return Ok(None) };
    let prefix = &visit.mount.site.prefix;
    let places = visit.asked.places.iter().filter(|(name, _)| prefix.has(name));
    let places = places.flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    let owner = caller.owner.as_ref().map_or("", |owner| owner.as_str());
    let mut hash = Sha256::new();
    for part in [visit.mount.name.as_str(), owner, key.as_str()].into_iter().chain(places) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(IdempotencyKey::parse(&hex).ok())
}
