//! The storage format: the data of an operation beside the columns, as bytes.
//!
//! Shared by all stores, so that an operation has the same bytes everywhere. The messages here are protobuf, private,
//! and the format's only definition. Rules for changes: a tag is never reused, a default never changes, and the absence
//! of a new field means what was the case before it.
//!
//! Data in columns is not repeated: see [`Columns`]. Times are microseconds, written as differences from a known
//! time, because most differ little.

use crate::operation::{
    IdempotencyKey, Kind, Life, Operation, OperationId, Submission, TenantId, Timestamp,
};

use super::StoreError;

mod life;
mod parts;
mod submission;

/// The part of a submission that a store keeps in columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The operation's id.
    pub id: OperationId,
    /// The tenant.
    pub tenant: TenantId,
    /// The kind.
    pub kind: Kind,
    /// Its priority.
    pub priority: u8,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// The idempotency key, without the fingerprint.
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Columns {
    /// The columns of a submission.
    pub fn of(submission: &Submission) -> Self {
        Self {
            id: submission.id,
            tenant: submission.tenant.clone(),
            kind: submission.kind.clone(),
            priority: submission.settings.priority,
            created_at: submission.created_at,
            idempotency_key: submission.idempotency.as_ref().map(|it| it.key.clone()),
        }
    }
}

/// A submission without what is in its [`Columns`].
pub fn encode_submission(submission: &Submission) -> Vec<u8> {
    submission::encode(submission)
}

/// Decodes a submission from its columns and bytes.
pub fn decode_submission(columns: Columns, bytes: &[u8]) -> Result<Submission, StoreError> {
    let id = columns.id;
    submission::decode(columns, bytes).map_err(|Damage(what)| corrupt(id, what))
}

/// Encodes a whole life.
pub fn encode_life(life: &Life) -> Vec<u8> {
    life::encode(life)
}

/// Decodes a life; `id` is only for the error.
pub fn decode_life(id: OperationId, bytes: &[u8]) -> Result<Life, StoreError> {
    life::decode(bytes).map_err(|Damage(what)| corrupt(id, what))
}

/// Decodes an operation from its columns and bytes.
pub fn decode_operation(
    columns: Columns,
    submission: &[u8],
    life: &[u8],
) -> Result<Operation, StoreError> {
    let life = decode_life(columns.id, life)?;
    let submission = decode_submission(columns, submission)?.into();
    Ok(Operation { submission, life })
}

/// The error for a row that cannot be decoded.
pub fn corrupt(id: OperationId, what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("operation {id}: {what}"))
}

/// Why bytes cannot be decoded.
struct Damage(String);

impl Damage {
    fn missing(what: &str) -> Self {
        Self(format!("{what} is missing"))
    }
}

impl From<prost::DecodeError> for Damage {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}
