//! Events that are encoded once for many readers, which watch the same commits through the same host.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hashlink::LruCache;

use crate::operation::{OperationId, Revision};

/// How many events are kept. Readers that keep up are not further apart.
const MOST: usize = 512;
/// The largest event that is kept, in bytes.
const MOST_BYTES: usize = 16 << 10;

/// Everything that determines the text of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The event's name.
    pub(super) name: &'static str,
    /// The operation and its revision.
    pub(super) operation: (OperationId, Revision),
    /// The position after the event.
    pub(super) position: Option<String>,
    /// The base of links in it.
    pub(super) base: String,
}

/// The latest encoded events. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Rendered(Arc<Mutex<LruCache<Key, Bytes>>>);

impl Default for Rendered {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(MOST))))
    }
}

impl Rendered {
    /// The text of an event; encodes it unless another reader has done so.
    pub(super) fn get_or<E>(
        &self,
        key: Key,
        write: impl FnOnce() -> Result<String, E>,
    ) -> Result<Bytes, E> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known().get(&key) {
            return Ok(text.clone());
        }
        // Two readers may encode the same event at once.
        let text = Bytes::from(write()?);
        if text.len() <= MOST_BYTES {
            known().insert(key, text.clone());
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn what_one_reader_was_sent_is_not_written_for_the_next() {
        let key = |name, position: &str, base: &str| Key {
            name,
            operation: (OperationId::from_bytes([1; 16]), Revision(2)),
            position: Some(position.to_owned()),
            base: base.to_owned(),
        };
        let rendered = Rendered::default();
        let mut written = Vec::new();
        let keys = [
            key("left", "a", "http://a"),
            key("left", "a", "http://a"),
            key("transition", "a", "http://a"),
            key("left", "b", "http://a"),
            key("left", "a", "http://b"),
            key("left", "a", "http://a"),
        ];
        for (number, key) in keys.into_iter().enumerate() {
            let write = || {
                written.push(number);
                Ok::<_, Infallible>(number.to_string())
            };
            let Ok(text) = rendered.get_or(key, write);
            let first = if [1, 5].contains(&number) { 0 } else { number };
            assert_eq!(text, first.to_string());
        }
        assert_eq!(written, [0, 2, 3, 4]);
        let large = || Ok::<_, Infallible>("x".repeat(MOST_BYTES + 1));
        let Ok(text) = rendered.get_or(key("left", "c", ""), large);
        assert_eq!(text.len(), MOST_BYTES + 1);
        let Ok(text) = rendered.get_or(key("left", "c", ""), || Ok::<_, Infallible>(String::new()));
        assert!(text.is_empty(), "it was too large to keep");
    }
}
