//! Errors and warnings of an operation.

use std::collections::BTreeMap;

/// The source of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorSource {
    /// The worker or its command.
    Application,
    /// The server: a limit, a lost worker, a cancel.
    Service,
}

/// An error or warning of an operation. Errors of calls are a different type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OperationError {
    /// The application's own code, or one of the service's (the constants here).
    pub code: String,
    /// A message for people; a full sentence.
    pub message: String,
    /// Canonical gRPC status code, 1 to 16.
    pub status_code: u8,
    /// Further facts by name.
    pub metadata: BTreeMap<String, String>,
    /// The causes of this error.
    pub causes: Vec<Self>,
    /// The source.
    pub source: ErrorSource,
}

impl OperationError {
    /// The operation did not start in time.
    pub const QUEUE_TIMEOUT: &'static str = "QUEUE_TIMEOUT";
    /// An attempt took too long.
    pub const ATTEMPT_TIMEOUT: &'static str = "ATTEMPT_TIMEOUT";
    /// The operation took too long.
    pub const DEADLINE_EXCEEDED: &'static str = "DEADLINE_EXCEEDED";
    /// The worker's session ended during the attempt.
    pub const WORKER_LOST: &'static str = "WORKER_LOST";
    /// A caller cancelled it.
    pub const CANCELLED: &'static str = "CANCELLED";

    /// The maximum nesting of causes.
    pub const MAX_DEPTH: usize = 8;
    /// The maximum number of errors in one report, causes included.
    pub const MAX_ERRORS: usize = 1_000;

    /// An error in the service's own words. `status_code` is a canonical gRPC code.
    pub fn service(code: &str, status_code: u8, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            status_code,
            metadata: BTreeMap::new(),
            causes: Vec::new(),
            source: ErrorSource::Service,
        }
    }

    /// The same error with `cause` as a further cause, if there is one.
    pub fn caused_by(mut self, cause: Option<Self>) -> Self {
        self.causes.extend(cause);
        self
    }
}
