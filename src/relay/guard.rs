//! Checks addresses when the connection is made, so that a name cannot resolve to another one after the check.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower::Service;

use crate::operation::Destinations;
use crate::operation::callback::literal;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The system's resolver, which returns only allowed addresses.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    inner: GaiResolver,
    allowed: Option<Arc<Destinations>>,
}

impl Guard {
    /// Allows all addresses, or only those in `allowed`.
    pub(super) fn new(allowed: Option<Arc<Destinations>>) -> Self {
        Self { inner: GaiResolver::new(), allowed }
    }

    /// Refuses a literal address, because it never passes the resolver.
    pub(super) fn check_literal(&self, uri: &Uri) -> Result<(), String> {
        let Some(address) = uri.host().and_then(literal) else { return Ok(()) };
        match &self.allowed {
            Some(allowed) if !allowed.allows(address) => {
                Err(format!("this server does not send to the address {address}"))
            }
            _ => Ok(()),
        }
    }
}

impl Service<Name> for Guard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolving, allowed) = (self.inner.call(name), self.allowed.clone());
        Box::pin(async move {
            let mut found: Vec<SocketAddr> = resolving.await?.collect();
            if let Some(allowed) = allowed {
                found.retain(|address| allowed.allows(address.ip()));
                if found.is_empty() {
                    return Err("the name leads to no address that this server sends to".into());
                }
            }
            Ok(found.into_iter())
        })
    }
}
