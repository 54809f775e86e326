//! The HTTP interface: the same operations as plain HTTP and JSON.
//!
//! Decodes, calls [`Service`], encodes. It holds no state and decides nothing about operations; messages have
//! the JSON form of their protos, refusals are problem documents, and no answer may be cached.
//!
//! Read next: `call` for a request as handlers see it, `documents` for what is answered.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, Uri};

use crate::service::Service;

mod call;
mod documents;
mod headers;
mod links;
mod operations;
mod problem;
mod query;
mod relay;
mod replay;
mod result;
mod submit;

use problem::Problem;

/// How the interface is set up.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// The URL under which clients reach this server, where that is not `http://` and the host that they ask
    /// for, e.g. `https://lro.example.com/api`. Links begin with it.
    pub public_url: Option<String>,
    /// HTTP APIs that this server stands in front of, wherever it has no routes of its own.
    pub relay: crate::relay::Relay,
}

/// What handlers share.
#[derive(Clone, Debug)]
struct Http {
    service: Service,
    options: Arc<HttpOptions>,
}

/// The routes, with a fallback that answers whatever there is no route for: gRPC in its own way.
pub fn router(service: Service, options: HttpOptions) -> Router {
    let mut router = Router::new()
        .route("/v1/operations", get(operations::list).post(submit::operation))
        .route("/v1/kinds/{kind}/operations", post(submit::of_kind));
    for parent in ["/v1", "/v1/tenants/{tenant}"] {
        // A verb stands behind a colon within the last segment, which a route cannot say.
        let target = get(operations::get).post(operations::act).delete(operations::delete);
        router = router
            .route(&format!("{parent}/operations/{{target}}"), target)
            .route(&format!("{parent}/operations/{{id}}/status"), get(operations::status))
            .route(&format!("{parent}/operations/{{id}}/result"), get(result::get))
            .route(&format!("{parent}/operations/{{id}}/events"), get(operations::events));
    }
    router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_route)
        .layer(middleware::from_fn(finish))
        .with_state(Http { service, options: Arc::new(options) })
}

/// Writes problems out and forbids caches to keep anything.
async fn finish(request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut response = next.run(request).await;
    if response.extensions_mut().remove::<relay::Verbatim>().is_some() {
        return response;
    }
    problem::render(&mut response, &method, uri.path());
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn method_not_allowed(method: Method) -> Problem {
    Problem::method_not_allowed(&method, "")
}

async fn no_route(State(http): State<Http>, request: Request) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).filter(|field| is_grpc(field));
    if let Some(content_type) = content_type {
        return unimplemented(content_type.clone(), request.uri());
    }
    match relay::answer(&http, request).await {
        Ok(response) => response,
        Err(request) => Problem::no_route(request.uri().path()).into_response(),
    }
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"application/grpc")
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
