//! Submissions, however they come in: by a route of this interface's own, by a dialect's, or by a relay's mount.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, HeaderName};
use http::{HeaderMap, StatusCode};

use super::body::take_in;
use super::call::Call;
use super::documents::{self, Answer, preferences_applied};
use super::headers::{OPERATION_LOCATION, vary_by};
use super::problem::Problem;
use super::{coding, dialect, result};
use crate::operation::{HttpEnvelope, HttpHeader, InvalidEnvelope, NewOperation, PayloadForm};
use crate::service::{Caller, MAX_WAIT, OperationName, ServiceError, Submitted, View};

/// The header fields that say what a body is, beside its type (RFC 9110, section 8): without them an input is not
/// what was sent.
const OF_A_BODY: [HeaderName; 3] = [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_DISPOSITION];

/// The interface that a submission came in by, which is that of its answer.
#[derive(Clone, Copy)]
pub(in crate::http) enum Face<'a> {
    /// A route of this interface's own.
    Own,
    /// A mount of the relay, which answers a submission with this status: 202 or 303.
    Relay(u16),
    /// A mount of a dialect.
    Dialect(&'a dialect::Visit<'a>),
}

/// The body of a submission, and what is known of it.
pub(in crate::http) struct Sent<'a> {
    /// Its media type; empty if there is none.
    pub(in crate::http) content_type: &'a str,
    /// What else of the request is kept.
    pub(in crate::http) envelope: Option<HttpEnvelope>,
    pub(in crate::http) body: Body,
    /// The most bytes that it may have.
    pub(in crate::http) limit: usize,
}

impl<'a> Sent<'a> {
    /// A body as its request says what it is, of as many bytes as a payload may have.
    pub(in crate::http) fn of(
        call: &'a Call,
        envelope: Option<HttpEnvelope>,
        body: Body,
    ) -> Result<Self, ServiceError> {
        Ok(Self { content_type: call.content_type()?, envelope, body, limit: usize::MAX })
    }
}

/// Stores `new` with what was sent as its input. Where there is no room for it, nothing of the body is taken.
pub(in crate::http) async fn take(
    call: &Call,
    caller: &Caller,
    new: NewOperation,
    sent: Sent<'_>,
) -> Result<Submitted, Problem> {
    let Sent { content_type, envelope, body, limit } = sent;
    let is_coded = coding::is_coded(&call.parts.headers)?;
    let envelope = envelope.map(checked).transpose()?;
    call.service().admit(caller, &new).await?;
    let mut input = take_in(call.service(), body, limit, content_type).await?;
    let is_sent = input.info.size_bytes > 0 || !content_type.is_empty() || envelope.is_some();
    if is_coded {
        // Whatever its type says, it is no text to be looked into.
        input.info.form = PayloadForm::Data;
    }
    let input = match envelope {
        Some(envelope) => input.within(envelope),
        None => input,
    };
    let new = NewOperation { input: is_sent.then_some(input), ..new };
    Ok(call.service().submit(caller, new).await?)
}

/// Refuses what could not be spoken again.
fn checked(envelope: HttpEnvelope) -> Result<HttpEnvelope, ServiceError> {
    match envelope.check() {
        Ok(()) => Ok(envelope),
        Err(InvalidEnvelope { field, rule }) => Err(ServiceError::invalid_field(field, rule)),
    }
}

/// The fields of a request that say what its body is.
pub(in crate::http) fn of_a_body(headers: &HeaderMap) -> Vec<HttpHeader> {
    let named = OF_A_BODY.iter().flat_map(|name| {
        headers.get_all(name).iter().map(move |value| HttpHeader {
            name: name.as_str().to_owned(),
            value: value.as_bytes().to_vec(),
        })
    });
    named.collect()
}

/// Whether the field says what a body is.
pub(super) fn is_of_a_body(name: &str) -> bool {
    OF_A_BODY.iter().any(|known| known.as_str() == name)
}

/// The answer to a submission that is stored: 202 with where to ask. A client that prefers to wait is answered 303
/// if the operation is done in time; under a relay it gets the result itself, as from the API behind it.
pub(in crate::http) async fn answer(
    call: &Call,
    caller: &Caller,
    submitted: Submitted,
    face: Face<'_>,
) -> Answer {
    let accepted = match face {
        Face::Own => StatusCode::ACCEPTED,
        Face::Relay(303) => StatusCode::SEE_OTHER,
        Face::Relay(_) => StatusCode::ACCEPTED,
        Face::Dialect(visit) => return dialect::accepted(call, visit, submitted).await,
    };
    let mut document = submitted.document;
    let id = document.operation.id();
    let (name, links) = (OperationName { tenant: None, id }, call.links());
    let wait = call.preferences.wait;
    if let Some(wait) = wait.filter(|wait| !wait.is_zero() && !document.operation.is_done()) {
        document = call.service().wait(caller, &name, wait, View::Basic).await?;
    }
    let is_done = document.operation.is_done();
    let mut response = if is_done && wait.is_some() && matches!(face, Face::Relay(_)) {
        let mut response = result::of(call, &name, &document).await?;
        vary_by(response.headers_mut(), "prefer");
        response
    } else {
        let status = if is_done { StatusCode::SEE_OTHER } else { accepted };
        documents::answer(call, status, Some(links.operation(id)), &document)?
    };
    let respond_async = call.preferences.respond_async && !is_done;
    let applied = respond_async.then(|| "respond-async".to_owned());
    preferences_applied(&mut response, applied.into_iter().chain(wait.map(applied_wait)));
    operation_location(&mut response, &links.status(id))?;
    Ok(response)
}

/// The preference that was granted, which is less than was asked for past the maximum.
pub(super) fn applied_wait(wait: Duration) -> String {
    format!("wait={}", wait.min(MAX_WAIT).as_secs())
}

fn operation_location(response: &mut Response, url: &str) -> Result<(), Problem> {
    let url = documents::header_value(url)?;
    response.headers_mut().insert(OPERATION_LOCATION.clone(), url);
    Ok(())
}
