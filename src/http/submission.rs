//! Submissions over HTTP, through this interface's own routes, a dialect or a relay's mount. A dialect responds in its
//! own words; all other responses are made here.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_ENCODING;

use super::body::take_in;
use super::call::Call;
use super::documents::{self, Answer, applied_wait, preferences_applied};
use super::headers::{OPERATION_LOCATION, rate_limits, vary_by};
use super::problem::Problem;
use super::{coding, result};
use crate::operation::{HttpEnvelope, InvalidEnvelope, NewOperation, Payload, PayloadForm};
use crate::service::{
    Action, Document, ManySubmissions, ManySubmitted, OperationName, ServiceError, Submitted, View,
    Violations,
};

/// The interface of a submission, and so of its response.
#[derive(Clone, Copy)]
pub(in crate::http) enum Face {
    /// A route of this interface.
    Own,
    /// A mount of the relay, with the status of its response to a submission: 202 or 303.
    Relay(u16),
}

/// The body of a submission, with its description.
pub(in crate::http) struct Sent<'a> {
    /// Its media type; empty if there is none.
    content_type: &'a str,
    /// The other stored parts of the request.
    envelope: Option<HttpEnvelope>,
    body: Body,
    /// The maximum size in bytes.
    limit: usize,
    is_coded: bool,
    /// Whether it must be a JSON object.
    is_object: bool,
}

impl<'a> Sent<'a> {
    /// A body as its request describes it, as large as a payload may be; notes violations of the header.
    pub(in crate::http) fn of(
        call: &'a Call,
        envelope: Option<HttpEnvelope>,
        body: Body,
        found: &mut Violations,
    ) -> Option<Self> {
        let content_type = found.take(call.content_type());
        let sent = Self::new(call, content_type.unwrap_or_default(), envelope, body, found)?;
        content_type.map(|_| sent)
    }

    /// Like [`Self::of`], with another media type.
    pub(in crate::http) fn new(
        call: &Call,
        content_type: &'a str,
        envelope: Option<HttpEnvelope>,
        body: Body,
        found: &mut Violations,
    ) -> Option<Self> {
        let is_coded = found.take(coding::is_coded(&call.parts.headers));
        // Parts that could not be sent again.
        for InvalidEnvelope { field, rule } in
            envelope.as_ref().and_then(|it| it.check().err()).into_iter().flatten()
        {
            found.note(field, rule);
        }
        let (limit, is_coded) = (usize::MAX, is_coded?);
        Some(Self { content_type, envelope, body, limit, is_coded, is_object: false })
    }

