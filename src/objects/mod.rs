//! Contents that are too large for rows: objects of an object store, each written once, read in parts, and deleted with
//! its operation.
//!
//! An object is durable before the commit that refers to it, so a crash can leave unreferenced objects but never a
//! reference to a missing one; [`sweep`] finds them. This module knows nothing else about operations.
//!
//! Read next: `upload` for writing contents, `sweep` for deleting them.

use std::fmt;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};
use tokio_stream::StreamExt as _;
use uuid::Uuid;

use crate::files;
use crate::operation::{ObjectId, StoredObject};

mod checked;
mod fetch;
pub mod sweep;
mod upload;

pub use upload::Upload;

/// The size of an upload's parts to a remote store, in bytes: S3 accepts no parts below 5 MiB, and at most 10,000.
const REMOTE_PART_BYTES: usize = 8 << 20;
/// Schemes of stores that need the feature `cloud`.
const CLOUDS: [&str; 9] = ["s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "https"];
/// The size of an upload's parts to a directory, in bytes.
const LOCAL_PART_BYTES: usize = 1 << 20;

/// The objects of one service. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The directory, if the store is on this machine.
    directory: Option<PathBuf>,
    /// 0 if nothing can be written.
    part_bytes: usize,
    location: Arc<str>,
}

/// Why a call of the object store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The object does not exist.
    #[error("object {0} is missing")]
    Missing(ObjectId),
    /// The object is damaged.
    #[error("object {id} is damaged: it {how}")]
    Damaged {
        /// The object.
        id: ObjectId,
        /// The damage, e.g. "is cut off".
        how: &'static str,
    },
    /// There is no object store.
    #[error("there is no place for objects")]
    Nowhere,
    /// The object store does not respond, or refuses.
    #[error("the object store is unavailable: {0}")]
    Unavailable(String),
}

/// A place that cannot be used as an object store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location} cannot be used for objects: {reason}")]
pub struct OpenError {
    /// The place.
    pub location: String,
    /// The reason.
    pub reason: String,
}

/// An object's bytes as a stream.
pub type ObjectStream = BoxStream<'static, Result<Bytes, ObjectError>>;

impl Objects {
    /// Objects as files of a directory, which is created with the first one. Files and directory entries are synced
    /// before an upload counts as finished.
    pub fn in_directory(directory: &FilePath) -> Result<Self, OpenError> {
        let failed =
            |reason: String| OpenError { location: directory.display().to_string(), reason };
        let resolved = files::resolve(directory).map_err(|error| failed(error.to_string()))?;
        let prefix = Path::from_absolute_path(&resolved).map_err(|it| failed(it.to_string()))?;
        Ok(Self {
            store: Arc::new(LocalFileSystem::new().with_fsync(true)),
            prefix,
            part_bytes: LOCAL_PART_BYTES,
            location: resolved.display().to_string().into(),
            directory: Some(resolved),
        })
    }

    /// Objects at a URL: `s3://BUCKET/PREFIX`, `gs://…`, `az://…` and others that the `object_store` crate knows.
    /// Credentials and options come from `variables`, by the vendors' names.
    pub fn at_url(
        url: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError { location: url.to_owned(), reason };
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if !cfg!(feature = "cloud") && CLOUDS.contains(&scheme) {
            let reason = "this program was built without the object stores of clouds; build it with `--features cloud`";
            return Err(failed(reason.to_owned()));
        }
        // For the HTTP client below, which has none; an existing one works as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let parsed = url.parse().map_err(|error| failed(format!("{error}")))?;
        let options = variables.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, prefix) = object_store::parse_url_opts(&parsed, options)
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            store: Arc::from(store),
            prefix,
            directory: None,
            part_bytes: REMOTE_PART_BYTES,
            location: url.into(),
        })
    }

    /// No objects: every upload is refused.
    pub fn nowhere() -> Self {
        Self {
            store: Arc::new(InMemory::new()),
            prefix: Path::default(),
            directory: None,
            part_bytes: 0,
            location: "nowhere".into(),
        }
    }

    /// Begins an upload. An unfinished object cannot be read, and leaves nothing.
    pub fn upload(&self) -> Upload {
        if let Some(directory) = &self.directory {
            // A failure shows at the first write.
            let _ = files::make_private_directory(directory);
        }
        let id = ObjectId::from_uuid(Uuid::now_v7());
        Upload::new(Arc::clone(&self.store), self.path(id), self.file(id), id, self.part_bytes)
    }

    /// Reads a whole object of `size_bytes` bytes. The last bytes follow only if all of them have the recorded SHA-256;
    /// an object with another length is refused at once.
    pub async fn read_whole(
        &self,
        object: StoredObject,
        size_bytes: u64,
    ) -> Result<ObjectStream, ObjectError> {
        let chunks = self.chunks(object.id, size_bytes, 0..size_bytes).await?;
        Ok(checked::whole(object, size_bytes, chunks))
    }

    /// Reads part of an object of `size_bytes` bytes; only the length can be checked.
    pub async fn read_part(
        &self,
        id: ObjectId,
        size_bytes: u64,
        part: Range<u64>,
    ) -> Result<ObjectStream, ObjectError> {
        let length = part.end.saturating_sub(part.start);
        let chunks = self.chunks(id, size_bytes, part).await?;
        Ok(checked::part(id, length, chunks))
    }

    async fn chunks(
        &self,
        id: ObjectId,
        size_bytes: u64,
        part: Range<u64>,
    ) -> Result<ObjectStream, ObjectError> {
        if part.is_empty() {
            return Ok(Box::pin(tokio_stream::empty()));
        }
        let options = GetOptions { range: Some(GetRange::Bounded(part)), ..GetOptions::default() };
        let found = match self.store.get_opts(&self.path(id), options).await {
            Ok(found) => found,
            Err(error) => {
                // Stores report a range beyond the end in different ways.
                if let Ok(Some(size)) = self.size(id).await {
                    checked::length(id, size, size_bytes)?;
                }
                return Err(failed(id, &error));
            }
        };
        checked::length(id, found.meta.size, size_bytes)?;
        let chunks = found.into_stream();
        Ok(Box::pin(chunks.map(move |chunk| chunk.map_err(|error| failed(id, &error)))))
    }

    /// Copies the object; the copy is durable when this returns.
    pub async fn copy(&self, id: ObjectId) -> Result<ObjectId, ObjectError> {
        let copy = ObjectId::from_uuid(Uuid::now_v7());
        let copied = self.store.copy(&self.path(id), &self.path(copy)).await;
        copied.map_err(|error| failed(id, &error))?;
        if let Some(file) = self.file(copy) {
            files::make_private(&file)
                .await
                .map_err(|it| ObjectError::Unavailable(it.to_string()))?;
        }
        Ok(copy)
    }

    /// Deletes an object; a missing one is not an error.
    pub async fn delete(&self, id: ObjectId) -> Result<(), ObjectError> {
        match self.store.delete(&self.path(id)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(id, &error)),
        }
    }

    /// The file of an object, if objects are files.
    fn file(&self, id: ObjectId) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(id.to_string()))
    }

    fn path(&self, id: ObjectId) -> Path {
        self.prefix.clone().join(id.to_string())
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.location).finish()
    }
}

/// The location of the objects, for messages.
impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

fn failed(id: ObjectId, error: &object_store::Error) -> ObjectError {
    match error {
        object_store::Error::NotFound { .. } => ObjectError::Missing(id),
        _ => ObjectError::Unavailable(error.to_string()),
    }
}
