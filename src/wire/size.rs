//! Encoded sizes of messages, for filling pages.

use prost::Message as _;

use super::encode;
use crate::service::Document;
use crate::store::HistoryEntry;

/// Encoded bytes of an operation.
pub fn operation(document: &Document) -> usize {
    encode::operation(document).encoded_len()
}

/// Encoded bytes of an event of a history.
pub fn event(entry: &HistoryEntry) -> usize {
    encode::event(entry).encoded_len()
}
