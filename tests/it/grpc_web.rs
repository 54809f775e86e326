//! gRPC-Web, as browsers send it: both forms, over HTTP/1.1 and HTTP/2, frame by frame.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use longrun::proto::v1::watch_operation_response::Type as WatchType;
use longrun::proto::v1::*;
use tokio::net::TcpStream;
use tonic::codegen::http::{HeaderMap, Method, Request, StatusCode, Version};
use tonic::{Code, Status};

use crate::support::*;

const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text+proto";
const SUBMIT: &str = "/longrun.v1.Operations/Submit";
const GET: &str = "/longrun.v1.Operations/GetOperation";
const WATCH: &str = "/longrun.v1.Operations/WatchOperation";
const APP: &str = "https://app.example.com";

/// An answer whose body is read frame by frame.
struct Answer {
    status: StatusCode,
    header: HeaderMap,
    body: Incoming,
    /// Bytes of the body that are no whole frame yet, and the end of a piece of base64.
    read: BytesMut,
    coded: Vec<u8>,
}

/// What a frame holds.
#[derive(Debug)]
enum Frame {
    Message(Bytes),
    Trailers(HeaderMap),
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.header.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The next frame; `None` at the end of the body.
    async fn frame(&mut self) -> Option<Frame> {
        let is_text = self.header("content-type") == TEXT;
        while self.read.len() < 5 || self.read.len() < 5 + length(&self.read) {
            let Some(frame) = soon(self.body.frame()).await else {
                assert!(self.read.is_empty() && self.coded.is_empty(), "ends within a frame");
                return None;
            };
            let data = frame.unwrap().into_data().unwrap_or_else(|_| panic!("HTTP has trailers"));
            if is_text {
                // Pieces are padded each by itself.
                self.coded.extend_from_slice(&data);
                let whole = self.coded.len() / 4 * 4;
                for quad in self.coded.drain(..whole).collect::<Vec<_>>().chunks(4) {
                    self.read.extend_from_slice(&STANDARD.decode(quad).unwrap());
                }
            } else {
                self.read.extend_from_slice(&data);
            }
        }
        let (kind, length) = (self.read[0], length(&self.read));
        self.read.advance(5);
        let content = self.read.split_to(length).freeze();
        Some(match kind {
            0 => Frame::Message(content),
            0x80 => Frame::Trailers(trailers(&content)),
            other => panic!("a frame of kind {other}"),
        })
    }

    async fn message<M: prost::Message + Default>(&mut self) -> M {
        match self.frame().await {
            Some(Frame::Message(bytes)) => M::decode(bytes).unwrap(),
            other => panic!("no message but {other:?}"),
        }
    }

    /// The status at the end of the body.
    async fn end(mut self) -> Status {
        let Some(Frame::Trailers(trailers)) = self.frame().await else { panic!("no trailers") };
        assert!(self.frame().await.is_none(), "nothing follows the trailers");
        Status::from_header_map(&trailers).expect("a status")
    }

    /// What the call was refused for, which is in the header, before any message.
    async fn refused(mut self, content_type: &str) -> Refused {
        assert_eq!((self.status.as_u16(), self.header("content-type")), (200, content_type));
        let status = Status::from_header_map(&self.header).expect("a status");
        assert!(self.frame().await.is_none(), "a refusal has no body");
        Refused::read(&status)
    }
}

fn length(frame: &[u8]) -> usize {
    u32::from_be_bytes(frame[1..5].try_into().unwrap()) as usize
}

fn trailers(block: &[u8]) -> HeaderMap {
    let lines = std::str::from_utf8(block).unwrap().lines();
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        assert_eq!(name, name.to_ascii_lowercase());
        (name.parse().unwrap(), value.trim().parse().unwrap())
    };
    lines.map(field).collect::<Vec<(http::HeaderName, http::HeaderValue)>>().into_iter().collect()
}

/// A message as a body of this content type.
fn framed(content_type: &str, message: &impl prost::Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let frame = [&[0], &length[..], &message].concat();
    if content_type.contains("-text") { STANDARD.encode(frame).into() } else { frame }
}

/// Sends a request on a connection of its own.
async fn send(addr: SocketAddr, version: Version, mut request: Request<Body>) -> Answer {
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let response = if version == Version::HTTP_2 {
        let uri = format!("http://{addr}{}", request.uri());
        *request.uri_mut() = uri.parse().unwrap();
        let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        spawn(connection);
        soon(client.send_request(request)).await
    } else {
        if !request.headers().contains_key("host") {
            request.headers_mut().insert("host", addr.to_string().parse().unwrap());
        }
        let (mut client, connection) = http1::handshake(io).await.unwrap();
        spawn(connection);
        soon(client.send_request(request)).await
    };
    let (parts, body) = response.unwrap().into_parts();
    let (status, header) = (parts.status, parts.headers);
    Answer { status, header, body, read: BytesMut::new(), coded: Vec::new() }
}

