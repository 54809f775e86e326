//! Calls as no stub makes them, frame by frame: what is refused says so, and executes nothing.

use std::net::SocketAddr;

use bytes::Bytes;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::{HeaderMap, Method, Request};
use tonic::{Code, Status};

use crate::support::*;

const SUBMIT: &str = "/longrun.v1.Operations/Submit";

/// What came back: the HTTP status, the header, and the trailers or, where there are none, the header again.
struct Answer {
    status: u16,
    header: HeaderMap,
    trailers: HeaderMap,
}

impl Answer {
    fn refused(&self) -> Refused {
        Refused::read(&Status::from_header_map(&self.trailers).expect("a status"))
    }
}

/// A message with the prefix that gRPC gives it.
fn framed(message: &impl prost::Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat()
}

/// A call over HTTP/2 with these header fields.
async fn call(addr: SocketAddr, method: Method, fields: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let socket = TcpStream::connect(addr).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = spawn(connection);
    let mut client = client.ready().await.unwrap();
    let mut request = Request::builder().method(method).uri(format!("http://{addr}{SUBMIT}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (response, mut sending) = client.send_request(request.body(()).unwrap(), false).unwrap();
    // A refusal need not wait for the body.
    let _ = sending.send_data(Bytes::from(body), true);
    let (head, mut body) = soon(response).await.unwrap().into_parts();
    while let Some(data) = soon(body.data()).await {
        let _ = body.flow_control().release_capacity(data.unwrap().len());
    }
    let trailers = soon(body.trailers()).await.unwrap();
    connection.abort();
    Answer {
        status: head.status.as_u16(),
        trailers: trailers.unwrap_or_else(|| head.headers.clone()),
        header: head.headers,
    }
}

#[tokio::test]
async fn what_is_not_grpc_is_refused_and_executes_nothing() {
    let server = TestServer::start().await;
    let body = framed(&submission("demo"));
    for content_type in
        ["application/grpcfoo", "application/grpc+json", "application/grpc-web+json", "text/plain"]
    {
        let fields = [("content-type", content_type)];
        let answer = call(server.addr, Method::POST, &fields, body.clone()).await;
        assert_eq!(answer.status, 415, "{content_type}");
        let mut socket = TcpStream::connect(server.addr).await.unwrap();
        let head = format!(
            "POST {SUBMIT} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            server.addr,
            body.len()
        );
        socket.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        let mut answer = Vec::new();
        soon(socket.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 415 "), "{content_type}");
    }
    let grpc = [("content-type", "application/grpc")];
    let answer = call(server.addr, Method::PUT, &grpc, body.clone()).await;
    assert_eq!((answer.status, answer.header["allow"].to_str().unwrap()), (405, "POST"));
    let two = [body.clone(), body.clone()].concat();
    let refused = call(server.addr, Method::POST, &grpc, two).await.refused();
    refused.is(Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(server.matching("").await, <[String; 0]>::default());

    for content_type in ["application/grpc", "application/grpc+proto", "Application/gRPC; a=b"] {
        let fields = [("content-type", content_type)];
        let answer = call(server.addr, Method::POST, &fields, body.clone()).await;
        assert_eq!(answer.trailers["grpc-status"], "0", "{content_type}");
    }
    assert_eq!(server.matching("").await.len(), 3);
}

#[tokio::test]
async fn encodings_that_are_unknown_are_named_with_those_that_are_known() {
    let server = TestServer::start().await;
    let fields = [("content-type", "application/grpc"), ("grpc-encoding", "br")];
    let answer = call(server.addr, Method::POST, &fields, framed(&submission("demo"))).await;
    assert_eq!(answer.header["grpc-accept-encoding"], "identity,gzip");
    let refused = answer.refused();
    refused.is(Code::Unimplemented, "UNIMPLEMENTED");
    assert!(refused.message.contains("`br`"), "{refused:?}");
}

#[tokio::test]
async fn gzip_goes_both_ways() {
    let server = TestServer::start().await;
    let mut client = OperationsClient::new(server.channel.clone())
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    let input = text(&"compressible ".repeat(2_000));
    let request = SubmitRequest { input: Some(input.clone()), ..submission("demo") };
    let small = soon(client.submit(request)).await.unwrap();
    assert_eq!(small.metadata().get("grpc-accept-encoding").unwrap(), "identity,gzip");
    let name = small.into_inner().name;
    let large = client.get_operation(GetOperationRequest { name, view: 0 });
    let large = soon(large).await.unwrap();
    assert_eq!(large.metadata().get("grpc-encoding").unwrap(), "gzip");
    assert_eq!(large.into_inner().input.unwrap().content, input.content);
    // What is small when compressed and large when not is bounded as if it had come so.
    let request = SubmitRequest { input: Some(data(vec![0; 64 << 20])), ..submission("demo") };
    let refused = soon(client.submit(request)).await.refused();
    refused.is(Code::InvalidArgument, "PAYLOAD_TOO_LARGE");
}
