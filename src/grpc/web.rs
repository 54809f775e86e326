//! gRPC-Web: the same calls in bodies that browsers can send and read, as `tonic-web` translates them.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CONTENT_TYPE, HeaderName};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::time_limit::time_limit;

/// nginx passes on at once what says so.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// In front of the services: translates gRPC-Web, and holds calls to their time. Content types are taken as `tonic-web`
/// spells them.
pub async fn enter(request: Request, next: Next) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE);
    if !content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc-web")) {
        return time_limit(request, next).await;
    }
    let call = service_fn(|request: http::Request<tonic::body::Body>| {
        let answer = time_limit(request.map(Body::new), next.clone());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let Ok(response) = GrpcWebLayer::new().layer(call).oneshot(request).await;
    let mut response = response.map(Body::new).into_response();
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
