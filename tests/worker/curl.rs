//! A worker of a shell and curl alone, `examples/curl/worker.sh`, against the program, which is killed under it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use longrun::proto::v1::operation::State;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::{
    GetOperationRequest, Operation, Payload, SubmitRequest, WaitOperationRequest, payload::Content,
};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// A process with its children.
struct Group(Child);

impl Group {
    fn start(command: &mut Command) -> Self {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONGRUN_")) {
            command.env_remove(name);
        }
        Self(command.process_group(0).stdin(Stdio::null()).spawn().unwrap())
    }

    /// SIGKILL.
    fn kill(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program on a store and at an address that it comes back to.
struct Server {
    directory: TempDir,
    address: String,
    process: Group,
}

impl Server {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let process = Self::run(directory.path(), &address);
        Self { directory, address, process }
    }

    fn run(directory: &Path, address: &str) -> Group {
        let store = format!("sqlite:{}", directory.join("longrun.db").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
        // A worker of a stream would be lost in a second.
        command.args(["serve", "--listen", address, "--store", &store, "--lease-duration", "1s"]);
        command.args(["--heartbeat-interval", "1s", "--log", "error"]).stdout(Stdio::piped());
        let mut group = Group::start(&mut command);
        let mut line = String::new();
        BufReader::new(group.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("longrun listening on "), "{line:?}");
        group
    }

    fn kill_and_start(&mut self) {
        self.process.kill();
        self.process = Self::run(self.directory.path(), &self.address);
    }

    fn operations(&self) -> OperationsClient<Channel> {
        let url = format!("http://{}", self.address);
        OperationsClient::new(Endpoint::from_shared(url).unwrap().connect_lazy())
    }

    async fn submit(&self, kind: &str, input: &str) -> String {
        let input =
            Payload { content: Some(Content::Text(input.to_owned())), ..Payload::default() };
        let request =
            SubmitRequest { kind: kind.to_owned(), input: Some(input), ..Default::default() };
        self.operations().submit(request).await.unwrap().into_inner().name
    }

    async fn done(&self, name: &str) -> Operation {
        let request = WaitOperationRequest { name: name.to_owned(), ..Default::default() };
        let done = self.operations().wait_operation(request).await.unwrap().into_inner();
        assert!(done.done, "{done:?}");
        done
    }

    async fn get(&self, name: &str) -> Operation {
        let request = GetOperationRequest { name: name.to_owned(), ..Default::default() };
        self.operations().get_operation(request).await.unwrap().into_inner()
    }

    fn worker(&self, kind: &str, command: &str) -> Group {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/curl/worker.sh");
        let mut sh = Command::new("sh");
        sh.arg(script).arg(format!("http://{}", self.address));
        Group::start(sh.args([kind, "sh", "-c", command]))
    }
}

fn text(operation: &Operation) -> &str {
    match operation.result.as_ref().and_then(|result| result.content.as_ref()) {
        Some(Content::Text(text)) => text,
        other => panic!("{other:?} of {operation:?}"),
    }
}

#[tokio::test]
async fn a_worker_of_curl_finishes_what_it_began_although_the_server_was_killed() {
    let mut server = Server::start();
    let pipe = server.directory.path().join("go");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // It says that it has begun by opening the pipe, and goes on when there is something in it.
    let _worker = server.worker("shout", &format!("cat {} - | tr a-z A-Z", pipe.display()));
    let operation = server.submit("shout", "hello").await;
    let opened = tokio::task::spawn_blocking(move || std::fs::File::create(pipe).unwrap());
    let go = opened.await.unwrap();
    server.kill_and_start();
    assert_eq!(server.get(&operation).await.state(), State::Running);
    drop(go);
    let done = server.done(&operation).await;
    assert_eq!((done.state(), text(&done), done.attempt), (State::Succeeded, "HELLO", 1));
    // Its poll is cut off, and it comes again.
    server.kill_and_start();
    let operation = server.submit("shout", "again").await;
    let pipe = server.directory.path().join("go");
    tokio::task::spawn_blocking(move || std::fs::File::create(pipe).unwrap()).await.unwrap();
    let done = server.done(&operation).await;
    assert_eq!((text(&done), done.attempt), ("AGAIN", 1));
}

#[tokio::test]
async fn a_worker_of_curl_takes_and_gives_what_is_large() {
    let server = Server::start();
    let _worker = server.worker("copy", "cat");
    let operation = server.submit("copy", &"x".repeat(1 << 20)).await;
    let result = server.done(&operation).await.result.unwrap();
    assert_eq!((result.size_bytes, result.omitted), (1 << 20, true));
    assert_eq!(result.content_type, "text/plain");
}

#[test]
fn the_page_shows_the_worker_as_it_is() {
    let page = include_str!("../../docs/workers-over-http.md");
    assert!(page.contains(include_str!("../../examples/curl/worker.sh")));
}

#[tokio::test]
async fn a_worker_of_curl_reports_what_went_wrong() {
    let server = Server::start();
    let _worker = server.worker("fail", "echo 'no \"room\"' >&2; exit 3");
    let input = Some(Payload::default());
    let policy = longrun::proto::v1::RetryPolicy { max_attempts: 1, ..Default::default() };
    let settings =
        longrun::proto::v1::Settings { retry_policy: Some(policy), ..Default::default() };
    let request = SubmitRequest {
        kind: "fail".to_owned(),
        input,
        settings: Some(settings),
        ..Default::default()
    };
    let operation = server.operations().submit(request).await.unwrap().into_inner().name;
    let error = server.done(&operation).await.error.unwrap();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("FAILED", "no \"room\""));
}
