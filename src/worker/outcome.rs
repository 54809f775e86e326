//! A handler's return value: an outcome with its result, or a failure that says whether to retry.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use prost_types::Any;
use tonic::Code;

use super::spool::{Contents, MEMORY_BYTES, Spooled};
use crate::proto::v1;

/// The maximum length of a code, in characters.
const MAX_CODE_CHARS: usize = 128;
/// The maximum length of a message, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// The maximum number of sources that become causes, because the service accepts errors nested 8 deep.
const MAX_SOURCES: usize = 7;

/// The outcome of a successful attempt: a result, warnings, and errors if the success is partial.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub(super) result: Option<v1::Payload>,
    /// The result's contents, if they must be sent in chunks.
    pub(super) contents: Option<Contents>,
    pub(super) warnings: Vec<v1::Error>,
    pub(super) errors: Vec<v1::Error>,
}

impl Outcome {
    /// An outcome without a result.
    pub fn empty() -> Self {
        Self::default()
    }

    /// An outcome with a text as its result.
    pub fn text(text: impl Into<String>) -> Self {
        Self::payload("", v1::payload::Content::Text(text.into()))
    }

    /// An outcome with bytes of some media type as its result.
    pub fn bytes(content_type: &str, data: impl Into<Bytes>) -> Self {
        Self::payload(content_type, v1::payload::Content::Data(data.into()))
    }

    /// An outcome with a value in JSON as its result. It is sent as bytes, so that no number loses precision.
    pub fn json(value: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::bytes("application/json", serde_json::to_vec(value)?))
    }

    /// An outcome with a protobuf message and its type as its result.
    pub fn any(message: Any) -> Self {
        Self::payload("", v1::payload::Content::Any(message))
    }

    /// An outcome with contents of any size and some media type as its result.
    pub fn spooled(content_type: &str, contents: Spooled) -> Self {
        match contents.0 {
            Contents::Memory(data) => Self::bytes(content_type, data),
            file @ Contents::File(..) => {
                let content_type = content_type.to_owned();
                let result = v1::Payload { content_type, ..v1::Payload::default() };
                Self { result: Some(result), contents: Some(file), ..Self::default() }
            }
        }
    }

    /// An outcome with an HTTP response as its result, which `GET …/result` returns, whatever its status: the operation
    /// succeeds even if the response reports a failure. Values are bytes, each a character (ISO 8859-1). Fields that
    /// frame a message (`Content-Length` and the like) are left out of `headers`; an empty `content_type` is
    /// `application/octet-stream`.
    pub fn http_response<N: Into<String>, V: AsRef<[u8]>>(
        status: u16,
        headers: impl IntoIterator<Item = (N, V)>,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Self {
        Self::bytes(content_type, body).as_http_response(status, headers)
    }

    /// Makes the result the body of an HTTP response; see [`Outcome::http_response`].
    pub fn as_http_response<N: Into<String>, V: AsRef<[u8]>>(
        self,
        status: u16,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        const FRAMING: [&str; 4] =
            ["content-type", "content-length", "transfer-encoding", "connection"];
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value));
        let of_message = |(name, _): &(String, V)| {
            !FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing))
        };
        self.as_recorded_response(status, headers.filter(of_message))
    }

    /// Like [`Outcome::as_http_response`], with every header field unchanged, for a recorded response of another
    /// server. `Content-Type` and `Content-Length` have the meaning that `HttpEnvelope` gives them.
    pub fn as_recorded_response<N: Into<String>, V: AsRef<[u8]>>(
        mut self,
        status: u16,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let headers = headers.into_iter().map(|(name, value)| v1::HttpHeader {
            name: name.into().to_ascii_lowercase(),
            value: value.as_ref().iter().copied().map(char::from).collect(),
        });
        let (status, headers) = (i32::from(status), headers.collect());
        let envelope = v1::HttpEnvelope { status, headers, ..Default::default() };
        self.result.get_or_insert_default().http = Some(envelope);
        self
    }

    /// Moves contents that are too large for a report of `most` bytes into chunks. A protobuf message stays, because it
    /// keeps its type only within the report.
    pub(super) fn split(&mut self, most: usize) {
        use v1::payload::Content;
        let Some(result) = &mut self.result else { return };
        let (size, content_type) = match &result.content {
            Some(Content::Data(data)) => (data.len(), "application/octet-stream"),
            Some(Content::Text(text)) => (text.len(), "text/plain; charset=utf-8"),
            _ => return,
        };
        if size <= most.min(MEMORY_BYTES) {
            return;
        }
        let data = match result.content.take() {
            Some(Content::Data(data)) => data,
            Some(Content::Text(text)) => text.into(),
            other => {
                result.content = other;
                return;
            }
        };
        if result.content_type.is_empty() {
            content_type.clone_into(&mut result.content_type);
        }
        self.contents = Some(Contents::Memory(data));
    }

    /// Adds a warning.
    pub fn with_warning(mut self, warning: Problem) -> Self {
        self.warnings.push(warning.0);
        self
    }

    /// Adds an error beside the result, which makes it a partial success.
    pub fn with_error(mut self, error: Problem) -> Self {
        self.errors.push(error.0);
        self
    }

    fn payload(content_type: &str, content: v1::payload::Content) -> Self {
        let result = v1::Payload {
            content_type: content_type.to_owned(),
            content: Some(content),
            ..v1::Payload::default()
        };
        Self { result: Some(result), ..Self::default() }
    }
}

