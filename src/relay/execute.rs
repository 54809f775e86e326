//! Executes the requests that became operations: a worker of the mount's kind.
//!
//! The upstream's response, whatever its status, is the result. A request whose method is not idempotent is sent
//! once at most: only connecting is tried again, and whatever ends it after that is final and says so.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use tonic::Code;

use super::{Mounted, UpstreamError, fields, is_idempotent, target, upstream_target};
use crate::client::Client;
use crate::config::relay::Mount;
use crate::worker::{CancelCause, Context, Failure, Input, Outcome, Spool, Worker};

/// The first wait before connecting again; each further one is twice as long.
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

/// A request that must not be sent again, and whose response nobody will see.
fn interrupted(why: &str) -> Failure {
    let message = format!(
        "{why} while the upstream worked on the request, which is not tried again because its \
         method is not idempotent; whether it took effect is not known"
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
    /// Takes nothing on trust: an operation of this kind can be submitted by anybody who can submit.
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
        fields::strip_hop_by_hop(&mut headers);
        fields::strip_credentials(&mut headers, &mount.headers);
        fields::apply_policy(&mut headers, &mount.headers);
        headers.remove(http::header::HOST);
        headers.remove(http::header::CONTENT_LENGTH);
        let content_type = HeaderValue::try_from(input.content_type()).ok();
        // An input without a body and without a media type of its own has the form's default: not to be sent.
        let said = input.size_bytes() > 0 || input.content_type() != "application/octet-stream";
        headers
            .extend(content_type.filter(|it| said && !it.is_empty()).map(|it| (CONTENT_TYPE, it)));
        Ok(Self { method, target, headers, input: input.clone() })
    }

    async fn execute(
        &self,
        mounted: &Mounted,
        is_idempotent: bool,
        most: u64,
    ) -> Result<Outcome, Failure> {
        let timeout = mounted.mount.limits.attempt_timeout;
        let exchange = async {
            let response = self.send(mounted, is_idempotent).await?;
            outcome(response, is_idempotent, most).await
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(failure(&UpstreamError::Timeout(timeout), is_idempotent)),
        }
    }

    /// The body from its beginning: at hand, or read as it is sent.
    async fn body(&self) -> Result<Body, Failure> {
        if self.input.size_bytes() == self.input.bytes().len() as u64 {
            return Ok(Body::from(self.input.bytes().clone()));
        }
        let reader = self.input.open().await.map_err(|error| {
            let message = format!("the request's body could not be read: {error}");
            Failure::retryable("INPUT_UNREADABLE", message).with_status_code(error.code())
        })?;
        let pieces =
            stream::unfold(
                reader,
                |mut reader| async move { Some((reader.next().await?, reader)) },
            );
        Ok(Body::from_stream(pieces))
    }

    /// The response. A method that is not idempotent connects as often as others are attempted.
    async fn send(
        &self,
        mounted: &Mounted,
        is_idempotent: bool,
    ) -> Result<Response<Body>, Failure> {
        let limits = &mounted.mount.limits;
        let mut left = if is_idempotent { 1 } else { mounted.mount.retries.max_attempts };
        let mut backoff = FIRST_BACKOFF;
        loop {
            left -= 1;
            let mut request = Request::new(self.body().await?);
            request.method_mut().clone_from(&self.method);
            request.headers_mut().clone_from(&self.headers);
            let target = self.target.clone();
            match mounted.upstream.send(request, target, limits.attempt_timeout).await {
                Ok(response) => return Ok(response),
                Err(UpstreamError::Unreachable(_)) if left > 0 => {
                    tokio::time::sleep(backoff).await;
                    backoff = (2 * backoff).min(MAX_BACKOFF);
                }
                Err(error) => return Err(failure(&error, is_idempotent)),
            }
        }
    }
}

fn failure(error: &UpstreamError, is_idempotent: bool) -> Failure {
    let message = error.to_string();
    let (code, status, uncertain) = match error {
        UpstreamError::Unreachable(_) => ("UPSTREAM_UNREACHABLE", Code::Unavailable, false),
        UpstreamError::Broken(_) => ("UPSTREAM_UNREACHABLE", Code::Unavailable, true),
        UpstreamError::Timeout(_) => ("UPSTREAM_TIMEOUT", Code::DeadlineExceeded, true),
    };
    let failure = if is_idempotent {
        Failure::retryable(code, message)
    } else if uncertain {
        let rest = "the request is not tried again because its method is not idempotent; whether \
                    it took effect is not known";
        Failure::permanent(code, format!("{message}; {rest}"))
    } else {
        Failure::permanent(code, format!("{message}; nothing was sent"))
    };
    failure.with_status_code(status)
}

/// The response as the operation's result.
async fn outcome(
    response: Response<Body>,
    is_idempotent: bool,
    most: u64,
) -> Result<Outcome, Failure> {
    let (mut parts, mut body) = response.into_parts();
    let unkept = |error: std::io::Error| {
        let why = format!("the upstream's response could not be kept: {error}");
        match is_idempotent {
            true => Failure::retryable("RESULT_NOT_KEPT", why),
            false => Failure::permanent("RESULT_NOT_KEPT", why),
        }
    };
    let mut spool = Spool::new();
    while let Some(frame) = body.frame().await {
        let broken = |error: axum::Error| UpstreamError::Broken(error.to_string());
        let frame = frame.map_err(|error| failure(&broken(error), is_idempotent))?;
        let Ok(piece) = frame.into_data() else { continue };
        if spool.size_bytes() + piece.len() as u64 > most {
            let message = format!("the upstream's response has more than {most} bytes");
            return Err(Failure::permanent("RESULT_TOO_LARGE", message)
                .with_status_code(Code::OutOfRange)
                .with_metadata("upstream_status", parts.status.as_u16().to_string()));
        }
        spool.write(&piece).await.map_err(unkept)?;
    }
    let body = spool.finish().await.map_err(unkept)?;
    fields::strip_hop_by_hop(&mut parts.headers);
    let content_type = parts.headers.remove(CONTENT_TYPE);
    let content_type = content_type.as_ref().and_then(|it| it.to_str().ok()).unwrap_or_default();
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Ok(Outcome::spooled(content_type, body).as_http_response(parts.status.as_u16(), headers))
}
