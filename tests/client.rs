//! The client against a service that breaks off in every way a service can, over real sockets.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use longrun::client::{Client, Submission};
use longrun::config::{ServeConfig, StoreUrl};
use longrun::proto::Encoded;
use longrun::proto::v1::operations_server::{Operations, OperationsServer};
use longrun::proto::v1::*;
use longrun::server::Server;
use longrun::worker::Worker;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
/// The answers to the calls of one rpc, in order, and the requests that asked for them.
type Script<Req, Res> = Mutex<(VecDeque<Res>, Vec<Req>)>;

/// A service that answers by script; what it has no script for is unimplemented.
#[derive(Default)]
struct Scripted {
    submit: Script<SubmitRequest, Result<Operation, Status>>,
    submit_and_watch: Script<SubmitRequest, Vec<Result<WatchOperationResponse, Status>>>,
    get: Script<GetOperationRequest, Result<Operation, Status>>,
    wait: Script<WaitOperationRequest, Result<Operation, Status>>,
    list: Script<ListOperationsRequest, Result<ListOperationsResponse, Status>>,
    watch: Script<WatchOperationRequest, Vec<Result<WatchOperationResponse, Status>>>,
    watch_all: Script<WatchOperationsRequest, Vec<Result<WatchOperationsResponse, Status>>>,
    read: Script<ReadResultRequest, Vec<Result<ReadResultResponse, Status>>>,
}

fn answer<Req, Res>(script: &Script<Req, Res>, request: Request<Req>) -> Result<Res, Status> {
    let (answers, requests) = &mut *script.lock().unwrap();
    requests.push(request.into_inner());
    answers.pop_front().ok_or_else(|| Status::unimplemented("not in the script"))
}

fn messages<T: Send + 'static>(items: Vec<Result<T, Status>>) -> Response<Messages<T>> {
    Response::new(stream::iter(items).boxed())
}

/// As servers send what watches see.
fn encoded<M: Message + Default + 'static>(
    items: Vec<Result<M, Status>>,
) -> Response<Messages<Encoded<M>>> {
    let encode = |message: M| Encoded::new(message.encode_to_vec().into());
    messages(items.into_iter().map(|item| item.map(encode)).collect())
}

fn requests<Req: Clone, Res>(script: &Script<Req, Res>) -> Vec<Req> {
    script.lock().unwrap().1.clone()
}

fn play<Req, Res>(script: &Script<Req, Res>, answers: impl IntoIterator<Item = Res>) {
    script.lock().unwrap().0.extend(answers);
}

#[tonic::async_trait]
impl Operations for Handle {
    type SubmitAndWatchStream = Messages<Encoded<WatchOperationResponse>>;
    type WatchOperationStream = Messages<Encoded<WatchOperationResponse>>;
    type WatchOperationsStream = Messages<Encoded<WatchOperationsResponse>>;
    type ReadResultStream = Messages<ReadResultResponse>;
    type ReadInputStream = Messages<ReadInputResponse>;

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<Operation>, Status> {
        answer(&self.0.submit, request)?.map(Response::new)
    }

    async fn submit_and_watch(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<Self::SubmitAndWatchStream>, Status> {
        answer(&self.0.submit_and_watch, request).map(encoded)
    }

    async fn submit_batch(
        &self,
        _request: Request<SubmitBatchRequest>,
    ) -> Result<Response<SubmitBatchResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        answer(&self.0.get, request)?.map(Response::new)
    }

    async fn wait_operation(
        &self,
        request: Request<WaitOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        answer(&self.0.wait, request)?.map(Response::new)
    }

