//! The operations that match a filter, over as many streams as it takes.
//!
//! There is no position to resume such a watch from: a new stream begins with all current
//! matches. Readers are told by a RESET, the same message by which the server says that it skipped
//! changes, so that they have one case to handle and not two.

use futures_util::{Stream, stream};

use super::watch::{Link, Received};
use super::{Client, ClientError};
use crate::proto::v1::watch_operations_response::Type;
use crate::proto::v1::{WatchOperationsRequest, WatchOperationsResponse};

/// A watch over a filter: the current matches, a SYNCED mark, then changes, without end.
///
/// Whenever a stream ends and another takes its place, a RESET says so, then current matches and a
/// SYNCED mark follow (also where `skip_current` left them out at first: changes may have been missed).
#[derive(Debug)]
pub struct WatchAll {
    client: Client,
    request: WatchOperationsRequest,
    link: Link<WatchOperationsResponse>,
    began: bool,
    failed: bool,
}

impl WatchAll {
    pub(super) fn new(client: Client, request: WatchOperationsRequest) -> Self {
        let link = Link::new(client.patience);
        Self { client, request, link, began: false, failed: false }
    }

    /// The next message, never a heartbeat; `None` after an error. May be dropped and called again
    /// without loss.
    pub async fn next(&mut self) -> Option<Result<WatchOperationsResponse, ClientError>> {
        if self.failed {
            return None;
        }
        let next = self.advance().await;
        self.failed = next.is_err();
        Some(next)
    }

    /// The messages as a stream.
    pub fn into_stream(
        self,
    ) -> impl Stream<Item = Result<WatchOperationsResponse, ClientError>> + Send {
        stream::unfold(self, |mut watch| async move { Some((watch.next().await?, watch)) })
    }

    async fn advance(&mut self) -> Result<WatchOperationsResponse, ClientError> {
        loop {
            if self.link.stream.is_none() {
                self.link.pause().await;
                let opened = self.client.operations().watch_operations(self.request.clone()).await;
                if !self.link.opened(opened)? {
                    continue;
                }
                self.request.skip_current = false;
                if std::mem::replace(&mut self.began, true) {
                    let r#type = Type::Reset.into();
                    return Ok(WatchOperationsResponse { r#type, ..Default::default() });
                }
            }
            if let Received::Message(message) = self.link.receive().await?
                && !matches!(message.r#type(), Type::Heartbeat | Type::Unspecified)
            {
                return Ok(message);
            }
        }
    }
}
