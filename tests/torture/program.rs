//! The program as a process of its own, in surroundings that a test chooses.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longrun::client::{Client, ClientError};
use longrun::proto::v1::{
    ListOperationsRequest, Operation, OperationView, Payload, SubmitRequest, payload,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Longer than anything takes that works, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Programs in front of it, as of `unshare -m`.
    pub wrapper: Vec<String>,
    /// A line of shell that is run before it.
    pub before: String,
    pub store: PathBuf,
    pub args: Vec<String>,
}

impl Setup {
    pub fn new(store: &Path) -> Self {
        let (wrapper, before, args) = (Vec::new(), "true".to_owned(), Vec::new());
        Self { wrapper, before, store: store.to_owned(), args }
    }

    pub fn with(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    fn command(&self) -> Command {
        let shell = format!("{} && exec \"$@\"", self.before);
        let mut words = self.wrapper.clone();
        words.extend(["sh", "-c", &shell, "sh", env!("CARGO_BIN_EXE_longrun")].map(str::to_owned));
        let mut command = Command::new(&words[0]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONGRUN_")) {
            command.env_remove(name);
        }
        command.args(&words[1..]).args(["serve", "--listen", "127.0.0.1:0", "--store"]);
        command.arg(format!("sqlite:{}", self.store.display())).args(&self.args);
        command.stdin(Stdio::null());
        command
    }

    /// A server that may come up.
    pub fn spawn(&self) -> Child {
        self.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// A server that must come up.
    pub fn start(&self) -> Program {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(log.reopen().unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("longrun listening on ").map(str::to_owned);
        let Some(url) = url else {
            let _ = child.wait();
            panic!("no server: {}", std::fs::read_to_string(log.path()).unwrap());
        };
        Program { child, url, log }
    }

    /// A server that must not come up: its exit code, and what it says of it.
    pub fn refusal(&self) -> (i32, String) {
        let mut command = self.command();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if !line.is_empty() {
            let _ = child.kill();
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(line, "", "it came up");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

/// A running server.
pub struct Program {
    pub child: Child,
    pub url: String,
    log: tempfile::NamedTempFile,
}

impl Program {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// A file as the server sees it, mounts of its own included.
    pub fn sees(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.child.id());
        Path::new(&root).join(path.strip_prefix("/").unwrap())
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        File::open(self.log.path()).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// A client that tries nothing again.
    pub fn client(&self) -> Client {
        Client::connect_lazy(&self.url).unwrap().with_retries(0)
    }

    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = kill_process(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }

    /// The status and the body of a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// What `grpc.health.v1` says of a name.
    pub async fn health(&self, service: &str) -> ServingStatus {
        let mut client = HealthClient::new(connect(&self.url).await.unwrap());
        let request = HealthCheckRequest { service: service.to_owned() };
        client.check(request).await.unwrap().into_inner().status()
    }

    /// Polls until new work is taken.
    pub async fn until_ready(&self) {
        let begun = Instant::now();
        while self.get("/readyz").0 != 200 {
            assert!(begun.elapsed() < PATIENCE, "it does not recover: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Submits until that is refused; gives what was acknowledged, and the refusal.
    pub async fn submit_until_refused(&self, bytes: usize) -> (Vec<Operation>, ClientError) {
        let client = self.client();
        let mut taken = Vec::new();
        loop {
            match client.submit(submission(&format!("key-{}", taken.len()), bytes)).await {
                Ok(operation) => taken.push(operation),
                Err(error) => return (taken, error),
            }
            assert!(taken.len() < 100_000, "it takes everything");
        }
    }

    /// A server that takes no writes: says so at once and why, and serves reads.
    pub async fn refuses_writes_and_serves_reads(&self, taken: &[Operation], why: &str) {
        let client = self.client();
        let asked = Instant::now();
        let refused = client.submit(submission("another", 10)).await.unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (Code::Unavailable, "UNAVAILABLE"));
        assert!(refused.retry_after().is_some(), "{refused:?}");
        assert!(refused.message().contains("takes no writes"), "{refused:?}");
        let refused = client.cancel(&taken[0].name, "").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(asked.elapsed() < Duration::from_secs(5), "refused after {:?}", asked.elapsed());

        let (status, problem) = self.get("/readyz");
        assert_eq!(status, 503, "{problem}");
        assert!(problem.contains(why), "{problem} does not tell of {why:?}");
        assert_eq!(self.get("/livez"), (200, "ok\n".to_owned()));
        for name in ["", "longrun.v1.Operations", "longrun.v1.Workers"] {
            assert_eq!(self.health(name).await, ServingStatus::NotServing, "{name}");
        }
        assert_eq!(self.health("liveness").await, ServingStatus::Serving);
        self.has_all(taken).await;
        assert!(self.log().contains(why), "{}", self.log());
        let said = self.log().matches("takes no writes").count();
        assert!(said <= 5, "said {said} times: {}", self.log());
    }

    /// Everything acknowledged is there, as it was.
    pub async fn has_all(&self, taken: &[Operation]) {
        let client = self.client();
        let list = client.list_all(ListOperationsRequest::default());
        let listed: Vec<Operation> = list.map(Result::unwrap).collect().await;
        for operation in taken {
            let found = listed.iter().find(|listed| listed.name == operation.name);
            assert!(found.is_some(), "{} is not listed", operation.name);
            let found = client.get(&operation.name, OperationView::Full).await.unwrap();
            assert_eq!(found.create_time, operation.create_time);
            assert!(found.revision >= operation.revision);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// A connection for raw stubs.
pub async fn connect(url: &str) -> Option<Channel> {
    Endpoint::from_shared(url.to_owned()).unwrap().connect().await.ok()
}

/// A submission with a key, and an input of so many bytes.
pub fn submission(key: &str, bytes: usize) -> SubmitRequest {
    let content = Some(payload::Content::Text("x".repeat(bytes)));
    SubmitRequest {
        kind: "torture".to_owned(),
        idempotency_key: key.to_owned(),
        input: Some(Payload { content, ..Payload::default() }),
        ..SubmitRequest::default()
    }
}

/// Whether whoever runs the tests does without that.
pub fn without(what: &str) -> bool {
    let chosen = std::env::var("LONGRUN_TORTURE_WITHOUT").unwrap_or_default();
    let is_without = chosen.split(',').any(|word| word == what);
    if is_without {
        println!("LONGRUN_TORTURE_WITHOUT={what}: this was not tested");
    }
    is_without
}

/// Fails with what is missing, unless the line of shell can be run within the wrapper.
pub fn require(wrapper: &[String], line: &str, what: &str) {
    let output = Command::new(&wrapper[0]).args(&wrapper[1..]).args(["sh", "-c", line]).output();
    let works = output.as_ref().is_ok_and(|output| output.status.success());
    assert!(
        works,
        "{what}; or set LONGRUN_TORTURE_WITHOUT (see tests/torture/main.rs): {output:?}"
    );
}

pub fn variable(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("the variable is a number"))
}

pub fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
