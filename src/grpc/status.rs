//! Refused calls as gRPC statuses with `google.rpc` details (AIP-193).

use std::collections::HashMap;

use axum::response::Response;
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

/// Gives the refusals that were made below this module (messages that are too large or cannot be decoded,
/// unknown methods) the details that every refusal has.
pub async fn explain(response: Response) -> Response {
    match Status::from_header_map(response.headers()) {
        Some(bare) if bare.code() != Code::Ok && bare.details().is_empty() => {
            explained(&bare).into_http()
        }
        _ => response,
    }
}

fn explained(bare: &Status) -> Status {
    let reason = match bare.code() {
        // The sizes of messages and the bytes that they consist of are the caller's.
        Code::OutOfRange => Reason::PayloadTooLarge,
        Code::Internal => Reason::InvalidArgument,
        Code::Unimplemented => Reason::RouteNotFound,
        code => {
            let mut details = ErrorDetails::new();
            let name = format!("{code:?}").chars().fold(String::new(), upper_snake);
            details.set_error_info(name, DOMAIN, HashMap::new());
            return Status::with_error_details(code, bare.message(), details);
        }
    };
    let message = match reason {
        Reason::RouteNotFound => "there is no such method",
        // What the decoder says names its own parts, not the caller's fields.
        Reason::InvalidArgument => {
            "the message cannot be decoded: it is not what the method takes, or is nested too deep \
             (keep a payload's `json` within 32 levels, and send deeper JSON as `data`)"
        }
        _ => bare.message(),
    };
    status(ServiceError::new(reason, message))
}

/// Adds a letter of a name in camel case.
fn upper_snake(mut name: String, letter: char) -> String {
    if letter.is_ascii_uppercase() && !name.is_empty() {
        name.push('_');
    }
    name.push(letter.to_ascii_uppercase());
    name
}
