//! Audit records: structured, on a log target of their own (`longrun::audit`).
//!
//! Refusals and changes of keys are at `info`; calls about operations are at `debug`, because they are many. Records
//! never have contents or credentials.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Reason, ServiceError};
use crate::operation::{OperationId, TenantId, TraceContext};

/// The log target of the records.
pub const TARGET: &str = "longrun::audit";
/// The maximum number of refusals recorded per second, of callers and by limits each; the rest are only counted.
const REFUSALS_PER_SECOND: u32 = 20;

/// The origin of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The address at the other end of the connection.
    pub address: Option<SocketAddr>,
    /// The client's own name for the request, of printable ASCII.
    pub request_id: Option<Arc<str>>,
    /// The request's trace context.
    pub trace: Option<TraceContext>,
}

/// The actor of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actor<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) subject: Option<&'a str>,
    pub(super) origin: &'a Origin,
}

/// Records an action on an operation.
pub(super) fn operation(actor: Actor<'_>, action: &'static str, id: OperationId) {
    let Actor { tenant, subject, origin } = actor;
    tracing::debug!(
        target: TARGET,
        action,
        %tenant,
        subject,
        address = origin.address.map(tracing::field::display),
        request.id = origin.request_id.as_deref(),
        operation.id = %id,
        "done"
    );
}

/// Records a change of administrators' data.
pub(super) fn changed(actor: Actor<'_>, action: &'static str, what: &str) {
    let Actor { tenant, subject, origin } = actor;
    tracing::info!(
        target: TARGET,
        action,
        %tenant,
        subject,
        address = origin.address.map(tracing::field::display),
        request.id = origin.request_id.as_deref(),
        what,
        "done"
    );
}

/// Records a call that was refused because of its caller, or because the caller is unknown.
pub(super) fn refused(actor: Option<Actor<'_>>, origin: &Origin, call: &str, error: &ServiceError) {
    static FLOOD: Mutex<Flood> = Mutex::new(Flood::NONE);
    if matches!(error.reason, Reason::Unauthenticated | Reason::PermissionDenied) {
        record_refusal(&FLOOD, actor, origin, call, (error.reason, &error.message));
    }
}

/// Records a call that a limit refused. It has a bound of its own, so that a tenant at its limit hides no refused caller.
pub(super) fn limited(actor: Option<Actor<'_>>, origin: &Origin, call: &str, message: &str) {
    static FLOOD: Mutex<Flood> = Mutex::new(Flood::NONE);
    record_refusal(&FLOOD, actor, origin, call, (Reason::ResourceExhausted, message));
}

fn record_refusal(
    flood: &Mutex<Flood>,
    actor: Option<Actor<'_>>,
    origin: &Origin,
    call: &str,
    (reason, message): (Reason, &str),
) {
    let admitted = flood.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
    let Some(left_out) = admitted else { return };
    tracing::info!(
        target: TARGET,
        action = "refused",
        reason = reason.as_str(),
        tenant = actor.map(|actor| actor.tenant.as_str()),
        subject = actor.and_then(|actor| actor.subject),
        address = origin.address.map(tracing::field::display),
        request.id = origin.request_id.as_deref(),
        call = &*super::echo(call),
        left_out,
        "{message}"
    );
}

/// Marks a response to a call that a limit refused, with the error's message. The server's front records the call,
/// because only there the caller and the call are known for every interface.
#[derive(Clone, Debug)]
pub struct RefusedByLimit(pub String);

impl RefusedByLimit {
    /// The mark, if the error is a limit's.
    pub fn of(error: &ServiceError) -> Option<Self> {
        (error.reason == Reason::ResourceExhausted).then(|| Self(error.message.clone()))
    }
}

/// Keeps a flood of refusals from flooding the log.
struct Flood {
    since: Option<Instant>,
    recorded: u32,
    left_out: u64,
}

impl Flood {
    const NONE: Self = Self { since: None, recorded: 0, left_out: 0 };

    /// How many refusals were omitted before this one; `None` if this one is omitted too.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let is_new = |since: Instant| now.duration_since(since) >= Duration::from_secs(1);
        if self.since.is_none_or(is_new) {
            (self.since, self.recorded) = (Some(now), 0);
        }
        if self.recorded >= REFUSALS_PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.recorded += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_refusals_is_counted() {
        let mut flood = Flood::NONE;
        let now = Instant::now();
        let recorded = (0..100).filter(|_| flood.admit(now).is_some()).count();
        assert_eq!(recorded, REFUSALS_PER_SECOND as usize);
        assert_eq!(flood.admit(now + Duration::from_secs(1)), Some(80));
        assert_eq!(flood.admit(now + Duration::from_secs(1)), Some(0));
    }
}
