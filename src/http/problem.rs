//! Refusals and failures as problem documents (RFC 9457).
//!
//! `Longrun-Error-Source` is `gateway` if the server refused the call, and `operation` if the operation failed; then
//! the response is that of a synchronous call.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::headers::{ERROR_SOURCE, whole_seconds};
use crate::config::relay::Mount;
use crate::dialect::Refusal;
use crate::proto::json::{JsonError, to_value};
use crate::proto::v1;
use crate::service::{Reason, RefusedByLimit, ServiceError, Violations};

/// A problem document. As a response it is a mark without a body, which [`render`] fills in, because only there the
/// request is known.
#[derive(Clone, Debug)]
pub(super) struct Problem(Box<Content>);

#[derive(Clone, Debug)]
struct Content {
    status: StatusCode,
    headers: HeaderMap,
    members: Map<String, Value>,
    /// The error of a refused call.
    error: Option<ServiceError>,
}

impl Problem {
    fn new(status: u16, name: &str, title: &str, detail: &str, source: &'static str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = name.to_ascii_lowercase().replace('_', "-");
        let members = [
            ("type", json!(format!("urn:longrun:problem:{kind}"))),
            ("title", json!(title)),
            ("status", json!(status.as_u16())),
            ("detail", json!(detail)),
        ];
        let members = members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        let source = (ERROR_SOURCE.clone(), HeaderValue::from_static(source));
        let headers = [source].into_iter().collect();
        Self(Box::new(Content { status, headers, members, error: None }))
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header field.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The document, for a request to `path`.
    pub(super) fn document(self, path: &str) -> Value {
        Value::Object(self.with("instance", path).0.members)
    }

    /// There is no such route.
    pub(super) fn no_route(path: &str) -> Self {
        ServiceError::new(Reason::RouteNotFound, format!("there is nothing at {path}")).into()
    }

    /// The route exists, for the methods `allow` only.
    pub(super) fn method_not_allowed(method: &Method, allow: &'static str) -> Self {
        Self::not_allowed(method, HeaderValue::from_static(allow))
    }

    /// Like [`Self::method_not_allowed`], with methods that are not known in advance.
    pub(super) fn not_allowed(method: &Method, allow: HeaderValue) -> Self {
        let message = format!("{method} is not allowed here");
        Self::from(ServiceError::new(Reason::MethodNotAllowed, message)).with_header(ALLOW, allow)
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The header fields in addition to those of the document.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// Adds violations of fields to `found`, so that one response reports them all; returns any other refusal.
    pub(super) fn note_in(self, found: &mut Violations) -> Result<(), Self> {
        match self.0.error {
            Some(error) if !error.violations.is_empty() => {
                found.take::<()>(Err(error));
                Ok(())
            }
            _ => Err(self),
        }
    }

    /// The error of a refused call; `None` for an operation that failed.
    pub(super) fn error(&self) -> Option<&ServiceError> {
        self.0.error.as_ref()
    }

    /// Marks the response for the audit log, if a limit refused the call.
    pub(super) fn mark(&self, response: &mut Response) {
        if let Some(refused) = self.error().and_then(RefusedByLimit::of) {
            response.extensions_mut().insert(refused);
        }
    }

    /// The refusal, as a dialect's templates see it.
    pub(super) fn refusal(&self) -> Refusal<'_> {
        let text =
            |name: &str| self.0.members.get(name).and_then(Value::as_str).unwrap_or_default();
        let header = |name| self.0.headers.get(name).and_then(|field| field.to_str().ok());
        Refusal {
            status: self.0.status.as_u16(),
            reason: text("reason"),
            title: text("title"),
            message: text("detail"),
            retry_after: header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
            allow: header(ALLOW),
        }
    }

    /// An operation's failure, as a synchronous call would return it.
    pub(super) fn of_operation(operation: &v1::Operation) -> Self {
        let error = operation.error.clone().unwrap_or_default();
        let title = match operation.state() {
            v1::operation::State::Cancelled => "Operation cancelled",
            _ => "Operation failed",
        };
        let kind = title.replace(' ', "-");
        let status = upstream_reason(&operation.kind, &error.code)
            .map_or_else(|| http_status(error.status_code), Reason::http_status);
        let detail = if error.message.is_empty() { &error.code } else { &error.message };
        let mut problem = Self::new(status, &kind, title, detail, "operation")
            .with("reason", error.code.as_str())
            .with("operation", operation.name.as_str());
        // The other members have the proto's names: code, message, statusCode, metadata, causes, source.
        if let Ok(Value::Object(members)) = to_value(&error) {
            problem.0.members.extend(members);
        }
        problem
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let ServiceError { reason, message, violations, retry_after, metadata } = error.clone();
        let (name, title) = (reason.as_str(), reason.title());
        let mut problem = Self::new(reason.http_status(), name, title, &message, "gateway");
        problem = problem.with("reason", name);
        if !violations.is_empty() {
            let violations = violations
                .into_iter()
                .map(|it| json!({"field": it.field, "description": it.description}));
            problem = problem.with("violations", violations.collect::<Vec<_>>());
        }
        for (name, value) in metadata {
            // The standard members of a problem must not be replaced.
            problem.0.members.entry(name).or_insert_with(|| value.into());
        }
        if let Some(delay) = retry_after {
            problem.0.headers.insert(RETRY_AFTER, whole_seconds(delay).into());
        }
        if reason == Reason::Unauthenticated {
            problem.0.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        problem.0.error = Some(error);
        problem
    }
}

/// The error for a document that could not be read.
impl From<JsonError> for ServiceError {
    fn from(error: JsonError) -> Self {
        let place = error
            .position
            .map_or_else(String::new, |(line, column)| format!(" (line {line} column {column})"));
        let field = if error.field.is_empty() { "body".to_owned() } else { error.field };
        Self::invalid_field(field, format!("{}{place}", error.message))
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        ServiceError::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        self.mark(&mut response);
        response.extensions_mut().insert(self);
        response
    }
}

/// Renders the document if the response is a problem.
pub(super) fn render(response: &mut Response, method: &Method, path: &str) {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return };
    let headers = response.headers_mut();
    headers.extend(problem.0.headers.clone());
    let text = format!("{}\n", problem.document(path));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CONTENT_LENGTH, text.len().into());
    *response.body_mut() = if method == Method::HEAD { Body::empty() } else { Body::from(text) };
}

