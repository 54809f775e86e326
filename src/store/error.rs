//! Errors of a store: of its calls, and of opening it.

use crate::operation::OperationId;
use crate::operation::SessionId;

/// Why a call of a store failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another writer changed these first, or their keys are taken: load them again and decide again.
    #[error("another writer was first with {} operations of a batch", .0.len())]
    Conflict(Vec<OperationId>),
    /// Other transactions kept locks on these for longer than a lock is waited for; empty if the store does not know on
    /// which. Nothing was written, and the operations may not have changed.
    #[error("others have locked {} operations of a batch, or something else of it", .0.len())]
    Locked(Vec<OperationId>),
    /// These sessions are not, or no longer, this replica's. Nothing was written.
    #[error("{} sessions were taken over", .0.len())]
    SessionsTaken(Vec<SessionId>),
    /// The storage cannot be used now; nothing was written.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The batch may or may not be written; [`Store::settle`](super::Store::settle) finds out.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
    /// A list took too long and was stopped.
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
    /// A newer program has upgraded it.
    #[error(
        "{path} has schema version {found}, and this longrun knows versions up to {known}: use the newer longrun"
    )]
    NewerSchema {
        /// The file.
        path: String,
        /// The file's schema version.
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
    /// The file is not a store.
    #[error("{path} is not a longrun store: {reason}")]
    NotAStore {
        /// The file.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The file or its log has been altered or damaged.
    #[error("{path} is damaged, and was left as it is: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// The reason.
        reason: String,
    },
    /// Any other error; its text names the file.
    #[error("{path} cannot be opened: {reason}")]
    Failed {
        /// The file.
        path: String,
        /// The reason.
        reason: String,
    },
}
