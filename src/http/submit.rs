//! Submitting: a submission as JSON, or any body as the input of a kind.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use super::call::Call;
use super::documents::{self, Answer, preferences_applied};
use super::headers::OPERATION_LOCATION;
use super::problem::Problem;
use crate::operation::NewOperation;
use crate::proto::v1;
use crate::service::{MAX_WAIT, OperationName, ServiceError, Submitted, View};
use crate::wire::decode;

/// `POST /v1/operations`: a `SubmitRequest` as JSON.
pub(super) async fn operation(mut call: Call, body: Body) -> Answer {
    call.finish_query()?;
    let mut request: v1::SubmitRequest = call.message(body).await?;
    request.idempotency_key = call.idempotency_key(&request.idempotency_key)?;
    let new = decode::new_operation(request, "", call.service().limits())?;
    store(call, new).await
}

/// `POST /v1/kinds/{kind}/operations`: the body, whatever it is, is the input. The rest of a submission stands
/// in the query: `label=KEY=VALUE` (may be repeated), `priority`, `queue_timeout`, `attempt_timeout`,
/// `deadline`, `cancel_grace`, `retention`, `max_attempts`, `start_time` (RFC 3339).
pub(super) async fn of_kind(mut call: Call, body: Body) -> Answer {
    let mut request = v1::SubmitRequest {
        kind: call.segment("kind").to_owned(),
        idempotency_key: call.idempotency_key("")?,
        ..Default::default()
    };
    take_settings(&mut call, &mut request)?;
    call.finish_query()?;
    let mut new = decode::new_operation(request, "", call.service().limits())?;
    new.input = call.payload(body, usize::MAX).await?;
    store(call, new).await
}

fn take_settings(call: &mut Call, request: &mut v1::SubmitRequest) -> Result<(), ServiceError> {
    for label in call.query.take_all("label") {
        let (key, value) = label
            .split_once('=')
            .ok_or_else(|| ServiceError::invalid_field("label", "must be KEY=VALUE"))?;
        if request.labels.insert(key.to_owned(), value.to_owned()).is_some() {
            let rule = format!("must give {key:?} once");
            return Err(ServiceError::invalid_field("label", rule));
        }
    }
    if let Some(time) = call.query.take("start_time")? {
        let rule = "must be a time like 2026-01-31T12:00:00Z";
        let time = time.parse().map_err(|_| ServiceError::invalid_field("start_time", rule))?;
        request.start_time = Some(time);
    }
    let settings = request.settings.get_or_insert_default();
    settings.priority = call.query.take_number("priority")?.unwrap_or_default();
    settings.queue_timeout = take_duration(call, "queue_timeout")?;
    settings.attempt_timeout = take_duration(call, "attempt_timeout")?;
    settings.deadline = take_duration(call, "deadline")?;
    settings.cancel_grace = take_duration(call, "cancel_grace")?;
    settings.retention = take_duration(call, "retention")?;
    if let Some(max_attempts) = call.query.take_number("max_attempts")? {
        settings.retry_policy = Some(v1::RetryPolicy { max_attempts, ..Default::default() });
    }
    Ok(())
}

fn take_duration(
    call: &mut Call,
    name: &str,
) -> Result<Option<prost_types::Duration>, ServiceError> {
    let duration = call.query.take_duration(name)?.map(TryInto::try_into);
    duration.transpose().map_err(|_| ServiceError::invalid_field(name, "is too long"))
}

async fn store(call: Call, new: NewOperation) -> Answer {
    let submitted = call.service().submit(&call.caller, new).await?;
    accepted(&call, submitted).await
}

/// The answer to a submission that is stored: 202 with the operation, or 303 to it where it is done, be it
/// that the key was known or that the client preferred to wait and it was quick.
pub(super) async fn accepted(call: &Call, submitted: Submitted) -> Answer {
    let mut document = submitted.document;
    let id = document.operation.id();
    let mut applied = Vec::new();
    if let Some(wait) = call.preferences.wait {
        if !document.operation.is_done() && !wait.is_zero() {
            let name = OperationName { tenant: None, id };
            document = call.service().wait(&call.caller, &name, wait, View::Basic).await?;
        }
        applied.push(applied_wait(wait));
    }
    let status =
        if document.operation.is_done() { StatusCode::SEE_OTHER } else { StatusCode::ACCEPTED };
    if call.preferences.respond_async && status == StatusCode::ACCEPTED {
        applied.insert(0, "respond-async".to_owned());
    }
    let location = call.links().operation(id);
    let mut response = documents::answer(call, status, Some(location), &document)?;
    preferences_applied(&mut response, applied);
    operation_location(&mut response, &call.links().status(id))?;
    Ok(response)
}

/// The preference that was granted, which is less than was asked for past the maximum.
pub(super) fn applied_wait(wait: Duration) -> String {
    format!("wait={}", wait.min(MAX_WAIT).as_secs())
}

pub(super) fn operation_location(response: &mut Response, url: &str) -> Result<(), Problem> {
    let url = documents::header_value(url)?;
    response.headers_mut().insert(OPERATION_LOCATION.clone(), url);
    Ok(())
}
