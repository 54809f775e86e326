//! Streams of an object's bytes that end with an error if the object is damaged.

use futures_util::stream;
use sha2::{Digest as _, Sha256};
use tokio_stream::StreamExt as _;

use super::{ObjectError, ObjectStream};
use crate::operation::{ObjectId, StoredObject};

/// Refuses an object whose length differs from the recorded one.
pub(super) fn length(id: ObjectId, found: u64, recorded: u64) -> Result<(), ObjectError> {
    let how = match found.cmp(&recorded) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Less => CUT_OFF,
        std::cmp::Ordering::Greater => "is longer than was recorded",
    };
    Err(ObjectError::Damaged { id, how })
}

/// All bytes of an object. The last ones follow only after the digest was compared, because a reader that knows the
/// length takes the object for complete when it has them.
pub(super) fn whole(object: StoredObject, length: u64, chunks: ObjectStream) -> ObjectStream {
    let digest = Some((Sha256::new(), object.sha256));
    check(Checking { id: object.id, chunks, left: length, digest })
}

/// Some bytes of an object; only their number is checked.
pub(super) fn part(id: ObjectId, length: u64, chunks: ObjectStream) -> ObjectStream {
    check(Checking { id, chunks, left: length, digest: None })
}

const CUT_OFF: &str = "is cut off";

struct Checking {
    id: ObjectId,
    chunks: ObjectStream,
    /// The number of bytes still to come.
    left: u64,
    /// The running digest, and the recorded one.
    digest: Option<(Sha256, [u8; 32])>,
}

fn check(checking: Checking) -> ObjectStream {
    Box::pin(stream::unfold(Some(checking), async |checking| {
        let mut checking = checking?;
        if checking.left == 0 {
            return None;
        }
        let Some(chunk) = checking.chunks.next().await else {
            return Some((Err(ObjectError::Damaged { id: checking.id, how: CUT_OFF }), None));
        };
        match chunk.and_then(|bytes| checking.take(&bytes).map(|()| bytes)) {
            Ok(bytes) => Some((Ok(bytes), Some(checking))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl Checking {
    fn take(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        let damaged = |how| ObjectError::Damaged { id: self.id, how };
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| damaged("is longer than was recorded"))?;
        let Some((digest, recorded)) = &mut self.digest else { return Ok(()) };
        digest.update(bytes);
        if self.left == 0 && digest.clone().finalize()[..] != recorded[..] {
            return Err(damaged("does not have the SHA-256 that was recorded"));
        }
        Ok(())
    }
}
