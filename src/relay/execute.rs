//! Executes the requests that became operations, as a worker of the mount's kind.
//!
//! The upstream's response, whatever its status, is the result (made by `recording`). A request with a method that is
//! not idempotent is sent at most once, over a new connection: only connecting is retried; any later failure is final,
//! and its error says so.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use tokio::time::Instant;
use tonic::Code;

use super::recording::{self, unanswered};
use super::{Mounted, Over, UpstreamError, fields, is_idempotent, target, upstream_target};
use crate::client::Client;
use crate::config::relay::Mount;
use crate::worker::{CancelCause, Context, Failure, Input, Outcome, Worker};

/// The first wait before connecting again; doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// A worker that executes the operations of a mount.
pub fn worker(client: Client, mounted: Mounted, max_result_bytes: u64) -> Worker {
    let (kind, concurrency) = (mounted.mount.kind(), mounted.mount.concurrency);
    let mounted = Arc::new(mounted);
    Worker::new(client).concurrency(concurrency.into()).streaming_handler(kind, move |context| {
        let mounted = Arc::clone(&mounted);
        async move { run(&mounted, &context, max_result_bytes).await }
    })
}

async fn run(mounted: &Mounted, context: &Context, most: u64) -> Result<Outcome, Failure> {
    let call = Call::read(&mounted.mount, context)?;
    let is_idempotent = is_idempotent(&call.method);
    tokio::select! {
        outcome = call.execute(mounted, is_idempotent, most) => outcome,
        why = context.cancelled() => Err(match why.cause {
            CancelCause::WorkerStopping if !is_idempotent => interrupted("the server stopped").standing(),
            _ => Failure::retryable("UPSTREAM_CANCELLED", "the call was given up")
                .with_status_code(Code::Cancelled),
        }),
    }
}

/// The failure of a request that must not be sent again and whose response is lost.
fn interrupted(why: &str) -> Failure {
    let message = format!(
        "{why} while the upstream worked on the request, which is not retried because its \
         method is not idempotent; it may have taken effect"
    );
    Failure::permanent("UPSTREAM_INTERRUPTED", message).with_status_code(Code::Unavailable)
}

/// The request of an operation.
struct Call {
    method: Method,
    target: http::uri::PathAndQuery,
    headers: HeaderMap,
    input: Input,
}

impl Call {
    /// Checks everything, because any submitter can submit an operation of this kind.
    fn read(mount: &Mount, context: &Context) -> Result<Self, Failure> {
        let invalid = |rule: &str| {
            Failure::permanent("INVALID_REQUEST", format!("the input {rule}"))
                .with_status_code(Code::InvalidArgument)
        };
        let input = context.input();
        let http = input.http().ok_or_else(|| invalid("is not an HTTP request"))?;
        let method = http.method.parse().map_err(|_| invalid("has no method"))?;
        if method == Method::CONNECT {
            return Err(invalid("has the method CONNECT"));
        }
        let path = http.target.split('?').next().unwrap_or_default();
        target::check(path).map_err(|devious| invalid(&format!("has a path that {devious}")))?;
        let target = upstream_target(mount, &http.target).map_err(|_| invalid("has no target"))?;
        let mut headers = HeaderMap::new();
        for header in &http.headers {
            let value = header.value.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>();
            let name = HeaderName::try_from(header.name.as_str());
            let value = value.ok().and_then(|value| HeaderValue::from_bytes(&value).ok());
            let (Ok(name), Some(value)) = (name, value) else {
                return Err(invalid("has a header field that cannot be sent"));
            };
            headers.append(name, value);
        }
        let operation = context.operation();
        fields::set_trace(&mut headers, &operation.trace_parent, &operation.trace_state);
        fields::strip_hop_by_hop(&mut headers);
        fields::strip_credentials(&mut headers, &mount.headers, None);
        let host = headers.remove(HOST).filter(|_| mount.preserve_host);
        fields::apply_policy(&mut headers, &mount.headers);
        headers.extend(host.map(|host| (HOST, host)));
        fields::frame(&mut headers, Some(input.size_bytes()));
        set_content_type(&mut headers, input);
        Ok(Self { method, target, headers, input: input.clone() })
    }