/// An error or a warning: the application's own code, a message for people, further facts.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem(v1::Error);

impl Problem {
    /// A problem with the application's own code, e.g. `DeviceNotExists`. Texts that are too long for the service are
    /// cut.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let code: String = code.into().chars().take(MAX_CODE_CHARS).collect();
        let mut message = message.into();
        cut(&mut message, MAX_MESSAGE_BYTES);
        Self(v1::Error {
            code: if code.is_empty() { "ERROR".to_owned() } else { code },
            message,
            ..v1::Error::default()
        })
    }

    /// Sets the canonical status code; UNKNOWN by default.
    pub fn with_status_code(mut self, code: Code) -> Self {
        self.0.status_code = code.into();
        self
    }

    /// Adds a fact.
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds a cause.
    pub fn with_cause(mut self, cause: Self) -> Self {
        self.0.causes.push(cause.0);
        self
    }

    /// An error with its sources as causes; its message must be complete by itself.
    fn from_error(error: &(dyn Error + 'static)) -> Self {
        let chain: Vec<String> =
            std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source())
                .take(MAX_SOURCES + 1)
                .map(ToString::to_string)
                .collect();
        let causes = chain.iter().skip(1).rev().fold(None, |inner: Option<Self>, message| {
            let cause = Self::new("CAUSE", message);
            Some(inner.into_iter().fold(cause, Self::with_cause))
        });
        let problem = Self::new("HANDLER_ERROR", chain.join(": "));
        causes.into_iter().fold(problem, Self::with_cause)
    }
}

/// A failed attempt. Retryable by default: the submission's retry policy decides when, and at most how often.
///
/// Any error becomes a retryable failure by `?`; `anyhow` errors and boxed ones by
/// [`Failure::from_boxed`].
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Boxed, so that a handler's `Result` stays small.
    pub(super) error: Box<v1::Error>,
    pub(super) permanent: bool,
    /// Whether it is reported even if the worker stops, instead of releasing the attempt.
    pub(super) stands: bool,
    pub(super) retry_delay: Option<Duration>,
}

impl Failure {
    /// A failure after which another attempt may succeed.
    pub fn retryable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::from_problem(Problem::new(code, message))
    }

    /// A final failure: a retry would not help.
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { permanent: true, ..Self::retryable(code, message) }
    }

    /// A retryable failure from a complete problem.
    pub fn from_problem(problem: Problem) -> Self {
        Self { error: Box::new(problem.0), permanent: false, stands: false, retry_delay: None }
    }

    /// A retryable failure from a boxed error, or from anything that converts into one, like `anyhow` errors.
    pub fn from_boxed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error: Box<dyn Error + Send + Sync> = error.into();
        Self::from_problem(Problem::from_error(&*error))
    }

    /// Makes the failure final: a retry would not help.
    pub fn into_permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// Reports the failure even if the worker is stopping. Otherwise a failure at that time releases the attempt, which
    /// then runs again elsewhere: use this for work that must not be done twice.
    pub fn standing(mut self) -> Self {
        self.stands = true;
        self
    }

    /// Sets the delay until the retry, instead of the retry policy's backoff.
    pub fn with_retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = Some(delay);
        self
    }

    /// Sets the canonical status code.
    pub fn with_status_code(mut self, code: Code) -> Self {
        self.error.status_code = code.into();
        self
    }

    /// Adds a fact.
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.error.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds a cause.
    pub fn with_cause(mut self, cause: Problem) -> Self {
        self.error.causes.push(cause.0);
        self
    }

    /// The code.
    pub fn code(&self) -> &str {
        &self.error.code
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.error.message
    }

    /// Whether the failure is final.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }
}

// `Failure` does not implement `Error`; only so can every error convert into one.
impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::from_problem(Problem::from_error(&error))
    }
}

/// Cuts `text` to at most `limit` bytes, at a character's boundary.
pub(super) fn cut(text: &mut String, limit: usize) {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the upload failed")]
    struct Upload(#[source] std::io::Error);

    #[test]
    fn an_error_becomes_a_retryable_failure_with_its_sources() {
        fn handler() -> Result<(), Failure> {
            Err(Upload(std::io::Error::other("disk full")))?
        }
        let failure = handler().unwrap_err();
        assert!(!failure.is_permanent());
        assert_eq!(failure.code(), "HANDLER_ERROR");
        assert_eq!(failure.message(), "the upload failed: disk full");
        assert_eq!(failure.error.causes[0].message, "disk full");
        assert!(failure.error.causes[0].causes.is_empty());
        let boxed = Failure::from_boxed(anyhow::anyhow!("inner").context("outer"));
        assert_eq!(boxed.message(), "outer: inner");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let problem = Problem::new("x".repeat(500), "é".repeat(MAX_MESSAGE_BYTES));
        assert_eq!(problem.0.code.len(), MAX_CODE_CHARS);
        assert_eq!(problem.0.message.len(), MAX_MESSAGE_BYTES);
    }
}
