//! gRPC-Web: the same calls in bodies that browsers can send and read, as `tonic-web` translates them.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::HeaderName;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::Services;

/// Makes nginx pass on each message at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

impl Services {
    /// Handles a gRPC-Web call whose content types `tonic-web` knows.
    pub async fn call_from_web(self, request: Request) -> Response {
        let call = service_fn(|request: http::Request<tonic::body::Body>| {
            let call = self.call(request.map(Body::new));
            async move { Ok::<_, Infallible>(call.answer().await.map(tonic::body::Body::new)) }
        });
        let Ok(response) = GrpcWebLayer::new().layer(call).oneshot(request).await;
        let mut response = response.map(Body::new).into_response();
        response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
    }
}
