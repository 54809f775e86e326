//! A page in a browser: it has work done, shows its progress, and fetches the result.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Html;
use axum::routing::{get, post};
use bytes::Bytes;
use http::HeaderValue;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::api::{exchanges, relay};
use crate::site::Site;
use crate::support::Server;

const PAGE: &str = include_str!("../../examples/progress.html");

/// A browser with one page open.
struct Browser {
    process: Child,
    directory: TempDir,
}

impl Browser {
    fn open(url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "chromium".into());
        let log = File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new(chromium);
        // Its sandbox needs rights that containers do not give; it opens nothing but the pages here.
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--no-first-run", "--disable-background-networking"]);
        command.arg(format!("--user-data-dir={}", directory.path().join("profile").display()));
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        let started = command.spawn();
        let process = started.expect("chromium is missing: run tests/run, which installs it");
        Self { process, directory }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log"));
            eprintln!("the browser's log:\n{}", log.unwrap_or_default());
        }
    }
}

/// What the page told: of itself, or the bytes of the result.
#[derive(Debug)]
enum Told {
    Said(Value),
    Result(Bytes),
}

/// The site that the page is of.
struct Page {
    site: Site,
    told: UnboundedReceiver<Told>,
    /// All that the page has said so far.
    said: Vec<Value>,
}

impl Page {
    async fn new() -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let page = PAGE.replacen("<meta", "<script src=\"browser.js\"></script>\n<meta", 1);
        assert_ne!(page, PAGE);
        let script = (
            [("content-type", HeaderValue::from_static("text/javascript"))],
            include_str!("browser.js"),
        );
        let said = |State(sender): State<UnboundedSender<Told>>, body: Bytes| async move {
            let _ = sender.send(Told::Said(serde_json::from_slice(&body).unwrap()));
        };
        let result = |State(sender): State<UnboundedSender<Told>>, body: Bytes| async move {
            let _ = sender.send(Told::Result(body));
        };
        let router = Router::new()
            .route("/progress.html", get(async || Html(page)))
            .route("/browser.js", get(async || script))
            .route("/told", post(said))
            .route("/result", post(result))
            .with_state(sender);
        Self { site: Site::start(router).await, told, said: Vec::new() }
    }

    async fn next(&mut self) -> Told {
        let told = tokio::time::timeout(Duration::from_secs(60), self.told.recv()).await;
        let told = told.unwrap_or_else(|_| panic!("the page is silent after {:?}", self.said));
        let told = told.expect("a site");
        if let Told::Said(said) = &told {
            assert_eq!(said.get("error"), None, "{said}");
            self.said.push(said.clone());
        }
        told
    }

    /// Waits until the page says so, if it has not yet.
    async fn until(&mut self, what: &Value) {
        while !self.said.contains(what) {
            self.next().await;
        }
    }

    async fn result(&mut self) -> Bytes {
        loop {
            if let Told::Result(bytes) = self.next().await {
                return bytes;
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_another_site_submits_through_the_relay() {
    let mut page = Page::new().await;
    let (server, _api) = relay(&["--cors-origin", &page.site.url]).await;
    for exchange in exchanges().into_iter().filter(|it| it.method == "POST") {
        let submit = format!("{}/api{}", server.url, exchange.path);
        let url =
            format!("{}/progress.html?submit={submit}&body={}", page.site.url, exchange.request);
        let _browser = Browser::open(&url);
        assert_eq!(page.result().await, exchange.body);
        page.until(&json!({"progress": "SUCCEEDED"})).await;
        let shown = String::from_utf8_lossy(&exchange.body);
        let status = exchange.status.to_string();
        assert!(page.said.contains(&json!({"status": status, "shown": shown})), "{:?}", page.said);
        page.said.clear();
    }
}

/// The page comes through the server, and the stream is cut while the work goes on.
#[tokio::test]
async fn a_page_of_the_same_site_shows_progress_until_the_end() {
    let mut page = Page::new().await;
    let mount =
        format!("[[relay]]\nname = \"app\"\nprefix = \"/app\"\nupstream = \"{}\"\n", page.site.url);
    let count = "count=echo '1/3 counting' >&3; until [ -e go ]; do sleep 0.05; done; cat";
    let server = Server::start_with(&["--max-stream-age", "1s", "--handler", count], Some(&mount));
    let submit = "/v1/kinds/count/operations";
    let _browser = Browser::open(&format!(
        "{}/app/progress.html?submit={submit}&body=gez%C3%A4hlt",
        server.url
    ));
    page.until(&json!({"progress": "RUNNING 33 % counting"})).await;
    page.until(&json!({"opened": 2})).await;
    std::fs::write(server.directory().join("go"), "").unwrap();
    page.until(&json!({"progress": "SUCCEEDED 33 % counting"})).await;
    page.until(&json!({"status": "200", "shown": "gez\u{e4}hlt"})).await;
    // Told that there is nothing to come back for, an EventSource stays away.
    page.until(&json!({"careless": "closed"})).await;
}
