//! Copies objects from one place to another, under the same ids.

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use sha2::{Digest as _, Sha256};
use tokio_stream::StreamExt as _;

use super::{ObjectError, Objects, Upload, failed};
use crate::operation::ObjectId;

impl Objects {
    /// Whether both have the same objects, not only objects with the same names.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.location == other.location
    }

    /// Whether there is no place for objects.
    pub fn is_nowhere(&self) -> bool {
        self.part_bytes == 0
    }

    /// The directory of the objects' files; `None` for an object store.
    pub fn directory(&self) -> Option<&std::path::Path> {
        self.directory.as_deref()
    }

    /// The size of an object in bytes; `None` if it is missing.
    pub async fn size(&self, id: ObjectId) -> Result<Option<u64>, ObjectError> {
        match self.store.head(&self.path(id)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(id, &error)),
        }
    }

    /// The SHA-256 of an object's first `size_bytes` bytes, which must exist.
    pub async fn sha256(&self, id: ObjectId, size_bytes: u64) -> Result<[u8; 32], ObjectError> {
        let mut digest = Sha256::new();
        self.each(id, size_bytes, async |bytes| {
            digest.update(&bytes);
            Ok(())
        })
        .await?;
        Ok(digest.finalize().into())
    }

    /// Copies an object from elsewhere, replacing one with that id. Returns the SHA-256 of the written bytes once the
    /// object is durable.
    pub async fn fetch(
        &self,
        from: &Self,
        id: ObjectId,
        size_bytes: u64,
    ) -> Result<[u8; 32], ObjectError> {
        let mut upload =
            Upload::new(self.store.clone(), self.path(id), self.file(id), id, self.part_bytes);
        let written = from.each(id, size_bytes, async |bytes| upload.write(bytes).await).await;
        if let Err(error) = written {
            upload.abort().await;
            return Err(error);
        }
        Ok(upload.finish().await?.sha256)
    }

    async fn each(
        &self,
        id: ObjectId,
        size_bytes: u64,
        mut take: impl AsyncFnMut(Bytes) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        let mut stream = self.read_part(id, size_bytes, 0..size_bytes).await?;
        while let Some(bytes) = stream.next().await {
            take(bytes?).await?;
        }
        Ok(())
    }
}
