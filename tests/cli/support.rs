//! The program as a child process, and a server with a store of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::Value;
use tempfile::TempDir;

/// The program, without the settings of whoever runs the tests.
pub(crate) fn longrun(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONGRUN_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs to the end.
pub(crate) fn run(args: &[&str]) -> Output {
    longrun(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Lets this process, and what it starts, have as many files open as it may; so many.
pub(crate) fn raise_files() -> u64 {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    files.maximum.unwrap_or(u64::MAX)
}

/// Until the process has a handler for SIGINT, where the system tells.
pub(crate) fn until_caught(child: &Child) {
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        Some(u64::from_str_radix(mask.trim(), 16).unwrap() & 0b10 != 0)
    };
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) && caught() == Some(false) {
        std::thread::sleep(Duration::from_millis(10));
    }
    if caught().is_none() {
        std::thread::sleep(Duration::from_secs(1));
    }
}

pub(crate) fn exit_code(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it did not end");
}

/// `longrun serve` with a store of its own.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) url: String,
    pub(crate) directory: TempDir,
}

impl Server {
    pub(crate) fn start(handlers: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", directory.path().join("test.db").display());
        Self::over(&store, directory, handlers)
    }

    /// Over a store that may be there; the log goes to the directory.
    pub(crate) fn over(store: &str, directory: TempDir, handlers: &[&str]) -> Self {
        let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", store]);
        for handler in handlers {
            command.args(["--handler", handler]);
        }
        Self::spawned(command, directory)
    }

    /// By a command line of the caller's own.
    pub(crate) fn spawned(command: Command, directory: TempDir) -> Self {
        let log = File::create(directory.path().join("log")).unwrap();
        Self::saying(command, directory, log.into())
    }

    /// The same whose log goes elsewhere.
    pub(crate) fn saying(mut command: Command, directory: TempDir, log: Stdio) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("longrun listening on ");
        let url = url.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, url, directory }
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = longrun(args);
        command.env("LONGRUN_SERVER", &self.url);
        command
    }

    /// Runs a command that must exit with `code`, and answers its stdout.
    pub(crate) fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        stdout(&output)
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.expect(0, &[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    pub(crate) fn submit(&self, args: &[&str]) -> String {
        self.expect(0, &[&["submit", "--quiet"], args].concat()).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log"));
            eprintln!("the server's log:\n{}", log.unwrap_or_default());
        }
    }
}
