//! Reasons of refusals, and the one table that maps them to gRPC and HTTP.
//!
//! `operation` and `store` have small closed sets of errors of their own; the engine's errors become these, and `grpc`
//! and `http` only render them. Internal details are logged at their source and never sent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::EngineError;
use crate::operation::{Rejection, Timestamp};

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, e.g. `requests[3].kind`.
    pub field: String,
    /// The broken rule, as part of a sentence: "must be …".
    pub description: String,
}

impl Violation {
    /// `field` breaks the rule `description`.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: echo(&field.into()).into_owned(), description: description.into() }
    }
}

/// The longest part of an input that a refusal repeats, in characters.
const MAX_ECHO: usize = 200;
/// The part of an input that a refusal repeats: its first 200 characters.
pub fn echo(input: &str) -> Cow<'_, str> {
    match input.char_indices().nth(MAX_ECHO) {
        Some((end, _)) => format!("{}…", &input[..end]).into(),
        None => input.into(),
    }
}

/// Declares the reasons: each with its meaning, its name, its canonical gRPC code, its HTTP status, and the title of an
/// HTTP problem. Documents (`docs/errors.md`, `/openapi.json`) are generated from this or tested against it.
macro_rules! reasons {
    ($($(#[doc = $about:literal])+ $reason:ident = $name:literal, $grpc:literal, $http:literal, $title:literal;)+) => {
        /// The reasons for which calls are refused: `ErrorInfo.reason`, in the domain `longrun`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $about])+ $reason,)+
        }

        impl Reason {
            /// All reasons, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$reason),+];

            /// The reason's name, in upper snake case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$reason => $name,)+ }
            }

            /// The canonical gRPC status code.
            pub const fn grpc_code(self) -> i32 {
                match self { $(Self::$reason => $grpc,)+ }
            }

            /// The HTTP status.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$reason => $http,)+ }
            }

            /// The title of an HTTP problem.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$reason => $title,)+ }
            }

            /// The meaning, and the remedy.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$reason => concat!($($about),+),)+ }
            }
        }
    };
}