    async fn execute(
        &self,
        mounted: &Mounted,
        is_idempotent: bool,
        most: u64,
    ) -> Result<Outcome, Failure> {
        let timeout = mounted.mount.limits.attempt_timeout;
        let until = Instant::now() + timeout;
        let response = self.send(mounted, is_idempotent, until).await?;
        let late = UpstreamError::Timeout(timeout);
        let recorder = recording::Recorder::new(&mounted.mount.headers, &response, is_idempotent);
        let recording = tokio::time::timeout_at(until, recorder.record(response, most));
        recording.await.unwrap_or_else(|_| Err(recorder.lost("UPSTREAM_TIMEOUT", &late)))
    }

    /// Sends the request and returns the response. With a method that is not idempotent, only connecting is retried, if
    /// there is time: "nothing was sent" must not become a time-out, which would leave that open.
    async fn send(
        &self,
        mounted: &Mounted,
        is_idempotent: bool,
        until: Instant,
    ) -> Result<Response<Body>, Failure> {
        let Mounted { mount, upstream } = mounted;
        let (mut left, over) = match is_idempotent {
            true => (1, Over::Any),
            false => (mount.retries.max_attempts, Over::Fresh),
        };
        let mut backoff = FIRST_BACKOFF;
        let is_time =
            |pause: Duration| Instant::now() + pause + mount.limits.connect_timeout < until;
        loop {
            left -= 1;
            let mut request = Request::new(body(&self.input).await?);
            request.method_mut().clone_from(&self.method);
            request.headers_mut().clone_from(&self.headers);
            let exchange = upstream.exchange(request, self.target.clone(), over);
            let answer = tokio::time::timeout_at(until, exchange).await;
            let late = |_| Err(UpstreamError::Timeout(mount.limits.attempt_timeout));
            match answer.unwrap_or_else(late) {
                Ok(response) => return Ok(response),
                Err(UpstreamError::Unreachable(_)) if left > 0 && is_time(backoff) => {
                    tokio::time::sleep(backoff).await;
                    backoff = (2 * backoff).min(MAX_BACKOFF);
                }
                Err(error) => return Err(unanswered(&error, is_idempotent)),
            }
        }
    }
}

/// The body from its beginning: from memory, or read while it is sent.
pub(super) async fn body(input: &Input) -> Result<Body, Failure> {
    if input.size_bytes() == input.bytes().len() as u64 {
        return Ok(Body::from(input.bytes().clone()));
    }
    let reader = input.open().await.map_err(|error| {
        let message = format!("the request's body could not be read: {error}");
        Failure::retryable("INPUT_UNREADABLE", message).with_status_code(error.code())
    })?;
    let pieces =
        stream::unfold(reader, |mut reader| async move { Some((reader.next().await?, reader)) });
    Ok(Body::from_stream(pieces))
}

/// Sets the media type: that of the request's own fields, if there are any (one without a value means none); otherwise
/// the input's.
fn set_content_type(headers: &mut HeaderMap, input: &Input) {
    let said: Vec<HeaderValue> = headers.get_all(CONTENT_TYPE).iter().cloned().collect();
    headers.remove(CONTENT_TYPE);
    if said.is_empty() {
        // An empty input with the form's default type has no media type. Submissions that bypass the relay may be so.
        let is_default =
            input.size_bytes() == 0 && input.content_type() == "application/octet-stream";
        let content_type = HeaderValue::try_from(input.content_type()).ok();
        let content_type = content_type.filter(|it| !is_default && !it.is_empty());
        headers.extend(content_type.map(|it| (CONTENT_TYPE, it)));
    }
    headers.extend(said.into_iter().filter(|it| !it.is_empty()).map(|it| (CONTENT_TYPE, it)));
}
