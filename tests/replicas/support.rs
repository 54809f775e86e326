//! Replicas as processes, and the generated clients, which show what is on the wire.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use longrun::proto::v1::operation::State;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::workers_client::WorkersClient;
use longrun::proto::v1::{
    Assignment, AttemptRef, Heartbeat, Hello, Operation, SessionStarted, SubmitRequest,
    WatchOperationRequest, WatchOperationResponse, WorkRequest, WorkResponse,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what must come.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it did not come")
}

/// A replica.
pub struct Replica {
    process: Child,
    pub url: String,
    channel: Channel,
}

/// The program, without the settings of whoever runs the tests.
pub fn longrun(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONGRUN_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

impl Replica {
    pub fn start(store: &str, more: &[&str]) -> Self {
        let mut command = longrun(&["serve", "--listen", "127.0.0.1:0", "--store", store]);
        command.args(["--lease-duration", "2s", "--heartbeat-interval", "1s", "--log", "error"]);
        let mut process = command.args(more).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("longrun listening on ");
        let url = url.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        let channel = Endpoint::from_shared(url.clone()).unwrap().connect_lazy();
        Self { process, url, channel }
    }

    pub fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel.clone())
    }

    pub fn workers(&self) -> WorkersClient<Channel> {
        WorkersClient::new(self.channel.clone())
    }

    pub async fn submit(&self, kind: &str) -> Operation {
        let request = SubmitRequest { kind: kind.to_owned(), ..Default::default() };
        self.operations().submit(request).await.unwrap().into_inner()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// A watch from the first transition on.
    pub async fn submit_and_watch(&self, request: SubmitRequest) -> Watch {
        Watch(self.operations().submit_and_watch(request).await.unwrap().into_inner())
    }

    pub async fn watch(&self, operation: &Operation) -> Watch {
        let request = WatchOperationRequest {
            name: operation.name.clone(),
            after_revision: Some(0),
            ..Default::default()
        };
        Watch(self.operations().watch_operation(request).await.unwrap().into_inner())
    }

    /// A worker, by hand.
    pub async fn work(
        &self,
        kind: &str,
        session: Option<&SessionStarted>,
        running: Vec<AttemptRef>,
    ) -> Work {
        let (up, requests) = mpsc::channel(16);
        let hello = Hello {
            worker_id: "by-hand".to_owned(),
            kinds: vec![kind.to_owned()],
            max_in_flight: 1,
            session_id: session.map(|session| session.session_id.clone()).unwrap_or_default(),
            running,
        };
        up.try_send(WorkRequest { message: Some(Up::Hello(hello)) }).unwrap();
        let requests = ReceiverStream::new(requests);
        let answer = self.workers().work(requests).await;
        let mut down = answer.unwrap().into_inner();
        match soon(down.message()).await.unwrap().and_then(|first| first.message) {
            Some(Down::Session(session)) => {
                let mut heartbeats = JoinSet::new();
                heartbeats.spawn(beat(up.clone()));
                Work { up, down, session, _heartbeats: heartbeats }
            }
            other => panic!("no session but {other:?}"),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A watch of one operation.
pub struct Watch(Streaming<WatchOperationResponse>);

impl Watch {
    /// The next message, whatever it is.
    pub async fn message(&mut self) -> WatchOperationResponse {
        soon(self.0.message()).await.unwrap().expect("the watch has ended")
    }

    /// The next transition.
    pub async fn transition(&mut self) -> (i64, State) {
        loop {
            let message = self.message().await;
            if message.r#type() == Type::Transition {
                return (message.revision, message.operation.unwrap().state());
            }
        }
    }
}

/// A worker's stream.
pub struct Work {
    up: mpsc::Sender<WorkRequest>,
    down: Streaming<WorkResponse>,
    pub session: SessionStarted,
    /// Says that it is alive, whatever else it does.
    _heartbeats: JoinSet<()>,
}

impl Work {
    pub async fn say(&self, message: Up) {
        self.up.send(WorkRequest { message: Some(message) }).await.unwrap();
    }

    /// The next message but heartbeats.
    pub async fn heard(&mut self) -> Down {
        loop {
            let message = soon(self.down.message()).await.unwrap().expect("the stream has ended");
            match message.message {
                Some(Down::Heartbeat(_)) | None => {}
                Some(message) => return message,
            }
        }
    }

    pub async fn assignment(&mut self) -> Assignment {
        match self.heard().await {
            Down::Assignment(assignment) => assignment,
            other => panic!("no assignment but {other:?}"),
        }
    }
}

async fn beat(up: mpsc::Sender<WorkRequest>) {
    let beat = || WorkRequest { message: Some(Up::Heartbeat(Heartbeat {})) };
    while up.send(beat()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Names the attempt of an assignment.
pub fn attempt(assignment: &Assignment) -> AttemptRef {
    let operation = assignment.operation.as_ref().unwrap().name.clone();
    AttemptRef { operation, attempt: assignment.attempt }
}
