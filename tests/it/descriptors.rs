//! Types of others: reflection serves them, and JSON writes and reads them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use longrun::proto::types::{DescriptorSet, Types};
use longrun::server::Server;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    Any, DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MessageOptions, MethodDescriptorProto, ServiceDescriptorProto,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::Command;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;

use longrun::proto::v1::*;

use crate::support::*;

fn field(name: &str, number: i32, label: Label, kind: Type, of: &str) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        type_name: (!of.is_empty()).then(|| of.to_owned()),
        ..FieldDescriptorProto::default()
    }
}

/// `acme/order.proto`: an order with a number of its own size, tags, and what else there is.
fn order() -> FileDescriptorProto {
    use Label::{Optional, Repeated};
    let entry = DescriptorProto {
        name: Some("TagsEntry".to_owned()),
        field: vec![
            field("key", 1, Optional, Type::String, ""),
            field("value", 2, Optional, Type::Int32, ""),
        ],
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..DescriptorProto::default()
    };
    let order = DescriptorProto {
        name: Some("Order".to_owned()),
        field: vec![
            field("item_name", 1, Optional, Type::String, ""),
            field("total", 2, Optional, Type::Int64, ""),
            field("tags", 3, Repeated, Type::Message, ".acme.Order.TagsEntry"),
            field("extra", 4, Optional, Type::Message, ".google.protobuf.Any"),
            field("parts", 5, Repeated, Type::Message, ".acme.Order"),
        ],
        nested_type: vec![entry],
        ..DescriptorProto::default()
    };
    let place = MethodDescriptorProto {
        name: Some("Place".to_owned()),
        input_type: Some(".acme.Order".to_owned()),
        output_type: Some(".acme.Order".to_owned()),
        ..MethodDescriptorProto::default()
    };
    FileDescriptorProto {
        name: Some("acme/order.proto".to_owned()),
        package: Some("acme".to_owned()),
        dependency: vec!["google/protobuf/any.proto".to_owned()],
        message_type: vec![order],
        service: vec![ServiceDescriptorProto {
            name: Some("Orders".to_owned()),
            method: vec![place],
            ..ServiceDescriptorProto::default()
        }],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

fn write(file: &Path, files: Vec<FileDescriptorProto>) {
    std::fs::write(file, FileDescriptorSet { file: files }.encode_to_vec()).unwrap();
}

fn set(name: &str, files: Vec<FileDescriptorProto>) -> DescriptorSet {
    let bytes = FileDescriptorSet { file: files }.encode_to_vec();
    DescriptorSet { name: name.to_owned(), bytes }
}

async fn server(files: &[PathBuf]) -> TestServer {
    TestServer::with(|config| config.types.descriptor_sets = files.to_vec()).await
}

const URL: &str = "type.googleapis.com/acme.Order";

#[tokio::test]
async fn reflection_serves_them_in_both_versions_and_lists_no_service_of_theirs() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("acme.binpb");
    write(&file, vec![order()]);
    let server = server(&[file]).await;
    let ask =
        |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let requests = vec![
        ask(MessageRequest::FileContainingSymbol("acme.Order".to_owned())),
        ask(MessageRequest::FileByFilename("acme/order.proto".to_owned())),
        ask(MessageRequest::FileContainingSymbol("longrun.v1.Operations".to_owned())),
        ask(MessageRequest::ListServices(String::new())),
    ];
    let mut rpc = ServerReflectionClient::new(server.channel.clone());
    let answers = soon(rpc.server_reflection_info(tokio_stream::iter(requests))).await.unwrap();
    let answers = Watching(answers.into_inner()).rest().await;
    for answer in &answers[..2] {
        let Some(MessageResponse::FileDescriptorResponse(files)) = &answer.message_response else {
            panic!("{answer:?}")
        };
        assert_eq!(files.file_descriptor_proto, [order().encode_to_vec()]);
    }
    let Some(MessageResponse::ListServicesResponse(list)) = &answers[3].message_response else {
        panic!("{answers:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    let expected = [
        "longrun.v1.Operations",
        "longrun.v1.Workers",
        "longrun.v1.Admin",
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    assert_eq!(names, expected);

    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                "acme.Order".to_owned(),
            ),
        ),
    };
    let mut rpc =
        v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel.clone());
    let answers = soon(rpc.server_reflection_info(tokio_stream::once(request))).await.unwrap();
    let answers = Watching(answers.into_inner()).rest().await;
    let Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(files)) =
        &answers[0].message_response
    else {
        panic!("{answers:?}")
    };
    assert_eq!(files.file_descriptor_proto, [order().encode_to_vec()]);
}

