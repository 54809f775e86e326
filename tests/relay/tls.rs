//! Upstreams within TLS, vouched for by authorities of the tests' own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use longrun::config::{ServeConfig, file};
use longrun::server::Server;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::support::*;

/// An authority, and an API at 127.0.0.1 whose certificate it has signed for another name or for this one.
struct TlsUpstream {
    url: String,
    handshakes: Arc<AtomicUsize>,
    api: Api,
    asked: tokio::sync::mpsc::UnboundedReceiver<Asked>,
    running: JoinSet<()>,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn file_of(authority: &Authority, directory: &TempDir) -> PathBuf {
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, authority.pem()).expect("a file");
    path
}

async fn upstream(authority: &Authority, name: &str) -> TlsUpstream {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let (api, asked) = Api::new();
    let router = api.router();
    let handshakes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handshakes);
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            let (acceptor, router, count) = (acceptor.clone(), router.clone(), Arc::clone(&count));
            connections.spawn(async move {
                // A client that does not trust this server ends the handshake.
                let Ok(stream) = acceptor.accept(socket).await else { return };
                count.fetch_add(1, Ordering::SeqCst);
                serve_connection(stream, router).await;
            });
        }
    });
    TlsUpstream { url, handshakes, api, asked, running }
}

#[tokio::test]
async fn an_upstream_that_is_vouched_for_is_asked_over_connections_that_are_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = authority("one");
    let more = format!("ca_file = {:?}\n", file_of(&authority, &directory));
    let TlsUpstream { url, handshakes, api, asked, running } =
        upstream(&authority, "127.0.0.1").await;
    let mut setup = Setup::over(&url, &more, asked, api, running).await;
    for _ in 0..3 {
        setup.ask("GET", "/api/csv?x=1", &[], "").await.expect(200);
        assert_eq!(setup.asked().await.target, "/csv?x=1");
    }
    assert_eq!(handshakes.load(Ordering::SeqCst), 1);
    // What cannot be sent again has a connection of its own.
    setup.result("POST", "/api/made", "x").await.expect(201);
    assert_eq!(handshakes.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_upstream_that_nobody_vouches_for_is_not_asked() {
    let directory = tempfile::tempdir().expect("a directory");
    let (trusted, other) = (authority("one"), authority("other"));
    let more = format!(
        "ca_file = {:?}\n[relay.retries]\nmax_attempts = 1\n",
        file_of(&trusted, &directory)
    );
    for (authority, name, why) in
        [(&other, "127.0.0.1", "UnknownIssuer"), (&trusted, "elsewhere.test", "not valid for name")]
    {
        let TlsUpstream { url, api, asked, running, .. } = upstream(authority, name).await;
        let count = Arc::clone(&api.count);
        let setup = Setup::over(&url, &more, asked, api, running).await;
        let refused = setup.ask("POST", "/api/made", &[], "").await.expect(502).json();
        assert_eq!(refused["reason"], "UPSTREAM_UNREACHABLE");
        let detail = refused["detail"].as_str().expect("a text");
        assert!(detail.contains("certificate") && detail.contains(why), "{detail}");
        let failed = setup.result("POST", "/api/made", "").await.expect(502).json();
        assert_eq!(failed["reason"], "UPSTREAM_UNREACHABLE");
        let detail = failed["detail"].as_str().expect("a text");
        assert!(detail.contains(why) && detail.contains("nothing was sent"), "{detail}");
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_handshake_that_goes_nowhere_is_given_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let more = format!(
        "ca_file = {:?}\n[relay.limits]\nconnect_timeout = \"200ms\"\n",
        file_of(&authority("one"), &directory)
    );
    // The system accepts; nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let (api, asked) = Api::new();
    let setup = Setup::over(&url, &more, asked, api, JoinSet::new()).await;
    let refused = setup.ask("GET", "/api/csv", &[], "").await.expect(502).json();
    let detail = refused["detail"].as_str().expect("a text");
    assert!(detail.contains("no connection within 200ms"), "{detail}");
}

#[tokio::test]
async fn a_file_without_certificates_is_refused_at_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ca.pem");
    for (content, why) in [
        (None, "cannot be read"),
        (Some("nothing"), "has no certificate"),
        (Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "fails"),
    ] {
        if let Some(content) = content {
            std::fs::write(&path, content).expect("a file");
        }
        let text = format!(
            "[[relay]]\nname = \"api\"\nprefix = \"/api\"\nupstream = \"https://h\"\nca_file = {path:?}\n"
        );
        let mut config = ServeConfig::default();
        config.listen.addr.set_port(0);
        let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        config.relay = file::parse(&text, &no_files).expect("a configuration").relay;
        let Err(error) = Server::bind(config).await else { panic!("{why}") };
        let error = format!("{error:#}");
        assert!(error.contains("ca_file") && error.contains(why), "{error}");
    }
}
