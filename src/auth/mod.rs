//! Who is calling: finds the caller of each request, once, in front of every interface.
//!
//! What a caller may do is the service's affair; here is only who it is.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::service::{Caller, Identity, InProcess};

/// Knows whom to let in.
#[derive(Clone, Debug, Default)]
pub struct Authenticator;

impl Authenticator {
    fn identify(&self, request: &Request) -> Identity {
        if request.extensions().get::<InProcess>().is_some() {
            return Identity(Ok(Caller::anonymous()));
        }
        Identity(Ok(Caller::anonymous()))
    }
}

/// Marks the request with its caller.
pub async fn identify(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    let identity = authenticator.identify(&request);
    request.extensions_mut().insert(identity);
    next.run(request).await
}
