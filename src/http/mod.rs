//! The HTTP interface: the same operations as plain HTTP and JSON.
//!
//! Decodes, calls [`Service`], encodes. It has no state and decides nothing about operations. Messages have the JSON
//! form of their protos, errors are problem documents, and caches must revalidate every response.
//!
//! Read next: `routes` for the routes, `call` for a request as handlers see it, `documents` for the responses.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use crate::metrics;
use crate::proto::types::KnownTypes;
use crate::service::{Reason, Service, ServiceError};
use crate::wire::encodings::Encodings;

mod arrival;
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
mod grpc;
mod headers;
mod health;
mod input;
mod keys;
mod limits;
mod links;
mod measured;
mod openapi;
mod operations;
mod problem;
mod query;
mod range;
mod relay;
mod replay;
mod resource;
mod result;
mod route;
mod routes;
mod screen;
mod shares;
mod standing;
mod submission;
mod submit;
mod webhooks;

pub use arrival::Arrival;
pub(crate) use cors::is_from_here;
pub use grpc::Gate;
use grpc::Protocol;
pub(crate) use links::Links;
use problem::Problem;
use resource::Resource;
pub use screen::{Hosts, Screen};

/// The options of the interface.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// The URL under which clients reach this server, e.g. `https://lro.example.com/api`, if it is not `http://`
    /// (`https://` with TLS) and the requested host. Links begin with it.
    pub public_url: Option<String>,
    /// Origins whose pages may call this interface from a browser, e.g. `https://app.example.com`; `*` for all.
    pub cors_origins: Vec<String>,
    /// HTTP APIs behind this server, for all paths without a route of its own.
    pub relay: crate::relay::Relay,
    /// Mounted dialects.
    pub dialects: Vec<crate::config::dialect::Mount>,
    /// Whether `/metrics` is served to callers.
    pub metrics: bool,
    /// The types allowed in an `Any` in JSON.
    pub types: KnownTypes,
}

/// The state that handlers share.
#[derive(Clone, Debug)]
struct Http {
    service: Service,
    options: Arc<HttpOptions>,
    encodings: Encodings<events::Key>,
    /// The OpenAPI document, once it was asked for.
    description: Arc<OnceLock<Bytes>>,
}

impl Http {
    fn new(service: Service, options: HttpOptions) -> Self {
        let (encodings, description) = (Encodings::default(), Arc::default());
        Self { service, options: Arc::new(options), encodings, description }
    }
}

/// The routes, and a fallback for all other requests, which handles gRPC calls.
pub fn router(service: Service, options: HttpOptions) -> Router {
    let http = Http::new(service, options);
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

/// A whole body of at most `limit` bytes, for pages.
pub(crate) async fn read_body(
    service: &Service,
    body: Body,
    limit: usize,
) -> Result<Bytes, ServiceError> {
    let unknown = || ServiceError::new(Reason::Internal, "the body was refused without a reason");
    let read = body::read(service, body, limit).await;
    read.map_err(|problem| problem.error().cloned().unwrap_or_else(unknown))
}

/// The response to `OPTIONS`, with the allowed methods.
fn options(allow: HeaderValue) -> Response {
    (StatusCode::NO_CONTENT, [(ALLOW, allow)]).into_response()
}

/// Marks responses of an upstream, to which nothing is added.
#[derive(Clone, Copy, Debug)]
struct Verbatim;

/// Renders problems, and forbids caches to store responses.
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

async fn no_route(State(http): State<Http>, request: Request) -> Response {
    let protocol = Protocol::of(request.headers());
    let content_type = request.headers().get(CONTENT_TYPE).cloned().filter(|_| protocol.is_some());
    if let Some(content_type) = content_type.clone().filter(|_| protocol == Some(Protocol::Grpc)) {
        return grpc::no_method(content_type, request.uri());
    }
    let labelled = |label, mut response: Response| {
        response.extensions_mut().insert(metrics::Route(label));
        response
    };
    let request = match dialect::answer(&http, request).await {
        Ok(response) => return labelled("dialect", response),
        Err(request) => request,
    };
    match relay::answer(&http, request).await {
        Ok(response) => labelled("relay", response),
        Err(request) => match content_type {
            // Only now, because an API behind a relay may use gRPC-Web, which is plain HTTP.
            Some(content_type) => grpc::no_method(content_type, request.uri()),
            None => {
                let (parts, _) = request.into_parts();
                dialect::refused_at(&http, &parts, Problem::no_route(parts.uri.path()))
            }
        },
    }
}

#[cfg(test)]
mod tests;
