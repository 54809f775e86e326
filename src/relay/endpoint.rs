//! Handlers that are HTTP endpoints: each attempt is one POST of the input, and the response is the outcome.
//!
//! 2xx succeeds, and its body is the result. 429, 408, 425 and 5xx ask for another attempt, after `Retry-After` if the
//! response has it; so does a connection that cannot be made or breaks. Every other response is final. A cancel closes
//! the connection. `docs/workers.md` has the whole contract.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::header::{
    CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tonic::Code;

use super::{Over, TrustError, Upstream, UpstreamError, Way, execute, fields};
use crate::config::handler::{Endpoint, FieldValue};
use crate::config::relay::Limits;
use crate::operation::http::media_type;
use crate::worker::{Context, Failure, Input, Outcome, Spool, Worker};

/// How much of a refusal's body is read for its message, in bytes.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
/// The longest `Retry-After` that is used, because the service accepts no longer delay.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(24 * 3600);
/// Header fields that describe the body beside its type; they are sent and recorded with it.
const OF_THE_BODY: [HeaderName; 3] = [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_DISPOSITION];

/// An endpoint that is ready for calls.
#[derive(Debug)]
pub struct Caller {
    endpoint: Endpoint,
    upstream: Upstream,
    max_result_bytes: u64,
}

impl Caller {
    /// Calls `endpoint` for operations of `kind`; results have at most `max_result_bytes`. Connects later.
    pub fn new(kind: &str, endpoint: Endpoint, max_result_bytes: u64) -> Result<Self, TrustError> {
        let limits = Limits { connect_timeout: endpoint.connect_timeout, ..Limits::default() };
        let upstream = Upstream::new(&Way {
            owner: format!("the handler of {kind}"),
            scheme: &endpoint.url.scheme,
            authority: &endpoint.url.authority,
            ca_file: endpoint.ca_file.as_deref(),
            guard: None,
            limits: &limits,
        })?;
        Ok(Self { endpoint, upstream, max_result_bytes })
    }

    /// Adds a handler for `kind` to the worker, which calls the endpoint.
    pub fn serve(self, worker: Worker, kind: &str) -> Worker {
        let caller = Arc::new(self);
        worker.streaming_handler(kind, move |context| {
            let caller = Arc::clone(&caller);
            async move { caller.run(&context).await }
        })
    }

    /// Makes one attempt. Dropping this future ends the request.
    async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let timeout = self.endpoint.attempt_timeout;
        let late = || unanswered(&UpstreamError::Timeout(timeout));
        tokio::select! {
            outcome = tokio::time::timeout(timeout, self.ask(context)) => {
                outcome.unwrap_or_else(|_elapsed| Err(late()))
            }
            _why = context.cancelled() => {
                let failure = Failure::retryable("CANCELLED", "the request was given up");
                Err(failure.with_status_code(Code::Cancelled))
            }
        }
    }

    async fn ask(&self, context: &Context) -> Result<Outcome, Failure> {
        let mut request = Request::new(execute::body(context.input()).await?);
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers(context).await?;
        let target = self.endpoint.url.target.clone();
        // A reused connection may close during the request, and then nobody knows whether it was received.
        let answer = self.upstream.exchange(request, target, Over::Fresh).await;
        let response = answer.map_err(|error| unanswered(&error))?;
        match response.status() {
            status if status.is_success() => self.result(response).await,
            _ => Err(refusal(response).await),
        }
    }

    async fn headers(&self, context: &Context) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.endpoint.headers {
            headers.insert(name, field_value(name, value).await?);
        }
        let agent = concat!("longrun/", env!("CARGO_PKG_VERSION"));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
        let input = context.input();
        describe(&mut headers, input);
        let operation = context.operation();
        fields::set_trace(&mut headers, &operation.trace_parent, &operation.trace_state);
        let mut say = |name: &str, value: &str| {
            let name = HeaderName::try_from(format!("longrun-{name}")).ok();
            let field = name.zip(HeaderValue::try_from(value).ok());
            headers.extend(field);
        };
        // Labels that are invalid in a header field are left out.
        for (key, value) in context.labels() {
            say(&format!("label-{key}"), value);
        }
        say("operation", context.name());
        say("kind", context.kind());
        say("tenant", &context.operation().tenant);
        say("attempt", &context.attempt().to_string());
        if let Some(deadline) = context.deadline() {
            say("deadline", &prost_types::Timestamp::from(deadline).to_string());
        }
        Ok(headers)
    }

    async fn result(&self, response: Response<Body>) -> Result<Outcome, Failure> {
        let (parts, mut body) = response.into_parts();
        let most = self.max_result_bytes;
        let mut spool = Spool::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let why = format!(
                    "the endpoint answered {}, and its body broke off: {error}",
                    parts.status
                );
                Failure::retryable("ENDPOINT_UNREACHABLE", why).with_status_code(Code::Unavailable)
            })?;
            let Ok(piece) = frame.into_data() else { continue };
            if spool.size_bytes() + piece.len() as u64 > most {
                let why = format!("the endpoint answered with more than {most} bytes");
                let failure = Failure::permanent("RESULT_TOO_LARGE", why);
                return Err(failure.with_status_code(Code::OutOfRange));
            }
            spool.write(&piece).await.map_err(unkept)?;
        }
        let is_typed = parts.headers.contains_key(CONTENT_TYPE);
        if spool.size_bytes() == 0 && !is_typed {
            return Ok(Outcome::empty());
        }
        let said = parts.headers.get_all(CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
        let (content_type, _verbatim) = media_type(said);
        let outcome = Outcome::spooled(&content_type, spool.finish().await.map_err(unkept)?);
        let described =
            OF_THE_BODY.iter().filter_map(|name| Some((name.as_str(), parts.headers.get(name)?)));
        let described: Vec<_> = described.collect();
        Ok(match described.is_empty() {
            true => outcome,
            false => outcome.as_recorded_response(200, described),
        })
    }
}

