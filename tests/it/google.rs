//! Operations as `google.longrunning.Operations` shows them.

use longrun::proto::google::api::HttpBody;
use longrun::proto::google::longrunning::operation::Result as Ending;
use longrun::proto::google::longrunning::operations_client::OperationsClient;
use longrun::proto::google::longrunning::{
    CancelOperationRequest, GetOperationRequest, ListOperationsRequest, ListOperationsResponse,
    Operation,
};
use longrun::proto::google::rpc;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::{
    self, Complete, Error, Fail, HttpEnvelope, HttpHeader, OperationMetadata, Payload, Progress,
    SubmitRequest, payload,
};
use prost::Message as _;
use prost_types::Any;
use prost_types::value::Kind;
use tonic::transport::Channel;

use crate::large;
use crate::support::*;

pub(crate) fn rpc(api: &Api) -> OperationsClient<Channel> {
    OperationsClient::new(api.channel.clone())
}

/// The name that Google's clients are given.
pub(crate) fn named(name: &str) -> String {
    format!("tenants/default/{name}")
}

pub(crate) async fn get(api: &Api, name: &str) -> Operation {
    let request = GetOperationRequest { name: named(name) };
    soon(rpc(api).get_operation(request)).await.unwrap().into_inner()
}

async fn cancel(api: &Api, name: &str) {
    let request = CancelOperationRequest { name: named(name) };
    soon(rpc(api).cancel_operation(request)).await.unwrap();
}

pub(crate) async fn list(api: &Api, request: ListOperationsRequest) -> ListOperationsResponse {
    soon(rpc(api).list_operations(request)).await.unwrap().into_inner()
}

/// What every operation has: its metadata, of the one type that there is.
#[track_caller]
pub(crate) fn metadata(operation: &Operation) -> v1::Operation {
    let metadata = operation.metadata.as_ref().unwrap();
    assert_eq!(metadata.type_url, "type.googleapis.com/longrun.v1.OperationMetadata");
    OperationMetadata::decode(metadata.value.as_slice()).unwrap().operation.unwrap()
}

#[track_caller]
fn response(operation: &Operation) -> &Any {
    assert!(operation.done);
    match &operation.result {
        Some(Ending::Response(response)) => response,
        other => panic!("{other:?} is no response"),
    }
}

#[track_caller]
pub(crate) fn error(operation: &Operation) -> (&rpc::Status, rpc::ErrorInfo) {
    assert!(operation.done);
    let Some(Ending::Error(status)) = &operation.result else {
        panic!("{:?} is no error", operation.result)
    };
    let info = detail::<rpc::ErrorInfo>(status, "google.rpc.ErrorInfo").expect("an ErrorInfo");
    (status, info)
}

fn detail<M: prost::Message + Default>(status: &rpc::Status, name: &str) -> Option<M> {
    let of_type = |any: &&Any| any.type_url == format!("type.googleapis.com/{name}");
    let found = status.details.iter().find(of_type)?;
    Some(M::decode(found.value.as_slice()).unwrap())
}

/// An operation that has succeeded with this result.
async fn succeeded(api: &Api, worker: &mut TestWorker, result: Option<Payload>) -> Operation {
    let name = api.submit(submission("demo")).await.name;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, result).await;
    get(api, &name).await
}

fn of(content: payload::Content, content_type: &str) -> Option<Payload> {
    let content_type = content_type.to_owned();
    Some(Payload { content: Some(content), content_type, ..Payload::default() })
}

fn message(type_url: &str, value: &[u8]) -> Option<Payload> {
    let any = Any { type_url: type_url.to_owned(), value: value.to_vec() };
    of(payload::Content::Any(any), "")
}

#[tokio::test]
async fn an_operation_has_metadata_of_one_type_throughout_and_one_ending_when_it_is_done() {
    let server = TestServer::start().await;
    let labels = (0..20).map(|n| (format!("key{n}"), "value".to_owned())).collect();
    let submitted = server.submit(SubmitRequest { labels, ..submission("demo") }).await;
    let queued = get(&server, &submitted.name).await;
    assert_eq!(queued.name, format!("tenants/default/{}", submitted.name));
    assert!(!queued.done && queued.result.is_none());
    assert_eq!(metadata(&queued), submitted);

    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let running = get(&server, &submitted.name).await;
    assert_eq!(metadata(&running).state(), State::Running);
    assert!(!running.done && running.result.is_none());
    worker.progress(&assignment, Progress { percent: Some(40.0), ..Progress::default() }).await;
    worker.log(&assignment, &["behind the progress"]).await;
    let progressed = get(&server, &submitted.name).await;
    assert_eq!(metadata(&progressed).progress.unwrap().percent, Some(40.0));

    worker.complete(&assignment, Some(text("result"))).await;
    let done = get(&server, &submitted.name).await;
    assert_eq!(metadata(&done).state(), State::Succeeded);
    assert_eq!(metadata(&done).labels, submitted.labels);
    response(&done);
}

