//! Calls that never reach the service: their refusals carry the same details as all others.

use longrun::proto::v1::*;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};

use crate::support::*;

/// Sends `message` to `path`, whatever that path takes.
async fn refusal<M>(server: &TestServer, path: &'static str, message: M) -> Refused
where
    M: prost::Message + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(server.channel.clone());
    soon(grpc.ready()).await.unwrap();
    let codec = tonic_prost::ProstCodec::<M, Operation>::default();
    let path = PathAndQuery::from_static(path);
    let status = soon(grpc.unary(Request::new(message), path, codec)).await.unwrap_err();
    Refused::read(&status)
}

#[tokio::test]
async fn a_message_beyond_every_limit_is_refused_like_a_payload() {
    let server = TestServer::start().await;
    let request = SubmitRequest { input: Some(data(vec![0; 10 << 20])), ..submission("demo") };
    let refused = refusal(&server, "/longrun.v1.Operations/Submit", request).await;
    refused.is(Code::InvalidArgument, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_fault() {
    let server = TestServer::start().await;
    // Where a submission has its kind, a text, this has a number.
    let line = LogLine { number: 5, ..LogLine::default() };
    let refused = refusal(&server, "/longrun.v1.Operations/Submit", line).await;
    refused.is(Code::InvalidArgument, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn unknown_methods_and_services_are_unimplemented() {
    let server = TestServer::start().await;
    for path in ["/longrun.v1.Operations/Pause", "/longrun.v2.Operations/Submit"] {
        let refused = refusal(&server, path, submission("demo")).await;
        refused.is(Code::Unimplemented, "ROUTE_NOT_FOUND");
    }
}
