//! Refused calls as gRPC statuses with `google.rpc` details (AIP-193).

use std::collections::HashMap;

use http::HeaderMap;
use prost::Message as _;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::service::{Reason, RefusedByLimit, ServiceError};
use crate::wire::google;

/// The code of `RESOURCE_EXHAUSTED` in `grpc-status`.
const EXHAUSTED: &str = "8";

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "longrun";

/// The maximum size of a status with its details in trailers, in bytes. Clients accept 8 KiB of trailers by default,
/// and report more as a RESOURCE_EXHAUSTED of their own.
const MAX_TRAILER_BYTES: usize = 6 << 10;

/// The status of a refused call.
pub(super) fn status(mut error: ServiceError) -> Status {
    loop {
        let status = whole_status(&error);
        if trailer_bytes(&status) <= MAX_TRAILER_BYTES || error.message.is_empty() {
            return status;
        }
        shorten(&mut error);
    }
}

/// Halves the long parts of a status.
fn shorten(error: &mut ServiceError) {
    if error.violations.len() > 1 {
        error.violations.truncate(error.violations.len().div_ceil(2));
        return;
    }
    let kept = error.message.chars().count() / 2;
    error.message = error.message.chars().take(kept).collect();
    for violation in &mut error.violations {
        let kept = violation.description.chars().count() / 2;
        violation.description = violation.description.chars().take(kept).collect();
    }
}

/// Retries in gRPC's libraries do not read RetryInfo, so this trailer has the delay as well.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

fn whole_status(error: &ServiceError) -> Status {
    let refusal = google::refusal(error);
    let mut metadata = MetadataMap::new();
    if let Some(delay) = error.retry_after {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        metadata.insert(PUSHBACK, millis.into());
    }
    let (code, details) = (Code::from(refusal.code), refusal.encode_to_vec().into());
    Status::with_details_and_metadata(code, &error.message, details, metadata)
}

fn trailer_bytes(status: &Status) -> usize {
    let mut trailers = HeaderMap::new();
    // A status that does not fit into a header is also too long.
    match status.add_header(&mut trailers) {
        Ok(()) => trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum(),
        Err(_) => usize::MAX,
    }
}

/// Adds the details of every refusal to those made below this module (messages that are too large or cannot be decoded,
/// unknown methods).
pub fn explain(headers: &mut HeaderMap) {
    let bare = Status::from_header_map(headers);
    if let Some(bare) = bare.filter(|bare| bare.code() != Code::Ok && bare.details().is_empty()) {
        // If the status does not fit into a header, the bare one stays.
        let _ = explained(&bare).add_header(headers);
    }
}

/// The mark of a response whose status says that a limit refused the call.
pub fn refused_by_limit(headers: &HeaderMap) -> Option<RefusedByLimit> {
    headers.get("grpc-status").filter(|code| **code == EXHAUSTED)?;
    let status = Status::from_header_map(headers)?;
    // The same code is that of messages that are too large.
    let info = status.get_details_error_info()?;
    let is_limits = info.reason == Reason::ResourceExhausted.as_str();
    is_limits.then(|| RefusedByLimit(status.message().to_owned()))
}

fn explained(bare: &Status) -> Status {
    let reason = match bare.code() {
        // The caller is responsible for the size and the encoding of messages.
        Code::OutOfRange | Code::ResourceExhausted => Reason::PayloadTooLarge,
        Code::Internal => Reason::InvalidArgument,
        Code::Unimplemented if is_no_method(bare) => Reason::RouteNotFound,
        code => {
            let mut details = ErrorDetails::new();
            let name = format!("{code:?}").chars().fold(String::new(), upper_snake);
            details.set_error_info(name, DOMAIN, HashMap::new());
            return Status::with_error_details(code, bare.message(), details);
        }
    };
    let message = match reason {
        Reason::RouteNotFound => "there is no such method",
        // The decoder's message names its own parts, not the caller's fields.
        Reason::InvalidArgument => {
            "the message cannot be decoded: it is not what the method takes, or is nested too deep \
             (keep a payload's `json` within 32 levels, and send deeper JSON as `data`)"
        }
        _ => bare.message(),
    };
    status(ServiceError::new(reason, message))
}

/// Whether the method is unknown; if the encoding of messages is, the status has a message.
fn is_no_method(bare: &Status) -> bool {
    bare.message().is_empty() || bare.message().starts_with("there is no method")
}

/// Adds a letter of a name in camel case.
fn upper_snake(mut name: String, letter: char) -> String {
    if letter.is_ascii_uppercase() && !name.is_empty() {
        name.push('_');
    }
    name.push(letter.to_ascii_uppercase());
    name
}
