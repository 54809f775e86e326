//! The gate in front of gRPC: passes gRPC and gRPC-Web to the services; other requests get an HTTP response.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use tonic::{Code, Status};

use super::cors::{self, Page};
use super::problem::{self, Problem};
use super::{Http, HttpOptions, body};
use crate::service::{Reason, Service, ServiceError};
use crate::wire::google;

/// The framing of a request's messages, which are protobuf; other codecs are not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// As in gRPC, which browsers cannot use.
    Grpc,
    /// With trailers in the body.
    Web,
    /// Like `Web`, in base64.
    WebText,
}

impl Protocol {
    /// The protocol of the content type; `None` for any other type.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::named(headers.get(CONTENT_TYPE)?)
    }

    fn named(media_type: &HeaderValue) -> Option<Self> {
        let essence = media_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let essence = essence.trim_ascii().to_ascii_lowercase();
        match essence.strip_suffix(b"+proto").unwrap_or(&essence) {
            b"application/grpc" => Some(Self::Grpc),
            b"application/grpc-web" => Some(Self::Web),
            b"application/grpc-web-text" => Some(Self::WebText),
            _ => None,
        }
    }

    const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Grpc => "application/grpc",
            Self::Web => "application/grpc-web+proto",
            Self::WebText => "application/grpc-web-text+proto",
        })
    }
}

/// The gate in front of the gRPC services. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Http>);

impl Gate {
    /// A gate for the same service and options as those of [`router`](super::router).
    pub fn new(service: Service, options: HttpOptions) -> Self {
        Self(Arc::new(Http::new(service, options)))
    }

    /// Whether this is a plain gRPC call, which bypasses [`Gate::answer`], because browsers cannot send one.
    pub fn is_open_to(parts: &Parts) -> bool {
        let is_post = parts.method == Method::POST && parts.version == Version::HTTP_2;
        is_post && Protocol::of(&parts.headers) == Some(Protocol::Grpc)
    }

    /// Handles everything else: passes gRPC-Web calls to `serve`, and refuses other requests.
    pub async fn answer<F: Future<Output = Response>>(
        &self,
        request: Request,
        serve: impl FnOnce(Request) -> F,
    ) -> Response {
        let page = Page::of(request.method(), request.headers());
        page.may_read(&self.0, answer(&self.0, request, serve).await)
    }
}

/// The response to a request that is not a call over gRPC.
async fn answer<F: Future<Output = Response>>(
    http: &Http,
    request: Request,
    serve: impl FnOnce(Request) -> F,
) -> Response {
    let refused = |message| Problem::from(ServiceError::new(Reason::UnsupportedMediaType, message));
    let (parts, body) = request.into_parts();
    let problem = match Protocol::of(&parts.headers) {
        _ if parts.method == Method::OPTIONS => {
            return (StatusCode::NO_CONTENT, [(ALLOW, "POST,OPTIONS")]).into_response();
        }
        None => refused(
            "this is a gRPC method: the content type must be application/grpc, \
             application/grpc-web or application/grpc-web-text",
        ),
        Some(Protocol::Grpc) if parts.version != Version::HTTP_2 => {
            refused("this is a gRPC method, which needs HTTP/2; application/grpc-web does not")
        }
        Some(_) if parts.method != Method::POST => {
            Problem::method_not_allowed(&parts.method, "POST")
        }
        Some(_) if cors::is_refused(http, &parts) => cors::refusal(),
        Some(web) => return call(http, web, Request::from_parts(parts, body), serve).await,
    };
    let mut response = problem.into_response();
    problem::render(&mut response, &parts.method, parts.uri.path());
    response
}

/// A gRPC-Web call. The response is in base64 if the call is, unless the client accepts the other form.
async fn call<F: Future<Output = Response>>(
    http: &Http,
    web: Protocol,
    mut request: Request,
    serve: impl FnOnce(Request) -> F,
) -> Response {
    let accepted = request.headers().get(ACCEPT).and_then(Protocol::named);
    let answer = accepted.filter(|it| *it != Protocol::Grpc).unwrap_or(web).content_type();
    request.headers_mut().insert(CONTENT_TYPE, web.content_type());
    request.headers_mut().insert(ACCEPT, answer.clone());
    if request.version() < Version::HTTP_2 {
        // Over HTTP/1 nothing follows the request, so a client can only be slow with the body. HTTP's limits apply.
        let most = http.service.limits().max_call_bytes();
        let most = if web == Protocol::WebText { most / 3 * 4 } else { most };
        let (parts, body) = request.into_parts();
        request = match body::read(&http.service, body, most.saturating_add(FRAMING_BYTES)).await {
            Ok(whole) => Request::from_parts(parts, Body::from(whole)),
            Err(problem) => return refused_call(&problem, answer),
        };
    }
    serve(request).await
}

/// Room for a message's prefix, and for the end of base64, in bytes.
const FRAMING_BYTES: usize = 16;

/// The response to a gRPC-Web call that is refused before it reaches its method.
fn refused_call(problem: &Problem, content_type: HeaderValue) -> Response {
    let unread = || ServiceError::invalid_field("body", "must arrive completely");
    let refusal = google::refusal(&problem.error().cloned().unwrap_or_else(unread));
    let details = prost::Message::encode_to_vec(&refusal).into();
    let status = Status::with_details(Code::from(refusal.code), refusal.message, details);
    refused_with(&status, content_type)
}

/// The response to a call of a method that does not exist.
pub(super) fn no_method(content_type: HeaderValue, uri: &Uri) -> Response {
    let status = Status::unimplemented(format!("there is no method {}", uri.path()));
    refused_with(&status, content_type)
}

/// A response without a body.
fn refused_with(status: &Status, content_type: HeaderValue) -> Response {
    let mut response = (StatusCode::OK, [(CONTENT_TYPE, content_type)]).into_response();
    if status.add_header(response.headers_mut()).is_err() {
        let unknown = HeaderValue::from(Code::Unknown as i32);
        response.headers_mut().insert("grpc-status", unknown);
    }
    response
}
