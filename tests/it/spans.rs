//! Spans: one trace from the submission to the result, as a collector of OpenTelemetry receives it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longrun::proto::v1::*;
use longrun::proto::v1::{Settings, operations_client::OperationsClient};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::support::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SUBMITTER: &str = "00f067aa0ba902b7";

/// A collector that keeps what it receives.
#[derive(Clone, Debug, Default)]
struct Collector(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The name of the service, and its span.
    spans: Mutex<Vec<(String, Span)>>,
    arrived: Notify,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_resource in request.into_inner().resource_spans {
            let attributes = of_resource.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|it| it.key == "service.name");
            let name = match name.and_then(|name| name.value?.value) {
                Some(Value::StringValue(name)) => name,
                other => panic!("{other:?}"),
            };
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let spans = spans.map(|span| (name.clone(), span));
            self.0.spans.lock().unwrap().extend(spans);
        }
        self.0.arrived.notify_waiters();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, SocketAddr, JoinHandle<()>) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        (collector, address, spawn(async { server.await.unwrap() }))
    }

    fn find(&self, name: &str) -> Option<Span> {
        let spans = self.0.spans.lock().unwrap();
        spans.iter().find(|(_, span)| span.name == name).map(|(_, span)| span.clone())
    }

    /// The first span of this name.
    async fn span(&self, name: &str) -> Span {
        soon(async {
            loop {
                let arrived = self.0.arrived.notified();
                if let Some(span) = self.find(name) {
                    return span;
                }
                arrived.await;
            }
        })
        .await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    found.and_then(|attribute| attribute.value.clone()?.value)
}

fn text(span: &Span, key: &str) -> String {
    match attribute(span, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key}: {other:?} in {span:?}"),
    }
}

async fn server(collector: SocketAddr) -> TestServer {
    let endpoint = format!("http://{collector}");
    TestServer::with(|config| config.tracing.otlp_endpoint = Some(endpoint)).await
}

async fn submit(api: &Api, request: SubmitRequest, flags: &str) -> Operation {
    let mut request = Request::new(request);
    let parent = format!("00-{TRACE}-{SUBMITTER}-{flags}");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request.metadata_mut().insert("tracestate", "congo=t61rcWkgMzE".parse().unwrap());
    let mut operations: OperationsClient<_> = api.operations();
    soon(operations.submit(request)).await.unwrap().into_inner()
}

fn span_of(traceparent: &str) -> &str {
    traceparent.split('-').nth(2).unwrap()
}

#[tokio::test]
async fn one_trace_goes_from_the_submission_to_the_result_across_a_restart() {
    let (collector, address, _serving) = Collector::start().await;
    let mut server = server(address).await;
    let retries = RetryPolicy {
        max_attempts: 2,
        initial_backoff: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }),
        ..RetryPolicy::default()
    };
    let settings = Settings { retry_policy: Some(retries), ..Settings::default() };
    let request = with_settings(submission("a"), settings);
    let submitted = submit(&server.api, request, "01").await;
    assert!(submitted.trace_parent.starts_with(&format!("00-{TRACE}-")));
    assert_eq!(submitted.trace_state, "congo=t61rcWkgMzE");

    let mut worker = server.worker("a", 1).await;
    let first = worker.assignment().await;
    worker.fail(&first, "BUSY").await;
    let second = worker.assignment().await;
    let attempt = attempt_of(&second).unwrap();
    let session = worker.disconnect();
    server.restart().await;
    // The spans of before were sent when the server stopped.
    let submission = collector.find("longrun.v1.Operations/Submit").unwrap();
    let failed = collector.find("attempt a").unwrap();
    let queued = collector.find("queue a").unwrap();

    let hello = Hello { session_id: session.session_id, running: vec![attempt], ..hello("a", 1) };
    let mut worker = TestWorker::connect(&server.api, hello).await;
    collector.0.spans.lock().unwrap().clear();
    worker.complete(&second, None).await;
    soon(server.stop()).await;
    let succeeded = collector.span("attempt a").await;

    for span in [&submission, &queued, &failed, &succeeded] {
        assert_eq!(hex(&span.trace_id), TRACE, "{span:?}");
    }
    assert_eq!(hex(&submission.parent_span_id), SUBMITTER);
    assert_eq!(hex(&submission.span_id), span_of(&submitted.trace_parent));
    assert_eq!(text(&submission, "rpc.system.name"), "grpc");
    assert_eq!(text(&submission, "rpc.method"), "longrun.v1.Operations/Submit");
    assert_eq!(text(&submission, "rpc.response.status_code"), "OK");
    for span in [&queued, &failed, &succeeded] {
        assert_eq!(span.parent_span_id, submission.span_id);
        assert_eq!(span.links[0].span_id, submission.span_id);
        assert_eq!(text(span, "longrun.operation.name"), submitted.name);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
    assert!(matches!(attribute(&failed, "longrun.queue.duration"), Some(Value::DoubleValue(_))));
    assert_eq!(text(&failed, "error.type"), "BUSY");
    assert_eq!(text(&succeeded, "longrun.operation.state"), "SUCCEEDED");
    assert_eq!(succeeded.links[1].span_id, failed.span_id, "what was tried before");
    assert_eq!(queued.end_time_unix_nano, failed.start_time_unix_nano);
    // Workers were told the spans of their attempts before there were any.
    let told = |assignment: &Assignment| {
        span_of(&assignment.operation.as_ref().unwrap().trace_parent).to_owned()
    };
    assert_eq!(told(&first), hex(&failed.span_id));
    assert_eq!(told(&second), hex(&succeeded.span_id));
    let services = collector.0.spans.lock().unwrap();
    assert!(services.iter().all(|(service, _)| service == "longrun"), "{services:?}");
}

#[tokio::test]
async fn what_the_submitter_does_not_sample_has_no_spans() {
    let (collector, address, _serving) = Collector::start().await;
    let mut server = server(address).await;
    submit(&server.api, submission("a"), "00").await;
    let mut worker = server.worker("a", 1).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, None).await;
    server.submit(submission("b")).await;
    drop(worker);
    server.stop().await;
    collector.span("longrun.v1.Operations/Submit").await;
    let spans = collector.0.spans.lock().unwrap();
    assert!(spans.iter().all(|(_, span)| hex(&span.trace_id) != TRACE), "{spans:?}");
}

#[tokio::test]
async fn a_request_over_http_has_its_route_and_no_token() {
    let (collector, address, _serving) = Collector::start().await;
    let mut server = server(address).await;
    let url = format!("http://{}", server.addr);
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Full<bytes::Bytes>>();
    for path in ["/v1/operations/01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e", "/v1/shares/lrs_secret"] {
        soon(client.get(format!("{url}{path}").parse().unwrap())).await.unwrap();
    }
    drop(client);
    server.stop().await;
    let span = collector.span("GET /v1/operations/{id}").await;
    assert_eq!(text(&span, "http.route"), "/v1/operations/{id}");
    assert_eq!(attribute(&span, "http.response.status_code"), Some(Value::IntValue(404)));
    let spans = format!("{:?}", collector.0.spans.lock().unwrap());
    assert!(!spans.contains("lrs_secret"), "{spans}");
}

#[tokio::test]
async fn a_collector_that_is_away_harms_nothing() {
    // Taken, and closed at once.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut server = server(address).await;
    for _ in 0..100 {
        server.submit(submission("a")).await;
    }
    let stopped = tokio::time::timeout(Duration::from_secs(9), server.stop()).await;
    assert_eq!(stopped.unwrap(), longrun::server::Stopped::Drained);
}
