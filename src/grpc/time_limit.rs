//! The time that a caller gives a call, held for calls that do not hold it themselves.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;

/// Ends calls whose answer has not begun within their `grpc-timeout`. Streams hold theirs themselves.
pub(super) async fn time_limit(request: Request, next: Next) -> Response {
    match super::timeout(request.headers()) {
        Some(limit) => match tokio::time::timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_elapsed) => Status::deadline_exceeded("the call's time is up").into_http(),
        },
        None => next.run(request).await,
    }
}
