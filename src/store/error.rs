//! Errors of a store: of its calls, and of opening it.

use crate::operation::OperationId;
use crate::operation::SessionId;

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another writer was first with these, or their keys are taken: load again and decide again.
    #[error("another writer was first with {} operations of a batch", .0.len())]
    Conflict(Vec<OperationId>),
    /// Others were in the way for as long as anybody waits for a lock: with these, none where that is not known.
    /// Nothing was written, and they may not have changed.
    #[error("others have locked {} operations of a batch, or something else of it", .0.len())]
    Locked(Vec<OperationId>),
    /// These sessions are not, or no longer, this replica's. Nothing was written.
    #[error("{} sessions were taken over", .0.len())]
    SessionsTaken(Vec<SessionId>),
    /// The storage cannot be used now; nothing was written.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Whether the batch was written is not known before [`Store::settle`](super::Store::settle) has answered.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
    /// A list took longer than it may, and was stopped.
    #[error("a list took too long")]
    TimedOut,
    /// Stored data cannot be decoded.
    #[error("the store holds a row that cannot be read: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// The error's name in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "conflict",
            Self::Locked(_) => "locked",
            Self::SessionsTaken(_) => "sessions_taken",
            Self::Unavailable(_) => "unavailable",
            Self::Unknown(_) => "unknown",
            Self::TimedOut => "timed_out",
            Self::Corrupt(_) => "corrupt",
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer program has been here.
    #[error(
        "{path} has schema version {found}, and this longrun knows versions up to {known}: use the newer longrun"
    )]
    NewerSchema {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// Another server has it open.
    #[error("{path} is in use by another longrun server: stop that one first, or use another file")]
    InUse {
        /// The file.
        path: String,
    },
    /// It is something else.
    #[error("{path} is not a longrun store: {reason}")]
    NotAStore {
        /// The file.
        path: String,
        /// How that shows.
        reason: String,
    },
    /// It, or its log, is not as it was written.
    #[error("{path} is damaged, and was left as it is: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// How that shows.
        reason: String,
    },
    /// Anything else, in words that name the file.
    #[error("{path} cannot be opened: {reason}")]
    Failed {
        /// The file.
        path: String,
        /// The reason.
        reason: String,
    },
}
