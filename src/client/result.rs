//! An operation's result or input as a stream of chunks that resumes after a break.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tonic::{Code, Response, Status, Streaming};

use super::watch::{Link, Received};
use super::{Client, ClientError, Patience};
use crate::proto::v1::{
    ReadInputRequest, ReadInputResponse, ReadResultRequest, ReadResultResponse,
};

/// Broken reads are resumed, but only this long without a byte.
const PATIENCE: Duration = Duration::from_secs(120);
/// The maximum size reserved at once; larger results grow as they arrive, whatever size was announced.
const MAX_RESERVE: usize = 16 << 20;

/// A result, read into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    /// The media type.
    pub content_type: String,
    /// The contents, exactly as the worker gave them.
    pub data: Bytes,
}

impl StoredResult {
    /// The contents as JSON.
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.data)
    }

    /// The contents as UTF-8.
    pub fn text(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(&self.data)
    }
}

/// A result's bytes.
pub type ResultStream = ContentStream<ReadResultResponse>;
/// An input's bytes.
pub type InputStream = ContentStream<ReadInputResponse>;

/// Bytes in chunks; resumed by offset when the connection breaks.
#[derive(Debug)]
pub struct ContentStream<M> {
    client: Client,
    asked: Asked,
    link: Link<M>,
    content_type: String,
    size_bytes: i64,
    first: Option<Bytes>,
    ended: bool,
}

/// The contents to read, and the offset.
#[derive(Clone, Debug)]
pub struct Asked {
    pub(super) name: String,
    /// Advances with the delivered bytes.
    pub(super) offset_bytes: i64,
    /// The worker's session, for inputs.
    pub(super) session_id: String,
}

/// A message that carries a chunk.
pub trait Chunk: Sized + Send {
    /// Requests a stream of these messages.
    fn ask(
        client: &Client,
        asked: Asked,
    ) -> impl Future<Output = Result<Response<Streaming<Self>>, Status>> + Send;

    /// The media type, the whole size in bytes, and the chunk.
    fn into_parts(self) -> (String, i64, Bytes);
}

impl Chunk for ReadResultResponse {
    async fn ask(client: &Client, asked: Asked) -> Result<Response<Streaming<Self>>, Status> {
        let Asked { name, offset_bytes, .. } = asked;
        client.operations().read_result(ReadResultRequest { name, offset_bytes }).await
    }

    fn into_parts(self) -> (String, i64, Bytes) {
        (self.content_type, self.size_bytes, self.data)
    }
}

impl Chunk for ReadInputResponse {
    async fn ask(client: &Client, asked: Asked) -> Result<Response<Streaming<Self>>, Status> {
        let Asked { name, offset_bytes, session_id } = asked;
        let request = ReadInputRequest { name, offset_bytes, session_id, ..Default::default() };
        client.operations().read_input(request).await
    }

    fn into_parts(self) -> (String, i64, Bytes) {
        (self.content_type, self.size_bytes, self.data)
    }
}

impl<M: Chunk> ContentStream<M> {
    pub(super) async fn open(client: Client, asked: Asked) -> Result<Self, ClientError> {
        let link = Link::new(Patience::new(client.patience.min(PATIENCE), client.retries));
        let mut result = Self {
            client,
            asked,
            link,
            content_type: String::new(),
            size_bytes: 0,
            first: None,
            ended: false,
        };
        let first = result.receive().await?.ok_or_else(truncated)?;
        let (content_type, size_bytes, data) = first.into_parts();
        result.content_type = content_type;
        result.size_bytes = size_bytes;
        result.first = Some(data);
        Ok(result)
    }

    /// The media type.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The whole size in bytes, whatever the offset.
    pub fn size_bytes(&self) -> i64 {
        self.size_bytes
    }

    /// The next bytes; `None` at the end or after an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        while !self.ended {
            let chunk = match self.first.take() {
                Some(first) => Ok(first),
                None if self.asked.offset_bytes >= self.size_bytes => break,
                None => self
                    .receive()
                    .await
                    .and_then(|message| message.map(|it| it.into_parts().2).ok_or_else(truncated)),
            };
            match chunk {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.asked.offset_bytes += i64::try_from(data.len()).unwrap_or(i64::MAX);
                    return Some(Ok(data));
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        self.ended = true;
        None
    }

    /// The chunks as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, ClientError>> + Send {
        stream::unfold(self, |mut result| async move { Some((result.next().await?, result)) })
    }

    /// The remaining bytes, in memory.
    pub async fn collect(mut self) -> Result<StoredResult, ClientError> {
        let announced = usize::try_from(self.size_bytes).unwrap_or_default();
        let mut data = BytesMut::with_capacity(announced.min(MAX_RESERVE));
        while let Some(chunk) = self.next().await {
            data.extend_from_slice(&chunk?);
        }
        Ok(StoredResult { content_type: self.content_type, data: data.freeze() })
    }

    /// The next message, over another stream if the last one broke; `None` if the stream ended without one.
    async fn receive(&mut self) -> Result<Option<M>, ClientError> {
        loop {
            if self.link.stream.is_none() {
                self.link.pause().await;
                let opened = M::ask(&self.client, self.asked.clone());
                if !self.link.open(opened).await? {
                    continue;
                }
            }
            match self.link.receive().await? {
                Received::Message(message) => return Ok(Some(message)),
                Received::End { heard: false } => return Ok(None),
                Received::End { heard: true } | Received::Broken => {}
            }
        }
    }
}

fn truncated() -> ClientError {
    ClientError::local(Code::DataLoss, "the server ended the stream before the end of the contents")
}