fn request(path: &str, fields: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(Method::POST).uri(path);
    let request =
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body.into()).unwrap()
}

async fn call(
    addr: SocketAddr,
    version: Version,
    (path, content_type): (&str, &str),
    message: &impl prost::Message,
) -> Answer {
    let fields = [("content-type", content_type)];
    send(addr, version, request(path, &fields, framed(content_type, message))).await
}

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

#[tokio::test]
async fn calls_work_in_both_forms_over_both_versions_of_http() {
    let server = TestServer::start().await;
    for version in VERSIONS {
        for (sent, answered) in [
            (BINARY, BINARY),
            ("application/grpc-web", BINARY),
            ("Application/gRPC-Web+Proto; charset=utf-8", BINARY),
            (TEXT, TEXT),
            ("application/grpc-web-text", TEXT),
        ] {
            let mut answer = call(server.addr, version, (SUBMIT, sent), &submission("demo")).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, answered));
            assert_eq!(answer.header("x-accel-buffering"), "no");
            let operation: Operation = answer.message().await;
            assert_eq!(operation.kind, "demo");
            assert_eq!(answer.end().await.code(), Code::Ok);
        }
        // A client may ask for the other form.
        let fields = [("content-type", TEXT), ("accept", "application/grpc-web")];
        let body = framed(TEXT, &submission("demo"));
        let mut answer = send(server.addr, version, request(SUBMIT, &fields, body)).await;
        assert_eq!(answer.header("content-type"), BINARY);
        let _: Operation = answer.message().await;
        assert_eq!(answer.end().await.code(), Code::Ok);
    }
    assert_eq!(server.matching("").await.len(), 12);
}

#[tokio::test]
async fn refusals_are_headers_with_all_details() {
    let server = TestServer::start().await;
    for version in VERSIONS {
        for form in [BINARY, TEXT] {
            let unnamed = GetOperationRequest { name: "nonsense".to_owned(), view: 0 };
            let answer = call(server.addr, version, (GET, form), &unnamed).await;
            let refused = answer.refused(form).await;
            refused.is(Code::InvalidArgument, "INVALID_ARGUMENT");
            assert_eq!(refused.fields(), ["name"]);
            for path in ["/longrun.v1.Operations/Nonsense", "/acme.Nonsense/Call"] {
                let answer = call(server.addr, version, (path, form), &unnamed).await;
                answer.refused(form).await.is(Code::Unimplemented, "ROUTE_NOT_FOUND");
            }
            let fields = [("content-type", form)];
            let broken = if form == TEXT { "AAAAAAH/" } else { "\0\0\0\0\x01\x7f" };
            let answer = send(server.addr, version, request(SUBMIT, &fields, broken)).await;
            answer.refused(form).await.is(Code::InvalidArgument, "INVALID_ARGUMENT");
            let large =
                SubmitRequest { input: Some(data(vec![0; 16 << 20])), ..submission("demo") };
            let answer = call(server.addr, version, (SUBMIT, form), &large).await;
            answer.refused(form).await.is(Code::InvalidArgument, "PAYLOAD_TOO_LARGE");
        }
    }
    assert_eq!(server.matching("").await, <[String; 0]>::default());
}

