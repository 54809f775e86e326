//! TLS listeners, and the callers behind client certificates.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::operation::{Role, Roles, TenantId};

/// Listening within TLS.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "TLS")]
pub struct Tls {
    /// Address to listen on with TLS, beside --listen; needs --tls-cert and --tls-key
    #[arg(long = "tls-listen", value_name = "HOST:PORT", env = "LONGRUN_TLS_LISTEN", value_parser = super::listen::address)]
    pub listen: Option<SocketAddr>,
    /// The server's certificate and the intermediate ones, PEM; this file, --tls-key and --tls-client-ca are read again when
    /// they change, and at SIGHUP
    #[arg(long = "tls-cert", value_name = "FILE", env = "LONGRUN_TLS_CERT")]
    pub certificate: Option<PathBuf>,
    /// The certificate's private key, PEM; only the server should be able to read it
    #[arg(long = "tls-key", value_name = "FILE", env = "LONGRUN_TLS_KEY")]
    pub key: Option<PathBuf>,
    /// Authorities, PEM: clients must show a certificate that one of them has signed
    #[arg(long = "tls-client-ca", value_name = "FILE", env = "LONGRUN_TLS_CLIENT_CA")]
    pub client_ca: Option<PathBuf>,
    /// Whether clients need a certificate of --tls-client-ca
    #[arg(
        long = "tls-client-auth",
        value_name = "WHETHER",
        env = "LONGRUN_TLS_CLIENT_AUTH",
        value_enum,
        default_value_t
    )]
    pub client_auth: ClientAuth,
    /// Tenant and roles of a client with a certificate of --tls-client-ca: NAME=TENANT:ROLE[+ROLE…], where NAME is the common
    /// name, a DNS name, a URI or an e-mail address in the certificate; repeatable (the variable: separated by commas).
    /// With this flag callers must have credentials
    #[arg(long = "tls-caller", value_name = "NAME=TENANT:ROLES", env = "LONGRUN_TLS_CALLERS", value_delimiter = ',', value_parser = caller)]
    pub callers: Vec<CertificateCaller>,
}

/// The caller that a client's certificate stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateCaller {
    /// A name in the certificate.
    pub name: String,
    /// The caller's tenant.
    pub tenant: TenantId,
    /// The caller's roles.
    pub roles: Roles,
}

fn caller(text: &str) -> Result<CertificateCaller, String> {
    let rule =
        "must be NAME=TENANT:ROLE, with a + before each further role, e.g. worker-7=acme:work";
    // A URI among the names may have both signs in it.
    let (name, rest) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or(rule)?;
    let (tenant, roles) = rest.split_once(':').ok_or(rule)?;
    let tenant = TenantId::parse(tenant).map_err(|invalid| format!("the tenant {invalid}"))?;
    let roles = roles.split('+').map(Role::parse).collect::<Option<Roles>>();
    let roles = roles.ok_or("the roles must be submit, read, work, admin or operator")?;
    Ok(CertificateCaller { name: name.to_owned(), tenant, roles })
}

/// Whether clients need a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ClientAuth {
    /// A client without a certificate is refused in the handshake.
    #[default]
    Required,
    /// A client may have no certificate; an invalid one is refused.
    Optional,
}

/// The files of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificates.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authorities of clients, and whether clients need a certificate.
    pub client_ca: Option<(PathBuf, ClientAuth)>,
}

impl Tls {
    /// The address and the files, if TLS is configured.
    pub fn listener(&self) -> Option<(SocketAddr, TlsFiles)> {
        let client_ca = self.client_ca.clone().map(|file| (file, self.client_auth));
        let (certificate, key) = (self.certificate.clone()?, self.key.clone()?);
        Some((self.listen?, TlsFiles { certificate, key, client_ca }))
    }

    /// Whether the handshake requires a certificate.
    pub fn asks_who_calls(&self) -> bool {
        self.client_ca.is_some() && self.client_auth == ClientAuth::Required
    }

    /// Whether all flags that need each other are given.
    pub(super) fn is_whole(&self) -> bool {
        let needed = [self.certificate.is_some(), self.key.is_some()];
        needed == [self.listen.is_some(); 2]
            && (self.client_ca.is_none() || self.listen.is_some())
            && (self.client_auth == ClientAuth::Required || self.client_ca.is_some())
            && (self.callers.is_empty() || self.client_ca.is_some())
    }
}
