//! The HTTP interface: the same operations as plain HTTP and JSON.
//!
//! Decodes, calls [`Service`], encodes. It holds no state and decides nothing about operations; messages have
//! the JSON form of their protos, refusals are problem documents, and no answer may be cached.
//!
//! Read next: `routes` for what can be asked, `call` for a request as handlers see it, `documents` for what is
//! answered.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, Uri, Version};

use crate::service::{Reason, Service, ServiceError};

mod attempts;
mod body;
mod call;
mod coding;
mod conditional;
mod contents;
mod cors;
mod dialect;
mod documents;
mod etag;
mod event_stream;
mod events;
mod google;
mod headers;
mod health;
mod input;
mod links;
mod openapi;
mod operations;
mod problem;
mod query;
mod range;
mod relay;
mod replay;
mod result;
mod route;
mod routes;
mod screen;
mod submission;
mod submit;

use problem::Problem;
use route::Resource;
pub use screen::{Hosts, Screen, screen};

/// How the interface is set up.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// The URL under which clients reach this server, where that is not `http://` and the host that they ask
    /// for, e.g. `https://lro.example.com/api`. Links begin with it.
    pub public_url: Option<String>,
    /// Whose pages may call this interface from a browser, e.g. `https://app.example.com`; `*` for everybody's.
    pub cors_origins: Vec<String>,
    /// HTTP APIs that this server stands in front of, wherever it has no routes of its own.
    pub relay: crate::relay::Relay,
    /// Dialects that it speaks beside its own.
    pub dialects: Vec<crate::config::dialect::Mount>,
}

/// What handlers share.
#[derive(Clone, Debug)]
struct Http {
    service: Service,
    options: Arc<HttpOptions>,
}

/// The routes, with a fallback that answers whatever there is no route for: gRPC in its own way.
pub fn router(service: Service, options: HttpOptions) -> Router {
    let http = Http { service, options: Arc::new(options) };
    let mut router = Router::new();
    for (pattern, resource) in Resource::all(routes::served()) {
        router = router.route(&pattern, resource.served());
    }
    router
        .route_layer(middleware::from_fn_with_state(http.clone(), cors::protect))
        .fallback(no_route)
        .layer(middleware::from_fn(finish))
        .layer(middleware::from_fn_with_state(http.clone(), cors::cors))
        .with_state(http)
}

/// Which methods there are.
fn options(allow: HeaderValue) -> Response {
    (StatusCode::NO_CONTENT, [(ALLOW, allow)]).into_response()
}

/// A mark on responses that are the upstream's own: nothing is added to them.
#[derive(Clone, Copy, Debug)]
struct Verbatim;

/// Writes problems out and forbids caches to keep anything.
async fn finish(request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut response = next.run(request).await;
    if response.extensions().get::<Verbatim>().is_some() {
        return response;
    }
    problem::render(&mut response, &method, uri.path());
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Around the routes of gRPC: a request that does not speak it gets an answer that it can read.
pub async fn require_grpc(request: Request, next: Next) -> Response {
    let refused = |message| {
        Problem::from(ServiceError::new(Reason::UnsupportedMediaType, message)).into_response()
    };
    let mut response = if !request.headers().get(CONTENT_TYPE).is_some_and(is_grpc) {
        refused("this is a method of gRPC: the content type must be application/grpc")
    } else if request.version() != Version::HTTP_2 {
        refused("this is a method of gRPC, which needs HTTP/2")
    } else if request.method() != Method::POST {
        Problem::method_not_allowed(request.method(), "POST").into_response()
    } else {
        return next.run(request).await;
    };
    problem::render(&mut response, request.method(), request.uri().path());
    response
}

async fn no_route(State(http): State<Http>, request: Request) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).filter(|field| is_grpc(field));
    if let Some(content_type) = content_type {
        return unimplemented(content_type.clone(), request.uri());
    }
    let request = match dialect::answer(&http, request).await {
        Ok(response) => return response,
        Err(request) => request,
    };
    match relay::answer(&http, request).await {
        Ok(response) => response,
        Err(request) => {
            let (parts, _) = request.into_parts();
            dialect::refused_at(&http, &parts, Problem::no_route(parts.uri.path()))
        }
    }
}

/// Whether messages are protobuf, framed as gRPC does it; gRPC-Web and other codecs are not served.
fn is_grpc(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    matches!(essence.as_slice(), b"application/grpc" | b"application/grpc+proto")
}

/// A gRPC answer of headers only: UNIMPLEMENTED.
fn unimplemented(content_type: HeaderValue, uri: &Uri) -> Response {
    // A path holds nothing that a grpc-message would have to escape, but for the percent sign itself.
    let message = format!("there is no method {}", uri.path().replace('%', "%25"));
    let message = HeaderValue::try_from(message)
        .unwrap_or_else(|_| HeaderValue::from_static("there is no such method"));
    let headers = [
        (CONTENT_TYPE, content_type),
        (http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("12")),
        (http::HeaderName::from_static("grpc-message"), message),
    ];
    (StatusCode::OK, headers).into_response()
}