#[tokio::test]
async fn bytes_are_the_same_while_nothing_has_changed() {
    let mut server = TestServer::start().await;
    let labels = (0..40).map(|n| (format!("key{n}"), n.to_string())).collect();
    let name = server.submit(SubmitRequest { labels, ..submission("demo") }).await.name;
    let queued = get(&server, &name).await.encode_to_vec();
    for _ in 0..5 {
        assert_eq!(get(&server, &name).await.encode_to_vec(), queued);
    }
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let facts = (0..40).map(|n| (format!("fact{n}"), n.to_string())).collect();
    let cause = Error { code: "Cause".to_owned(), metadata: facts, ..Error::default() };
    let facts = cause.metadata.clone();
    let code = "DeviceNotExists".to_owned();
    let error = Error { code, metadata: facts, causes: vec![cause], ..Error::default() };
    let attempt = attempt_of(&assignment);
    let fail = Fail { attempt, error: Some(error), r#final: true, ..Fail::default() };
    assert_eq!(worker.try_fail(fail).await, None);
    let done = get(&server, &name).await.encode_to_vec();
    assert_eq!(get(&server, &name).await.encode_to_vec(), done);
    drop(worker);
    server.restart().await;
    assert_eq!(get(&server, &name).await.encode_to_vec(), done);
    let listed = list(&server, ListOperationsRequest::default()).await.operations;
    assert_eq!(listed[0].encode_to_vec(), done);
}

#[tokio::test]
async fn a_message_comes_as_its_worker_sent_it_whether_its_type_is_known_or_not() {
    let server = TestServer::start().await;
    let mut worker = server.worker("demo", 1).await;
    for (type_url, value) in [
        ("type.googleapis.com/acme.v1.Report", &b"\x08\x96\x01"[..]),
        ("types.example.com/deep/acme.v1.Report", b"\xff\xff\xff not even a message"),
        ("type.googleapis.com/google.protobuf.Empty", b""),
    ] {
        let done = succeeded(&server, &mut worker, message(type_url, value)).await;
        let response = response(&done);
        assert_eq!((response.type_url.as_str(), response.value.as_slice()), (type_url, value));
    }
}

#[tokio::test]
async fn json_is_a_value_other_contents_a_body_and_nothing_is_empty() {
    let server = TestServer::start().await;
    let mut worker = server.worker("demo", 1).await;
    let value = prost_types::Value { kind: Some(Kind::NumberValue(1.5)) };
    let response_of = |done: &Operation| {
        let response = response(done).clone();
        (response.type_url.replace("type.googleapis.com/", ""), response.value)
    };
    let bytes = payload::Content::Data("1.5".into());
    for json in [
        of(payload::Content::Json(value.clone()), ""),
        of(bytes.clone(), "application/json"),
        of(bytes, "application/problem+json; charset=utf-8"),
    ] {
        let done = succeeded(&server, &mut worker, json).await;
        let expected = ("google.protobuf.Value".to_owned(), value.encode_to_vec());
        assert_eq!(response_of(&done), expected);
    }

    let broken = of(payload::Content::Data("{".into()), "application/json").unwrap();
    let body = |content_type: &str, data: &'static [u8]| {
        let data = bytes::Bytes::from_static(data);
        HttpBody { content_type: content_type.to_owned(), data, extensions: Vec::new() }
    };
    for (result, expected) in [
        (text("hello"), body("text/plain; charset=utf-8", b"hello")),
        (text(""), body("text/plain; charset=utf-8", b"")),
        (data(&b"\xff"[..]), body("application/octet-stream", b"\xff")),
        (broken, body("application/json", b"{")),
    ] {
        let (name, bytes) = response_of(&succeeded(&server, &mut worker, Some(result)).await);
        assert_eq!(name, "google.api.HttpBody");
        assert_eq!(HttpBody::decode(bytes.as_slice()).unwrap(), expected);
    }

    let header = HttpHeader { name: "x-count".to_owned(), value: "7".to_owned() };
    let http = HttpEnvelope { status: 201, headers: vec![header], ..HttpEnvelope::default() };
    let json = Some(payload::Content::Json(value));
    let recorded = Payload { http: Some(http.clone()), content: json, ..Payload::default() };
    let (_, bytes) = response_of(&succeeded(&server, &mut worker, Some(recorded)).await);
    let HttpBody { data, extensions, .. } = HttpBody::decode(bytes.as_slice()).unwrap();
    assert_eq!(&data[..], b"1.5");
    assert_eq!(extensions.len(), 1);
    assert_eq!(extensions[0].type_url, "type.googleapis.com/longrun.v1.HttpEnvelope");
    assert_eq!(HttpEnvelope::decode(extensions[0].value.as_slice()).unwrap(), http);

    let (name, bytes) = response_of(&succeeded(&server, &mut worker, None).await);
    assert_eq!((name.as_str(), bytes.len()), ("google.protobuf.Empty", 0));
}

