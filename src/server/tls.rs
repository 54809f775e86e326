//! TLS of a listener: its files, which are read again when they change, and the handshake.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::auth::PeerCertificate;
use crate::config::{ClientAuth, TlsFiles};
use crate::files;

/// How often the files are compared with the served ones.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// The largest file of certificates, in bytes: room for a few hundred authorities.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {}: {reason}", file.display())]
pub struct CertificatesError {
    flag: &'static str,
    file: PathBuf,
    reason: String,
}

/// The certificates of a listener, from the latest usable state of its files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    /// The digest of the files of `current`. Held while they are read again.
    digest: tokio::sync::Mutex<[u8; 32]>,
}

impl Certificates {
    pub(super) async fn open(files: TlsFiles) -> anyhow::Result<Self> {
        let (digest, config) = load(files.clone()).await?;
        warn_of_readers(&files.key).await;
        let inner = Inner {
            files,
            current: RwLock::new(Arc::new(config)),
            digest: tokio::sync::Mutex::new(digest),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Reads the files again, for later connections; returns whether they have changed. If any of them cannot be used,
    /// nothing changes.
    pub async fn reload(&self) -> Result<bool, CertificatesError> {
        let mut served = self.0.digest.lock().await;
        let (digest, config) = load(self.0.files.clone()).await?;
        if digest == *served {
            return Ok(false);
        }
        warn_of_readers(&self.0.files.key).await;
        *served = digest;
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(true)
    }

    /// Reads the files again when they change, until `stop`.
    pub(super) async fn watch(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.watch_files()).await;
    }

    async fn watch_files(&self) {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_error = None;
        loop {
            checks.tick().await;
            let read = self.reload().await;
            match &read {
                Ok(true) => tracing::info!("the certificates were read again"),
                Ok(false) => {}
                // Logged once, not every few seconds.
                Err(error) if last_error.as_ref() == Some(error) => {}
                Err(error) => tracing::error!(%error, "the certificates stay as they were"),
            }
            last_error = read.err();
        }
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Warns of a private key that other users of the machine may read. It is no error, because many deployments mount keys
/// for a group.
async fn warn_of_readers(key: &Path) {
    let Ok(metadata) = tokio::fs::metadata(key).await else { return };
    if !files::is_private_here(&metadata) {
        let mode = metadata.permissions().mode() & 0o777;
        let key = key.display();
        tracing::warn!(
            "--tls-key {key} has mode {mode:04o}, so users other than its owner may use it: run chmod 600 on it"
        );
    }
}

/// The client's certificate, if it has presented one.
pub(super) fn peer(
    connection: &rustls::ServerConnection,
) -> anyhow::Result<Option<PeerCertificate>> {
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    Ok(shown.map(|shown| PeerCertificate::from_der(shown)).transpose()?)
}

async fn load(files: TlsFiles) -> Result<([u8; 32], ServerConfig), CertificatesError> {
    let (flag, file) = ("--tls-cert", files.certificate.clone());
    let reading = tokio::task::spawn_blocking(move || read(&files));
    reading.await.unwrap_or_else(|error| {
        Err(CertificatesError { flag, file, reason: format!("reading was cut off: {error}") })
    })
}

/// The digest of all files, and the configuration that they make.
fn read(files: &TlsFiles) -> Result<([u8; 32], ServerConfig), CertificatesError> {
    let chain_file = Named::read("--tls-cert", &files.certificate)?;
    let key_file = Named::read("--tls-key", &files.key)?;
    let mut digest = Sha256::new();
    for contents in [&chain_file.contents, &key_file.contents] {
        digest.update(Sha256::digest(contents));
    }
    let chain = chain_file.certificates()?;
    let key = PrivateKeyDer::from_pem_slice(&key_file.contents)
        .map_err(|error| key_file.error(&format!("has no private key in PEM: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| chain_file.error(&error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some((file, auth)) => {
            let file = Named::read("--tls-client-ca", file)?;
            digest.update(Sha256::digest(&file.contents));
            let mut roots = RootCertStore::empty();
            for authority in file.certificates()? {
                roots.add(authority).map_err(|error| file.error(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match auth {
                ClientAuth::Required => verifier,
                ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| file.error(&error))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| key_file.error(&format!("does not fit --tls-cert: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if files.client_ca.is_some() {
        // A resumed session would have a certificate that is not checked again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok((digest.finalize().into(), config))
}

/// A file with the flag that names it.
struct Named<'a> {
    flag: &'static str,
    file: &'a Path,
    contents: Vec<u8>,
}

impl<'a> Named<'a> {
    fn read(flag: &'static str, file: &'a Path) -> Result<Self, CertificatesError> {
        let mut named = Self { flag, file, contents: Vec::new() };
        let read = File::open(file)
            .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut named.contents));
        match read {
            Err(error) => Err(named.error(&format!("cannot be read: {error}"))),
            Ok(length) if length as u64 > MAX_FILE_BYTES => {
                Err(named.error(&format!("must be at most {} MiB", MAX_FILE_BYTES >> 20)))
            }
            Ok(_) => Ok(named),
        }
    }

    /// The certificates in the file; at least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.contents).collect();
        let certificates = read.map_err(|error| self.error(&format!("is not PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(self.error(&"has no certificate in PEM"));
        }
        Ok(certificates)
    }

    fn error(&self, reason: &dyn std::fmt::Display) -> CertificatesError {
        let (flag, file) = (self.flag, self.file.to_owned());
        CertificatesError { flag, file, reason: reason.to_string() }
    }
}
