//! The error of a call, in one form for all layers.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::proto::v1::{FieldViolation, RequestError};

/// A failed call: the server's status with its details, or why the server was not reached.
#[derive(Debug)]
pub struct ClientError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    message: String,
    reason: String,
    metadata: HashMap<String, String>,
    field_violations: Vec<FieldViolation>,
    retry_after: Option<Duration>,
    was_reached: bool,
}

impl ClientError {
    /// An error of this side, before or instead of a call.
    pub(crate) fn local(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            reason: String::new(),
            metadata: HashMap::new(),
            field_violations: Vec::new(),
            retry_after: None,
            was_reached: true,
        }))
    }

    /// An error with the details of an HTTP response.
    pub(super) fn of_answer(
        mut self,
        reason: String,
        field_violations: Vec<FieldViolation>,
        retry_after: Option<Duration>,
    ) -> Self {
        let inner = &mut *self.0;
        (inner.reason, inner.field_violations) = (reason, field_violations);
        inner.retry_after = retry_after;
        self
    }

    /// The canonical gRPC status code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// `ErrorInfo.reason` in UPPER_SNAKE_CASE; empty if the server gave none.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The message, for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// `ErrorInfo.metadata`: further facts by name.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.0.metadata
    }

    /// The fields of the request that break a rule.
    pub fn field_violations(&self) -> &[FieldViolation] {
        &self.0.field_violations
    }

    /// How long to wait before a retry, if the server said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether a retry may succeed soon: the server returned UNAVAILABLE, or the connection broke before a response.
    pub fn is_transient(&self) -> bool {
        self.0.code == Code::Unavailable
    }

    /// Whether there was a connection, so that the server may have executed the call.
    pub fn was_reached(&self) -> bool {
        self.0.was_reached
    }
}

/// Whether the connection was never made.
fn is_unconnected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
        let field_violations = violations
            .unwrap_or_default()
            .iter()
            .map(|violation| FieldViolation {
                field: violation.field.clone(),
                description: violation.description.clone(),
            })
            .collect();
        // A stream that a proxy cut appears as a bare UNKNOWN, or as INTERNAL if it was cut within a message; the
        // server itself always adds details.
        let is_cut = match status.code() {
            Code::Unknown => true,
            Code::Internal => status.message().starts_with("Unexpected EOF"),
            _ => false,
        };
        let cut = is_cut && status.details().is_empty();
        let broken = cut || status.source().is_some();
        Self(Box::new(Inner {
            // Transports report a broken connection in many ways; callers get one.
            code: if broken { Code::Unavailable } else { status.code() },
            message: if broken { chain(&status) } else { status.message().to_owned() },
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            field_violations,
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            was_reached: !is_unconnected(&status),
        }))
    }
}

impl From<tonic::transport::Error> for ClientError {
    fn from(error: tonic::transport::Error) -> Self {
        Self::from(Status::from_error(Box::new(error)))
    }
}

impl From<RequestError> for ClientError {
    fn from(error: RequestError) -> Self {
        let mut client_error = Self::local(Code::from_i32(error.status_code), error.message);
        client_error.0.reason = error.reason;
        client_error.0.field_violations = error.field_violations;
        client_error
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { code, message, reason, field_violations, .. } = &*self.0;
        write!(f, "{code:?}")?;
        if !reason.is_empty() {
            write!(f, " ({reason})")?;
        }
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        for FieldViolation { field, description } in field_violations {
            // The server's message has those that fit into it.
            if !message.contains(&format!("{field} {description}")) {
                write!(f, "; {field}: {description}")?;
            }
        }
        Ok(())
    }
}

// No `source`: the display has all of it, and a printed chain would repeat it.
impl Error for ClientError {}

/// The status's message with those of its sources that add something.
fn chain(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !part.is_empty() && !text.contains(&part) {
            text = if text.is_empty() { part } else { format!("{text}: {part}") };
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn details_are_read_and_shown() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_FIELD", "longrun", HashMap::new())
            .add_bad_request_violation("kind", "must start with a letter")
            .set_retry_info(Some(Duration::from_secs(3)));
        let status =
            Status::with_error_details(Code::InvalidArgument, "the request is invalid", details);
        let error = ClientError::from(status);
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(error.reason(), "INVALID_FIELD");
        assert_eq!(error.field_violations()[0].field, "kind");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
        assert!(!error.is_transient());
        assert_eq!(
            error.to_string(),
            "InvalidArgument (INVALID_FIELD): the request is invalid; kind: must start with a letter"
        );
    }

    #[test]
    fn what_the_message_says_is_said_once() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("kind", "must be set");
        details.add_bad_request_violation("input", "must be small");
        let message = "kind must be set; and 1 more";
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        assert_eq!(
            ClientError::from(status).to_string(),
            "InvalidArgument: kind must be set; and 1 more; input: must be small"
        );
    }

    #[test]
    fn a_broken_connection_is_unavailable_whatever_the_transport_calls_it() {
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by peer");
        let error = ClientError::from(Status::from_error(Box::new(io)));
        assert_eq!(error.code(), Code::Unavailable);
        assert!(error.is_transient());
    }
}
