//! Any rpc, found in the descriptors, with a message in which every field that names something names it.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use longrun::proto::DESCRIPTORS;
use prost_reflect::prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, Value,
};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use crate::support::Guarded;

/// What calls are about.
#[derive(Clone, Debug)]
pub struct Names {
    pub operation: String,
    pub attempt: String,
    pub key: &'static str,
}

pub struct Rpc {
    pub path: String,
    method: MethodDescriptor,
}

/// All rpcs of this server's own packages.
pub fn all() -> Vec<Rpc> {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("descriptors");
    let services = pool
        .services()
        .filter(|service| ["longrun.v1", "google.longrunning"].contains(&service.package_name()));
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    methods
        .map(|method| Rpc {
            path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
            method,
        })
        .collect()
}

impl Rpc {
    pub fn named(path: &str) -> Self {
        all().into_iter().find(|rpc| rpc.path == path).expect("an rpc")
    }

    /// Whether its message names an operation or an attempt, without which there is nothing to do.
    pub fn takes_names(&self) -> bool {
        let message = self.method.input();
        let has = |name| message.get_field_by_name(name).is_some();
        // The name of a list of Google's is that of a tenant.
        !self.path.ends_with("/ListOperations") && (has("name") || has("token"))
    }

    pub fn only_reads(&self) -> bool {
        let name = self.method.name();
        ["Get", "List", "Read", "Watch", "Wait"].iter().any(|verb| name.starts_with(verb))
    }

    fn message(&self, names: &Names) -> DynamicMessage {
        let mut message = filled(&self.method.input(), names);
        if self.path.ends_with("/ListOperations") && self.path.starts_with("/google") {
            message.set_field_by_name("name", Value::String("operations".to_owned()));
        }
        message
    }

    /// The code, and what came of the answer's contents: all of it, or of a stream the first message.
    pub async fn call(
        &self,
        server: &Guarded,
        token: Option<&str>,
        names: &Names,
    ) -> (Code, Vec<u8>) {
        let message = Bytes::from(self.message(names).encode_to_vec());
        let mut request = Request::new(tokio_stream::once(message));
        request.set_timeout(Duration::from_secs(20));
        if let Some(token) = token {
            let field = MetadataValue::try_from(format!("Bearer {token}")).expect("a field");
            request.metadata_mut().insert("authorization", field);
        }
        let mut grpc = Grpc::new(server.channel());
        grpc.ready().await.expect("a connection");
        let path: PathAndQuery = self.path.parse().expect("a path");
        let answer = match grpc.streaming(request, path, Raw).await {
            Ok(answer) => answer,
            Err(status) => return refused(&status),
        };
        match answer.into_inner().message().await {
            Ok(body) => (Code::Ok, body.unwrap_or_default().to_vec()),
            Err(status) => refused(&status),
        }
    }
}

/// What a refusal says counts as well.
fn refused(status: &Status) -> (Code, Vec<u8>) {
    (status.code(), [status.message().as_bytes(), status.details()].concat())
}

/// The message with every field that names something filled in, however deep it stands.
fn filled(of: &MessageDescriptor, names: &Names) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields() {
        let text = match field.name() {
            "name" | "operation" => names.operation.clone(),
            "token" | "attempt_token" => names.attempt.clone(),
            "kind" | "kinds" => "demo".to_owned(),
            "idempotency_key" => names.key.to_owned(),
            "worker_id" => "thief".to_owned(),
            "webhook_id" => "callbacks".to_owned(),
            "url" => "https://receiver.example/".to_owned(),
            "code" => "STOLEN".to_owned(),
            "requests" | "hello" | "error" | "timeout" => String::new(),
            _ => continue,
        };
        let value = match field.kind() {
            Kind::String => Value::String(text),
            // No wait: a duration of nothing.
            Kind::Message(inner) => Value::Message(filled(&inner, names)),
            Kind::Int32 => Value::I32(1),
            _ => continue,
        };
        let value = if field.is_list() { Value::List(vec![value]) } else { value };
        message.set_field(&field, value);
    }
    if let Some(field) = of.get_field_by_name("max_in_flight") {
        message.set_field(&field, Value::I32(1));
    }
    message
}

/// Messages as they are.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
