//! Refused calls as gRPC statuses with `google.rpc` details (AIP-193).

use std::collections::HashMap;

use http::HeaderMap;
use prost::Message as _;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::service::{Reason, ServiceError};
use crate::wire::google;

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "longrun";

/// Most bytes of a status with its details, as they stand in trailers. Clients take 8 KiB of trailers by default, and
/// report more as RESOURCE_EXHAUSTED of their own.
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

/// Halves what makes a status long.
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

/// The retries that are built into gRPC's libraries read no RetryInfo: the delay is in this trailer for them as well.
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
    // What cannot be a header at all is too long, too.
    match status.add_header(&mut trailers) {
        Ok(()) => trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum(),
        Err(_) => usize::MAX,
    }
}

/// Gives the refusals that were made below this module (messages that are too large or cannot be decoded,
/// unknown methods) the details that every refusal has.
pub fn explain(headers: &mut HeaderMap) {
    let bare = Status::from_header_map(headers);
    if let Some(bare) = bare.filter(|bare| bare.code() != Code::Ok && bare.details().is_empty()) {
        // Where the status cannot be a header, the bare one stays.
        let _ = explained(&bare).add_header(headers);
    }
}

fn explained(bare: &Status) -> Status {
    let reason = match bare.code() {
        // The sizes of messages and the bytes that they consist of are the caller's.
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
        // What the decoder says names its own parts, not the caller's fields.
        Reason::InvalidArgument => {
            "the message cannot be decoded: it is not what the method takes, or is nested too deep \
             (keep a payload's `json` within 32 levels, and send deeper JSON as `data`)"
        }
        _ => bare.message(),
    };
    status(ServiceError::new(reason, message))
}

/// Whether it is the method that is unknown, rather than the encoding of its messages, which has a message.
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
