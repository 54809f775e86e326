//! Who is at the other end, and whether anybody else can listen: as much of that as the URL asks for.

use std::path::PathBuf;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::*;
use crate::postgres_support::{Cluster, cluster, connect};

/// The name in the server's certificate, beside its address.
const NAME: &str = "db.test";
/// Who may do what: `guarded` needs TLS and a password.
const WHO: &str = "host all longrun 127.0.0.1/32 trust
hostssl all guarded 127.0.0.1/32 scram-sha-256
";

/// A server with a certificate, and two authorities, of which only one has signed it.
struct Encrypted {
    cluster: Cluster,
    _files: TempDir,
    right: PathBuf,
    wrong: PathBuf,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Encrypted {
    async fn start() -> Self {
        let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
        let signing = authority("right");
        let key = KeyPair::generate().unwrap();
        let names = [NAME, "127.0.0.1"].map(str::to_owned);
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &signing).unwrap();
        cluster.write("server.key", &key.serialize_pem());
        cluster.write("server.crt", &certificate.pem());
        cluster.write("pg_hba.conf", WHO);
        cluster.set("ssl", "on").await;
        let files = tempfile::tempdir().unwrap();
        let [right, wrong] =
            [("right", signing), ("wrong", authority("wrong"))].map(|(name, it)| {
                let path = files.path().join(name);
                std::fs::write(&path, it.pem()).unwrap();
                path
            });
        Self { cluster, _files: files, right, wrong }
    }

    /// A URL that calls the server `host`. In the parameters RIGHT and WRONG stand for files of authorities.
    fn url(&self, user: &str, host: &str, parameters: &str) -> String {
        let file = |path: &PathBuf| path.display().to_string();
        let parameters = parameters.replace("RIGHT", &file(&self.right));
        let parameters = parameters.replace("WRONG", &file(&self.wrong));
        let port = self.cluster.port();
        match host {
            "" => {
                format!("postgres://{user}@/postgres?hostaddr=127.0.0.1&port={port}&{parameters}")
            }
            _ => {
                format!("postgres://{user}@{host}:{port}/postgres?hostaddr=127.0.0.1&{parameters}")
            }
        }
    }
}

/// The server of these tests, started by whoever comes first.
async fn encrypted() -> &'static Encrypted {
    static ENCRYPTED: OnceCell<Encrypted> = OnceCell::const_new();
    ENCRYPTED.get_or_init(Encrypted::start).await
}

/// Whether all connections of a store are encrypted; none of them may differ from the others.
async fn is_encrypted(url: &str, cluster: &Cluster) -> bool {
    let name = format!("of-{}", fastrand::u64(..));
    let join = if url.contains('?') { "&" } else { "?" };
    let store = open_url(&format!("{url}{join}application_name={name}")).await;
    stored(&store, submission(fastrand::u64(1..1 << 40))).await;
    // The one that listens is made behind the others.
    assert_eq!(next_hint(&store).await, Hint::Missed);
    let admin = connect(&cluster.url("postgres")).await;
    let asked = "SELECT count(*), bool_and(ssl), bool_or(ssl)
                 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1";
    let row = admin.query_one(asked, &[&name]).await.unwrap();
    let (count, all, any): (i64, bool, bool) = (row.get(0), row.get(1), row.get(2));
    assert!(count >= 3 && all == any, "{url}: {count} {all} {any}");
    store.close().await;
    all
}

async fn refusal(url: &str) -> String {
    let opened = PostgresStore::open(url, &PostgresOptions::default()).await;
    let Err(refused) = opened else { panic!("{url} was opened") };
    refused.to_string()
}

