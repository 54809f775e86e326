//! A request that becomes an operation: stored, and answered like any submission, or with its result.

use axum::body::Body;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::super::body::take_in;
use super::super::call::Call;
use super::super::dialect::{Admission, accepted};
use super::super::documents::{self, Answer, preferences_applied};
use super::super::headers::vary_by;
use super::super::result;
use super::super::submit::{applied_wait, operation_location};
use super::Relayed;
use crate::operation::http::media_type;
use crate::operation::{
    HttpEnvelope, HttpHeader, InvalidEnvelope, Kind, NewOperation, Settings, TenantId,
};
use crate::relay::is_idempotent;
use crate::service::{OperationName, Reason, ServiceError, View};
use crate::wire::decode;

/// Backstop behind the relay's own timeout for an attempt, whose failure says more.
const ATTEMPT_MARGIN: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) async fn submit(
    call: Call,
    relayed: &Relayed<'_>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let mount = &relayed.mounted.mount;
    let admission = match relayed.dialect {
        Some(dialect) => Some((dialect, Admission::of(&call, dialect)?)),
        None => None,
    };
    let key = decode::idempotency_key("Idempotency-Key", &call.idempotency_key("")?)?;
    let (content_type, envelope) = envelope(&call, relayed, headers)?;
    let limit = mount.max_body.unwrap_or(usize::MAX);
    let input = take_in(call.service(), body, limit, &content_type).await?;
    let kind = Kind::parse(&mount.kind())
        .map_err(|error| ServiceError::new(Reason::Internal, error.to_string()))?;
    let new = NewOperation {
        tenant: TenantId::default_tenant(),
        kind,
        labels: Default::default(),
        settings: Settings {
            queue_timeout: mount.limits.queue_timeout,
            attempt_timeout: Some(mount.limits.attempt_timeout + ATTEMPT_MARGIN),
            deadline: mount.limits.deadline,
            retry_policy: mount.retry_policy(is_idempotent(&call.parts.method)),
            retention: call.service().limits().default_retention,
            ..Settings::default()
        },
        start_at: None,
        idempotency_key: key,
        retry_of: None,
        input: Some(input.within(envelope)),
        capacity: None,
    };
    if let Some((dialect, admission)) = admission {
        let new = admission.admit(new, relayed.trigger.as_deref());
        let submitted = call.service().submit(&admission.caller, new).await?;
        return accepted(&call, dialect, submitted);
    }
    let submitted = call.service().submit(&call.caller, new).await?;
    answer(&call, mount.answer, submitted.document).await
}

/// The request without its body, and the media type for that. What is too large or cannot be stored is refused.
fn envelope(
    call: &Call,
    relayed: &Relayed<'_>,
    mut headers: HeaderMap,
) -> Result<(String, HttpEnvelope), ServiceError> {
    let said = headers.get_all(CONTENT_TYPE);
    if said.iter().any(|value| value.to_str().is_err()) {
        return Err(ServiceError::invalid_field("Content-Type", "must be printable ASCII"));
    }
    let (content_type, verbatim) = media_type(said.iter().map(HeaderValue::as_bytes));
    headers.remove(CONTENT_TYPE);
    // The stored body has its length. What remains to be said is that the client stated that of nothing.
    if headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
        headers.remove(CONTENT_LENGTH);
    }
    let header = |(name, value): (&http::HeaderName, &HeaderValue)| HttpHeader {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    let envelope = HttpEnvelope {
        method: call.parts.method.as_str().to_owned(),
        target: relayed.target.clone(),
        status: 0,
        headers: verbatim.into_iter().chain(headers.iter().map(header)).collect(),
    };
    match envelope.check() {
        Ok(()) => Ok((content_type, envelope)),
        Err(InvalidEnvelope { field, rule }) => Err(ServiceError::invalid_field(field, rule)),
    }
}

/// As a submission is answered: where to ask. A client that preferred to wait, and whose operation was done in
/// time, gets what the upstream answered.
async fn answer(call: &Call, accepted: u16, mut document: crate::service::Document) -> Answer {
    let id = document.operation.id();
    let name = OperationName { tenant: None, id };
    let mut applied = Vec::new();
    if let Some(wait) = call.preferences.wait {
        if !document.operation.is_done() && !wait.is_zero() {
            document = call.service().wait(&call.caller, &name, wait, View::Basic).await?;
        }
        applied.push(applied_wait(wait));
        if document.operation.is_done() {
            let mut response = result::of(call, &name, &document).await?;
            vary_by(response.headers_mut(), "prefer");
            preferences_applied(&mut response, applied);
            operation_location(&mut response, &call.links().status(id))?;
            return Ok(response);
        }
    }
    if call.preferences.respond_async {
        applied.insert(0, "respond-async".to_owned());
    }
    let done = document.operation.is_done();
    let status = if done || accepted == 303 { StatusCode::SEE_OTHER } else { StatusCode::ACCEPTED };
    let location = call.links().operation(id);
    let mut response = documents::answer(call, status, Some(location), &document)?;
    preferences_applied(&mut response, applied);
    operation_location(&mut response, &call.links().status(id))?;
    Ok(response)
}
