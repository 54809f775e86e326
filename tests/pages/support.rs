//! The program as a child process, and a client that reads pages.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longrun::service::keys::KeyText;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::markup;

/// `longrun serve` with a store of its own.
pub struct Server {
    process: Child,
    pub url: String,
    http: reqwest::Client,
    arguments: Vec<String>,
    directory: TempDir,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn has(self, text: &str) -> Self {
        assert!(self.body.contains(text), "{text:?} is not in\n{}", self.body);
        self
    }

    #[track_caller]
    pub fn has_not(self, text: &str) -> Self {
        assert!(!self.body.contains(text), "{text:?} is in\n{}", self.body);
        self
    }

    /// What forms of the page prove themselves by.
    #[track_caller]
    pub fn token(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"token\" value=\"").expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }
}

impl Server {
    pub async fn start(arguments: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        Self::start_in(directory, arguments, "127.0.0.1:0").await
    }

    /// The same with these files in its directory.
    pub async fn start_with(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        Self::start_in(directory_with(files), arguments, "127.0.0.1:0").await
    }

    /// What a server says that refuses to start with these files and arguments.
    pub async fn refused(files: &[(&str, &str)], arguments: &[&str]) -> String {
        let directory = directory_with(files);
        let mut command = tokio::process::Command::from(program(directory.path()));
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        let output = command.output().await.unwrap();
        assert!(!output.status.success());
        assert!(!directory.path().join("longrun.db").exists(), "it has made a store");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The same where callers have keys, one for each of these roles.
    pub async fn start_for(roles: &[&str], arguments: &[&str]) -> (Self, Vec<String>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys.toml");
        let (mut text, mut keys) = (String::new(), Vec::new());
        for role in roles {
            let key = KeyText::generate().unwrap().text();
            text += &format!("[[key]]\nkey = \"{key}\"\nroles = [\"{role}\"]\nname = \"{role}\"\n");
            keys.push(key);
        }
        write_private(&file, &text);
        let mut arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        arguments.extend(["--key-file".to_owned(), file.display().to_string()]);
        (Self::start_in(directory, arguments, "127.0.0.1:0").await, keys)
    }

    async fn start_in(directory: TempDir, arguments: Vec<String>, listen: &str) -> Self {
        let (process, url) = run(directory.path(), &arguments, listen);
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self { process, url, http: http.build().unwrap(), arguments, directory }
    }

    /// Ends it and starts it again at the same address.
    pub fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let listen = self.url.strip_prefix("http://").unwrap().to_owned();
        let (process, _) = run(self.directory.path(), &self.arguments, &listen);
        self.process = process;
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let url = format!("{}{path}", self.url);
        let mut request = self.http.request(method.parse().unwrap(), url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let is_stream = headers.get("content-type").is_some_and(|it| it == "text/event-stream");
        assert!(!is_stream, "{path} does not end");
        let answer = Answer { status, headers, body: answer.text().await.unwrap() };
        if answer.header("content-type").starts_with("text/html") {
            markup::check(&answer.body);
            markup::check_headers(&answer);
        }
        answer
    }

    /// A page, as a browser asks for it.
    pub async fn page(&self, path: &str) -> Answer {
        self.ask("GET", path, &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")], "").await
    }

    /// The same with a key.
    pub async fn page_for(&self, key: &str, path: &str) -> Answer {
        let cookie = format!("longrun_key={key}");
        self.ask("GET", path, &[("accept", "text/html"), ("cookie", &cookie)], "").await
    }

    /// Sends a form, as this server's own page does.
    pub async fn send(&self, path: &str, fields: &[(&str, &str)], cookie: &str) -> Answer {
        let pairs = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let origin = ("origin", &*self.url);
        self.ask("POST", path, &[form, origin, ("cookie", cookie)], &body).await
    }

    /// The first bytes of a stream, up to the end of an event that has `text` in it.
    pub async fn stream(&self, path: &str, cookie: &str, text: &str) -> String {
        let url = format!("{}{path}", self.url);
        let mut answer = self.http.get(url).header("cookie", cookie).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut read = String::new();
        let reading = async {
            while let Some(piece) = answer.chunk().await.unwrap() {
                read.push_str(std::str::from_utf8(&piece).unwrap());
                if read.split("\n\n").any(|event| event.contains(text)) && read.ends_with("\n\n") {
                    break;
                }
            }
        };
        let read_in_time = tokio::time::timeout(Duration::from_secs(20), reading).await;
        assert!(read_in_time.is_ok(), "{text:?} does not come: {read}");
        read
    }

    /// Submits over the API, and answers the id.
    pub async fn submit(&self, key: &str, request: Value) -> String {
        let key = format!("Bearer {key}");
        let json = ("content-type", "application/json");
        let headers = [json, ("authorization", &key)];
        let headers = if key == "Bearer " { &headers[..1] } else { &headers[..] };
        let answer = self.ask("POST", "/v1/operations", headers, &request.to_string()).await;
        let answer: Value = serde_json::from_str(&answer.expect(202).body).unwrap();
        answer["name"].as_str().unwrap().strip_prefix("operations/").unwrap().to_owned()
    }

    /// Submits work of a kind, and waits until it is in this state.
    pub async fn submit_until(&self, kind: &str, state: &str) -> String {
        let id = self.submit("", json!({"kind": kind, "input": {"text": "one"}})).await;
        self.until(&id, state).await;
        id
    }

    pub async fn until(&self, id: &str, state: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let path = format!("/v1/operations/{id}?wait=1s");
            let answer = self.ask("GET", &path, &[], "").await;
            if answer.body.contains(&format!("\"STATE_{state}\"")) {
                return;
            }
            assert!(Instant::now() < end, "{}", answer.body);
        }
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

fn directory_with(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// The program in the directory, without the settings of whoever runs the tests.
fn program(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONGRUN_")) {
        command.env_remove(name);
    }
    command.current_dir(directory).stdin(Stdio::null());
    command
}

fn run(directory: &Path, arguments: &[String], listen: &str) -> (Child, String) {
    let store = format!("sqlite:{}", directory.join("test.db").display());
    let mut command = program(directory);
    command.args(["serve", "--listen", listen, "--store", &store]).args(arguments);
    let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("longrun listening on ");
    let url = url.unwrap_or_else(|| {
        panic!("{line:?}: {}", std::fs::read_to_string(directory.join("log")).unwrap_or_default())
    });
    (process, url.to_owned())
}

fn write_private(path: &Path, text: &str) {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
