//! The program is killed while its relay executes requests, and started again.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::*;

/// `longrun serve` on a file, with every default: a lease of 30 s, which no test here waits for.
struct Program {
    process: Child,
    addr: SocketAddr,
}

impl Program {
    async fn start(directory: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_longrun"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store"])
            .arg(format!("sqlite:{}", directory.join("longrun.db").display()))
            .arg("--config")
            .arg(directory.join("longrun.toml"))
            .args(["--handler", "wait=touch began; while [ -e began ]; do sleep 0.1; done"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program");
        let stdout = process.stdout.take().expect("its output");
        let line = BufReader::new(stdout).lines().next_line().await.expect("a line");
        let line = line.expect("a line");
        let addr = line.strip_prefix("longrun listening on http://").expect("an address");
        Self { process, addr: addr.parse().expect("an address") }
    }

    /// By SIGKILL.
    async fn kill(mut self) {
        self.process.kill().await.expect("a process to kill");
    }
}

#[tokio::test]
async fn a_killed_server_repeats_what_may_be_repeated_and_fails_the_rest_at_once() {
    let mut upstream = Upstream::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let mount = format!(
        "[[relay]]\nname = \"api\"\nprefix = \"/api\"\nupstream = \"http://{}\"\n",
        upstream.addr
    );
    std::fs::write(directory.path().join("longrun.toml"), mount).expect("a file");
    let program = Program::start(directory.path()).await;
    let mut paths = Vec::new();
    for method in ["GET", "POST"] {
        let headers = [("prefer", "respond-async")];
        let answer = ask(program.addr, method, "/api/held", &headers, "").await.expect(202);
        let (_, path) = answer.header("location").split_once("/v1/").expect("a path");
        paths.push(format!("/v1/{path}/result?wait=15"));
        assert_eq!(upstream.asked().await.method, method);
    }
    let answer = ask(program.addr, "POST", "/v1/kinds/wait/operations", &[], "").await.expect(202);
    let (_, path) = answer.header("location").split_once("/v1/").expect("a path");
    let handled = format!("/v1/{path}?wait=0");
    let began = directory.path().join("began");
    while !began.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    program.kill().await;
    std::fs::remove_file(&began).expect("a file");
    upstream.api.release();

    let program = Program::start(directory.path()).await;
    let again = upstream.asked().await;
    assert_eq!(again.method, "GET");
    ask(program.addr, "GET", &paths[0], &[], "").await.expect(200);
    let failed = ask(program.addr, "GET", &paths[1], &[], "").await.expect(503);
    assert_eq!(failed.header("longrun-error-source"), "operation");
    let problem = failed.json();
    assert_eq!(problem["reason"], "WORKER_LOST");
    let detail = problem["detail"].as_str().expect("a text");
    assert!(detail.contains("may have taken effect"), "{detail}");
    assert_eq!(upstream.api.count.load(Ordering::SeqCst), 3, "GET, POST, and the GET again");
    // So are commands: no lease is waited for whose worker cannot come back.
    while !began.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let operation = ask(program.addr, "GET", &handled, &[], "").await.expect(202).json();
    assert_eq!(operation["attempt"], 2, "{operation}");
    program.kill().await;
}
