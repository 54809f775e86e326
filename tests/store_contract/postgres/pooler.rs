//! A pooler in front of the database: one that gives each transaction another connection is refused in words.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longrun::store::Store as _;
use longrun::store::postgres::{PostgresOptions, PostgresStore};

use crate::postgres_support::{cluster, database};

/// PgBouncer, which ends with the test.
struct Pooler {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Pooler {
    /// `None` where it is not installed.
    fn start(mode: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let file = dir.path().join("pgbouncer.ini");
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
             max_client_conn = 100\nignore_startup_parameters = extra_float_digits\n",
            cluster().port(),
        );
        let any_user = config.replace("* = ", "* = user=longrun ");
        std::fs::write(&file, any_user).unwrap();
        let mut command = Command::new("pgbouncer");
        if rustix::process::geteuid().is_root() {
            command.args(["--user", "nobody"]);
        }
        let started = command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(process) = started else {
            eprintln!("pgbouncer is not installed: poolers were not tried");
            return None;
        };
        let pooler = Self { process, port, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "pgbouncer does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(pooler)
    }
}

async fn open(mode: &str) -> Option<Result<PostgresStore, String>> {
    let database = database().await;
    let mode = mode.to_owned();
    let pooler = tokio::task::spawn_blocking(move || Pooler::start(&mode)).await.unwrap()?;
    let url = format!("postgres://longrun@127.0.0.1:{}/{}", pooler.port, database.name);
    let opened = PostgresStore::open(&url, &PostgresOptions::default()).await;
    if let Ok(store) = &opened {
        store.close().await;
    }
    Some(opened.map_err(|error| error.to_string()))
}

#[tokio::test]
async fn a_pooler_that_gives_each_transaction_another_connection_is_refused() {
    let Some(opened) = open("transaction").await else { return };
    let error = opened.err().unwrap();
    assert!(error.contains("pool_mode = transaction"), "{error}");
    assert!(error.contains("pool_mode = session"), "it says what would do: {error}");
}

#[tokio::test]
async fn a_pooler_that_keeps_sessions_is_taken() {
    let Some(opened) = open("session").await else { return };
    opened.unwrap();
}
