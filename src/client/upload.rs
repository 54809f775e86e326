//! Submissions whose input is sent while it is read: over HTTP, on the connection of the calls.

use std::error::Error;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, Method, Uri};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tonic::service::Interceptor as _;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tower::{Service as _, ServiceExt as _};

use super::submit::fill_key;
use super::{Client, ClientError};
use crate::proto::json;
use crate::proto::v1::{FieldViolation, Operation, SubmitRequest};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The largest response to a submission, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

impl Client {
    /// Submits work whose input is `body`, which is sent while it is read; any size that the service accepts. `request`
    /// must have no input. Not retried, because a body cannot be read twice; if the response is lost, a call with the
    /// same idempotency key and the same body returns the same operation.
    pub async fn submit_stream<S, E>(
        &self,
        mut request: SubmitRequest,
        content_type: &str,
        body: S,
    ) -> Result<Operation, ClientError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        fill_key(&mut request.idempotency_key);
        let invalid =
            |error: http::Error| ClientError::local(Code::InvalidArgument, error.to_string());
        let uri: Uri = target(&request)?
            .parse()
            .map_err(|error: http::uri::InvalidUri| invalid(error.into()))?;
        let body =
            tonic::body::Body::new(StreamBody::new(body.map(|piece| piece.map(Frame::data))));
        let mut call = http::Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(CONTENT_TYPE, content_type)
            .header(IDEMPOTENCY_KEY, &request.idempotency_key)
            .body(body)
            .map_err(invalid)?;
        let headers = self.headers.clone().call(Request::new(()))?.into_parts().0.into_headers();
        call.headers_mut().extend(headers);
        let mut channel: Channel = self.channel.clone();
        let answer = channel.ready().await?.call(call).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(Status::from_error)?.to_bytes();
        match parts.status.is_success() || parts.status.is_redirection() {
            true => operation(&body).map_err(|error| {
                let message = format!("the server returned no operation: {error}");
                ClientError::local(Code::Internal, message)
            }),
            false => Err(refusal(parts.status.as_u16(), &parts.headers, &body)),
        }
    }
}

/// Path and query of a submission: the message without its input and its key.
fn target(request: &SubmitRequest) -> Result<String, ClientError> {
    let mut query = Vec::new();
    let mut give = |name: &str, value: &str| query.push(format!("{name}={}", escaped(value)));
    for (key, value) in &request.labels {
        give("label", &format!("{key}={value}"));
    }
    if let Some(at) = &request.start_at {
        give("start_at", &at.to_string());
    }
    if !request.callback_url.is_empty() {
        give("callback_url", &request.callback_url);
    }
    if !request.parent.is_empty() {
        give("parent", &request.parent);
    }
    if let Some(wait) = &request.start_in {
        give("start_in", &wait.to_string());
    }
    let settings = request.settings.as_ref().map(json::to_value).transpose();
    let settings =
        settings.map_err(|error| ClientError::local(Code::InvalidArgument, error.to_string()))?;
    for (name, value) in leaves(settings.unwrap_or_default()) {
        let name = match name.as_str() {
            "multiplier" | "jitter" => format!("backoff_{name}"),
            _ => name,
        };
        match value {
            Value::String(text) => give(&name, &text),
            other => give(&name, &other.to_string()),
        }
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    Ok(format!("/v1/kinds/{}/operations{query}", escaped(&request.kind)))
}

/// The fields of a document and of its nested documents, under the query's names: `maxAttempts` is `max_attempts`.
fn leaves(document: Value) -> Vec<(String, Value)> {
    let Value::Object(fields) = document else { return Vec::new() };
    let under = |(name, value): (String, Value)| match value {
        Value::Object(_) => leaves(value),
        value => {
            let split = |c: char| {
                if c.is_ascii_uppercase() {
                    format!("_{}", c.to_ascii_lowercase())
                } else {
                    c.to_string()
                }
            };
            vec![(name.chars().map(split).collect(), value)]
        }
    };
    fields.into_iter().flat_map(under).collect()
}

/// The text with everything escaped that has a meaning in a path or a query.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// The operation in a response, which also has its URL.
fn operation(body: &[u8]) -> Result<Operation, Box<dyn Error>> {
    let mut document: Value = serde_json::from_slice(body)?;
    if let Some(fields) = document.as_object_mut() {
        fields.shift_remove("location");
    }
    Ok(json::from_slice(&serde_json::to_vec(&document)?)?)
}

/// The error of a problem document (RFC 9457).
fn refusal(status: u16, headers: &HeaderMap, body: &[u8]) -> ClientError {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let code = match status {
        400 | 411 | 415 | 422 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 | 410 => Code::NotFound,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::Aborted,
        413 => Code::OutOfRange,
        429 => Code::ResourceExhausted,
        502 | 503 => Code::Unavailable,
        _ => Code::Internal,
    };
    let message = match text(&document, "detail") {
        empty if empty.is_empty() => format!("the service answered {status}"),
        detail => detail,
    };
    let violation = |value: &Value| FieldViolation {
        field: text(value, "field"),
        description: text(value, "description"),
    };
    let violations = document["violations"].as_array().into_iter().flatten();
    let retry_after = headers.get(RETRY_AFTER).and_then(|field| field.to_str().ok()?.parse().ok());
    ClientError::local(code, message).of_answer(
        text(&document, "reason"),
        violations.map(violation).collect(),
        retry_after.map(std::time::Duration::from_secs),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{RetryPolicy, Settings};

    #[test]
    fn everything_of_a_submission_stands_in_its_target() {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let retry_policy =
            Some(RetryPolicy { max_attempts: 2, multiplier: 1.5, ..Default::default() });
        let request = SubmitRequest {
            kind: "k".to_owned(),
            labels: [("a/b".to_owned(), "c d".to_owned())].into(),
            start_in: seconds(90),
            settings: Some(Settings {
                priority: 7,
                deadline: seconds(60),
                retry_policy,
                ..Default::default()
            }),
            ..Default::default()
        };
        let target = target(&request).unwrap();
        let (path, query) = target.split_once('?').unwrap();
        assert_eq!(path, "/v1/kinds/k/operations");
        let mut query: Vec<_> = query.split('&').collect();
        query.sort_unstable();
        let expected = [
            "backoff_multiplier=1.5",
            "deadline=60s",
            "label=a%2Fb%3Dc%20d",
            "max_attempts=2",
            "priority=7",
            "start_in=90s",
        ];
        assert_eq!(query, expected);
    }
}
