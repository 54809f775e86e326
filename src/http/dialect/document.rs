//! A dialect's documents as responses.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

use super::super::call::Call;
use super::super::documents::header_value;
use super::super::problem::Problem;
use crate::config::dialect::Mount;
use crate::dialect::{Answered, Record, Route, Subject, TemplateError};
use crate::service::{Document, Reason, ServiceError};

/// An operation that was asked for.
pub(super) struct Asked<'a> {
    pub(super) call: &'a Call,
    pub(super) mount: &'a Mount,
    pub(super) document: &'a Document,
    pub(super) history: &'a [Record],
}

impl Asked<'_> {
    /// What the route answers.
    pub(super) fn answer(self, route: &Route) -> Result<Answered, Problem> {
        let (mount, path) = (self.mount, self.call.parts.uri.path());
        let links = self.call.links();
        let subject = self.subject(links.base());
        let answered = mount.dialect.answer(route, &subject, path);
        answered.map_err(|error| unwritable(mount, &error))
    }

    /// What the submission is answered with.
    pub(super) fn submitted(self) -> Result<crate::dialect::Document, Problem> {
        let (mount, path) = (self.mount, self.call.parts.uri.path());
        let links = self.call.links();
        let subject = self.subject(links.base());
        let submitted = mount.dialect.submitted(&subject, path);
        submitted.map_err(|error| unwritable(mount, &error))
    }

    fn subject<'s>(&'s self, base: &'s str) -> Subject<'s> {
        Subject {
            operation: &self.document.operation,
            result: self.document.result.as_deref(),
            history: self.history,
            now: self.call.service().now(),
            base,
            mount: &self.mount.name,
            prefix: &self.mount.prefix,
            relay_prefix: super::relay_prefix(&self.call.http, self.mount),
        }
    }
}

/// A template that was good at start, and is not for this operation.
pub(super) fn unwritable(mount: &Mount, error: &TemplateError) -> Problem {
    tracing::error!(mount = %mount.name, error = %error, "a dialect's document cannot be written");
    ServiceError::new(Reason::Internal, "the answer cannot be written").into()
}

/// The response that a document is. `status` counts where the document names none.
pub(super) fn response(
    document: crate::dialect::Document,
    status: StatusCode,
) -> Result<Response, Problem> {
    let named = document.status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = named.unwrap_or(status).into_response();
    if let Some((media_type, text)) = document.body {
        *response.body_mut() = Body::from(text);
        response.headers_mut().insert(CONTENT_TYPE, header_value(&media_type)?);
        let nosniff = HeaderValue::from_static("nosniff");
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    }
    for (name, value) in document.headers {
        // A value from a client could be one that no field can have: then there is no such field.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

/// Adds to a response what it does not have of its own.
pub(super) fn keep(response: &mut Response, add: impl FnOnce(&mut Response)) {
    let own = response.headers().clone();
    add(response);
    for name in own.keys() {
        response.headers_mut().remove(name);
    }
    response.headers_mut().extend(own);
}
