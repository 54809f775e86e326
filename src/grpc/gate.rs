//! Checks for every rpc whether the caller may use it.

use axum::extract::Request;

use super::status::status;
use crate::service::{Caller, Identity, Reason, ServiceError, access};

/// Refuses a call that its caller may not make; otherwise adds the caller to the request.
pub(super) fn check(request: &mut Request) -> Result<(), tonic::Status> {
    let identity = request.extensions_mut().remove::<Identity>().unwrap_or_default();
    let path = request.uri().path();
    let caller = identity.caller(access::action_of_rpc(path), path).map_err(status)?;
    request.extensions_mut().insert(caller);
    Ok(())
}

/// The caller. The only place where a gRPC call's caller is determined.
pub(super) fn caller<M>(request: &tonic::Request<M>) -> Result<Caller, tonic::Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    // The gate has added it before.
    caller.ok_or_else(|| status(ServiceError::new(Reason::Internal, "the caller is not known")))
}
