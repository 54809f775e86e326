//! Messages that are encoded once for many readers.

use std::convert::Infallible;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hashlink::LruCache;

/// How many messages are kept. Readers that keep up are not further apart.
const MOST: usize = 512;
/// The largest message that is kept, in bytes.
const MOST_BYTES: usize = 16 << 10;

/// The messages that were encoded last, by what determines their bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Encodings<K>(Arc<Mutex<LruCache<K, Bytes>>>);

impl<K: Eq + Hash> Default for Encodings<K> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(MOST))))
    }
}

impl<K: Eq + Hash> Encodings<K> {
    /// The bytes of a message; encodes it unless another reader has done so.
    pub fn get_or(&self, key: K, encode: impl FnOnce() -> Bytes) -> Bytes {
        let Ok(bytes) = self.try_get_or(key, || Ok::<_, Infallible>(encode()));
        bytes
    }

    /// The same where encoding can fail.
    pub fn try_get_or<E>(
        &self,
        key: K,
        encode: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = known().get(&key) {
            return Ok(bytes.clone());
        }
        // Two readers may encode the same message at once.
        let bytes = encode()?;
        if bytes.len() <= MOST_BYTES {
            known().insert(key, bytes.clone());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_reader_was_sent_is_not_encoded_for_the_next() {
        let encodings = Encodings::default();
        let mut encoded = Vec::new();
        for (number, key) in ["a", "a", "b", "a"].into_iter().enumerate() {
            let encode = || {
                encoded.push(number);
                Bytes::from(key)
            };
            assert_eq!(encodings.get_or(key, encode), key);
        }
        assert_eq!(encoded, [0, 2]);
        let of = |bytes: Vec<u8>| encodings.get_or("large", || bytes.into());
        assert_eq!(of(vec![b'x'; MOST_BYTES + 1]).len(), MOST_BYTES + 1);
        assert!(of(Vec::new()).is_empty(), "it was too large to keep");
        let failed = encodings.try_get_or("failed", || Err("it cannot be encoded"));
        assert_eq!(failed, Err("it cannot be encoded"));
    }
}