async fn http(addr: SocketAddr, method: &str, path: &str, body: String) -> serde_json::Value {
    use http_body_util::BodyExt as _;
    let io = hyper_util::rt::TokioIo::new(tokio::net::TcpStream::connect(addr).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    spawn(connection);
    let request = http::Request::builder().method(method).uri(path);
    let request = request.header("host", addr.to_string());
    let request = request.header("content-type", "application/json").body(body).unwrap();
    let answer = soon(client.send_request(request)).await.unwrap();
    let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn json_writes_and_reads_them_and_repeats_are_repeats() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("acme.binpb");
    write(&file, vec![order()]);
    let server = server(&[file]).await;
    let tags: serde_json::Map<_, _> = (0..40).map(|n| (format!("t{n}"), json!(n))).collect();
    let inner = json!({"@type": "example.com/acme.Order", "itemName": "nail", "tags": tags});
    let any = json!({
        "@type": URL,
        "itemName": "chair",
        "total": "9007199254740993",
        "tags": tags,
        "extra": inner,
        "parts": [{"itemName": "leg", "tags": tags}],
    });
    let submit = json!({"kind": "demo", "input": {"any": any}, "idempotencyKey": "a"}).to_string();
    let first = http(server.addr, "POST", "/v1/operations", submit.clone()).await;
    let name = first["name"].as_str().unwrap_or_else(|| panic!("{first}")).to_owned();
    let shown = http(server.addr, "GET", &format!("/v1/{name}?view=full"), String::new()).await;
    let mut written = shown["input"]["any"].clone();
    assert_eq!(written["@type"], any["@type"]);
    for at in ["", "/extra", "/parts/0"] {
        let place = written.pointer_mut(&format!("{at}/tags")).unwrap();
        place.as_object_mut().unwrap().sort_keys();
    }
    assert_eq!(written, any);
    // Entries of maps are encoded in one order: a key that comes again comes with the same input.
    for _ in 0..5 {
        let again = http(server.addr, "POST", "/v1/operations", submit.clone()).await;
        assert_eq!(again["name"], json!(name), "{again}");
    }
    // A worker gets the message under its type URL as it was given.
    let operation = server.get(&name).await;
    let Some(payload::Content::Any(any)) = operation.input.unwrap().content else { panic!() };
    assert_eq!(any.type_url, URL);
    assert!(any.value.starts_with(b"\x0a\x05chair\x10"), "{any:?}");

    let unknown = json!({"kind": "demo", "input": {"any": {"@type": "t/acme.Nonsense"}}});
    let refused = http(server.addr, "POST", "/v1/operations", unknown.to_string()).await;
    assert_eq!(refused["violations"][0]["field"], "input.any", "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("acme.Nonsense"), "{refused}");
    let wrong = json!({"kind": "demo", "input": {"any": {"@type": URL, "price": 1}}});
    let refused = http(server.addr, "POST", "/v1/operations", wrong.to_string()).await;
    assert!(refused["detail"].as_str().unwrap().contains("price"), "{refused}");

    // What came over gRPC is written all the same: of a known type as JSON, else as base64.
    for (any, expected) in [
        (
            Any { type_url: URL.to_owned(), value: b"\x10\x07".to_vec() },
            json!({"@type": URL, "total": "7"}),
        ),
        (
            Any { type_url: "t/acme.Nonsense".to_owned(), value: b"\x10\x07".to_vec() },
            json!({
                "@type": "t/acme.Nonsense",
                "@error": "acme.Nonsense is not recognized; see @value for raw binary message data",
                "@value": "EAc=",
            }),
        ),
    ] {
        let input = Payload { content: Some(payload::Content::Any(any)), ..Payload::default() };
        let submitted =
            server.submit(SubmitRequest { input: Some(input), ..submission("demo") }).await;
        let path = format!("/v1/{}?view=full", submitted.name);
        let shown = http(server.addr, "GET", &path, String::new()).await;
        assert_eq!(shown["input"]["any"], expected);
    }
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let refused = |sets: &[DescriptorSet]| Types::with(sets).unwrap_err().to_string();
    let other = FileDescriptorProto { service: Vec::new(), ..order() };
    assert_eq!(
        refused(&[set("a.binpb", vec![order()]), set("b.binpb", vec![other.clone()])]),
        "b.binpb has another acme/order.proto than a.binpb: both must be made of the same version of it"
    );
    let moved = FileDescriptorProto { name: Some("order.proto".to_owned()), ..other };
    let error = refused(&[set("a.binpb", vec![order()]), set("b.binpb", vec![moved])]);
    assert!(error.starts_with("b.binpb: order.proto: "), "{error}");
    assert!(error.contains("acme.Order"), "{error}");
    let importing = FileDescriptorProto {
        dependency: vec!["acme/missing.proto".to_owned(), "google/protobuf/any.proto".to_owned()],
        ..order()
    };
    let error = refused(&[set("a.binpb", vec![importing])]);
    let begin = "a.binpb: acme/order.proto imports acme/missing.proto, which is in no set";
    assert!(error.starts_with(begin), "{error}");
    for bytes in [&b""[..], b"no descriptors", b"\x0a\x00"] {
        let set = DescriptorSet { name: "a.txt".to_owned(), bytes: bytes.to_vec() };
        assert!(refused(&[set]).starts_with("a.txt is no set of descriptors"), "{bytes:?}");
    }
    // The same file twice is no conflict, nor is another version of one that the server has itself.
    let own = FileDescriptorProto {
        name: Some("google/protobuf/any.proto".to_owned()),
        ..FileDescriptorProto::default()
    };
    let sets = [set("a.binpb", vec![own.clone(), order()]), set("b.binpb", vec![order(), own])];
    Types::with(&sets).unwrap();
}

#[tokio::test]
async fn a_server_does_not_start_with_files_that_it_cannot_use() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("acme.binpb");
    let start = async |files: Vec<PathBuf>| {
        let mut config = longrun::config::ServeConfig::default();
        config.listen.addr = "127.0.0.1:0".parse().unwrap();
        config.store.url = longrun::config::StoreUrl::Sqlite(directory.path().join("longrun.db"));
        config.types.descriptor_sets = files;
        Server::bind(config).await.err().map(|error| error.to_string())
    };
    let error = start(vec![file.clone()]).await.unwrap();
    assert!(error.starts_with(&format!("--descriptor-set {} cannot be read: ", file.display())));
    let error = start(vec![directory.path().to_owned()]).await.unwrap();
    assert!(error.ends_with("cannot be read: it is not a regular file"), "{error}");
    std::fs::write(&file, vec![0; (16 << 20) + 1]).unwrap();
    let error = start(vec![file.clone()]).await.unwrap();
    assert!(error.contains("must be at most 16 MiB"), "{error}");
    write(&file, vec![order()]);
    let error = start(vec![file.clone(); 33]).await.unwrap();
    assert!(error.contains("at most 32 times"), "{error}");
    assert_eq!(start(vec![file; 32]).await, None);
}

/// Waits for a line with this in it.
async fn said<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>, text: &str) -> String {
    loop {
        let line = soon(lines.next_line()).await.unwrap();
        let line = line.unwrap_or_else(|| panic!("it ended without saying {text:?}"));
        if line.contains(text) {
            return line;
        }
    }
}

