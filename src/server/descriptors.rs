//! The files of `--descriptor-set`: read at the start, and again on SIGHUP.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::grpc::Reflection;
use crate::proto::types::{DescriptorSet, KnownTypes, Types, TypesError};

/// The largest descriptor file, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// The maximum number of files.
const MAX_FILES: usize = 32;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorsError {
    /// There are too many files.
    #[error(
        "--descriptor-set must be given at most {MAX_FILES} times; one file can hold many .proto files"
    )]
    TooMany,
    /// A file cannot be read.
    #[error("--descriptor-set {} cannot be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error.
        error: std::io::Error,
    },
    /// The file is larger than any descriptor set should be.
    #[error(
        "--descriptor-set {} must be at most {} MiB: omit source information and types that you do not need",
        .0.display(), MAX_FILE_BYTES >> 20
    )]
    TooLarge(PathBuf),
    /// Their contents cannot be used.
    #[error("--descriptor-set {0}")]
    Types(TypesError),
    /// Reflection cannot serve them.
    #[error("reflection cannot serve the files of --descriptor-set: {0}")]
    Reflection(anyhow::Error),
    /// The reading task was cancelled.
    #[error("the files of --descriptor-set cannot be read: {0}")]
    CutOff(tokio::task::JoinError),
}

/// The types in the server's descriptor files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Descriptors {
    files: Arc<[PathBuf]>,
    types: KnownTypes,
    reflection: Reflection,
}

impl Descriptors {
    pub(super) async fn open(files: Vec<PathBuf>) -> anyhow::Result<Self> {
        let reflection = Reflection::of(&Types::default())?;
        let descriptors = Self { files: files.into(), types: KnownTypes::default(), reflection };
        descriptors.reload().await?;
        Ok(descriptors)
    }

    /// Reads the files again. If any of them cannot be used, nothing changes.
    pub async fn reload(&self) -> Result<(), DescriptorsError> {
        if self.files.is_empty() {
            return Ok(());
        }
        let this = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let types = Types::with(&read_all(&this.files)?).map_err(DescriptorsError::Types)?;
            this.reflection.describe(&types).map_err(DescriptorsError::Reflection)?;
            this.types.set(types);
            Ok(())
        });
        reading.await.map_err(DescriptorsError::CutOff)?
    }

    pub(super) fn types(&self) -> &KnownTypes {
        &self.types
    }

    pub(super) fn reflection(&self) -> &Reflection {
        &self.reflection
    }
}

fn read_all(files: &[PathBuf]) -> Result<Vec<DescriptorSet>, DescriptorsError> {
    if files.len() > MAX_FILES {
        return Err(DescriptorsError::TooMany);
    }
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Result<DescriptorSet, DescriptorsError> {
    let unreadable = |error| DescriptorsError::Unreadable { file: file.to_owned(), error };
    // A pipe could be read only once, and may never end.
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(DescriptorsError::TooLarge(file.to_owned()));
    }
    Ok(DescriptorSet { name: file.display().to_string(), bytes })
}
