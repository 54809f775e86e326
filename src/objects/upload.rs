//! Uploads of contents: in parts, with a digest, and a bounded number of bytes in memory.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::ObjectError;
use crate::files;
use crate::operation::{ObjectId, StoredObject};

/// An unfinished object. If it is dropped, it never existed; at a remote store the sent parts wait for the bucket's
/// rule for incomplete uploads, unless it is aborted.
pub struct Upload {
    writer: BufWriter,
    /// The path of the object, if it is a file.
    file: Option<PathBuf>,
    id: ObjectId,
    digest: Sha256,
    size_bytes: u64,
    is_possible: bool,
}

impl Upload {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        path: Path,
        file: Option<PathBuf>,
        id: ObjectId,
        part_bytes: usize,
    ) -> Self {
        // One part is sent while the next one fills.
        let writer = BufWriter::with_capacity(store, path, part_bytes).with_max_concurrency(1);
        Self { writer, file, id, digest: Sha256::new(), size_bytes: 0, is_possible: part_bytes > 0 }
    }

    /// The number of bytes written.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Adds bytes. Waits while the store is slower than the caller.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ObjectError> {
        if !self.is_possible {
            return Err(ObjectError::Nowhere);
        }
        self.digest.update(&bytes);
        self.size_bytes += bytes.len() as u64;
        self.writer.put(bytes).await.map_err(|it| ObjectError::Unavailable(it.to_string()))
    }

    /// Makes the object durable.
    pub async fn finish(mut self) -> Result<StoredObject, ObjectError> {
        let finished = self.writer.shutdown().await;
        let unavailable = |error: std::io::Error| ObjectError::Unavailable(error.to_string());
        finished.map_err(unavailable)?;
        if let Some(file) = &self.file {
            // It was created with the umask's permissions.
            files::make_private(file).await.map_err(unavailable)?;
        }
        Ok(StoredObject { id: self.id, sha256: self.digest.finalize().into() })
    }

    /// Drops what was written.
    pub async fn abort(mut self) {
        if let Err(error) = self.writer.abort().await {
            tracing::debug!(error = %error, "an upload could not be aborted");
        }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}
