//! TLS on the client's side: trusted authorities, and the client's certificate.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The files behind a client's TLS, and their last usable contents.
#[derive(Debug)]
pub(super) struct Trust {
    files: Files,
    current: Mutex<Arc<ClientConfig>>,
}

#[derive(Clone, Debug)]
struct Files {
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

impl Trust {
    pub(super) fn open(
        ca: Option<PathBuf>,
        identity: Option<(PathBuf, PathBuf)>,
    ) -> Result<Self, String> {
        let files = Files { ca, identity };
        let current = Mutex::new(Arc::new(files.read()?));
        Ok(Self { files, current })
    }

    /// The configuration of a new connection. Files that cannot be used, as while they are replaced, change nothing.
    pub(super) async fn renewed(&self) -> Arc<ClientConfig> {
        let files = self.files.clone();
        if files.ca.is_some() || files.identity.is_some() {
            let reading = tokio::task::spawn_blocking(move || files.read());
            match reading.await.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(config) => *self.lock() = Arc::new(config),
                Err(error) => tracing::warn!(error, "TLS goes on with the previous files"),
            }
        }
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<ClientConfig>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn read(&self) -> Result<ClientConfig, String> {
        let roots = match &self.ca {
            Some(file) => roots_of(file)?,
            None => roots_of_system()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots);
        let Some((chain, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let certificates = certificates(chain)?;
        let private = PrivateKeyDer::from_pem_slice(&contents(key)?)
            .map_err(|error| format!("{}: has no private key in PEM: {error}", key.display()))?;
        builder
            .with_client_auth_cert(certificates, private)
            .map_err(|error| format!("{} does not fit {}: {error}", key.display(), chain.display()))
    }
}

fn roots_of(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn roots_of_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err("the system has no certificates to check servers by: install them (the package is often called \
                     ca-certificates), or name a file by --ca"
            .to_owned()),
        false => Ok(roots),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents(file)?).collect();
    let certificates = read.map_err(|error| format!("{}: is not PEM: {error}", file.display()))?;
    match certificates.is_empty() {
        true => Err(format!("{}: has no certificate in PEM", file.display())),
        false => Ok(certificates),
    }
}

fn contents(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{}: cannot be read: {error}", file.display()))
}
