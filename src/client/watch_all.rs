//! The operations that match a filter, over as many streams as necessary.
//!
//! A stream continues after the position of the last message. If the server no longer has the history after it, it
//! sends a RESET; if a stream ended before there was a position, this client adds one.

use futures_util::{Stream, stream};

use super::watch::{Link, Received};
use super::{Client, ClientError, Patience};
use crate::proto::v1::watch_operations_response::Type;
use crate::proto::v1::{WatchOperationsRequest, WatchOperationsResponse};

/// A watch over a filter: the current matches, a SYNCED mark, then changes, without end and without gaps.
///
/// After a RESET the current matches and a SYNCED mark follow (even with `skip_current`, because changes were missed).
#[derive(Debug)]
pub struct WatchAll {
    client: Client,
    request: WatchOperationsRequest,
    link: Link<WatchOperationsResponse>,
    /// Whether messages were delivered from which the next stream cannot continue.
    is_adrift: bool,
    failed: bool,
}

impl WatchAll {
    pub(super) fn new(client: Client, request: WatchOperationsRequest) -> Self {
        let link = Link::new(Patience::new(client.patience, client.retries));
        Self { client, request, link, is_adrift: false, failed: false }
    }

    /// The next message, never a heartbeat; `None` after an error. May be dropped and called again without loss.
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
                let mut rpc = self.client.operations();
                let opened = rpc.watch_operations(self.request.clone());
                if !self.link.open(opened).await? {
                    continue;
                }
                if std::mem::take(&mut self.is_adrift) {
                    let r#type = Type::Reset.into();
                    return Ok(WatchOperationsResponse { r#type, ..Default::default() });
                }
            }
            let Received::Message(message) = self.link.receive().await? else { continue };
            self.request.after_position.clone_from(&message.position);
            if !matches!(message.r#type(), Type::Heartbeat | Type::Unspecified) {
                self.is_adrift = message.position.is_empty();
                self.request.skip_current &= !self.is_adrift;
                return Ok(message);
            }
        }
    }
}