#[tokio::test]
async fn large_results_are_carried_as_far_as_a_message_has_room() {
    let (server, _objects) = large::a_server().await;
    let mut worker = server.worker("demo", 1).await;
    let url = "type.googleapis.com/acme.v1.Report";
    for size in [2_000, 3 << 20] {
        let done = succeeded(&server, &mut worker, message(url, &vec![7; size])).await;
        assert_eq!((response(&done).type_url.as_str(), response(&done).value.len()), (url, size));
    }
    // In a list, what operations carry within themselves.
    let done = succeeded(&server, &mut worker, message(url, &vec![7; 3_500_000])).await;
    let listed = list(&server, ListOperationsRequest::default()).await.operations;
    assert_eq!(listed.len(), 3);
    for operation in listed.iter().chain([&done]) {
        let response = response(operation);
        assert_eq!(response.type_url, "type.googleapis.com/longrun.v1.Payload");
        let payload = Payload::decode(response.value.as_slice()).unwrap();
        assert!(payload.omitted && payload.content.is_none() && payload.size_bytes >= 2_000);
    }
    // Each element takes many times its two characters.
    let zero = prost_types::Value { kind: Some(Kind::NumberValue(0.0)) };
    let zeros = Kind::ListValue(prost_types::ListValue { values: vec![zero; 400_000] });
    let zeros = prost_types::Value { kind: Some(zeros) };
    let zeros = of(payload::Content::Json(zeros), "");
    let done = succeeded(&server, &mut worker, zeros).await;
    assert_eq!(response(&done).type_url, "type.googleapis.com/longrun.v1.Payload");
}

#[tokio::test]
async fn failures_have_their_own_code_and_cancels_have_code_1() {
    let server = TestServer::start().await;
    let mut worker = server.worker("demo", 1).await;
    let name = server.submit(submission("demo")).await.name;
    let assignment = worker.assignment().await;
    let cause = Error { code: "RowMissing".to_owned(), ..Error::default() };
    let why = Error {
        code: "DeviceNotExists".to_owned(),
        message: "no device 7".to_owned(),
        status_code: 5,
        metadata: [("device".to_owned(), "7".to_owned())].into(),
        causes: vec![cause],
        ..Error::default()
    };
    let attempt = attempt_of(&assignment);
    let fail = Fail { attempt, error: Some(why), r#final: true, ..Fail::default() };
    assert_eq!(worker.try_fail(fail).await, None);
    let failed = get(&server, &name).await;
    let (status, info) = error(&failed);
    assert_eq!((status.code, status.message.as_str()), (5, "no device 7"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("DeviceNotExists", "demo"));
    assert_eq!(info.metadata, [("device".to_owned(), "7".to_owned())].into());
    let whole = detail::<Error>(status, "longrun.v1.Error").unwrap();
    assert_eq!(whole.causes[0].code, "RowMissing");

    // A message for people is there even if the worker gave none.
    let name = server.submit(with_settings(submission("demo"), attempts(1))).await.name;
    let assignment = worker.assignment().await;
    worker.fail(&assignment, "Mute").await;
    assert_eq!(error(&get(&server, &name).await).0.message, "Mute");

    let name = server.submit(submission("nobody")).await.name;
    cancel(&server, &name).await;
    let ended = get(&server, &name).await;
    let (status, info) = error(&ended);
    assert_eq!((status.code, info.reason.as_str()), (1, "CANCELLED"));
    assert_eq!(info.domain, "longrun");
    // Again: success, and nothing changes.
    cancel(&server, &name).await;
    assert_eq!(get(&server, &name).await, ended);
}

#[tokio::test]
async fn a_cancel_that_a_worker_honours_in_its_own_words_still_has_code_1() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    cancel(&server, &name).await;
    assert!(!get(&server, &name).await.done);
    worker.told_to_stop().await;
    worker.fail(&assignment, "Interrupted").await;
    let ended = get(&server, &name).await;
    assert_eq!(error(&ended).0.code, 1);
    assert_eq!(metadata(&ended).state(), State::Cancelled);
}

#[tokio::test]
async fn a_partial_success_has_a_response_and_its_errors_in_the_metadata() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let wrong = Error { code: "RowSkipped".to_owned(), ..Error::default() };
    let attempt = attempt_of(&assignment);
    let complete = Complete { attempt, errors: vec![wrong], ..Complete::default() };
    assert_eq!(worker.try_complete(complete).await, None);
    let done = get(&server, &name).await;
    assert_eq!(response(&done).type_url, "type.googleapis.com/google.protobuf.Empty");
    assert_eq!(metadata(&done).errors[0].code, "RowSkipped");
}