reasons! {
    /// A field breaks a rule. The violations name all fields and rules.
    InvalidArgument = "INVALID_ARGUMENT", 3, 400, "Invalid argument";
    /// A payload or a body is larger than the limit, which the message names.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 3, 413, "Payload too large";
    /// There is no such operation for this caller.
    OperationNotFound = "OPERATION_NOT_FOUND", 5, 404, "No such operation";
    /// The operation was this caller's, and its retention has removed it.
    OperationExpired = "OPERATION_EXPIRED", 5, 410, "Operation expired";
    /// There is no such API key for this caller.
    KeyNotFound = "KEY_NOT_FOUND", 5, 404, "No such key";
    /// No such limit was set by an operator.
    LimitNotFound = "LIMIT_NOT_FOUND", 5, 404, "No such limit";
    /// There is no such share, or it has expired or was revoked.
    ShareNotFound = "SHARE_NOT_FOUND", 5, 404, "No such share";
    /// There is no such webhook.
    WebhookNotFound = "WEBHOOK_NOT_FOUND", 5, 404, "No such webhook";
    /// There is no such delivery of a webhook.
    DeliveryNotFound = "DELIVERY_NOT_FOUND", 5, 404, "No such delivery";
    /// The operation was submitted without an input (gRPC only; 204 over HTTP).
    InputNotFound = "INPUT_NOT_FOUND", 5, 404, "No input";
    /// The operation is done and has no result (gRPC only; 204, or what it ended with, over HTTP).
    ResultNotFound = "RESULT_NOT_FOUND", 5, 404, "No result";
    /// The idempotency key was used with different content. Use another key for another submission.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", 6, 422, "Idempotency key reused";
    /// The operation must be done for this. Wait, or cancel it.
    OperationNotDone = "OPERATION_NOT_DONE", 9, 409, "Operation not done";
    /// The operation that a submission names as its parent is no batch, is done, or is being cancelled.
    ParentNotOpen = "PARENT_NOT_OPEN", 9, 409, "Parent not open";
    /// None of the batch's children failed or was cancelled, or some that did were deleted since. Submit them anew.
    NothingToRetry = "NOTHING_TO_RETRY", 9, 409, "Nothing to retry";
    /// The attempt of a worker's report or token is not current: it is over, or another one has the work. Stop, and report nothing more.
    StaleAttempt = "STALE_ATTEMPT", 9, 409, "Attempt not current";
    /// Another stream has the worker's session. Do not take it back: the later stream is the worker's own (gRPC only).
    SessionSuperseded = "SESSION_SUPERSEDED", 9, 409, "Session superseded";
    /// The operation never had the revision to resume from. Begin anew.
    RevisionAhead = "REVISION_AHEAD", 11, 400, "Revision ahead";
    /// A list took longer than five seconds. Narrow its filter by kind, state, time or the value of a label.
    ListTimeout = "LIST_TIMEOUT", 4, 504, "List timed out";
    /// A limit is reached. Try again after the delay in the refusal.
    ResourceExhausted = "RESOURCE_EXHAUSTED", 8, 429, "Limit reached";
    /// The server is stopping, or cannot reach its store. Try again after the delay in the refusal.
    Unavailable = "UNAVAILABLE", 14, 503, "Try again";
    /// A defect of the server or of its store. The server's log has the cause.
    Internal = "INTERNAL", 13, 500, "Internal error";
    /// Stored contents are missing or damaged. Trying again does not help.
    DataLoss = "DATA_LOSS", 15, 500, "Contents damaged";
    /// The call needs valid credentials, and has none.
    Unauthenticated = "UNAUTHENTICATED", 16, 401, "No credentials";
    /// The credentials are valid, but lack the role or the kind that the message names.
    PermissionDenied = "PERMISSION_DENIED", 7, 403, "Not permitted";
    /// A page of another site asked for a change; `--cors-origin` allows it (HTTP only).
    OriginRefused = "ORIGIN_REFUSED", 7, 403, "Origin refused";
    /// The operation is not at the revision that `If-Match` names, or is what `If-None-Match` excludes. Look again, then
    /// decide (HTTP only).
    PreconditionFailed = "PRECONDITION_FAILED", 9, 412, "Precondition failed";
    /// The request names a host that is not this server's; `--allowed-host` adds the name (HTTP only).
    HostRefused = "HOST_REFUSED", 7, 421, "Host refused";
    /// The path and query are longer than 16 KiB (HTTP only).
    UriTooLong = "URI_TOO_LONG", 3, 414, "URI too long";
    /// The body did not arrive in time (HTTP only).
    RequestTimeout = "REQUEST_TIMEOUT", 4, 408, "Request timeout";
    /// There is nothing at this path (HTTP only).
    RouteNotFound = "ROUTE_NOT_FOUND", 12, 404, "No such route";
    /// This path exists, for the methods in `Allow` (HTTP only).
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 12, 405, "Method not allowed";
    /// The server does not accept the body's media type or coding here (HTTP only).
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 3, 415, "Unsupported media type";
    /// The contents have no such range; `Content-Range` has their length (HTTP only).
    RangeNotSatisfiable = "RANGE_NOT_SATISFIABLE", 11, 416, "No such range";
    /// The server does not support a field of the request, which the message names. Omit the field.
    Unsupported = "UNSUPPORTED", 12, 501, "Not supported";
    /// The request asks for another protocol on the connection; the relay does not support that (HTTP only).
    UpgradeRefused = "UPGRADE_REFUSED", 12, 501, "Upgrade refused";
    /// The API behind a relay cannot be reached, or broke the connection (HTTP only).
    UpstreamUnreachable = "UPSTREAM_UNREACHABLE", 14, 502, "Upstream unreachable";
    /// The API behind a relay did not answer in time (HTTP only).
    UpstreamTimeout = "UPSTREAM_TIMEOUT", 4, 504, "Upstream timed out";
}

