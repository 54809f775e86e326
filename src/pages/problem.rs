//! Errors as a page: the same reasons and statuses as everywhere over HTTP.

use axum::response::{Html, IntoResponse as _, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use http::request::Parts;
use serde::Serialize;

use super::Shared;
use super::visit::{Frame, framed};
use crate::service::{Caller, Identity, Reason, RefusedByLimit, ServiceError};

#[derive(Serialize)]
struct Problem<'a> {
    status: u16,
    reason: &'static str,
    message: &'a str,
    violations: Vec<(&'a str, &'a str)>,
}

/// The response to a refused request, with the navigation that its caller has on every page.
pub(super) fn answer(shared: &Shared, parts: &Parts, error: ServiceError) -> Response {
    let status = status(error.reason);
    let known = parts.extensions.get::<Identity>().and_then(|identity| identity.who().ok());
    let caller = known.cloned().unwrap_or_else(Caller::nobody);
    let page = Frame::of(shared, parts, &caller, error.reason.title().to_owned(), "");
    let problem = Problem {
        status: status.as_u16(),
        reason: error.reason.as_str(),
        message: &error.message,
        violations: error
            .violations
            .iter()
            .map(|it| (it.field.as_str(), it.description.as_str()))
            .collect(),
    };
    let html = shared.templates.render("problem.html", framed(&page, problem));
    // This fallback is not escaped, so it must not be the message.
    let html = html.unwrap_or_else(|_| error.reason.title().to_owned());
    let mut response = (status, Html(html)).into_response();
    if let Some(refused) = RefusedByLimit::of(&error) {
        response.extensions_mut().insert(refused);
    }
    if let Some(after) = error.retry_after {
        response.headers_mut().insert(RETRY_AFTER, after.as_secs().max(1).into());
    }
    response
}

/// The status of a refusal.
pub(super) fn status(reason: Reason) -> StatusCode {
    StatusCode::from_u16(reason.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
