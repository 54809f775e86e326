//! Refused calls as gRPC statuses with `google.rpc` details (AIP-193).

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::service::{Reason, ServiceError};

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "longrun";

/// The status of a refused call.
pub(super) fn status(error: ServiceError) -> Status {
    let metadata: HashMap<String, String> = error.metadata.clone().into_iter().collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason.as_str(), DOMAIN, metadata);
    for violation in error.violations {
        details.add_bad_request_violation(violation.field, violation.description);
    }
    if let Some(delay) = error.retry_after {
        details.set_retry_info(Some(delay));
    }
    if error.reason == Reason::ResourceExhausted {
        details.add_quota_failure_violation("server", error.message.clone());
    }
    Status::with_error_details(Code::from(error.reason.grpc_code()), error.message, details)
}