/// A refused call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// The reason, for programs.
    pub reason: Reason,
    /// The reason, for people; a full sentence.
    pub message: String,
    /// The wrong fields.
    pub violations: Vec<Violation>,
    /// When a retry makes sense.
    pub retry_after: Option<Duration>,
    /// Further facts by name.
    pub metadata: BTreeMap<String, String>,
}

impl ServiceError {
    /// An error without further details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            violations: Vec::new(),
            retry_after: None,
            metadata: BTreeMap::new(),
        }
    }

    /// The error for one field that breaks a rule.
    pub fn invalid_field(field: impl Into<String>, rule: impl Into<String>) -> Self {
        let violation = Violation::new(field, rule);
        let message = format!("{} {}", violation.field, violation.description);
        Self { violations: vec![violation], ..Self::new(Reason::InvalidArgument, message) }
    }

    /// The error with one more fact.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    /// The error for new work while the server stops.
    pub fn stopping() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(Reason::Unavailable, "the server is stopping")
        }
    }
}

impl From<EngineError> for ServiceError {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        let again = Some(Duration::from_secs(1));
        match error {
            EngineError::NotFound => Self::new(Reason::OperationNotFound, message),
            EngineError::Expired { purged_at } => {
                Self::new(Reason::OperationExpired, message).with("purgeTime", rfc3339(purged_at))
            }
            EngineError::Rejected(rejection) => match rejection {
                Rejection::StaleAttempt { .. } => Self::new(Reason::StaleAttempt, message),
                Rejection::NotDone => Self::new(Reason::OperationNotDone, message),
                // Only the engine itself acquires, so no call is refused with this.
                Rejection::NotDue => Self::new(Reason::Internal, message),
            },
            EngineError::KeyReused(id) => {
                Self::new(Reason::IdempotencyKeyReused, message).with("operation", id.name())
            }
            EngineError::NoParent(id) => {
                Self::new(Reason::OperationNotFound, message).with("operation", id.name())
            }
            EngineError::ParentNotOpen { parent, .. } => {
                Self::new(Reason::ParentNotOpen, message).with("operation", parent.name())
            }
            EngineError::Full { what, limit } => {
                Self { retry_after: again, ..Self::new(Reason::ResourceExhausted, message) }
                    .with("limit", limit.to_string())
                    .with("what", what.to_string())
            }
            EngineError::Limited { tenant, name, most, kind } => {
                let error =
                    Self { retry_after: again, ..Self::new(Reason::ResourceExhausted, message) }
                        .with("limit", most.to_string())
                        .with("what", name.as_str())
                        .with("tenant", tenant.as_str());
                kind.iter().fold(error, |error, kind| error.with("kind", kind.as_str()))
            }
            EngineError::TimedOut => Self::new(Reason::ListTimeout, message),
            EngineError::Unavailable(_) => {
                Self { retry_after: again, ..Self::new(Reason::Unavailable, message) }
            }
            EngineError::Internal(_) => Self::new(Reason::Internal, message),
        }
    }
}

pub(super) fn rfc3339(at: Timestamp) -> String {
    let (seconds, nanos) = at.to_unix();
    prost_types::Timestamp { seconds, nanos }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::code_name;

    #[test]
    fn the_page_of_reasons_is_true() {
        let page = include_str!("../../docs/errors.md");
        let rows = Reason::ALL.iter().map(|reason| {
            let code = code_name(reason.grpc_code());
            let (name, status) = (reason.as_str(), reason.http_status());
            format!("| `{name}` | {code} | {status} | {} |\n", reason.about().trim())
        });
        let head = "| reason | gRPC | HTTP | what it means |\n| --- | --- | --- | --- |\n";
        let table = head.to_owned() + &rows.collect::<String>();
        assert!(page.contains(&table), "docs/errors.md must have this table:\n{table}");
    }

    #[test]
    fn reasons_are_told_apart_by_their_names() {
        let names: std::collections::BTreeSet<_> =
            Reason::ALL.iter().map(|it| it.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