    async fn watch_operation(
        &self,
        request: Request<WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        answer(&self.0.watch, request).map(encoded)
    }

    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        answer(&self.0.list, request)?.map(Response::new)
    }

    async fn watch_operations(
        &self,
        request: Request<WatchOperationsRequest>,
    ) -> Result<Response<Self::WatchOperationsStream>, Status> {
        answer(&self.0.watch_all, request).map(encoded)
    }

    async fn cancel_operation(
        &self,
        _request: Request<CancelOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn run_operation(
        &self,
        _request: Request<RunOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn delete_operation(
        &self,
        _request: Request<DeleteOperationRequest>,
    ) -> Result<Response<()>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn retry_operation(
        &self,
        _request: Request<RetryOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_events(
        &self,
        _request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_workers(
        &self,
        _request: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_kinds(
        &self,
        _request: Request<ListKindsRequest>,
    ) -> Result<Response<ListKindsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn read_result(
        &self,
        request: Request<ReadResultRequest>,
    ) -> Result<Response<Self::ReadResultStream>, Status> {
        answer(&self.0.read, request).map(messages)
    }

    async fn read_input(
        &self,
        _request: Request<ReadInputRequest>,
    ) -> Result<Response<Self::ReadInputStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

struct Handle(Arc<Scripted>);

/// A service under way.
struct Fake {
    script: Arc<Scripted>,
    client: Client,
    server: AbortHandle,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn fake() -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let script = Arc::new(Scripted::default());
    let server = tonic::transport::Server::builder()
        .add_service(OperationsServer::new(Handle(Arc::clone(&script))))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server).abort_handle();
    Fake { script, client: Client::connect(&address).await.unwrap(), server }
}

fn operation(revision: i64, done: bool) -> Operation {
    Operation { name: "operations/1".to_owned(), revision, done, ..Operation::default() }
}

fn watched(
    r#type: watch_operation_response::Type,
    revision: i64,
    done: bool,
) -> Result<WatchOperationResponse, Status> {
    let operation = Some(operation(revision, done));
    Ok(WatchOperationResponse { r#type: r#type.into(), operation, event: None, revision })
}

fn unavailable<T>() -> Result<T, Status> {
    Err(Status::unavailable("restarting"))
}

#[tokio::test]
async fn a_submission_is_repeated_under_one_key() {
    let fake = fake().await;
    let exhausted = Err(Status::resource_exhausted("too much"));
    play(&fake.script.submit, [unavailable(), Ok(operation(1, false)), exhausted]);
    let request = SubmitRequest { kind: "test".to_owned(), ..SubmitRequest::default() };
    assert_eq!(fake.client.submit(request.clone()).await.unwrap().revision, 1);
    let keys: Vec<_> =
        requests(&fake.script.submit).into_iter().map(|r| r.idempotency_key).collect();
    assert_eq!(keys.len(), 2);
    assert!(!keys[0].is_empty() && keys[0] == keys[1], "{keys:?}");
    // Being over a limit is an answer, not a reason to press on.
    let error = fake.client.submit(request).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(requests(&fake.script.submit).len(), 3);
}

#[tokio::test]
async fn a_watch_delivers_each_transition_once_whatever_breaks() {
    use watch_operation_response::Type::*;
    let fake = fake().await;
    let streams = [
        vec![watched(Snapshot, 1, false), watched(Heartbeat, 1, false), unavailable()],
        vec![unavailable()],
        // A server that repeats itself, then rotates.
        vec![watched(Transition, 1, false), watched(Transition, 2, false)],
        vec![watched(Progress, 2, false), Err(Status::unknown(""))],
        vec![watched(Transition, 3, false), watched(Transition, 4, true)],
    ];
    play(&fake.script.watch, streams);
    let request = WatchOperationRequest { name: "x".to_owned(), ..Default::default() };
    let messages: Vec<_> = fake.client.watch(request).into_stream().try_collect().await.unwrap();
    let seen: Vec<_> =
        messages.iter().map(|message| (message.r#type(), message.revision)).collect();
    let expected =
        [(Snapshot, 1), (Transition, 2), (Progress, 2), (Transition, 3), (Transition, 4)];
    assert_eq!(seen, expected);
    let from: Vec<_> =
        requests(&fake.script.watch).into_iter().map(|request| request.after_revision).collect();
    assert_eq!(from, [None, Some(1), Some(1), Some(2), Some(2)]);
}

#[tokio::test]
async fn a_watched_submission_is_repeated_until_it_is_heard_of_and_then_resumed() {
    use watch_operation_response::Type::*;
    let fake = fake().await;
    let submissions = [
        vec![unavailable()],
        vec![],
        vec![watched(Snapshot, 1, false), watched(Transition, 2, false), unavailable()],
    ];
    play(&fake.script.submit_and_watch, submissions);
    play(&fake.script.watch, [vec![], vec![watched(Transition, 3, true)]]);
    play(&fake.script.get, [Ok(operation(2, false))]);
    let request = SubmitRequest { kind: "test".to_owned(), ..SubmitRequest::default() };
    let watch = fake.client.submit_and_watch(request.clone());
    let messages: Vec<_> = watch.into_stream().try_collect().await.unwrap();
    let seen: Vec<_> =
        messages.iter().map(|message| (message.r#type(), message.revision)).collect();
    assert_eq!(seen, [(Snapshot, 1), (Transition, 2), (Transition, 3)]);
    let asked = requests(&fake.script.submit_and_watch);
    assert_eq!(asked.len(), 3);
    let key = &asked[0].idempotency_key;
    assert!(!key.is_empty() && asked.iter().all(|again| again.idempotency_key == *key));
    for resumed in requests(&fake.script.watch) {
        assert_eq!((resumed.name.as_str(), resumed.after_revision), ("operations/1", Some(2)));
        assert!(resumed.include_progress);
    }

    let exhausted = vec![Err(Status::resource_exhausted("too much"))];
    play(&fake.script.submit_and_watch, [exhausted]);
    let mut refused = fake.client.submit_and_watch(request);
    assert_eq!(refused.next().await.unwrap().unwrap_err().code(), Code::ResourceExhausted);
    assert!(refused.next().await.is_none());
    assert_eq!(requests(&fake.script.submit_and_watch).len(), 4);
}

#[tokio::test]
async fn a_watch_behind_the_last_transition_ends() {
    let fake = fake().await;
    play(&fake.script.watch, [vec![]]);
    play(&fake.script.get, [Ok(operation(4, true))]);
    let request = WatchOperationRequest {
        name: "x".to_owned(),
        after_revision: Some(4),
        ..Default::default()
    };
    assert!(fake.client.watch(request).next().await.is_none());
}

#[tokio::test]
async fn a_watch_of_nothing_fails_once_and_ends() {
    let fake = fake().await;
    play(&fake.script.watch, [vec![Err(Status::not_found("no such operation"))]]);
    let mut watch = fake.client.watch(WatchOperationRequest::default());
    assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::NotFound);
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_wait_goes_on_until_done_or_its_own_limit() {
    let fake = fake().await;
    play(&fake.script.wait, [Ok(operation(2, false)), unavailable(), Ok(operation(3, true))]);
    assert!(fake.client.wait("x", None).await.unwrap().done);
    play(&fake.script.wait, [Ok(operation(2, false)), Ok(operation(2, false))]);
    let limit = Some(Duration::from_millis(1_500));
    assert!(!fake.client.wait("x", limit).await.unwrap().done);
    let last = requests(&fake.script.wait).pop().unwrap().timeout.unwrap();
    assert!(last.seconds <= 1, "{last:?}");
}

#[tokio::test]
async fn a_wait_has_begun_with_the_first_answer_which_comes_at_once() {
    let fake = fake().await;
    let client = fake.client.clone().with_retries(0);
    // Nobody listens there, ever.
    let nowhere = Client::connect_lazy("127.0.0.1:0").unwrap().with_retries(1);
    let error = nowhere.wait("x", None).await.unwrap_err();
    assert!(error.code() == Code::Unavailable && !error.was_reached());
    play(&fake.script.wait, [Ok(operation(2, false)), unavailable(), Ok(operation(3, true))]);
    assert!(client.wait("x", None).await.unwrap().done);
    let asked: Vec<i64> =
        requests(&fake.script.wait).iter().map(|it| it.timeout.unwrap().seconds).collect();
    assert_eq!(asked, [0, 25, 25]);
    // The submission's answer was one.
    play(&fake.script.wait, [unavailable(), Ok(operation(3, true))]);
    assert!(client.wait_on(&operation(1, false), None).await.unwrap().done);
}

#[tokio::test]
async fn a_filter_watch_tells_its_reader_when_it_begins_again() {
    use watch_operations_response::Type::*;
    let message = |r#type: watch_operations_response::Type, position: &str| {
        let (r#type, position) = (r#type.into(), position.to_owned());
        Ok(WatchOperationsResponse { r#type, position, ..Default::default() })
    };
    let fake = fake().await;
    play(
        &fake.script.watch_all,
        [
            vec![message(Synced, "a"), message(Heartbeat, "b"), message(Transition, "c")],
            vec![message(Transition, "d"), message(Heartbeat, "e")],
            vec![message(Reset, "")],
            vec![message(Current, "f"), message(Synced, "g")],
            vec![Err(Status::permission_denied("no more"))],
        ],
    );
    let request = WatchOperationsRequest { skip_current: true, ..Default::default() };
    let mut watch = fake.client.watch_operations(request);
    // A stream that ended behind a RESET is begun again, which is said again.
    for expected in [Synced, Transition, Transition, Reset, Reset, Current, Synced] {
        assert_eq!(watch.next().await.unwrap().unwrap().r#type(), expected);
    }
    assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::PermissionDenied);
    assert!(watch.next().await.is_none());
    let asked = requests(&fake.script.watch_all).into_iter();
    let asked: Vec<_> = asked.map(|it| (it.after_position, it.skip_current)).collect();
    let asked: Vec<_> = asked.iter().map(|(after, skip)| (after.as_str(), *skip)).collect();
    assert_eq!(asked, [("", true), ("c", true), ("e", true), ("", false), ("g", false)]);
}

#[tokio::test]
async fn a_result_goes_on_where_it_broke_off() {
    let chunk = |content_type: &str, data: &'static [u8]| {
        let (content_type, data) = (content_type.to_owned(), data.into());
        Ok(ReadResultResponse { content_type, size_bytes: 6, data })
    };
    let fake = fake().await;
    play(
        &fake.script.read,
        [
            vec![chunk("text/csv", b"ab"), chunk("", b"c"), unavailable()],
            vec![chunk("text/csv", b"d")],
            vec![chunk("text/csv", b"ef")],
        ],
    );
    let result = fake.client.read_result("x").await.unwrap();
    assert_eq!((result.content_type.as_str(), &result.data[..]), ("text/csv", &b"abcdef"[..]));
    let offsets: Vec<_> =
        requests(&fake.script.read).into_iter().map(|request| request.offset_bytes).collect();
    assert_eq!(offsets, [0, 3, 4]);
    // An empty result is a result; a stream without any message is none.
    play(&fake.script.read, [vec![Ok(ReadResultResponse::default())], vec![]]);
    assert!(fake.client.read_result("x").await.unwrap().data.is_empty());
    assert_eq!(fake.client.read_result("x").await.unwrap_err().code(), Code::DataLoss);
}

#[tokio::test]
async fn all_pages_are_read_under_one_filter() {
    let page = |revisions: &[i64], next: &str| {
        let operations = revisions.iter().map(|revision| operation(*revision, true)).collect();
        Ok(ListOperationsResponse { operations, next_page_token: next.to_owned() })
    };
    let fake = fake().await;
    play(&fake.script.list, [page(&[1, 2], "p2"), page(&[], "p3"), page(&[3], "")]);
    let request = ListOperationsRequest { filter: "done=true".to_owned(), ..Default::default() };
    let all: Vec<_> = fake.client.list_all(request).try_collect().await.unwrap();
    assert_eq!(all.iter().map(|one| one.revision).collect::<Vec<_>>(), [1, 2, 3]);
    let asked = requests(&fake.script.list);
    assert!(asked.iter().all(|request| request.filter == "done=true"));
    assert_eq!(asked.iter().map(|r| r.page_token.as_str()).collect::<Vec<_>>(), ["", "p2", "p3"]);
}

#[tokio::test]
async fn what_is_typed_goes_to_a_worker_and_comes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = ServeConfig::default();
    config.listen.addr.set_port(0);
    config.store.url = StoreUrl::Sqlite(directory.path().join("longrun.db"));
    let server = Server::bind(config).await.expect("a server");
    let client = server.local_client();
    let sum = |_context, numbers: Vec<i64>| async move { Ok(numbers.iter().sum::<i64>()) };
    let worker = Worker::new(client.clone()).json_handler("sum", sum);
    let stop = CancellationToken::new();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(worker.run(stop.clone()).map(|worked| worked.expect("a worker")));
    running.spawn(server.run(stop.clone()).map(|stopped| _ = stopped.expect("a server")));

    let submission = || {
        let submission = Submission::new("sum").json(&[1, 2, 3]).label("team", "maps");
        submission.idempotency_key("once").deadline(Duration::from_secs(60)).priority(7)
    };
    let operation = client.submit(submission()).await.expect("an operation");
    assert_eq!(client.submit(submission()).await.expect("the same").name, operation.name);
    let done = client.wait(&operation.name, None).await.expect("its end");
    assert_eq!(done.settings.as_ref().map(|it| it.priority), Some(7));
    assert_eq!(done.labels["team"], "maps");
    let result = client.read_result(&operation.name).await.expect("a result");
    assert_eq!(result.json::<i64>().expect("a number"), 6);

    let wrong = client.submit(Submission::new("sum").json("no list")).await.expect("another");
    let failed = client.wait(&wrong.name, None).await.expect("its end");
    let error = failed.error.expect("an error");
    assert_eq!((error.code.as_str(), failed.attempt), ("INVALID_INPUT", 1));
    let cannot = std::collections::BTreeMap::from([((1, 2), 3)]);
    let refused = client.submit(Submission::new("sum").json(&cannot)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended.expect("an end");
    }
}
