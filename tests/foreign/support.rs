//! The program as a child process, an HTTP API for it to stand in front of, and the foreign clients.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// `longrun serve` with a store of its own.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
    directory: TempDir,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, None)
    }

    /// With a configuration file of this text.
    pub(crate) fn start_with(arguments: &[&str], configuration: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", directory.path().join("test.db").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
        // Without the settings of whoever runs the tests.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONGRUN_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", &store]).args(arguments);
        if let Some(text) = configuration {
            let file = directory.path().join("longrun.toml");
            std::fs::write(&file, text).unwrap();
            command.arg("--config").arg(file);
        }
        let log = File::create(directory.path().join("log")).unwrap();
        let command = command.current_dir(directory.path()).stdin(Stdio::null());
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("longrun listening on ");
        let url = url.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, url, directory }
    }

    /// Where commands of handlers run.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
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

/// Runs a script of this folder by the interpreter that has its modules. Returns what it printed, as JSON.
pub(crate) async fn python(script: &str, arguments: &[&str]) -> Value {
    printed_by(tokio::process::Command::new(interpreter()), script, arguments).await
}

/// Runs a script of this folder by Node.js, with the modules of `node/package-lock.json`. Returns what it printed, as
/// JSON.
pub(crate) async fn node(script: &str, arguments: &[&str]) -> Value {
    let modules = std::env::var_os("LONGRUN_NODE_MODULES");
    let modules = modules
        .expect("LONGRUN_NODE_MODULES is not set: run tests/run, which installs the clients");
    let mut command = tokio::process::Command::new("node");
    command.env("LONGRUN_NODE_MODULES", std::path::absolute(modules).unwrap());
    printed_by(command, script, arguments).await
}

async fn printed_by(
    mut command: tokio::process::Command,
    script: &str,
    arguments: &[&str],
) -> Value {
    command.arg(folder().join(script)).args(arguments);
    let printed = succeed(command).await;
    serde_json::from_slice(&printed.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&printed.stdout)))
}

/// The interpreter with the modules of `requirements.txt`.
pub(crate) fn interpreter() -> PathBuf {
    let named = std::env::var_os("LONGRUN_PYTHON");
    let named =
        named.expect("LONGRUN_PYTHON is not set: run tests/run, which installs the clients");
    if Path::new(&named).components().count() == 1 {
        return named.into();
    }
    // A link into the environment must stay one: it is how Python finds the modules.
    std::path::absolute(named).unwrap()
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign")
}

/// Runs to the end, which is to be soon and a good one.
pub(crate) async fn succeed(mut command: tokio::process::Command) -> Output {
    // No caches among the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).kill_on_drop(true);
    let shown = format!("{command:?}");
    let output = tokio::time::timeout(Duration::from_secs(600), command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{shown} did not end")).unwrap();
    if !output.status.success() {
        let (stdout, stderr) = (&output.stdout, &output.stderr);
        let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
        panic!("{shown}: {}\n{stdout}\n{stderr}", output.status);
    }
    output
}
