//! Why a call is refused, and the one table that maps it to gRPC and HTTP.
//!
//! `operation` and `store` have errors of their own, small and closed; the engine's become these here, and
//! `grpc` and `http` only render them. Internal detail is logged where it arises and never sent.

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
    /// The rule that it breaks, as a fragment: "must be …".
    pub description: String,
}

impl Violation {
    /// `field` breaks the rule `description`.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: echo(&field.into()).into_owned(), description: description.into() }
    }
}

/// Longest input that a refusal repeats, in characters.
const MAX_ECHO: usize = 200;
/// Most violations that a refusal names.
const MAX_VIOLATIONS: usize = 16;
/// Most bytes of violations in a message.
const MAX_MESSAGE: usize = 1_500;

/// As much of an input as a refusal repeats: its first 200 characters.
pub fn echo(input: &str) -> Cow<'_, str> {
    match input.char_indices().nth(MAX_ECHO) {
        Some((end, _)) => format!("{}…", &input[..end]).into(),
        None => input.into(),
    }
}

/// The reasons for which calls are refused: `ErrorInfo.reason`, in the domain `longrun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A field breaks a rule.
    InvalidArgument,
    /// A payload is larger than the limit.
    PayloadTooLarge,
    /// No such operation for this caller.
    OperationNotFound,
    /// The operation was this caller's, and its retention has removed it.
    OperationExpired,
    /// The operation was submitted without an input.
    InputNotFound,
    /// The operation has no result.
    ResultNotFound,
    /// The idempotency key was used with different content.
    IdempotencyKeyReused,
    /// The operation must be done for this.
    OperationNotDone,
    /// The attempt of a report is not current.
    StaleAttempt,
    /// Another stream has the worker's session (gRPC only).
    SessionSuperseded,
    /// The operation never had that revision.
    RevisionAhead,
    /// A limit is reached.
    ResourceExhausted,
    /// Try again.
    Unavailable,
    /// A defect of the server or of its store.
    Internal,
    /// Contents that were stored are missing or not as they were written.
    DataLoss,
    /// There are no credentials where there must be some.
    Unauthenticated,
    /// A page of another site asked for a change (HTTP only).
    OriginRefused,
    /// The operation is not at the revision that the request is for (HTTP only).
    PreconditionFailed,
    /// The request names a host that this server does not go by (HTTP only).
    HostRefused,
    /// The request's target is too long (HTTP only).
    UriTooLong,
    /// The request did not arrive in time (HTTP only).
    RequestTimeout,
    /// There is no such route (HTTP only).
    RouteNotFound,
    /// The route exists, for other methods (HTTP only).
    MethodNotAllowed,
    /// The body is of a media type that the route does not take (HTTP only).
    UnsupportedMediaType,
    /// The result has no such range (HTTP only).
    RangeNotSatisfiable,
    /// The connection was to become another protocol (HTTP only).
    UpgradeRefused,
    /// An upstream cannot be reached, or broke the connection (HTTP only).
    UpstreamUnreachable,
    /// An upstream did not answer in time (HTTP only).
    UpstreamTimeout,
}

