//! A `Workers` service whose side of each stream is played by the test.

use std::future::Future;
use std::time::Duration;

use longrun::client::Client;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::workers_server::{Workers, WorkersServer};
use longrun::proto::v1::*;
use longrun::worker::{Worker, WorkerError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Far beyond what any step takes: passing it is a failure.
const STEP: Duration = Duration::from_secs(20);
/// Long enough that no test meets a heartbeat that it does not ask for.
pub const NO_HEARTBEAT: Duration = Duration::from_secs(60);

/// Waits for a step of a script, not for ever.
pub async fn step<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STEP, future).await {
        Ok(value) => value,
        Err(_) => panic!("nothing came of: {what}"),
    }
}

struct Service(mpsc::Sender<Stream>);

#[tonic::async_trait]
impl Workers for Service {
    type WorkStream = ReceiverStream<Result<WorkResponse, Status>>;

    async fn work(
        &self,
        request: Request<Streaming<WorkRequest>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let (down, responses) = mpsc::channel(64);
        let stream = Stream { up: request.into_inner(), down };
        self.0.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn acquire(
        &self,
        _: Request<AcquireRequest>,
    ) -> Result<Response<AcquireResponse>, Status> {
        Err(Status::unimplemented("these workers have streams"))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        Err(Status::unimplemented("these workers have streams"))
    }

    async fn complete(
        &self,
        _: Request<CompleteRequest>,
    ) -> Result<Response<CompleteResponse>, Status> {
        Err(Status::unimplemented("these workers have streams"))
    }

    async fn fail(&self, _: Request<FailRequest>) -> Result<Response<FailResponse>, Status> {
        Err(Status::unimplemented("these workers have streams"))
    }

    async fn release(
        &self,
        _: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseResponse>, Status> {
        Err(Status::unimplemented("these workers have streams"))
    }

    async fn add_log(&self, _: Request<AddLogRequest>) -> Result<Response<AddLogResponse>, Status> {
        Err(Status::unimplemented("these workers have streams"))
    }
}

/// The service.
pub struct Fake {
    pub client: Client,
    streams: mpsc::Receiver<Stream>,
    server: AbortHandle,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::connect_lazy(&listener.local_addr().unwrap().to_string()).unwrap();
        let (sender, streams) = mpsc::channel(8);
        let server = tonic::transport::Server::builder()
            .add_service(WorkersServer::new(Service(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(server).abort_handle();
        Self { client, streams, server }
    }

    /// A worker of this service, to be given handlers.
    pub fn worker(&self) -> Worker {
        Worker::new(self.client.clone()).worker_id("test-worker")
    }

    /// The next stream that a worker opens, with its hello.
    pub async fn accept(&mut self) -> (Stream, Hello) {
        let mut stream = step("a stream", self.streams.recv()).await.unwrap();
        match stream.any().await {
            Some(Up::Hello(hello)) => (stream, hello),
            other => panic!("not a hello: {other:?}"),
        }
    }

    /// The next stream, with a new session started on it.
    pub async fn session(&mut self, id: &str) -> Stream {
        let (stream, _hello) = self.accept().await;
        stream.started(id, false, NO_HEARTBEAT).await;
        stream
    }
}

/// The service's side of one stream. Dropped, it ends the stream with OK.
pub struct Stream {
    up: Streaming<WorkRequest>,
    down: mpsc::Sender<Result<WorkResponse, Status>>,
}

impl Stream {
    pub async fn send(&self, message: Down) {
        self.down.send(Ok(WorkResponse { message: Some(message) })).await.unwrap();
    }

    /// Breaks the stream.
    pub async fn fail(self, status: Status) {
        self.down.send(Err(status)).await.unwrap();
    }

    pub async fn started(&self, id: &str, resumed: bool, heartbeat: Duration) {
        self.send(Down::Session(SessionStarted {
            session_id: id.to_owned(),
            resumed,
            lease_duration: (heartbeat * 3).try_into().ok(),
            heartbeat_interval: heartbeat.try_into().ok(),
        }))
        .await;
    }

    pub async fn assign(&self, operation: &str, input: &str) {
        self.send(Down::Assignment(assignment(operation, "test", input))).await;
    }

    pub async fn cancel(&self, operation: &str, cause: cancel_attempt::Cause, reason: &str) {
        self.send(Down::Cancel(CancelAttempt {
            attempt: attempt(operation),
            cause: cause.into(),
            reason: reason.to_owned(),
            grace_deadline_time: None,
        }))
        .await;
    }

    pub async fn ack(&self, report_id: i64) {
        self.send(Down::Ack(Ack { report_id, error: None })).await;
    }

    pub async fn refuse(&self, report_id: i64, code: tonic::Code) {
        let error = RequestError { status_code: code.into(), ..RequestError::default() };
        self.send(Down::Ack(Ack { report_id, error: Some(error) })).await;
    }

    /// The next message, heartbeats included; `None` at the end of the stream.
    pub async fn any(&mut self) -> Option<Up> {
        let message = step("a message", self.up.message()).await.ok().flatten();
        message.map(|request| request.message.expect("an empty message"))
    }

    /// The next message that is no heartbeat.
    pub async fn next(&mut self) -> Up {
        loop {
            match self.any().await {
                Some(Up::Heartbeat(_)) => {}
                Some(message) => return message,
                None => panic!("the stream has ended"),
            }
        }
    }

    pub async fn complete(&mut self) -> Complete {
        match self.next().await {
            Up::Complete(complete) => complete,
            other => panic!("not a complete: {other:?}"),
        }
    }

    pub async fn failure(&mut self) -> Fail {
        match self.next().await {
            Up::Fail(fail) => fail,
            other => panic!("not a fail: {other:?}"),
        }
    }

    pub async fn release(&mut self) -> Release {
        match self.next().await {
            Up::Release(release) => release,
            other => panic!("not a release: {other:?}"),
        }
    }

    pub async fn drain(&mut self) {
        match self.next().await {
            Up::Drain(_) => {}
            other => panic!("not a drain: {other:?}"),
        }
    }
}

/// The first attempt of an operation.
pub fn attempt(operation: &str) -> Option<AttemptRef> {
    Some(AttemptRef { operation: operation.to_owned(), attempt: 1 })
}

pub fn assignment(operation: &str, kind: &str, input: &str) -> Assignment {
    let content = Some(payload::Content::Data(input.to_owned().into()));
    let content_type = "text/plain".to_owned();
    Assignment {
        operation: Some(Operation {
            name: operation.to_owned(),
            kind: kind.to_owned(),
            tenant: "default".to_owned(),
            labels: [("team/Name".to_owned(), "blue".to_owned())].into(),
            ..Operation::default()
        }),
        attempt: 1,
        input: Some(Payload { content_type, content, ..Payload::default() }),
        deadline_time: None,
    }
}

/// The result's text or bytes.
pub fn result_of(complete: &Complete) -> Vec<u8> {
    match complete.result.as_ref().and_then(|result| result.content.clone()) {
        Some(payload::Content::Data(data)) => data.to_vec(),
        Some(payload::Content::Text(text)) => text.into_bytes(),
        None => Vec::new(),
        other => panic!("unexpected content: {other:?}"),
    }
}

/// A worker that runs, and the way to stop it.
pub struct Running {
    pub stop: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl Running {
    pub fn start(worker: Worker) -> Self {
        let stop = CancellationToken::new();
        Self { stop: stop.clone(), task: tokio::spawn(worker.run(stop)) }
    }

    /// Drops the worker where it stands.
    pub async fn abort(self) {
        self.task.abort();
        let _ = step("the worker's end", self.task).await;
    }

    /// Waits for the worker's end.
    pub async fn ended(self) -> Result<(), WorkerError> {
        step("the worker's end", self.task).await.unwrap()
    }
}
