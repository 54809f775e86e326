//! Where a watch over a filter begins, and what it delivers.

use std::sync::Arc;

use super::hub::Committed;
use crate::operation::Operation;
use crate::store::log::Position;

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
    /// With changes from now on.
    Now,
    /// Behind a position of an earlier watch over the same filter.
    After(Position),
    /// With a reset and then current matches, because the position is of another store.
    Reset,
}