#[tokio::test]
async fn at_sighup_the_files_are_read_again_and_a_broken_one_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("acme.binpb");
    write(&file, vec![order()]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_longrun"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--store"]);
    command.arg(format!("sqlite:{}", directory.path().join("longrun.db").display()));
    command.arg("--descriptor-set").arg(&file).stdin(Stdio::null()).kill_on_drop(true);
    let mut program = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(program.id().unwrap().try_into().unwrap()).unwrap();
    let mut out = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut log = BufReader::new(program.stderr.take().unwrap()).lines();
    let line = said(&mut out, "listening on http://").await;
    let addr = line.rsplit_once('/').unwrap().1.parse().unwrap();
    let submit = async |any: serde_json::Value, key: &str| {
        let request = json!({"kind": "demo", "input": {"any": any}, "idempotencyKey": key});
        http(addr, "POST", "/v1/operations", request.to_string()).await
    };
    let known = json!({"@type": URL, "itemName": "chair"});
    let newer = json!({"@type": URL, "note": "soon"});

    std::fs::write(&file, "broken").unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let line = said(&mut log, "the types stay as they were").await;
    assert!(line.contains("is no set of descriptors"), "{line}");
    assert!(submit(known, "a").await["name"].is_string());
    let refused = submit(newer.clone(), "b").await;
    assert_eq!(refused["violations"][0]["field"], "input.any.note", "{refused}");

    let mut changed = order();
    let note = field("note", 6, Label::Optional, Type::String, "");
    changed.message_type[0].field.push(note);
    write(&file, vec![changed]);
    kill_process(pid, Signal::HUP).unwrap();
    said(&mut log, "were read again").await;
    assert!(submit(newer, "b").await["name"].is_string());
}
