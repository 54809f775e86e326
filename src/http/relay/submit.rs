//! A request that becomes an operation.

use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderMap};

use super::super::call::Call;
use super::super::dialect::Admission;
use super::super::documents::Answer;
use super::super::submission::{self, Face};
use super::Relayed;
use crate::operation::{HttpEnvelope, HttpHeader, Kind, NewOperation, Settings};
use crate::relay::is_idempotent;
use crate::service::{Reason, ServiceError};
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
    let envelope = envelope(&call, relayed, headers);
    let limit = mount.max_body.unwrap_or(usize::MAX);
    let kind = Kind::parse(&mount.kind())
        .map_err(|error| ServiceError::new(Reason::Internal, error.to_string()))?;
    let new = NewOperation {
        settings: Settings {
            queue_timeout: mount.limits.queue_timeout,
            attempt_timeout: Some(mount.limits.attempt_timeout + ATTEMPT_MARGIN),
            deadline: mount.limits.deadline,
            retry_policy: mount.retry_policy(is_idempotent(&call.parts.method)),
            retention: call.service().limits().default_retention,
            ..Settings::default()
        },
        idempotency_key: key,
        ..NewOperation::of(kind)
    };
    let (caller, new, face) = match &admission {
        Some((dialect, admission)) => {
            let new = admission.admit(new, relayed.trigger.as_deref());
            (&admission.caller, new, Face::Dialect(dialect))
        }
        None => (&call.caller, new, Face::Relay(mount.answer)),
    };
    let submitted = submission::take(&call, caller, new, Some(envelope), body, limit).await?;
    submission::answer(&call, caller, submitted, face).await
}

/// The request without its body.
fn envelope(call: &Call, relayed: &Relayed<'_>, mut headers: HeaderMap) -> HttpEnvelope {
    headers.remove(CONTENT_TYPE);
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| HttpHeader {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    HttpEnvelope {
        method: call.parts.method.as_str().to_owned(),
        target: relayed.target.clone(),
        status: 0,
        headers: headers.iter().map(header).collect(),
    }
}
