//! Contents of any size: in memory while they are small, otherwise in an unnamed temporary file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt as _;

/// Contents up to this size, in bytes, stay in memory and are sent within the report.
pub(super) const MEMORY_BYTES: usize = 1 << 20;

/// Collects contents in pieces. The temporary file is in the directory of `TMPDIR`, and disappears with its last use,
/// however the process ends.
#[derive(Debug, Default)]
pub struct Spool {
    memory: BytesMut,
    file: Option<tokio::fs::File>,
    size_bytes: u64,
}

/// Complete contents.
#[derive(Clone, Debug)]
pub struct Spooled(pub(super) Contents);

#[derive(Clone, Debug)]
pub(super) enum Contents {
    Memory(Bytes),
    File(Arc<File>, u64),
}

impl Spool {
    /// An empty spool.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of bytes written.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Adds bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size_bytes += bytes.len() as u64;
        if let Some(file) = &mut self.file {
            return file.write_all(bytes).await;
        }
        if self.memory.len() + bytes.len() <= MEMORY_BYTES {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let file = tokio::task::spawn_blocking(tempfile::tempfile).await??;
        let file = self.file.insert(tokio::fs::File::from_std(file));
        file.write_all(&std::mem::take(&mut self.memory)).await?;
        file.write_all(bytes).await
    }

    /// Completes the contents.
    pub async fn finish(self) -> io::Result<Spooled> {
        let Some(mut file) = self.file else {
            return Ok(Spooled(Contents::Memory(self.memory.freeze())));
        };
        file.flush().await?;
        let file = file.into_std().await;
        Ok(Spooled(Contents::File(Arc::new(file), self.size_bytes)))
    }
}

impl Contents {
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::Memory(data) => data.len() as u64,
            Self::File(_, size) => *size,
        }
    }

    /// At most `most` bytes from `offset`; an error if there are none.
    pub(super) async fn piece(&self, offset: u64, most: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.size_bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = most.min(left);
        match self {
            Self::Memory(data) => {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
                Ok(data.slice(offset..offset + length))
            }
            Self::File(file, _) => {
                let file = Arc::clone(file);
                let read = move || {
                    let mut piece = vec![0; length];
                    file.read_exact_at(&mut piece, offset).map(|()| Bytes::from(piece))
                };
                tokio::task::spawn_blocking(read).await?
            }
        }
    }
}
