//! The meaning of the database's errors.

use std::error::Error as _;
use std::fmt::Write as _;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};
use uuid::Uuid;

use super::super::StoreError;
use crate::operation::{OperationId, SessionId};

/// Raised by `longrun_conflict`, which a migration creates, and by the same check for sessions.
const CONFLICT: &str = "LR001";
const SESSIONS_TAKEN: &str = "LR002";

/// An error of a read, or of a write that was rolled back.
impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error.code().map(SqlState::code) {
            // Damage: wrong pages or indexes.
            Some("XX001" | "XX002") => Self::Corrupt(describe(&error)),
            _ => Self::Unavailable(describe(&error)),
        }
    }
}

/// An error of a list.
pub(super) fn of_list(error: Error) -> StoreError {
    match error.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED => StoreError::TimedOut,
        _ => error.into(),
    }
}

/// An error of a commit that was rolled back.
pub(super) fn of_commit(error: Error) -> StoreError {
    let Some(db) = error.as_db_error() else { return error.into() };
    match db.code().code() {
        CONFLICT => StoreError::Conflict(ids(db).map(OperationId::from_bytes).collect()),
        SESSIONS_TAKEN => StoreError::SessionsTaken(ids(db).map(SessionId::from_bytes).collect()),
        // A deadlock, a serialization failure, or a lock that another transaction held too long.
        "40001" | "40P01" | "55P03" => StoreError::Locked(Vec::new()),
        // Lines with these numbers exist: the writer has read an old book.
        "23505" if db.table() == Some("log_lines") => StoreError::Locked(Vec::new()),
        "23505" => StoreError::Corrupt(describe(&error)),
        _ => error.into(),
    }
}

/// Whether a row with that key exists already.
pub(super) fn is_taken(error: &Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// Whether the failed transaction cannot have been committed.
pub(super) fn is_definite(error: &Error) -> bool {
    error.as_db_error().is_some_and(|db| db.parsed_severity() == Some(Severity::Error))
}

/// Whether to drop the connection, because another server may be the primary now.
pub(super) fn is_of_connection(error: &Error) -> bool {
    error.as_db_error().is_none_or(|db| {
        let code = db.code().code();
        // Read only: this server is no longer the primary.
        db.parsed_severity() != Some(Severity::Error) || code == "25006" || code.starts_with("57P")
    })
}

/// The error with its causes, in one line.
pub(super) fn describe(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        let what = match db.code().code() {
            "53300" => "its connections have run out: ",
            _ => "",
        };
        return format!("{what}{} ({})", db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

fn ids(error: &DbError) -> impl Iterator<Item = [u8; 16]> {
    let detail = error.detail().unwrap_or_default();
    detail.split(',').filter_map(|id| Uuid::try_parse(id).ok()).map(Uuid::into_bytes)
}

/// The error as Unavailable, for a write whose outcome nothing depends on.
pub(super) fn unavailable(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(_) => error,
        other => StoreError::Unavailable(other.to_string()),
    }
}