/// Sets the header fields that describe the input.
fn describe(headers: &mut HeaderMap, input: &Input) {
    let of_submission = input.http().map(|http| http.headers.as_slice()).unwrap_or_default();
    for header in of_submission {
        let name = header.name.as_str();
        let is_passed_on = OF_THE_BODY.iter().any(|known| known == name);
        let name = HeaderName::try_from(name).ok().filter(|_| is_passed_on);
        let field = name.zip(HeaderValue::try_from(header.value.as_str()).ok());
        headers.extend(field);
    }
    let content_type = HeaderValue::try_from(input.content_type()).ok();
    headers.extend(content_type.filter(|it| !it.is_empty()).map(|it| (CONTENT_TYPE, it)));
    fields::frame(headers, Some(input.size_bytes()));
}

async fn field_value(name: &HeaderName, value: &FieldValue) -> Result<HeaderValue, Failure> {
    let text = match value {
        FieldValue::Text(value) => return Ok(value.clone()),
        FieldValue::File(path) => tokio::fs::read_to_string(path)
            .await
            .map_err(|error| format!("{} cannot be read: {error}", path.display())),
        FieldValue::Variable(name) => {
            std::env::var(name).map_err(|_| format!("the variable {name} is not set"))
        }
    };
    let value = text.and_then(|text| {
        HeaderValue::try_from(text.trim_end()).map_err(|_| "it has a control character".to_owned())
    });
    // The error is in this machine's state, which can be corrected while operations wait.
    value.map(secret).map_err(|why| {
        let why = format!("the header field {name} cannot be sent: {why}");
        Failure::retryable("ENDPOINT_NOT_ASKED", why).with_status_code(Code::Unavailable)
    })
}

/// Marks the value as secret for logs.
fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn unkept(error: std::io::Error) -> Failure {
    let why = format!("the endpoint's response could not be stored: {error}");
    Failure::retryable("RESULT_NOT_KEPT", why).with_status_code(Code::Unavailable)
}

/// The failure without a response. Another attempt may get one: attempts are made at least once anyway.
fn unanswered(error: &UpstreamError) -> Failure {
    let (code, status) = match error {
        UpstreamError::Timeout(_) => ("ENDPOINT_TIMEOUT", Code::DeadlineExceeded),
        UpstreamError::Unreadable(_) => ("ENDPOINT_UNREADABLE", Code::Unavailable),
        UpstreamError::Unreachable(_) | UpstreamError::Broken(_) => {
            ("ENDPOINT_UNREACHABLE", Code::Unavailable)
        }
    };
    let message = error.to_string().replacen("upstream", "endpoint", 1);
    Failure::retryable(code, message).with_status_code(status)
}

/// The failure for a response other than 2xx.
async fn refusal(response: Response<Body>) -> Failure {
    let (parts, body) = response.into_parts();
    let status = parts.status;
    let said = beginning(body).await;
    let told = Told::of(&said).unwrap_or_default();
    let code = told.code.unwrap_or_else(|| format!("HTTP_{}", status.as_u16()));
    let location = parts.headers.get(LOCATION).and_then(|field| field.to_str().ok());
    let message = match (told.message, status.is_redirection(), location) {
        (_, true, Some(url)) => {
            format!(
                "the endpoint answered {status} with a redirect to {url}; redirects are not followed"
            )
        }
        (Some(message), ..) => message,
        (None, ..) if said.trim().is_empty() => format!("the endpoint answered {status}"),
        (None, ..) => format!("the endpoint answered {status}: {}", said.trim()),
    };
    let failure = match status.as_u16() {
        408 | 425 | 429 | 500.. => Failure::retryable(code, message),
        _ => Failure::permanent(code, message),
    };
    let failure = failure
        .with_status_code(status_code(status))
        .with_metadata("http_status", status.as_u16().to_string());
    match retry_after(&parts.headers) {
        Some(delay) => failure.with_retry_delay(delay),
        None => failure,
    }
}

/// The code and message of a refusal in JSON, such as a problem document (RFC 9457).
#[derive(Default)]
struct Told {
    code: Option<String>,
    message: Option<String>,
}

impl Told {
    fn of(said: &str) -> Option<Self> {
        let document: serde_json::Value = serde_json::from_str(said).ok()?;
        let text = |key: &str| {
            let text = document.get(key)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let message = ["detail", "message", "title"].into_iter().find_map(text);
        Some(Self { code: text("code"), message })
    }
}

/// The beginning of a body, as text.
async fn beginning(mut body: Body) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_MESSAGE_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    bytes.truncate(MAX_MESSAGE_BYTES);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The delay that a response asks for, in seconds or as a date.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match said.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => until(httpdate::parse_http_date(said).ok()?),
    };
    Some(delay.min(MAX_RETRY_DELAY))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the endpoint's clock is the wall's, not the engine's"
)]
fn until(date: SystemTime) -> Duration {
    date.duration_since(SystemTime::now()).unwrap_or_default()
}

/// The canonical code that is closest to the status.
fn status_code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 | 422 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 | 410 => Code::NotFound,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::Aborted,
        413 => Code::OutOfRange,
        429 => Code::ResourceExhausted,
        501 => Code::Unimplemented,
        502 | 503 => Code::Unavailable,
        500.. => Code::Internal,
        _ => Code::FailedPrecondition,
    }
}
