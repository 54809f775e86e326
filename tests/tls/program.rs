//! The program itself: its flags, its first lines, SIGHUP, and the commands that talk to it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{Authority, PATIENCE, issue, said, write};

fn longrun(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONGRUN_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// `longrun serve` with certificates, at a plain port, within TLS and at a Unix socket.
struct Program {
    process: Child,
    urls: Vec<String>,
    directory: TempDir,
    authority: Authority,
}

impl Program {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("the server's");
        write(directory.path(), "ca.pem", &authority.pem());
        write(directory.path(), "clients.pem", &authority.pem());
        issue(&authority, directory.path(), "server", 2040);
        issue(&authority, directory.path(), "client", 2040);
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let flags = "serve --listen 127.0.0.1:0 --store sqlite:test.db --tls-listen 127.0.0.1:0 --tls-cert server.pem \
                     --tls-key server.key --tls-client-ca clients.pem --listen-unix socket --handler echo=cat";
        let mut command = longrun(&flags.split_whitespace().collect::<Vec<_>>());
        let command = command.current_dir(directory.path()).stdout(Stdio::piped()).stderr(log);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().take(3);
        let urls = lines.map(|line| {
            let line = line.unwrap();
            let url = line.strip_prefix("longrun listening on ");
            url.unwrap_or_else(|| panic!("{line}"))
                .replace("https://127.0.0.1", "https://localhost")
        });
        Self { urls: urls.collect(), process, directory, authority }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, url: &str, args: &[&str]) -> Output {
        let mut command = longrun(args);
        command.env("LONGRUN_SERVER", url).current_dir(self.path()).output().unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap()
    }

    fn hang_up_until(&self, said: &str) {
        kill_process(Pid::from_child(&self.process), Signal::HUP).unwrap();
        let began = Instant::now();
        while !self.log().contains(said) {
            assert!(began.elapsed() < PATIENCE, "{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const SHOWN: [&str; 6] =
    ["--ca", "ca.pem", "--client-cert", "client.pem", "--client-key", "client.key"];

#[test]
fn commands_reach_every_listener() {
    let program = Program::start();
    let [plain, tls, unix] = &program.urls[..] else { panic!("{:?}", program.urls) };
    assert!(plain.starts_with("http://") && tls.starts_with("https://"), "{:?}", program.urls);
    assert_eq!(unix, "unix:socket");
    for (url, flags) in [(plain, &[][..]), (tls, &SHOWN), (unix, &[])] {
        let submit = [&["submit", "echo", "hello", "--wait"][..], flags].concat();
        let output = program.run(url, &submit);
        assert!(output.status.success() && said(&output).contains("hello"), "{}", said(&output));
    }
    let variables = [
        ("LONGRUN_CA", "ca.pem"),
        ("LONGRUN_CLIENT_CERT", "client.pem"),
        ("LONGRUN_CLIENT_KEY", "client.key"),
    ];
    let mut listing = longrun(&["list", "--server", tls]);
    let output = listing.envs(variables).current_dir(program.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // Without what the other side asks for, the error says what to give.
    for flags in [&[][..], &["--ca", "ca.pem"]] {
        let output = program.run(tls, &[&["list"], flags].concat());
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("--ca and --client-cert"), "{}", said(&output));
    }
}

#[test]
fn a_worker_within_tls_does_work() {
    let program = Program::start();
    let tls = &program.urls[1];
    let mut worker =
        longrun(&[&["worker", "shout"][..], &SHOWN, &["--", "tr", "a-z", "A-Z"]].concat());
    let worker = worker.env("LONGRUN_SERVER", tls).current_dir(program.path());
    let mut worker = worker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let output = program.run(tls, &[&["submit", "shout", "hello", "--wait"][..], &SHOWN].concat());
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert!(output.status.success() && said(&output).contains("HELLO"), "{}", said(&output));
}

#[test]
fn sighup_has_certificates_read_again_and_says_what_came_of_it() {
    let program = Program::start();
    write(program.path(), "server.key", "broken");
    program.hang_up_until("the certificates stay as they were");
    issue(&program.authority, program.path(), "server", 2041);
    program.hang_up_until("the certificates were read again");
}

#[test]
fn a_key_that_others_may_read_is_warned_of_at_start_and_when_it_is_read_again() {
    let program = Program::start();
    // The files were made with the umask of the tests.
    let mode = || {
        let metadata = std::fs::metadata(program.path().join("server.key")).unwrap();
        metadata.permissions().mode() & 0o777
    };
    let warnings = || program.log().matches("--tls-key server.key has mode").count();
    let is_open = mode() & 0o077 != 0;
    assert_eq!(warnings(), usize::from(is_open), "{}", program.log());
    issue(&program.authority, program.path(), "server", 2041);
    program.hang_up_until("the certificates were read again");
    assert_eq!(warnings(), 2 * usize::from(is_open), "{}", program.log());
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(program.path().join("server.key"), private).unwrap();
    issue(&program.authority, program.path(), "server", 2042);
    let began = Instant::now();
    while program.log().matches("the certificates were read again").count() < 2 {
        assert!(began.elapsed() < PATIENCE, "{}", program.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(warnings(), 2 * usize::from(is_open), "{}", program.log());
}

#[test]
fn files_that_cannot_be_used_are_the_command_lines_affair() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("the server's");
    issue(&authority, directory.path(), "server", 2040);
    let tls = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-listen",
        "127.0.0.1:0",
        "--tls-key",
        "server.key",
    ];
    for (flags, said_of) in [
        (&["--tls-cert", "server.key"][..], "--tls-cert server.key"),
        (&["--tls-cert", "none.pem"], "--tls-cert none.pem"),
        (&[], "--tls-cert"),
    ] {
        let output =
            longrun(&[&tls, flags].concat()).current_dir(directory.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(said_of), "{}", said(&output));
    }
}

#[test]
fn tokens_are_kept_to_where_they_belong() {
    let list = ["list", "--server", "http://10.255.255.1:1"];
    let output = longrun(&list).env("LONGRUN_TOKEN", "marked").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("--allow-plaintext-token"), "{}", said(&output));
    assert!(!said(&output).contains("marked"));
    let mut help = longrun(&["list", "--help"]);
    let output = help.env("LONGRUN_TOKEN", "marked").output().unwrap();
    assert!(said(&output).contains("LONGRUN_TOKEN") && !said(&output).contains("marked"));
    let both = ["list", "--token", "marked", "--token-file", "none"];
    let output = longrun(&both).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(!said(&output).contains("marked"), "{}", said(&output));
}
