//! A listener to `text/event-stream` that takes blocks apart as a browser does, whatever they come through.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use serde_json::Value;
use tokio_stream::{Stream, StreamExt as _};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One block of a stream.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) event: String,
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u64>,
    pub(crate) comment: Option<String>,
    pub(crate) data: Value,
}

pub(crate) struct Listener {
    chunks: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    text: String,
}

impl Listener {
    pub(crate) fn new(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self { chunks: Box::pin(chunks), text: String::new() }
    }

    pub(crate) fn of_body(body: Body) -> Self {
        Self::new(body.into_data_stream().map(|chunk| chunk.expect("a whole body")))
    }

    /// The next block; `None` at the end of the response.
    pub(crate) async fn block(&mut self) -> Option<Block> {
        while !self.text.contains("\n\n") {
            let chunk = tokio::time::timeout(PATIENCE, self.chunks.next()).await;
            let Some(chunk) = chunk.expect("nothing came") else {
                assert_eq!(self.text, "", "the stream ends within a block");
                return None;
            };
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
        let (block, rest) = self.text.split_once("\n\n").expect("a block");
        let mut parsed = Block::default();
        for line in block.lines() {
            match line.split_once(": ").expect("a field") {
                ("event", value) => parsed.event = value.to_owned(),
                ("id", value) => parsed.id = Some(value.to_owned()),
                ("retry", value) => parsed.retry = Some(value.parse().expect("a number")),
                ("data", value) => parsed.data = serde_json::from_str(value).expect("JSON"),
                ("", value) => parsed.comment = Some(value.to_owned()),
                other => panic!("{other:?}"),
            }
        }
        self.text = rest.to_owned();
        Some(parsed)
    }

    /// The next event, of that name; signs of life are passed over.
    #[track_caller]
    pub(crate) fn event(&mut self, name: &str) -> impl Future<Output = Block> {
        let caller = std::panic::Location::caller();
        async move {
            let block = loop {
                let block = self.block().await.unwrap_or_else(|| panic!("no {name} at {caller}"));
                if block.comment.is_none() {
                    break block;
                }
            };
            assert_eq!(block.event, name, "{block:?} at {caller}");
            block
        }
    }

    /// The beginning of every stream; answers the id that it sets.
    pub(crate) async fn opening(&mut self) -> Option<String> {
        let opening = self.block().await.expect("an opening");
        let delay = opening.retry.expect("a delay");
        assert!((1_000..3_000).contains(&delay), "{opening:?}");
        opening.id
    }

    /// The end, and nothing before it.
    pub(crate) async fn end(&mut self) {
        let block = self.block().await;
        assert!(block.is_none(), "{block:?}");
    }
}
