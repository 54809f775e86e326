//! Authorities of the tests' own, a server that listens within TLS, and the programs that ask it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use longrun::client::{Client, ClientBuilder};
use longrun::config::{ServeConfig, StoreUrl};
use longrun::proto::v1::SubmitRequest;
use longrun::server::{Certificates, Server, Stopped};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An authority that signs certificates for tests.
#[derive(Clone)]
pub(crate) struct Authority(Arc<CertifiedIssuer<'static, KeyPair>>);

/// The files of a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(Arc::new(CertifiedIssuer::self_signed(params, key).unwrap()))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, PEM, for this common name and for this machine's own.
    pub(crate) fn signed(&self, name: &str, expires: i32) -> (String, String) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(expires, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &*self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// A directory with files, and a server that has them.
pub(crate) struct Stage {
    pub(crate) directory: TempDir,
    pub(crate) authority: Authority,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) certificates: Certificates,
    stop: CancellationToken,
    stopped: JoinHandle<anyhow::Result<Stopped>>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    /// With a configuration of the test's own, which may have files in the directory.
    pub(crate) async fn with(edit: impl FnOnce(&mut ServeConfig, &Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("the server's");
        write(directory.path(), "ca.pem", &authority.pem());
        let server = issue(&authority, directory.path(), "server", 2040);
        let mut config = ServeConfig::default();
        config.listen.addr.set_port(0);
        config.tls.listen = Some("127.0.0.1:0".parse().unwrap());
        config.tls.certificate = Some(server.certificate);
        config.tls.key = Some(server.key);
        config.store.url = StoreUrl::Sqlite(directory.path().join("longrun.db"));
        edit(&mut config, directory.path());
        let server = Server::bind(config).await.unwrap();
        let address = |scheme: &str| {
            let urls = server.urls();
            let found = urls.iter().find_map(|url| url.strip_prefix(scheme)?.parse().ok());
            found.unwrap_or_else(|| SocketAddr::from(([0; 4], 0)))
        };
        let (plain, tls) = (address("http://"), address("https://"));
        let certificates = server.certificates().unwrap().clone();
        let stop = CancellationToken::new();
        let stopped = tokio::spawn(server.run(stop.clone()));
        Self { directory, authority, plain, tls, certificates, stop, stopped }
    }

    /// A server that asks for certificates of an authority of clients.
    pub(crate) async fn asking(edit: impl FnOnce(&mut ServeConfig, &Path)) -> (Self, Authority) {
        let clients = Authority::new("the clients'");
        let pem = clients.pem();
        let stage = Self::with(|config, directory| {
            config.tls.client_ca = Some(write(directory, "clients.pem", &pem));
            edit(config, directory);
        });
        (stage.await, clients)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `localhost`, so that a name is verified.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.tls.port())
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        Client::builder(&self.url()).ca(self.path("ca.pem"))
    }

    pub(crate) fn issue(&self, authority: &Authority, name: &str) -> Files {
        issue(authority, self.directory.path(), name, 2040)
    }

    /// curl over TLS, with these arguments before a path; its output has the status and the version of HTTP at its end.
    pub(crate) async fn curl(&self, arguments: &[&str], path: &str) -> Output {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "-w", "\n%{http_code} %{http_version}"]);
        command.arg("--cacert").arg(self.path("ca.pem"));
        command.args(arguments).arg(format!("{}{path}", self.url()));
        output(command).await
    }

    /// `openssl s_client`, which sends nothing.
    pub(crate) async fn s_client(&self, address: SocketAddr, arguments: &[&str]) -> Output {
        let mut command = Command::new("openssl");
        command.arg("s_client").arg("-connect").arg(address.to_string());
        command.arg("-CAfile").arg(self.path("ca.pem"));
        command.args(["-verify_return_error", "-verify_hostname", "localhost"]).args(arguments);
        output(command).await
    }

    /// Stops the server, which must have nothing left to cut off.
    pub(crate) async fn ends(self) {
        self.stop.cancel();
        let stopped = tokio::time::timeout(PATIENCE, self.stopped).await.expect("it does not end");
        assert_eq!(stopped.unwrap().unwrap(), Stopped::Drained);
    }
}

/// Writes a certificate and its key as `NAME.pem` and `NAME.key`.
pub(crate) fn issue(authority: &Authority, directory: &Path, name: &str, expires: i32) -> Files {
    let (certificate, key) = authority.signed(name, expires);
    Files {
        certificate: write(directory, &format!("{name}.pem"), &certificate),
        key: write(directory, &format!("{name}.key"), &key),
    }
}

pub(crate) fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) async fn output(mut command: Command) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    output.unwrap_or_else(|_| panic!("{command:?} does not end")).unwrap()
}

/// All that a program has said.
pub(crate) fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

pub(crate) fn work() -> SubmitRequest {
    SubmitRequest { kind: "work".to_owned(), ..SubmitRequest::default() }
}