#[tokio::test]
async fn connections_are_encrypted_unless_that_is_declined() {
    let server = encrypted().await;
    for (host, parameters) in [
        (NAME, ""),
        (NAME, "sslmode=allow"),
        (NAME, "sslmode=prefer"),
        (NAME, "sslmode=require"),
        ("elsewhere.test", "sslmode=require"),
        (NAME, "sslmode=require&sslrootcert=RIGHT"),
        (NAME, "sslmode=verify-ca&sslrootcert=RIGHT"),
        ("elsewhere.test", "sslmode=verify-ca&sslrootcert=RIGHT"),
        (NAME, "sslmode=verify-full&sslrootcert=RIGHT"),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=RIGHT"),
        (NAME, "sslrootcert=RIGHT"),
        // Without a name the address is one.
        ("", ""),
        ("", "sslmode=verify-full&sslrootcert=RIGHT"),
    ] {
        let url = server.url("longrun", host, parameters);
        assert!(is_encrypted(&url, &server.cluster).await, "{url}");
    }
    let url = server.url("longrun", NAME, "sslmode=disable");
    assert!(!is_encrypted(&url, &server.cluster).await);
}

#[tokio::test]
async fn a_server_that_is_not_vouched_for_is_refused() {
    let server = encrypted().await;
    for (host, parameters, why) in [
        (NAME, "sslmode=require&sslrootcert=WRONG", "UnknownIssuer"),
        (NAME, "sslmode=verify-ca&sslrootcert=WRONG", "UnknownIssuer"),
        (NAME, "sslmode=verify-full&sslrootcert=WRONG", "UnknownIssuer"),
        (NAME, "sslrootcert=WRONG", "UnknownIssuer"),
        // Those of the system have not signed it, if there are any.
        (NAME, "sslmode=verify-full", "certificate"),
        (NAME, "sslrootcert=system", "certificate"),
        ("elsewhere.test", "sslmode=verify-full&sslrootcert=RIGHT", "elsewhere.test"),
        ("elsewhere.test", "sslrootcert=RIGHT", "elsewhere.test"),
    ] {
        let url = server.url("longrun:open-sesame", host, parameters);
        let said = refusal(&url).await;
        assert!(said.contains(why) && said.contains("certificate"), "{url}: {said}");
        assert!(!said.contains("sesame"), "{said}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_talked_to_in_the_clear_or_not_at_all() {
    let database = database().await;
    for mode in ["disable", "allow", "prefer"] {
        let url = format!("{}?sslmode={mode}", database.url);
        assert!(!is_encrypted(&url, cluster()).await, "{url}");
    }
    assert!(!is_encrypted(&database.url, cluster()).await, "without a mode");
    let right = &encrypted().await.right;
    for parameters in [
        "sslmode=require".to_owned(),
        format!("sslmode=verify-ca&sslrootcert={}", right.display()),
        format!("sslmode=verify-full&sslrootcert={}", right.display()),
        format!("sslrootcert={}", right.display()),
    ] {
        let said = refusal(&format!("{}?{parameters}", database.url)).await;
        assert!(said.contains("server does not support TLS"), "{parameters}: {said}");
    }
}

/// A password goes to nobody but who has the certificate's key.
#[tokio::test]
async fn passwords_are_bound_to_the_encryption() {
    let server = encrypted().await;
    let admin = connect(&server.cluster.url("postgres")).await;
    for statement in
        ["CREATE ROLE guarded LOGIN PASSWORD 'open-sesame'", "CREATE SCHEMA AUTHORIZATION guarded"]
    {
        admin.batch_execute(statement).await.unwrap();
    }
    let right = "sslmode=verify-full&sslrootcert=RIGHT&channel_binding=require\
                 &options=-csearch_path%3Dguarded";
    let url = server.url("guarded:open-sesame", NAME, right);
    assert!(is_encrypted(&url, &server.cluster).await);
    for (user, parameters, why) in [
        ("guarded:close-sesame", "", "password authentication failed"),
        ("guarded", "", "password missing"),
        ("guarded:open-sesame", "sslmode=disable", "no encryption"),
        ("guarded:open-sesame", "sslmode=disable&channel_binding=require", "no encryption"),
        ("longrun:open-sesame", "channel_binding=require", "channel binding"),
    ] {
        let said = refusal(&server.url(user, NAME, parameters)).await;
        assert!(said.contains(why) && !said.contains("sesame"), "{user} {parameters}: {said}");
    }
}