/// The reason for a request that could not be relayed, if the operation failed because of it, so that the client gets
/// the same response whether its request passed through or became an operation.
pub(super) fn upstream_reason(kind: &str, code: &str) -> Option<Reason> {
    if !kind.starts_with(Mount::KIND_PREFIX) {
        return None;
    }
    match code {
        "UPSTREAM_TIMEOUT" => Some(Reason::UpstreamTimeout),
        "UPSTREAM_UNREACHABLE"
        | "UPSTREAM_UNREADABLE"
        | "UPSTREAM_INTERRUPTED"
        | "RESULT_TOO_LARGE"
        | "RESULT_NOT_KEPT" => Some(Reason::UpstreamUnreachable),
        _ => None,
    }
}

/// The HTTP status of a canonical gRPC code, as in Google's client libraries.
pub(super) fn http_status(grpc_code: i32) -> u16 {
    match grpc_code {
        3 | 9 | 11 => 400,
        16 => 401,
        7 => 403,
        5 => 404,
        6 | 10 => 409,
        8 => 429,
        1 => 499,
        12 => 501,
        14 => 503,
        4 => 504,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn rendered(problem: Problem) -> (Response, Value) {
        let mut response = problem.into_response();
        render(&mut response, &Method::GET, "/v1/x");
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (Response::from_parts(parts, Body::empty()), serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_refused_call_is_the_gateways_problem() {
        let error = ServiceError {
            retry_after: Some(Duration::from_millis(1_200)),
            ..ServiceError::invalid_field("kind", "must be given")
        };
        let error = error.with("operation", "operations/1").with("status", "not this");
        let (response, document) = rendered(error.into()).await;
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[&ERROR_SOURCE], "gateway");
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        let expected = json!({
            "type": "urn:longrun:problem:invalid-argument",
            "title": "Invalid argument",
            "status": 400,
            "detail": "kind must be given",
            "reason": "INVALID_ARGUMENT",
            "violations": [{"field": "kind", "description": "must be given"}],
            "operation": "operations/1",
            "instance": "/v1/x",
        });
        assert_eq!(document, expected);
    }

    #[tokio::test]
    async fn a_failed_operation_is_its_own_problem() {
        let error = v1::Error {
            code: "DeviceNotExists".to_owned(),
            message: "no device 7".to_owned(),
            status_code: 5,
            causes: vec![v1::Error { code: "RowMissing".to_owned(), ..Default::default() }],
            source: v1::error::Source::Application as i32,
            ..Default::default()
        };
        let operation = v1::Operation {
            name: "operations/1".to_owned(),
            error: Some(error),
            ..Default::default()
        };
        let (response, document) = rendered(Problem::of_operation(&operation)).await;
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[&ERROR_SOURCE], "operation");
        let expected = json!({
            "type": "urn:longrun:problem:operation-failed",
            "title": "Operation failed",
            "status": 404,
            "detail": "no device 7",
            "reason": "DeviceNotExists",
            "operation": "operations/1",
            "code": "DeviceNotExists",
            "message": "no device 7",
            "statusCode": 5,
            "causes": [{"code": "RowMissing"}],
            "source": "SOURCE_APPLICATION",
            "instance": "/v1/x",
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn statuses_are_those_of_the_table() {
        let table =
            [500, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
        for (code, status) in table.into_iter().enumerate() {
            assert_eq!(http_status(i32::try_from(code).unwrap()), status, "{code}");
        }
        assert_eq!(http_status(-1), 500);
    }
}
