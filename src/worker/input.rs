//! The input of an attempt: in memory if it is small, otherwise read from the service.

use std::sync::OnceLock;

use bytes::Bytes;
use prost_types::Any;
use tonic::Code;

use super::outcome::Failure;
use crate::client::{Client, ClientError, InputStream};
use crate::proto::v1;
use crate::proto::v1::payload::Content;

/// The input, as exact bytes.
#[derive(Clone, Debug, Default)]
pub struct Input {
    content_type: String,
    size_bytes: u64,
    /// The bytes in the assignment.
    data: Bytes,
    type_url: String,
    http: Option<v1::HttpEnvelope>,
    /// Where to read contents that the assignment omits.
    source: Option<Source>,
    loaded: OnceLock<Bytes>,
}

#[derive(Clone, Debug)]
struct Source {
    inputs: Inputs,
    operation: String,
}

/// How to read inputs that are not in their assignments.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    pub(super) client: Client,
    /// The largest input that is read into memory, in bytes.
    pub(super) max_bytes: u64,
    /// The session whose attempts read.
    pub(super) session_id: String,
}

/// An input as a stream of bytes.
#[derive(Debug)]
pub struct InputReader(Reading);

#[derive(Debug)]
enum Reading {
    AtHand(Option<Bytes>),
    Streamed(Box<InputStream>),
}

impl Inputs {
    /// Takes the input out of an assignment.
    pub(super) fn of(&self, assignment: &mut v1::Assignment) -> Input {
        let Some(payload) = assignment.input.take() else { return Input::default() };
        let omitted = payload.omitted;
        let operation = assignment.operation.as_ref().map(|it| it.name.clone());
        let mut input = Input::from_payload(payload);
        let source = operation.map(|operation| Source { inputs: self.clone(), operation });
        input.source = source.filter(|_| omitted);
        input
    }
}

impl Input {
    fn from_payload(payload: v1::Payload) -> Self {
        let (data, type_url) = match payload.content {
            Some(Content::Data(data)) => (data, String::new()),
            Some(Content::Text(text)) => (text.into(), String::new()),
            Some(Content::Any(any)) => (any.value.into(), any.type_url),
            // The service sends JSON as bytes; this is for other servers.
            Some(Content::Json(value)) => (json_text(value).into(), String::new()),
            None => (Bytes::new(), String::new()),
        };
        let size_bytes = u64::try_from(payload.size_bytes).unwrap_or(0).max(data.len() as u64);
        Self {
            content_type: payload.content_type,
            size_bytes,
            data,
            type_url,
            http: payload.http,
            ..Self::default()
        }
    }

    /// Reads the omitted contents, if they are not too large.
    pub(super) async fn load(&self) -> Result<(), Failure> {
        let Some(Source { inputs, operation }) = &self.source else { return Ok(()) };
        if self.size_bytes > inputs.max_bytes {
            let (size, limit) = (self.size_bytes, inputs.max_bytes);
            let message = format!("the input has {size} bytes, more than the worker's {limit}");
            return Err(
                Failure::permanent("INPUT_TOO_LARGE", message).with_status_code(Code::OutOfRange)
            );
        }
        let stream = inputs.client.input_of_session(operation, &inputs.session_id).await;
        let stream = stream.map_err(unread)?;
        let whole = stream.collect().await.map_err(unread)?;
        self.loaded.get_or_init(|| whole.data);
        Ok(())
    }

    /// The bytes as a stream, of any size. The stream resumes if the connection breaks.
    pub async fn open(&self) -> Result<InputReader, ClientError> {
        match (&self.source, self.loaded.get()) {
            (Some(Source { inputs, operation }), None) => {
                let stream = inputs.client.input_of_session(operation, &inputs.session_id).await?;
                Ok(InputReader(Reading::Streamed(Box::new(stream))))
            }
            _ => Ok(InputReader(Reading::AtHand(Some(self.bytes().clone())))),
        }
    }

    /// The number of bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The media type; empty if there is no input.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The exact bytes. For a streaming handler only the bytes in the assignment, which has none of a large input: see
    /// [`Input::open`].
    pub fn bytes(&self) -> &Bytes {
        self.loaded.get().unwrap_or(&self.data)
    }

    /// The HTTP request whose body the bytes are, if the input is one.
    pub fn http(&self) -> Option<&v1::HttpEnvelope> {
        self.http.as_ref()
    }

    /// The bytes as UTF-8.
    pub fn text(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(self.bytes())
    }

    /// The bytes as JSON.
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.bytes())
    }

    /// The protobuf message with its type, if the input is one.
    pub fn any(&self) -> Option<Any> {
        let typed = !self.type_url.is_empty();
        typed.then(|| Any { type_url: self.type_url.clone(), value: self.bytes().to_vec() })
    }
}

impl InputReader {
    /// The next bytes; `None` at the end or after an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        match &mut self.0 {
            Reading::AtHand(data) => data.take().filter(|data| !data.is_empty()).map(Ok),
            Reading::Streamed(stream) => stream.next().await,
        }
    }
}

fn unread(error: ClientError) -> Failure {
    let message = format!("the input could not be read: {error}");
    Failure::retryable("INPUT_UNREADABLE", message).with_status_code(error.code())
}

fn json_text(value: prost_types::Value) -> String {
    fn convert(value: prost_types::Value) -> serde_json::Value {
        use prost_types::value::Kind;
        match value.kind {
            None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
            Some(Kind::NumberValue(number)) => number.into(),
            Some(Kind::StringValue(text)) => text.into(),
            Some(Kind::BoolValue(flag)) => flag.into(),
            Some(Kind::ListValue(list)) => list.values.into_iter().map(convert).collect(),
            Some(Kind::StructValue(object)) => {
                object.fields.into_iter().map(|(key, value)| (key, convert(value))).collect()
            }
        }
    }
    convert(value).to_string()
}
