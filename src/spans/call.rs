//! The span of a call, by the semantic conventions of RPC and HTTP.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::request::Parts;
use http::{Method, StatusCode};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, Tracer as _};
use opentelemetry_sdk::trace::Span;

use super::{Spans, kept, remote, within};
use crate::codes::code_name;
use crate::operation::TraceContext;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Paths that monitors request every minute, without spans.
const QUIET: [&str; 4] = ["/livez", "/readyz", "/metrics", "/grpc.health.v1.Health/"];
/// The codes that mean a fault of the server, by the conventions.
const FAULTS: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

/// The path template of a response, e.g. `/v1/operations/{id}`; an extension of the response that only spans read.
#[derive(Clone, Debug)]
pub struct PathTemplate(pub String);

/// The span of a running call. It ends on drop.
#[derive(Debug)]
pub struct CallSpan {
    span: Box<Span>,
    method: &'static str,
    is_rpc: bool,
}

impl Spans {
    /// Begins the span of a request, in the trace of its header fields or a new one, and replaces these fields by the
    /// span's: what is stored of the request, or passed on, becomes its child. `shown` is a path without credentials.
    pub fn call(
        &self,
        parts: &mut Parts,
        shown: impl FnOnce(&str) -> Cow<'_, str>,
    ) -> Option<CallSpan> {
        let tracing = self.0.as_ref()?;
        let path = shown(parts.uri.path()).into_owned();
        let path = &*path;
        if QUIET.iter().any(|quiet| path.starts_with(quiet)) {
            return None;
        }
        let field =
            |name: &HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let is_rpc = field(&CONTENT_TYPE).is_some_and(|content_type| {
            content_type.starts_with("application/grpc")
                && !content_type.starts_with("application/grpc-web")
        });
        let parent = field(&TRACEPARENT)
            .and_then(|parent| TraceContext::parse(parent, field(&TRACESTATE).unwrap_or_default()));
        let parent = parent.as_ref().map_or_else(SpanContext::empty_context, remote);
        let method = known(&parts.method);
        let (name, attributes) = match is_rpc {
            true => rpc(path),
            false => (method.to_owned(), request(parts, method, path)),
        };
        let builder =
            SpanBuilder::from_name(name).with_kind(SpanKind::Server).with_attributes(attributes);
        let span = tracing.tracer.build_with_context(builder, &within(parent));
        set_context(parts, span.span_context());
        Some(CallSpan { span: Box::new(span), method, is_rpc })
    }
}

impl CallSpan {
    /// Notes the head of an HTTP response.
    pub fn responded(&mut self, template: Option<&PathTemplate>, status: StatusCode) {
        if let Some(PathTemplate(path)) = template {
            self.span.set_attribute(KeyValue::new("http.route", path.clone()));
            self.span.update_name(format!("{} {path}", self.method));
        }
        let number = i64::from(status.as_u16());
        self.span.set_attribute(KeyValue::new("http.response.status_code", number));
        if status.is_server_error() {
            self.span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            self.span.set_status(Status::error(""));
        }
    }

    /// Ends the span; a gRPC call's with this code.
    pub fn ended(mut self, code: usize) {
        if !self.is_rpc {
            return;
        }
        let code = i32::try_from(code).map_or("UNKNOWN", code_name);
        self.span.set_attribute(KeyValue::new("rpc.response.status_code", code));
        if FAULTS.contains(&code) {
            self.span.set_attribute(KeyValue::new("error.type", code));
            self.span.set_status(Status::error(""));
        }
    }
}

/// The method, if the conventions know it.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] =
        ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("HTTP")
}

fn rpc(path: &str) -> (String, Vec<KeyValue>) {
    let method = path.trim_start_matches('/').to_owned();
    let attributes =
        vec![KeyValue::new("rpc.system.name", "grpc"), KeyValue::new("rpc.method", method.clone())];
    (method, attributes)
}

fn request(parts: &Parts, method: &'static str, path: &str) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new("url.path", path.to_owned())];
    match method {
        "HTTP" => {
            let original = parts.method.as_str().to_owned();
            attributes.push(KeyValue::new("http.request.method", "_OTHER"));
            attributes.push(KeyValue::new("http.request.method_original", original));
        }
        method => attributes.push(KeyValue::new("http.request.method", method)),
    }
    let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    attributes.extend(agent.map(|agent| KeyValue::new("user_agent.original", agent.to_owned())));
    attributes
}

/// Puts a context into the header fields of a request.
fn set_context(parts: &mut Parts, context: &SpanContext) {
    let Some(TraceContext { parent, state }) = kept(context) else { return };
    for (name, value) in [(TRACEPARENT, parent), (TRACESTATE, state)] {
        match HeaderValue::try_from(&*value) {
            Ok(value) if !value.is_empty() => _ = parts.headers.insert(name, value),
            _ => _ = parts.headers.remove(name),
        }
    }
}
