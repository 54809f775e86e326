//! Callers by the certificates of their connections.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Given, PeerCertificate, Way};
use crate::config::CertificateCaller;
use crate::engine::Clock;
use crate::service::{Caller, Reason, ServiceError};

/// Identifies callers by a name in the certificate from the TLS handshake.
pub struct ByCertificate {
    callers: Vec<CertificateCaller>,
    clock: Arc<dyn Clock>,
}

impl ByCertificate {
    /// Accepts only these callers.
    pub fn new(callers: Vec<CertificateCaller>, clock: Arc<dyn Clock>) -> Self {
        Self { callers, clock }
    }
}

#[async_trait]
impl Way for ByCertificate {
    async fn identify(&self, given: Given<'_>) -> Option<Result<Caller, ServiceError>> {
        let certificate = given.parts.extensions.get::<PeerCertificate>()?;
        let known = self.callers.iter().find(|caller| certificate.has_name(&caller.name));
        let Some(known) = known else {
            // Names no configured caller: the client learns nothing but its own certificate's name.
            let message = format!(
                "no caller of this server has the certificate of this connection, {}",
                certificate.shown_name()
            );
            let error = ServiceError::new(Reason::Unauthenticated, message);
            // Other credentials of the request have their own error.
            return given.token.is_none().then_some(Err(error));
        };
        // A connection may outlive the certificate.
        if certificate.expires_at_seconds() < self.clock.now().to_unix().0 {
            let message = "the certificate of this connection has expired";
            return Some(Err(ServiceError::new(Reason::Unauthenticated, message)));
        }
        let CertificateCaller { name, tenant, roles } = known;
        let credential = format!("certificate:{name}");
        let caller = Caller::of(tenant.clone(), *roles);
        Some(Ok(caller.with_subject(name.as_str()).with_credential(credential)))
    }
}