#[tokio::test]
async fn what_is_neither_form_is_refused_as_http_does() {
    let server = TestServer::start().await;
    for (method, form, status) in [
        (Method::POST, "application/grpc-web+json", 415),
        (Method::POST, "application/grpc-web-text+thrift", 415),
        (Method::PUT, BINARY, 405),
    ] {
        let mut request =
            request(SUBMIT, &[("content-type", form)], framed(form, &submission("a")));
        *request.method_mut() = method;
        let answer = send(server.addr, Version::HTTP_11, request).await;
        assert_eq!(answer.status.as_u16(), status, "{form}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert_eq!(server.matching("").await, <[String; 0]>::default());
}

#[tokio::test]
async fn a_watch_streams_each_transition_as_it_comes() {
    let server = TestServer::start().await;
    for (version, form) in
        [(VERSIONS[0], BINARY), (VERSIONS[0], TEXT), (VERSIONS[1], BINARY), (VERSIONS[1], TEXT)]
    {
        let operation = server.submit(submission("demo")).await;
        let watch = watch_from(&operation.name, 0);
        let mut answer = call(server.addr, version, (WATCH, form), &watch).await;
        let first: WatchOperationResponse = answer.message().await;
        assert_eq!((first.r#type(), first.revision), (WatchType::Transition, 1));
        // The first is there while the operation goes on.
        server.cancel(&operation.name, "enough").await;
        let last: WatchOperationResponse = answer.message().await;
        assert!(last.operation.unwrap().done);
        assert_eq!(answer.end().await.code(), Code::Ok);
    }
}

#[tokio::test]
async fn a_watch_ends_well_when_the_server_stops_and_at_its_deadline() {
    let mut server = TestServer::start().await;
    let operation = server.submit(submission("demo")).await;
    let body = framed(BINARY, &watch_now(&operation.name));
    let fields = [("content-type", BINARY), ("grpc-timeout", "300m")];
    let brief = request(WATCH, &fields, body);
    let mut brief = send(server.addr, Version::HTTP_11, brief).await;
    let _: WatchOperationResponse = brief.message().await;
    assert_eq!(brief.end().await.code(), Code::Ok);

    let watch = watch_now(&operation.name);
    let mut answer = call(server.addr, Version::HTTP_11, (WATCH, BINARY), &watch).await;
    let _: WatchOperationResponse = answer.message().await;
    server.stop().await;
    assert_eq!(answer.end().await.code(), Code::Ok);
}

#[tokio::test]
async fn a_body_has_its_time() {
    let server = TestServer::with(|config| {
        config.connections.body_timeout = Duration::from_millis(200);
    })
    .await;
    let (half, body) = (Bytes::from_static(b"\0\0\0"), futures_util::stream::pending());
    let half = futures_util::stream::once(async { Ok::<_, std::io::Error>(half) });
    let body = Body::from_stream(futures_util::StreamExt::chain(half, body));
    let request = request(SUBMIT, &[("content-type", BINARY)], body);
    let answer = send(server.addr, Version::HTTP_11, request).await;
    let refused = answer.refused(BINARY).await;
    assert_eq!(refused.reason, "REQUEST_TIMEOUT", "{refused:?}");
}

#[tokio::test]
async fn pages_of_named_sites_may_call_and_others_may_not() {
    let server = TestServer::with(|config| {
        config.browsers.cors_origins = vec![APP.to_owned()];
    })
    .await;
    let preflight = [
        ("origin", APP),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,x-grpc-web,x-user-agent"),
    ];
    let mut asked = request(WATCH, &preflight, "");
    *asked.method_mut() = Method::OPTIONS;
    let answer = send(server.addr, Version::HTTP_11, asked).await;
    assert_eq!(answer.status.as_u16(), 204);
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert_eq!(answer.header("access-control-allow-headers"), preflight[2].1);
    assert!(answer.header("access-control-allow-methods").contains("POST"));

    // Refusals can be read as well.
    let fields = [("content-type", BINARY), ("origin", APP)];
    let unnamed = GetOperationRequest { name: "nonsense".to_owned(), view: 0 };
    let request = |fields: &[(&str, &str)]| request(GET, fields, framed(BINARY, &unnamed));
    let answer = send(server.addr, Version::HTTP_11, request(&fields)).await;
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert_eq!(answer.header("vary"), "origin");
    let exposed = answer.header("access-control-expose-headers").to_owned();
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        assert!(exposed.split(", ").any(|it| it == name), "{name} in {exposed}");
        assert!(answer.header.contains_key(name), "{name}");
    }
    answer.refused(BINARY).await.is(Code::InvalidArgument, "INVALID_ARGUMENT");

    for stranger in ["https://evil.example.com", "null"] {
        let fields = [("content-type", BINARY), ("origin", stranger)];
        let answer = send(server.addr, Version::HTTP_11, request(&fields)).await;
        assert_eq!(answer.status.as_u16(), 403);
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    // Nor by a name that a page has turned to this machine.
    let fields = [("content-type", BINARY), ("host", "evil.example.com")];
    let answer = send(server.addr, Version::HTTP_11, request(&fields)).await;
    assert_eq!(answer.status.as_u16(), 421);
}

/// Whether pages may call or not: gRPC says what it always said.
#[tokio::test]
async fn calls_over_grpc_are_answered_as_before() {
    for origins in [Vec::new(), vec![APP.to_owned()]] {
        let server = TestServer::with(|config| config.browsers.cors_origins = origins).await;
        let fields = [("content-type", "application/grpc"), ("te", "trailers"), ("origin", APP)];
        let request = request(SUBMIT, &fields, framed("", &submission("demo")));
        let mut answer = send(server.addr, Version::HTTP_2, request).await;
        answer.header.remove("date");
        let expected =
            [("content-type", "application/grpc"), ("grpc-accept-encoding", "identity,gzip")];
        let header =
            answer.header.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        assert_eq!(header.collect::<Vec<_>>(), expected);
        let body = soon(answer.body.collect()).await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(body.to_bytes()[0], 0);
    }
}
