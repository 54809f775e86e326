//! Connections to upstreams: plain or TLS, with a time limit.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tower::Service;

use super::guard::Guard;
use super::way::Way;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why no authority can be trusted for an upstream.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of certificates cannot be used.
    #[error("ca_file {path} of {owner}: {reason}")]
    File {
        /// The relay, handler or flag that names the file.
        owner: String,
        /// The file.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// The system has no certificates.
    #[error(
        "{0} has an https:// URL, and the system has no certificates to check it by: \
         install them (the package is often called ca-certificates) or name a ca_file"
    )]
    NoSystemCertificates(String),
    /// The TLS library cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// Connects to one upstream within a time limit, handshake included.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector<Guard>>,
    guard: Guard,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(way: &Way<'_>) -> Result<Self, TrustError> {
        let roots = match (way.scheme, way.ca_file) {
            (scheme, _) if *scheme != Scheme::HTTPS => RootCertStore::empty(),
            (_, Some(path)) => of_file(path).map_err(|reason| TrustError::File {
                owner: way.owner.clone(),
                path: path.to_owned(),
                reason,
            })?,
            (_, None) => {
                of_system().ok_or_else(|| TrustError::NoSystemCertificates(way.owner.clone()))?
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let guard = Guard::new(way.guard.clone());
        let mut plain = HttpConnector::new_with_resolver(guard.clone());
        plain.set_nodelay(true);
        plain.enforce_http(false);
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        Ok(Self { inner, guard, limit: way.limits.connect_timeout })
    }
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector<Guard>> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Err(refused) = self.guard.check_literal(&uri) {
            return Box::pin(async move { Err(refused.into()) });
        }
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_elapsed| {
                let limit = humantime::format_duration(limit);
                Err(format!("there was no connection within {limit}").into())
            })
        })
    }
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("has a certificate that fails: {error}"))?;
    }
    if roots.is_empty() { Err("has no certificate".to_owned()) } else { Ok(roots) }
}

/// The system's trusted certificates, except unreadable ones.
fn of_system() -> Option<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(error = %error, "certificates of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    Some(roots).filter(|roots| !roots.is_empty())
}
