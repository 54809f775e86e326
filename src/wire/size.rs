//! Encoded sizes of messages, for filling pages.

use prost::Message as _;

use super::encode;
use crate::service::Document;
use crate::store::HistoryEntry;

/// The encoded size of an operation, in bytes.
pub fn operation(document: &Document) -> usize {
    encode::operation(document).encoded_len()
}

/// The encoded size of a history's event, in bytes.
pub fn event(entry: &HistoryEntry) -> usize {
    encode::event(entry).encoded_len()
}
