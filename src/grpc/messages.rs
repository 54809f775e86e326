//! The messages of streams to clients: of watches, and of contents.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream;
use prost::Message as _;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::status::status;
use crate::proto::{Encoded, v1};
use crate::service::{Contents, FeedStream, ServiceError, WatchStream};
use crate::wire::encodings::Encodings;
use crate::wire::streams::{self, FeedKey};

/// The maximum size of a message of streamed contents, in bytes.
const CHUNK_BYTES: usize = 128 << 10;

/// The messages of a call.
pub(super) type MessageStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The messages of a watch.
pub(super) fn watched(watch: WatchStream) -> MessageStream<Encoded<v1::WatchOperationResponse>> {
    Box::pin(stream::unfold(watch, |mut watch| async move {
        let written = watch.next_written(|message, cursor| {
            streams::watch_message(message, cursor).encode_to_vec().into()
        });
        let written = written.await?;
        Some((written.map(Encoded::new).map_err(status), watch))
    }))
}

/// The messages of a watch over a filter.
pub(super) fn fed(
    feed: FeedStream,
    encodings: Encodings<FeedKey>,
) -> MessageStream<Encoded<v1::WatchOperationsResponse>> {
    Box::pin(stream::unfold((feed, encodings), |(mut feed, encodings)| async move {
        let written = feed.next().await?.map_err(status).map(|message| {
            let key = FeedKey::of(&message);
            let encode = || streams::feed_message(message).encode_to_vec().into();
            let shared = match key {
                Some(key) => encodings.get_or(key, encode),
                None => encode(),
            };
            let position = feed.position().unwrap_or_default();
            Encoded::new(shared)
                .with(&v1::WatchOperationsResponse { position, ..Default::default() })
        });
        Some((written, (feed, encodings)))
    }))
}

pub(super) fn described(contents: &Contents) -> (i64, String) {
    (contents.size_bytes().cast_signed(), contents.info.content_type.clone())
}

/// Contents from an offset, in pieces that fit into a message.
pub(super) async fn chunks(
    contents: &Contents,
    offset: u64,
) -> Result<MessageStream<Bytes>, Status> {
    let size = contents.size_bytes();
    if offset > size {
        let rule = format!("must be from 0 to {size}, the size of the whole");
        return Err(status(ServiceError::invalid_field("offset_bytes", rule)));
    }
    let pieces = contents.read(offset..size).await.map_err(status)?;
    let chunks = stream::unfold((pieces, Bytes::new()), |(mut pieces, mut rest)| async move {
        while rest.is_empty() {
            match pieces.next().await? {
                Ok(piece) => rest = piece,
                Err(error) => return Some((Err(status(error)), (pieces, rest))),
            }
        }
        let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
        Some((Ok(chunk), (pieces, rest)))
    });
    Ok(Box::pin(chunks))
}
