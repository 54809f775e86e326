//! A PostgreSQL server of the tests' own, thrown away with the process, and databases in it.
//!
//! The programs are found by `LONGRUN_POSTGRES_BIN`, `PG_CONFIG`, where Debian has them, or `PATH`. A shell watches a
//! pipe that only this process holds: however the tests end, it stops the server and removes its files.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

/// Removes everything when its input ends.
const WATCH: &str = r#"dir=$1; shift; "$@" >"$dir/log" 2>&1 & server=$!
read -r _; kill -QUIT "$server"; wait "$server"; rm -rf "$dir""#;

/// The server.
pub struct Cluster {
    port: u16,
    bin: PathBuf,
    /// Its input is the pipe.
    _watch: Child,
}

/// A database that nobody else uses.
pub struct Database {
    /// For a store.
    pub url: String,
    /// Its name.
    pub name: String,
}

/// The server of this process, started by whoever comes first.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// A new database.
pub async fn database() -> Database {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let cluster = tokio::task::spawn_blocking(cluster).await.unwrap();
    let name = format!("test_{}", MADE.fetch_add(1, Ordering::SeqCst));
    let admin = connect(&cluster.url("postgres")).await;
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    Database { url: cluster.url(&name), name }
}

/// A connection of the test's own.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Database {
    /// A connection of the test's own.
    pub async fn connect(&self) -> tokio_postgres::Client {
        connect(&self.url).await
    }
}

impl Cluster {
    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://longrun@127.0.0.1:{}/{database}", self.port)
    }

    fn start() -> Self {
        let bin = programs();
        let dir = tempfile::Builder::new().prefix("longrun-postgres-").tempdir().unwrap().keep();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            run(Command::new("chown").arg("postgres").arg(&dir));
        }
        let data = dir.join("data");
        let initdb = bin.join("initdb");
        run(as_postgres(is_root, &initdb).current_dir(&dir).arg("-D").arg(&data).args([
            "--username=longrun",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new("sh");
        server.args(["-c", WATCH, "sh"]).arg(&dir);
        let postgres = as_postgres(is_root, &bin.join("postgres"));
        server.arg(postgres.get_program()).args(postgres.get_args()).arg("-D").arg(&data);
        server.arg("-k").arg(&dir).arg("-p").arg(port.to_string());
        for setting in
            ["listen_addresses=127.0.0.1", "max_connections=400", "fsync=on", "shared_buffers=64MB"]
        {
            server.arg("-c").arg(setting);
        }
        // In a group of its own, so that an interrupt from the keyboard leaves it time to clean up.
        let server = server
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let cluster = Self { port, bin, _watch: server.unwrap() };
        cluster.wait_until_ready(&dir);
        cluster
    }

    fn wait_until_ready(&self, dir: &Path) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut is_ready = Command::new(self.bin.join("pg_isready"));
        is_ready.args(["-q", "-h", "127.0.0.1", "-p"]).arg(self.port.to_string());
        while !is_ready.status().unwrap().success() {
            let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// PostgreSQL refuses to run as root.
fn as_postgres(is_root: bool, program: &Path) -> Command {
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// Where the server's programs are.
fn programs() -> PathBuf {
    let named = std::env::var_os("LONGRUN_POSTGRES_BIN").map(PathBuf::from);
    let has_server = |bin: &PathBuf| bin.join("initdb").exists() && bin.join("postgres").exists();
    if let Some(bin) = named {
        assert!(has_server(&bin), "LONGRUN_POSTGRES_BIN: {} has no server", bin.display());
        return bin;
    }
    let configured = std::env::var_os("PG_CONFIG").and_then(|program| {
        let said = Command::new(program).arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(said.stdout).ok()?.trim()))
    });
    let of_debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut of_debian: Vec<PathBuf> = of_debian.map(|entry| entry.path().join("bin")).collect();
    of_debian.sort_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        std::cmp::Reverse(version.and_then(|version| version.parse::<u32>().ok()))
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut places = configured.into_iter().chain(of_debian).chain(of_path);
    places.find(has_server).unwrap_or_else(|| {
        panic!(
            "these tests need PostgreSQL's server: on Debian, apt-get install postgresql; elsewhere \
             name the directory of initdb and postgres by LONGRUN_POSTGRES_BIN"
        )
    })
}
