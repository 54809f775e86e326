//! Records the upstream's response in the operation, or the error if it cannot be stored.
//!
//! A response proves that the upstream received the request, which may have taken effect. So the form of a response
//! must never become a failure that reads as if nothing had happened. Parts that do not fit are omitted with a warning;
//! if a response cannot be stored at all, the failure has its status.

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use tonic::Code;

use super::{UpstreamError, fields};
use crate::config::relay::Headers;
use crate::operation::http::media_type;
use crate::operation::{HttpEnvelope, HttpHeader};
use crate::worker::{Failure, Outcome, Problem, Spool};

/// The maximum length of a `Location` in a failure, in bytes.
const MAX_LOCATION_BYTES: usize = 1_000;

/// The failure without a response.
pub(super) fn unanswered(error: &UpstreamError, is_idempotent: bool) -> Failure {
    let (code, status, rest) = match error {
        UpstreamError::Unreachable(_) => {
            ("UPSTREAM_UNREACHABLE", Code::Unavailable, "nothing was sent")
        }
        UpstreamError::Broken(_) => ("UPSTREAM_UNREACHABLE", Code::Unavailable, UNCERTAIN),
        UpstreamError::Timeout(_) => ("UPSTREAM_TIMEOUT", Code::DeadlineExceeded, UNCERTAIN),
        UpstreamError::Unreadable(_) => ("UPSTREAM_UNREADABLE", Code::Unavailable, RECEIVED),
    };
    // A response that could not be read will not be readable the next time either.
    let is_worth_it = is_idempotent && !matches!(error, UpstreamError::Unreadable(_));
    let failure = if is_worth_it {
        Failure::retryable(code, error.to_string())
    } else {
        Failure::permanent(code, format!("{error}; {rest}"))
    };
    failure.with_status_code(status)
}

const UNCERTAIN: &str =
    "the request is not retried because its method is not idempotent; it may have taken effect";
const RECEIVED: &str = "the request was received and is not retried; assume that it took effect";

/// Records one response.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    policy: &'a Headers,
    is_idempotent: bool,
    status: StatusCode,
    location: Option<String>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(policy: &'a Headers, response: &Response<Body>, is_idempotent: bool) -> Self {
        let location = response.headers().get(LOCATION).and_then(|field| field.to_str().ok());
        let location = location.filter(|text| text.len() <= MAX_LOCATION_BYTES).map(str::to_owned);
        Self { policy, is_idempotent, status: response.status(), location }
    }

    /// The response as the operation's result; its body may have at most `most` bytes.
    pub(super) async fn record(
        &self,
        response: Response<Body>,
        most: u64,
    ) -> Result<Outcome, Failure> {
        let (parts, mut body) = response.into_parts();
        let mut spool = Spool::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.lost("UPSTREAM_UNREACHABLE", &error))?;
            let Ok(piece) = frame.into_data() else { continue };
            if spool.size_bytes() + piece.len() as u64 > most {
                let why = format!("it has more than {most} bytes");
                return Err(self.lost("RESULT_TOO_LARGE", &why).into_permanent());
            }
            spool.write(&piece).await.map_err(|error| self.lost("RESULT_NOT_KEPT", &error))?;
        }
        let size = spool.size_bytes();
        let body = spool.finish().await.map_err(|error| self.lost("RESULT_NOT_KEPT", &error))?;
        let Kept { content_type, headers, left_out } = keep(self.policy, parts.headers, size);
        let headers = headers.into_iter().map(|header| (header.name, header.value));
        let outcome = Outcome::spooled(&content_type, body)
            .as_recorded_response(self.status.as_u16(), headers);
        Ok(match left_out {
            0 => outcome,
            _ => {
                let most = HttpEnvelope::MAX_BYTES >> 10;
                let why = format!(
                    "{left_out} header fields of the answer are left out: at most {most} KiB and {} fields are kept",
                    HttpEnvelope::MAX_HEADERS
                );
                outcome.with_warning(Problem::new("HEADER_CUT", why))
            }
        })
    }

    /// The failure for a response that was lost.
    pub(super) fn lost(&self, code: &str, why: &dyn std::fmt::Display) -> Failure {
        let status = self.status.as_u16();
        let effect = match self.status.is_client_error() || self.status.is_server_error() {
            true => "",
            false => ", so the request took effect",
        };
        let message = format!("the upstream answered {status}{effect}; its answer is lost: {why}");
        let failure = if self.is_idempotent {
            Failure::retryable(code, message)
        } else {
            let rest = "the request is not retried because its method is not idempotent";
            Failure::permanent(code, format!("{message}; {rest}"))
        };
        let status_code = match code {
            "RESULT_TOO_LARGE" => Code::OutOfRange,
            "UPSTREAM_TIMEOUT" => Code::DeadlineExceeded,
            _ => Code::Unavailable,
        };
        let failure = failure
            .with_status_code(status_code)
            .with_metadata("upstream_status", status.to_string());
        self.location.iter().fold(failure, |failure, url| failure.with_metadata("location", url))
    }
}

/// The stored part of a header.
struct Kept {
    /// The payload's media type.
    content_type: String,
    headers: Vec<HttpHeader>,
    /// The number of fields for which there was no room.
    left_out: usize,
}

/// `size` is the body's.
fn keep(policy: &Headers, mut headers: HeaderMap, size: u64) -> Kept {
    fields::strip_hop_by_hop(&mut headers);
    fields::strip_credentials(&mut headers, policy, None);
    let said = headers.get_all(CONTENT_TYPE).iter().map(http::HeaderValue::as_bytes);
    let (content_type, verbatim) = media_type(said);
    headers.remove(CONTENT_TYPE);
    // In a response to HEAD, or a 304, this is the length of the omitted body.
    if headers.get(CONTENT_LENGTH).is_some_and(|length| *length == size.to_string().as_str()) {
        headers.remove(CONTENT_LENGTH);
    }
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| HttpHeader {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    let all = verbatim.into_iter().chain(headers.iter().map(header));
    let mut envelope = HttpEnvelope::default();
    let left_out = all.map(|header| envelope.push(header)).filter(|has_room| !has_room).count();
    Kept { content_type, headers: envelope.headers, left_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_and_the_rest_stays() {
        let mut given = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/csv"),
            ("content-length", "3"),
            ("set-cookie", "a=b"),
            ("x-auth-token", "t"),
            ("x-small", "1"),
        ] {
            given.append(name, value.parse().unwrap());
        }
        given.append("x-large", "y".repeat(HttpEnvelope::MAX_BYTES).parse().unwrap());
        let Kept { content_type, headers, left_out } = keep(&Headers::default(), given.clone(), 3);
        assert_eq!((content_type.as_str(), left_out), ("text/csv", 1));
        let kept = [HttpHeader { name: "x-small".to_owned(), value: b"1".to_vec() }];
        assert_eq!(headers, kept);
        let policy =
            Headers { credentials: ["x-auth-token".to_owned()].into(), ..Headers::default() };
        let kept = keep(&policy, given, 0).headers;
        let mut names: Vec<&str> = kept.iter().map(|header| header.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "x-auth-token", "x-small"]);
    }
}