impl Reason {
    /// The table: name, canonical gRPC code, HTTP status, title of the problem.
    const fn row(self) -> (&'static str, i32, u16, &'static str) {
        match self {
            Self::InvalidArgument => ("INVALID_ARGUMENT", 3, 400, "Invalid argument"),
            Self::PayloadTooLarge => ("PAYLOAD_TOO_LARGE", 3, 413, "Payload too large"),
            Self::OperationNotFound => ("OPERATION_NOT_FOUND", 5, 404, "No such operation"),
            Self::OperationExpired => ("OPERATION_EXPIRED", 5, 410, "Operation expired"),
            Self::InputNotFound => ("INPUT_NOT_FOUND", 5, 404, "No input"),
            Self::ResultNotFound => ("RESULT_NOT_FOUND", 5, 404, "No result"),
            Self::IdempotencyKeyReused => {
                ("IDEMPOTENCY_KEY_REUSED", 6, 422, "Idempotency key reused")
            }
            Self::OperationNotDone => ("OPERATION_NOT_DONE", 9, 409, "Operation not done"),
            Self::StaleAttempt => ("STALE_ATTEMPT", 9, 409, "Attempt not current"),
            Self::SessionSuperseded => ("SESSION_SUPERSEDED", 9, 409, "Session superseded"),
            Self::RevisionAhead => ("REVISION_AHEAD", 11, 400, "Revision ahead"),
            Self::ResourceExhausted => ("RESOURCE_EXHAUSTED", 8, 429, "Limit reached"),
            Self::Unavailable => ("UNAVAILABLE", 14, 503, "Try again"),
            Self::Internal => ("INTERNAL", 13, 500, "Internal error"),
            Self::DataLoss => ("DATA_LOSS", 15, 500, "Contents damaged"),
            Self::Unauthenticated => ("UNAUTHENTICATED", 16, 401, "No credentials"),
            Self::OriginRefused => ("ORIGIN_REFUSED", 7, 403, "Origin refused"),
            Self::PreconditionFailed => ("PRECONDITION_FAILED", 9, 412, "Precondition failed"),
            Self::HostRefused => ("HOST_REFUSED", 7, 421, "Host refused"),
            Self::UriTooLong => ("URI_TOO_LONG", 3, 414, "URI too long"),
            Self::RequestTimeout => ("REQUEST_TIMEOUT", 4, 408, "Request timeout"),
            Self::RouteNotFound => ("ROUTE_NOT_FOUND", 12, 404, "No such route"),
            Self::MethodNotAllowed => ("METHOD_NOT_ALLOWED", 12, 405, "Method not allowed"),
            Self::UnsupportedMediaType => {
                ("UNSUPPORTED_MEDIA_TYPE", 3, 415, "Unsupported media type")
            }
            Self::RangeNotSatisfiable => ("RANGE_NOT_SATISFIABLE", 11, 416, "No such range"),
            Self::UpgradeRefused => ("UPGRADE_REFUSED", 12, 501, "Upgrade refused"),
            Self::UpstreamUnreachable => ("UPSTREAM_UNREACHABLE", 14, 502, "Upstream unreachable"),
            Self::UpstreamTimeout => ("UPSTREAM_TIMEOUT", 4, 504, "Upstream timed out"),
        }
    }

    /// The reason's name, in upper snake case.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The canonical gRPC status code.
    pub const fn grpc_code(self) -> i32 {
        self.row().1
    }

    /// The HTTP status.
    pub const fn http_status(self) -> u16 {
        self.row().2
    }

    /// The title of an HTTP problem.
    pub const fn title(self) -> &'static str {
        self.row().3
    }
}

/// A refused call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people; complete by itself.
    pub message: String,
    /// The fields at fault.
    pub violations: Vec<Violation>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// More facts by name.
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

    /// Fields that break rules. Names the first 16, and in the message as many of them as are short enough; it says
    /// how many more there are.
    pub fn invalid(mut violations: Vec<Violation>) -> Self {
        let mut message = String::new();
        for (at, Violation { field, description }) in violations.iter().enumerate() {
            let rule = format!("{field} {description}");
            if at > 0 && (at >= MAX_VIOLATIONS || message.len() + rule.len() > MAX_MESSAGE) {
                message.push_str(&format!("; and {} more", violations.len() - at));
                break;
            }
            message.push_str(if at > 0 { "; " } else { "" });
            message.push_str(&rule);
        }
        violations.truncate(MAX_VIOLATIONS);
        Self { violations, ..Self::new(Reason::InvalidArgument, message) }
    }

    /// One field that breaks a rule.
    pub fn invalid_field(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::invalid(vec![Violation::new(field, rule)])
    }

    /// The same error with one more fact.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    /// The server is about to stop.
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
                // Acquiring is the engine's own; no call can be refused so.
                Rejection::NotDue => Self::new(Reason::Internal, message),
            },
            EngineError::KeyReused(id) => {
                Self::new(Reason::IdempotencyKeyReused, message).with("operation", id.name())
            }
            EngineError::Full { what, limit } => {
                Self { retry_after: again, ..Self::new(Reason::ResourceExhausted, message) }
                    .with("limit", limit.to_string())
                    .with("what", what)
            }
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
