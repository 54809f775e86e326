//! A PostgreSQL server of the tests' own, thrown away with the process, and databases in it.
//!
//! The programs are found by `LONGRUN_POSTGRES_BIN`, `PG_CONFIG`, where Debian has them, or `PATH`. A shell watches a
//! pipe that only this process holds: however the tests end, it stops the server and removes its files.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

/// Starts the server and stops it at once as it is told to; removes everything when its input ends.
const WATCH: &str = r#"dir=$1; shift
start() { "$@" >>"$dir/log" 2>&1 & server=$!; }
stop() { kill -QUIT "$server" 2>/dev/null; wait "$server"; }
start "$@"
while read -r word; do
    case $word in stop) stop ;; start) start "$@" ;; esac
done
stop; rm -rf "$dir""#;

/// The server.
pub struct Cluster {
    port: u16,
    bin: PathBuf,
    dir: PathBuf,
    /// Its input is the pipe.
    watch: Child,
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

    /// The directory of its Unix socket.
    pub fn socket_directory(&self) -> &Path {
        &self.dir
    }

    /// Writes a file of the server's: who may connect, a certificate, a key. Effective with the next
    /// [`Cluster::set`].
    pub fn write(&self, name: &str, contents: &str) {
        let data = self.dir.join("data");
        let path = data.join(name);
        fs::write(&path, contents).unwrap();
        // Of a key that others may read the server wants to know nothing.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let owner = fs::metadata(&data).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// Changes a setting; returns when new connections have it.
    pub async fn set(&self, setting: &str, value: &str) {
        let admin = connect(&self.url("postgres")).await;
        admin.batch_execute(&format!("ALTER SYSTEM SET {setting} = '{value}'")).await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let shown = format!("SELECT current_setting('{setting}')");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let fresh = connect(&self.url("postgres")).await;
            if fresh.query_one(&shown, &[]).await.unwrap().get::<_, &str>(0) == value {
                return;
            }
            assert!(Instant::now() < deadline, "{setting} does not become {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A database of this server, for a store.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://longrun@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends the server at once, as a crash would.
    pub fn stop(&mut self) {
        self.tell("stop");
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            assert!(Instant::now() < deadline, "PostgreSQL does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again after [`Cluster::stop`]; returns when it answers.
    pub fn restart(&mut self) {
        self.tell("start");
        self.wait_until_ready();
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.watch.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    /// A new server, with a database for one service.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A new server with settings of its own.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::made_by("initdb", settings, |initdb| {
            initdb.args(["--username=longrun", "--auth=trust", "--encoding=UTF8"]);
            initdb.args(["--locale=C", "--no-sync"]);
        })
    }

    /// A program that belongs to the server.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// A standby of this server, without which it commits nothing from now on.
    pub async fn synchronous_standby(&self) -> Self {
        let port = self.port.to_string();
        let copy = move || {
            Self::made_by("pg_basebackup", &[], |copy| {
                copy.args(["-h", "127.0.0.1", "-U", "longrun", "-p", &port]);
                copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
            })
        };
        let standby = tokio::task::spawn_blocking(copy).await.unwrap();
        let primary = connect(&self.url("postgres")).await;
        // Each by itself: ALTER SYSTEM is not for transactions.
        for statement in
            ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"]
        {
            primary.batch_execute(statement).await.unwrap();
        }
        let synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        while primary.query(synchronous, &[]).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        standby
    }

    /// Makes a standby the primary; returns when it is.
    pub async fn promote(&self) {
        let standby = connect(&self.url("postgres")).await;
        let promoted = standby.query_one("SELECT pg_promote()", &[]).await.unwrap();
        assert!(promoted.get::<_, bool>(0), "the standby was not promoted");
    }

    /// A server on what `program` makes of an empty directory.
    fn made_by(program: &str, settings: &[&str], arguments: impl FnOnce(&mut Command)) -> Self {
        let bin = programs();
        let dir = tempfile::Builder::new().prefix("longrun-postgres-").tempdir().unwrap().keep();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            run(Command::new("chown").arg("postgres").arg(&dir));
        }
        let data = dir.join("data");
        let mut make = as_postgres(is_root, &bin.join(program));
        make.current_dir(&dir).arg("-D").arg(&data);
        arguments(&mut make);
        run(&mut make);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new("sh");
        server.args(["-c", WATCH, "sh"]).arg(&dir);
        let postgres = as_postgres(is_root, &bin.join("postgres"));
        server.arg(postgres.get_program()).args(postgres.get_args()).arg("-D").arg(&data);
        server.arg("-k").arg(&dir).arg("-p").arg(port.to_string());
        let usual = [
            "listen_addresses=127.0.0.1",
            "max_connections=400",
            "fsync=on",
            "shared_buffers=64MB",
        ];
        for setting in usual.iter().chain(settings) {
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
        let cluster = Self { port, bin, dir, watch: server.unwrap() };
        cluster.wait_until_ready();
        cluster
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(180);
        let mut is_ready = Command::new(self.bin.join("pg_isready"));
        is_ready.args(["-q", "-h", "127.0.0.1", "-p"]).arg(self.port.to_string());
        while !is_ready.status().unwrap().success() {
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
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

/// Whether there is a server to start.
pub fn has_server() -> bool {
    find_programs().is_some()
}

/// Where the server's programs are.
fn programs() -> PathBuf {
    find_programs().unwrap_or_else(|| {
        panic!(
            "these tests need PostgreSQL's server: on Debian, apt-get install postgresql; elsewhere \
             name the directory of initdb and postgres by LONGRUN_POSTGRES_BIN"
        )
    })
}

fn find_programs() -> Option<PathBuf> {
    let named = std::env::var_os("LONGRUN_POSTGRES_BIN").map(PathBuf::from);
    let has_server = |bin: &PathBuf| bin.join("initdb").exists() && bin.join("postgres").exists();
    if let Some(bin) = named {
        assert!(has_server(&bin), "LONGRUN_POSTGRES_BIN: {} has no server", bin.display());
        return Some(bin);
    }
    let configured = std::env::var_os("PG_CONFIG").and_then(|program| {
        let said = Command::new(program).arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(said.stdout).ok()?.trim()))
    });
    let of_debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut of_debian: Vec<PathBuf> = of_debian.map(|entry| entry.path().join("bin")).collect();
    of_debian.sort_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        std::cmp::Reverse(version.and_then(|version| version.parse::<u32>().ok()))
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut places = configured.into_iter().chain(of_debian).chain(of_path);
    places.find(has_server)
}
