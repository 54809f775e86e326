//! The items that watches deliver, and where a watch over a filter begins.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::operation::{EventType, Operation};
use crate::store::log::Position;

/// A committed transition as watchers see it.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The operation after the transition.
    pub operation: Arc<Operation>,
    /// The event's type.
    pub event_type: EventType,
}

/// The encoded messages of a transition; the first watch that sends one encodes it, the others share it.
#[derive(Debug, Default)]
pub struct Written {
    /// Without contents.
    pub basic: OnceCell<Bytes>,
    /// With the result.
    pub result: OnceCell<Bytes>,
}

/// A message of a watch over a filter.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// A match as it is.
    Current(Arc<Operation>),
    /// All current matches have been delivered.
    Synced,
    /// A transition of a match.
    Transition(Committed),
    /// A transition after which the operation no longer matches.
    Left(Committed),
    /// A match was deleted.
    Deleted(Arc<Operation>),
    /// Progress of a match.
    Progress(Arc<Operation>),
    /// The history after the position is gone: the watch starts anew.
    Reset,
}

/// Where a watch over a filter begins.
#[derive(Clone, Debug)]
pub enum FeedStart {
    /// With current matches.
    Current,
    /// With changes after the start of the watch.
    Now,
    /// After a position of an earlier watch over the same filter.
    After(Position),
    /// With a reset and then current matches, because the position belongs to another store.
    Reset,
}
