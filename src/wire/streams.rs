//! The messages of watches, as gRPC streams them and HTTP writes them as JSON.

use super::encode;
use crate::operation::{OperationId, Revision};
use crate::proto::v1::{self, watch_operation_response, watch_operations_response};
use crate::service::{Document, FeedItem, FeedMessage, WatchMessage};

/// A message of a watch; `cursor` is the revision to resume from.
pub fn watch_message(message: WatchMessage, cursor: Revision) -> v1::WatchOperationResponse {
    use watch_operation_response::Type;
    let revision = cursor.0.cast_signed();
    let (kind, document, event) = match message {
        WatchMessage::Snapshot(document) => (Type::Snapshot, Some(document), None),
        WatchMessage::Transition(document, event_type) => {
            let event = encode::transition(event_type, &document.operation.life);
            (Type::Transition, Some(document), Some(event))
        }
        WatchMessage::Progress(document) => (Type::Progress, Some(document), None),
        WatchMessage::Heartbeat => (Type::Heartbeat, None, None),
    };
    v1::WatchOperationResponse {
        r#type: kind.into(),
        operation: document.as_ref().map(encode::operation),
        event,
        revision,
    }
}

/// What determines a message that many watches over a filter send, without its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeedKey {
    kind: watch_operations_response::Type,
    id: OperationId,
    revision: Revision,
}

impl FeedKey {
    /// The key of a message; `None`: it is likely to be sent once.
    pub fn of(message: &FeedMessage) -> Option<Self> {
        use watch_operations_response::Type;
        let FeedMessage::Item(item) = message else { return None };
        let (kind, operation) = match item {
            FeedItem::Transition(change) => (Type::Transition, &change.operation),
            FeedItem::Left(change) => (Type::Left, &change.operation),
            FeedItem::Deleted(operation) => (Type::Deleted, operation),
            FeedItem::Current(_) | FeedItem::Synced | FeedItem::Progress(_) | FeedItem::Reset => {
                return None;
            }
        };
        Some(Self { kind, id: operation.id(), revision: operation.life.revision })
    }
}

/// A message of a watch over a filter, still without the position after it.
pub fn feed_message(message: FeedMessage) -> v1::WatchOperationsResponse {
    use watch_operations_response::Type;
    let (kind, operation, event_type) = match message {
        FeedMessage::Heartbeat => (Type::Heartbeat, None, None),
        FeedMessage::Item(item) => match item {
            FeedItem::Current(operation) => (Type::Current, Some(operation), None),
            FeedItem::Synced => (Type::Synced, None, None),
            FeedItem::Transition(change) => {
                (Type::Transition, Some(change.operation), Some(change.event_type))
            }
            FeedItem::Left(change) => (Type::Left, Some(change.operation), Some(change.event_type)),
            FeedItem::Deleted(operation) => (Type::Deleted, Some(operation), None),
            FeedItem::Progress(operation) => (Type::Progress, Some(operation), None),
            FeedItem::Reset => (Type::Reset, None, None),
        },
    };
    let life = operation.as_ref().map(|operation| &operation.life);
    v1::WatchOperationsResponse {
        r#type: kind.into(),
        event: event_type.zip(life).map(|(event_type, life)| encode::transition(event_type, life)),
        operation: operation.map(|operation| encode::operation(&Document::basic(operation))),
        position: String::new(),
    }
}
