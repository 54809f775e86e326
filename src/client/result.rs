//! An operation's result as a stream of chunks that goes on where it broke off.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tonic::Code;

use super::watch::{Link, Received};
use super::{Client, ClientError};
use crate::proto::v1::{ReadResultRequest, ReadResultResponse};

/// Broken reads are resumed, but no result is worth minutes without a byte.
const PATIENCE: Duration = Duration::from_secs(60);
/// Room reserved at once; larger results grow as they arrive, whatever size was announced.
const MAX_RESERVE: usize = 16 << 20;

/// A result, read into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    /// The media type.
    pub content_type: String,
    /// The contents, exactly as the worker gave them.
    pub data: Bytes,
}

/// A result's bytes, chunk by chunk, resumed by offset when the connection breaks.
#[derive(Debug)]
pub struct ResultStream {
    client: Client,
    /// `offset_bytes` moves on with what was delivered.
    request: ReadResultRequest,
    link: Link<ReadResultResponse>,
    content_type: String,
    size_bytes: i64,
    first: Option<Bytes>,
    ended: bool,
}

impl ResultStream {
    pub(super) async fn open(
        client: Client,
        request: ReadResultRequest,
    ) -> Result<Self, ClientError> {
        let link = Link::new(client.patience.min(PATIENCE));
        let mut result = Self {
            client,
            request,
            link,
            content_type: String::new(),
            size_bytes: 0,
            first: None,
            ended: false,
        };
        let first = result.receive().await?.ok_or_else(truncated)?;
        result.content_type = first.content_type;
        result.size_bytes = first.size_bytes;
        result.first = Some(first.data);
        Ok(result)
    }

    /// The media type.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The whole result's size, whatever the offset.
    pub fn size_bytes(&self) -> i64 {
        self.size_bytes
    }

    /// The next bytes; `None` at the end or after an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        while !self.ended {
            let chunk = match self.first.take() {
                Some(first) => Ok(first),
                None if self.request.offset_bytes >= self.size_bytes => break,
                None => self
                    .receive()
                    .await
                    .and_then(|message| message.map(|message| message.data).ok_or_else(truncated)),
            };
            match chunk {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.request.offset_bytes += i64::try_from(data.len()).unwrap_or(i64::MAX);
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

    /// What is left, in memory.
    pub async fn collect(mut self) -> Result<StoredResult, ClientError> {
        let announced = usize::try_from(self.size_bytes).unwrap_or_default();
        let mut data = BytesMut::with_capacity(announced.min(MAX_RESERVE));
        while let Some(chunk) = self.next().await {
            data.extend_from_slice(&chunk?);
        }
        Ok(StoredResult { content_type: self.content_type, data: data.freeze() })
    }

    /// The next message, over another stream if the last one broke; `None` if a stream had none.
    async fn receive(&mut self) -> Result<Option<ReadResultResponse>, ClientError> {
        loop {
            if self.link.stream.is_none() {
                self.link.pause().await;
                let opened = self.client.operations().read_result(self.request.clone()).await;
                if !self.link.opened(opened)? {
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
    ClientError::local(Code::DataLoss, "the service ended the result before its end")
}
