//! The outcome as a synchronous call would have returned it.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::ETAG;

use super::call::Call;
use super::conditional::{self, Found, Validators, Verdict};
use super::documents::{self, Answer};
use super::etag;
use super::headers::{ERRORS, WARNINGS};
use super::problem::{Problem, upstream_reason};
use super::{contents, replay};
use crate::operation::{Operation, Outcome, State};
use crate::service::{Document, OperationName, ServiceError, View};

/// `GET …/{id}/result`: 202 until the operation is done; then the result (204 if there is none), or the problem with
/// which it failed. A partial success returns its result, with the number of errors in a header; the operation has the
/// errors.
pub(super) async fn get(mut call: Call) -> Answer {
    let wait = call.take_wait();
    let (name, found) = call.finish_path();
    let name = found.settle(name)?;
    let validators = Validators::of_result;
    let found = conditional::find_by(&call, &name, wait, View::Basic, validators).await?;
    let Found { document, verdict } = found;
    if let Some(response) = instead(&call, verdict, &document.operation)? {
        return Ok(response);
    }
    let mut response = of(&call, &name, &document).await?;
    conditional::of_request(&mut response, &call);
    Ok(response)
}

/// The response in place of the outcome, if the client's conditions ask for it. They apply only to successes (RFC 9110,
/// section 13.2.1).
pub(super) fn instead(
    call: &Call,
    verdict: Verdict,
    operation: &Operation,
) -> Result<Option<Response>, Problem> {
    if !is_success(operation) {
        return Ok(None);
    }
    let Some(mut response) = verdict.instead(call, operation)? else { return Ok(None) };
    tag(&mut response, operation)?;
    Ok(Some(response))
}

/// Whether the outcome is a response of 2xx. A recorded status of 0 is that of a request.
fn is_success(operation: &Operation) -> bool {
    let recorded = operation.result().and_then(|result| result.http.as_deref());
    let is_recorded_failure = recorded.is_some_and(|it| !matches!(it.status, 0 | 200..=299));
    let has_failed = matches!(
        operation.life.state,
        State::Done { outcome: Outcome::Failed { .. } | Outcome::Cancelled { .. }, .. }
    );
    !has_failed && !is_recorded_failure
}

/// The outcome of a done operation; otherwise 202 with the URL to poll.
pub(super) async fn of(call: &Call, name: &OperationName, document: &Document) -> Answer {
    let operation = &document.operation;
    let mut response = match &operation.life.state {
        State::Done { outcome: Outcome::Failed { .. } | Outcome::Cancelled { .. }, .. } => {
            Problem::of_operation(&documents::message(&call.links(), document)).into_response()
        }
        State::Done { outcome, .. } => success(call, name, operation, outcome).await?,
        _ => {
            let location = call.links().result(operation.id());
            documents::answer(call, StatusCode::ACCEPTED, Some(location), document)?
        }
    };
    documents::about(&mut response, call, operation);
    tag(&mut response, operation)?;
    Ok(response)
}

/// The outcome of a relayed request as the API would have returned it, or as this server would have if the API had not
/// responded. All other outcomes are as in [`of`].
pub(super) async fn of_relay(call: &Call, name: &OperationName, document: &Document) -> Answer {
    let operation = &document.operation;
    if let State::Done { outcome: Outcome::Failed { error }, .. } = &operation.life.state
        && let Some(reason) = upstream_reason(operation.submission.kind.as_str(), &error.code)
    {
        return Err(ServiceError::new(reason, error.message.clone()).into());
    }
    let result = operation.result().and_then(|info| Some((info, info.http.as_deref()?)));
    let Some(recorded) = result.filter(|(_, http)| http.status > 0) else {
        return of(call, name, document).await;
    };
    let contents = call.service().result(&call.caller, name);
    let etag = etag::of_result(operation);
    let mut response = contents::recorded(call, &etag, recorded, contents).await?;
    replay::resolve(call, operation, &mut response);
    Ok(response)
}

fn tag(response: &mut Response, operation: &Operation) -> Result<(), Problem> {
    let etag = documents::header_value(&etag::of_result(operation))?;
    response.headers_mut().insert(ETAG, etag);
    Ok(())
}

async fn success(
    call: &Call,
    name: &OperationName,
    operation: &Operation,
    outcome: &Outcome,
) -> Answer {
    let mut response = match operation.result() {
        Some(info) => {
            let result = call.service().result(&call.caller, name);
            let etag = etag::of_result(operation);
            let mut response = contents::answer(call, &etag, info, result).await?;
            replay::resolve(call, operation, &mut response);
            response
        }
        None => StatusCode::NO_CONTENT.into_response(),
    };
    let (errors, warnings) = match outcome {
        Outcome::Succeeded { warnings, .. } => (0, warnings.len()),
        Outcome::PartiallySucceeded { errors, warnings, .. } => (errors.len(), warnings.len()),
        Outcome::Failed { .. } | Outcome::Cancelled { .. } => (0, 0),
    };
    for (name, count) in [(&ERRORS, errors), (&WARNINGS, warnings)] {
        if count > 0 {
            response.headers_mut().insert(name.clone(), count.into());
        }
    }
    Ok(response)
}