    /// Limits the body to `limit` bytes.
    pub(in crate::http) fn at_most(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Sets whether the body must be a JSON object, which is decoded.
    pub(in crate::http) fn of_object(self, is_object: bool) -> Self {
        Self { is_object, ..self }
    }
}

/// Stores `new` with the body as its input. If there is no room, the body is not read.
pub(in crate::http) async fn take(
    call: &Call,
    new: NewOperation,
    sent: Sent<'_>,
) -> Result<Submitted, Problem> {
    call.service().admit(&call.caller, &new).await?;
    let sent = Sent { limit: sent.limit.min(call.service().payload_limit(&call.caller)), ..sent };
    let new = NewOperation { input: take_in_payload(call, sent).await?, ..new };
    submit(call, new).await
}

/// Stores `new` with the input that it has.
pub(in crate::http) async fn submit(call: &Call, new: NewOperation) -> Result<Submitted, Problem> {
    let submitted = call.service().submit(&call.caller, new).await;
    submitted.map_err(|error| refused(call, error))
}

/// Stores several submissions.
pub(in crate::http) async fn submit_many(
    call: &Call,
    asked: ManySubmissions,
) -> Result<ManySubmitted, Problem> {
    let stored = call.service().submit_many(&call.caller, asked).await;
    stored.map_err(|error| refused(call, error))
}

/// A refusal, with the tenant's remaining rate.
fn refused(call: &Call, error: ServiceError) -> Problem {
    let rate = call.service().rate(&call.caller).into_iter().flat_map(rate_limits);
    rate.fold(Problem::from(error), |problem, (name, value)| problem.with_header(name, value))
}

/// The body as a payload; `None` if there was none.
pub(in crate::http) async fn take_in_payload(
    call: &Call,
    sent: Sent<'_>,
) -> Result<Option<Payload>, Problem> {
    let Sent { content_type, envelope, body, limit, is_coded, is_object } = sent;
    let mut input = match is_object {
        true => Payload::sniffed(content_type, call.object(body, limit).await?),
        false => take_in(call.service(), body, limit, content_type).await?,
    };
    let is_sent = input.info.size_bytes > 0 || !content_type.is_empty() || envelope.is_some();
    if is_coded && !is_object {
        // A coded body is not text, whatever its type.
        input.info.form = PayloadForm::Data;
    }
    let input = match envelope {
        Some(mut envelope) => {
            if is_object {
                envelope.headers.retain(|header| header.name != CONTENT_ENCODING.as_str());
            }
            input.within(envelope)
        }
        None => input,
    };
    Ok(is_sent.then_some(input))
}

/// The response to a stored submission: 202 with the URL to poll. If the client prefers to wait and the operation is
/// done in time, it gets 303; under a relay, it gets the result itself, as from the API.
pub(in crate::http) async fn answer(call: &Call, submitted: Submitted, face: Face) -> Answer {
    let accepted = match face {
        Face::Own => StatusCode::ACCEPTED,
        Face::Relay(303) => StatusCode::SEE_OTHER,
        Face::Relay(_) => StatusCode::ACCEPTED,
    };
    let (document, wait) = waited(call, submitted.document).await?;
    let id = document.operation.id();
    let (name, links) = (OperationName { tenant: None, id }, call.links());
    let is_done = document.operation.is_done();
    let mut response = if is_done && wait.is_some() && matches!(face, Face::Relay(_)) {
        let mut response = result::of(call, &name, &document).await?;
        vary_by(response.headers_mut(), "prefer");
        response
    } else {
        let status = if is_done { StatusCode::SEE_OTHER } else { accepted };
        documents::answer(call, status, Some(links.operation(id)), &document)?
    };
    of_submission(&mut response, call, &document, wait)?;
    Ok(response)
}

/// The stored operation after the wait that the client prefers, and that wait.
pub(in crate::http) async fn waited(
    call: &Call,
    document: Document,
) -> Result<(Document, Option<Duration>), ServiceError> {
    // A caller that may not read results need not wait.
    let wait = call.preferences.wait.filter(|_| call.caller.can(Action::Read));
    let Some(time) = wait.filter(|wait| !wait.is_zero() && !document.operation.is_done()) else {
        return Ok((document, wait));
    };
    let name = OperationName { tenant: None, id: document.operation.id() };
    Ok((call.service().wait(&call.caller, &name, time, View::Basic).await?, wait))
}

/// Adds the fields of every response to a stored submission, after `wait`.
pub(in crate::http) fn of_submission(
    response: &mut Response,
    call: &Call,
    document: &Document,
    wait: Option<Duration>,
) -> Result<(), Problem> {
    let respond_async = call.preferences.respond_async && !document.operation.is_done();
    let applied = respond_async.then(|| "respond-async".to_owned());
    preferences_applied(response, applied.into_iter().chain(wait.map(applied_wait)));
    operation_location(response, &call.links().status(document.operation.id()))?;
    let rate = call.service().rate(&call.caller);
    response.headers_mut().extend(rate.into_iter().flat_map(rate_limits));
    Ok(())
}

fn operation_location(response: &mut Response, url: &str) -> Result<(), Problem> {
    let url = documents::header_value(url)?;
    response.headers_mut().insert(OPERATION_LOCATION.clone(), url);
    Ok(())
}
