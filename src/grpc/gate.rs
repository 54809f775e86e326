//! The first question to every rpc: whether its caller may make it.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::status::status;
use crate::service::{Caller, Identity, Reason, ServiceError, access};

/// Refuses calls that the caller may not make, and hands the caller on to the others.
pub(super) async fn gate(mut request: Request, next: Next) -> Response {
    let identity = request.extensions_mut().remove::<Identity>().unwrap_or_default();
    let path = request.uri().path();
    let caller = identity.caller(access::action_of_rpc(path), path);
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => status(error).into_http::<axum::body::Body>().into_response(),
    }
}

/// Who calls. The only place where a gRPC call's caller is known.
pub(super) fn caller<M>(request: &tonic::Request<M>) -> Result<Caller, tonic::Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    // The gate has put it there.
    caller.ok_or_else(|| status(ServiceError::new(Reason::Internal, "the caller is not known")))
}
