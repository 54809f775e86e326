//! A request that becomes an operation.

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::super::call::Call;
use super::super::dialect::{self, Admission, Visit};
use super::super::documents::Answer;
use super::super::submission::{self, Face, Sent};
use super::Relayed;
use crate::operation::http::media_type;
use crate::operation::{HttpEnvelope, HttpHeader, Kind, NewOperation, Settings};
use crate::relay::is_idempotent;
use crate::service::{Reason, ServiceError};

/// A margin beyond the relay's own timeout for an attempt, because the relay's failure says more.
const ATTEMPT_MARGIN: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) async fn submit(
    mut call: Call,
    relayed: &Relayed<'_>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let mount = &relayed.mounted.mount;
    let visit = relayed.claim.visit.as_ref();
    let admission = visit.map(|visit| Admission::of(&call, visit)).transpose()?;
    let mut found = visit.map(Visit::violations).unwrap_or_default();
    let read = found.take(envelope(&call, relayed, headers));
    let (content_type, envelope) =
        read.map(|(content_type, envelope)| (content_type, Some(envelope))).unwrap_or_default();
    let limit = mount.max_body.unwrap_or(usize::MAX);
    let kind = Kind::parse(&mount.kind())
        .map_err(|error| ServiceError::new(Reason::Internal, error.to_string()))?;
    let new = NewOperation {
        configured: Some(Box::new(Settings {
            queue_timeout: mount.limits.queue_timeout,
            attempt_timeout: Some(mount.limits.attempt_timeout + ATTEMPT_MARGIN),
            deadline: mount.limits.deadline,
            retry_policy: mount.retry_policy(is_idempotent(&call.parts.method)),
            retention: call.service().limits().default_retention,
            ..Settings::default()
        })),
        ..NewOperation::of(kind)
    };
    let new = match &admission {
        Some(admission) => {
            let trigger = relayed.claim.onward.trigger.as_ref();
            found.take(admission.admit(&call, new, trigger))
        }
        None => {
            let key = found.take(call.idempotency_key(""));
            key.map(|idempotency_key| NewOperation { idempotency_key, ..new })
        }
    };
    if let Some(admission) = admission {
        call.caller = admission.caller;
    }
    let sent = Sent::new(&call, &content_type, envelope, body, &mut found);
    let (new, sent) = found.settle(new.zip(sent))?;
    let sent = sent.at_most(limit);
    let submitted = submission::take(&call, new, sent).await?;
    match visit {
        Some(visit) => dialect::accepted(&call, visit, submitted).await,
        None => submission::answer(&call, submitted, Face::Relay(mount.answer)).await,
    }
}

/// The request without its body, and the body's media type. A type that cannot be stored is refused.
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
    // The stored body has its own length. Only the client's statement that an empty body has length 0 must be kept.
    if headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
        headers.remove(CONTENT_LENGTH);
    }
    let header = |(name, value): (&http::HeaderName, &HeaderValue)| HttpHeader {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    let envelope = HttpEnvelope {
        method: call.parts.method.as_str().to_owned(),
        target: relayed.claim.onward.target.clone(),
        status: 0,
        headers: verbatim.into_iter().chain(headers.iter().map(header)).collect(),
    };
    Ok((content_type, envelope))
}
