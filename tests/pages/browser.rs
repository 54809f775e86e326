//! The pages in Chromium, driven by `check.mjs`: everything clicked, live within a second, through a restart of the server,
//! with nothing in the console and no request to anywhere else.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::receiver::Receiver;
use crate::support::Server;

/// The script with its browser. It says what it has seen, a line each, and waits for a line to go on.
struct Script {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(name: &str, server: &Server, key: &str) -> Self {
        let modules = std::env::var_os("LONGRUN_PAGES_MODULES");
        let modules = modules
            .expect("LONGRUN_PAGES_MODULES is not set: run tests/run, which installs what drives the browser");
        let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "chromium".into());
        let mut command = Command::new("node");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/check.mjs"));
        command.args([name, &server.url, key]);
        command.env("LONGRUN_PAGES_MODULES", std::path::absolute(modules).unwrap());
        command.env("CHROMIUM", chromium).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn().expect("node is missing");
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, input, output }
    }

    /// Waits until the script says so.
    async fn says(&mut self, what: &str) {
        let line =
            tokio::time::timeout(std::time::Duration::from_secs(600), self.output.next_line());
        let line = line.await.unwrap_or_else(|_| panic!("the script does not say {what}")).unwrap();
        let line = line.unwrap_or_else(|| panic!("the script ends before it says {what}"));
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(said["said"], what, "{line}");
    }

    async fn go_on(&mut self) {
        self.input.write_all(b"go on\n").await.unwrap();
    }

    async fn ends(mut self) {
        self.says("done").await;
        let status = tokio::time::timeout(std::time::Duration::from_secs(30), self.process.wait());
        assert!(status.await.expect("an end").unwrap().success());
    }
}

const SLOW: &str = "slow=echo 1/4 copying >&3; echo the first line >&2; until [ -e go ]; do sleep 0.02; done; \
                    echo 2/4 sorting >&3; until [ -e end ]; do sleep 0.02; done; rm -f go end; cat";

/// The schema of inputs that the form of `ok` is for.
const SHEET: &str = r#"{"type": "object", "required": ["sheet"], "properties": {
    "sheet": {"type": "string", "title": "Sheet", "description": "e.g. N12", "pattern": "^[A-Z]"},
    "width": {"type": "integer", "title": "Width", "default": 800},
    "style": {"enum": ["plain", "relief"], "title": "Style"},
    "shade": {"type": "boolean", "title": "Shade"},
    "layers": {"type": "array", "title": "Layers"}}}"#;

/// Whether `tests/run` has found none, and has said so.
fn has_no_browser() -> bool {
    std::env::var_os("LONGRUN_WITHOUT_BROWSER").is_some()
}

#[tokio::test]
async fn everything_is_clicked_and_live() {
    if has_no_browser() {
        return;
    }
    let bad = "bad=echo no disk >&2; exit 3";
    let handlers = ["--handler", "ok=cat", "--handler", bad, "--handler", SLOW];
    let forms = ["--input-schema", "ok=sheet.json"];
    let server =
        Server::start_with(&[("sheet.json", SHEET)], &[&handlers[..], &forms].concat()).await;
    let mut script = Script::start("everything", &server, "");
    script.says("running").await;
    std::fs::write(server.directory().join("go"), "").unwrap();
    script.says("progress").await;
    std::fs::write(server.directory().join("end"), "").unwrap();
    script.ends().await;
}

#[tokio::test]
async fn a_page_comes_back_when_the_server_does() {
    if has_no_browser() {
        return;
    }
    let mut server = Server::start(&["--handler", "ok=cat"]).await;
    let mut script = Script::start("restart", &server, "");
    script.says("live").await;
    server.restart();
    script.go_on().await;
    script.ends().await;
}

#[tokio::test]
async fn webhooks_are_made_and_followed() {
    if has_no_browser() {
        return;
    }
    let arguments = ["--handler", "ok=cat", "--webhook-allow", "127.0.0.0/8"];
    let server = Server::start(&[&arguments[..], &["--webhook-retry-for", "0s"]].concat()).await;
    let receiver = Receiver::start(503);
    let mut script = Script::start("webhooks", &server, &receiver.url);
    script.says("refused").await;
    receiver.status.store(204, Ordering::SeqCst);
    script.go_on().await;
    script.ends().await;
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test]
async fn a_batch_is_followed_to_its_end() {
    if has_no_browser() {
        return;
    }
    let server = Server::start(&["--handler", "ok=cat", "--handler", "bad=exit 1"]).await;
    Script::start("batch", &server, "").ends().await;
}

#[tokio::test]
async fn a_browser_signs_in() {
    if has_no_browser() {
        return;
    }
    let (server, keys) = Server::start_for(&["admin", "read"], &[]).await;
    server.submit(&keys[0], serde_json::json!({"kind": "nobody"})).await;
    Script::start("signing-in", &server, &keys[1]).ends().await;
}
