//! Whole stores: a copy of one to another, and a backup of a running one.
//!
//! Owns the order of writes (objects before references to them), the skipping of copied operations, and the comparison
//! at the end. Must never change an operation. A copy works between any two stores; a backup is only for the embedded
//! store.
//!
//! Read next: `copy` for the order of a copy, `record` for the parts of an operation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::objects::{ObjectError, Objects};
use crate::operation::{Operation, OperationId, PayloadInfo};
use crate::store::sqlite::backup::BackupError;
use crate::store::{Batch, PayloadRole, Store, StoreError};

mod backup;
mod catalogue;
mod copy;
mod deliveries;
mod leases;
mod record;
mod tally;
mod verify;

pub use backup::{BackedUp, back_up};
pub use copy::{Copied, CopyOptions, copy};
pub use tally::Tally;
pub use verify::Verified;

/// A process silent for this long no longer counts as having the store open.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(20);

/// A store with its objects.
pub struct Side {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub store: Arc<dyn Store>,
    /// Its objects.
    pub objects: Objects,
}

/// A phase of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Comparing existing operations.
    Checking,
    /// Operations are copied.
    Copying,
    /// Both sides are compared.
    Verifying,
    /// Bytes of a file are copied.
    BackingUp,
    /// Objects are copied.
    Objects,
}

/// The progress of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The phase.
    pub stage: Stage,
    /// What is done: operations, or bytes during a backup.
    pub done: u64,
    /// The total; 0 if it is unknown.
    pub total: u64,
}

/// The receiver of progress.
pub type Watcher<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A call of a store failed.
    #[error("{place}: {error}")]
    Store {
        /// The store.
        place: String,
        /// The error.
        error: StoreError,
    },
    /// An object cannot be copied.
    #[error("the {role} of operation {id} cannot be copied from {from} to {to}: {error}", role = name_of(*.role))]
    Object {
        /// The operation.
        id: OperationId,
        /// The payload.
        role: PayloadRole,
        /// The source.
        from: String,
        /// The destination.
        to: String,
        /// The error.
        error: ObjectError,
    },
    /// The location of one side's objects is not given.
    #[error("the {role} of operation {id} is an object, but the place of the objects of {place} is not given: {flag}", role = name_of(*.role))]
    NoPlace {
        /// The operation.
        id: OperationId,
        /// The payload.
        role: PayloadRole,
        /// The side.
        place: &'static str,
        /// The flag for the location.
        flag: &'static str,
    },
    /// A stored payload differs from its operation's record.
    #[error("{place}: the {role} of operation {id} {problem}", role = name_of(*.role))]
    Damaged {
        /// The store.
        place: String,
        /// The operation.
        id: OperationId,
        /// The payload.
        role: PayloadRole,
        /// The difference.
        problem: &'static str,
    },
    /// Another process has a store open.
    #[error("{0} is in use: stop the servers that use it first")]
    InUse(String),
    /// The destination has other data.
    #[error(
        "{to} is neither empty nor part of an earlier copy of {from}, and was left as it is: operation {id} {how}"
    )]
    Differs {
        /// The source.
        from: String,
        /// The destination.
        to: String,
        /// The operation that differs.
        id: OperationId,
        /// The difference.
        how: String,
    },
    /// The destination's catalogue has other data.
    #[error(
        "{to} is neither empty nor part of an earlier copy of {from}, and was left as it is: its entry {name:?} of {space} differs or is missing in {from}"
    )]
    OtherEntry {
        /// The source.
        from: String,
        /// The destination.
        to: String,
        /// The space of the catalogue.
        space: String,
        /// The entry.
        name: String,
    },
    /// The destination has another delivery.
    #[error(
        "{to} is neither empty nor part of an earlier copy of {from}, and was left as it is: its delivery {id} differs or is missing in {from}"
    )]
    OtherDelivery {
        /// The source.
        from: String,
        /// The destination.
        to: String,
        /// The delivery.
        id: String,
    },
    /// A backup cannot be started or written.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The backup's thread was stopped.
    #[error("the backup was cut off")]
    CutOff,
}

impl Side {
    fn failed(&self) -> impl Fn(StoreError) -> TransferError {
        |error| TransferError::Store { place: self.name.clone(), error }
    }

    /// Refuses a shared store that other processes use. A process that has died counts for a while.
    async fn refuse_in_use(&self) -> Result<(), TransferError> {
        let Some(shared) = self.store.shared() else { return Ok(()) };
        for _ in 0..FORGOTTEN_AFTER.as_secs() {
            if shared.others().await.map_err(self.failed())? == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err(TransferError::InUse(self.name.clone()))
    }

    /// Writes a batch, unless it is empty.
    async fn commit(&self, batch: Batch) -> Result<(), TransferError> {
        let is_empty = batch.writes.is_empty()
            && batch.tombstones.is_empty()
            && batch.sessions.kept.is_empty();
        if is_empty {
            return Ok(());
        }
        self.store.commit(batch).await.map(drop).map_err(|error| match error {
            // All existing data was checked before.
            StoreError::Conflict(_) | StoreError::Locked(_) | StoreError::SessionsTaken(_) => {
                TransferError::InUse(self.name.clone())
            }
            error => self.failed()(error),
        })
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Side").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The payloads of an operation.
fn payloads(operation: &Operation) -> impl Iterator<Item = (PayloadRole, &PayloadInfo)> {
    let input = operation.submission.input.as_ref().map(|info| (PayloadRole::Input, info));
    let result = operation.result().map(|info| (PayloadRole::Result, info));
    input.into_iter().chain(result)
}

fn name_of(role: PayloadRole) -> &'static str {
    match role {
        PayloadRole::Input => "input",
        PayloadRole::Result => "result",
    }
}

/// Copies an object unless it exists; returns whether it was copied. Both sides must agree with the operation.
async fn bring_object(
    (from, to): (&Objects, &Objects),
    id: OperationId,
    role: PayloadRole,
    info: &PayloadInfo,
) -> Result<bool, TransferError> {
    let Some(object) = info.object else { return Ok(false) };
    for (place, objects, flag) in
        [("the source", from, "--from-objects"), ("the destination", to, "--to-objects")]
    {
        if objects.is_nowhere() {
            return Err(TransferError::NoPlace { id, role, place, flag });
        }
    }
    let failed = |error| TransferError::Object {
        id,
        role,
        from: from.to_string(),
        to: to.to_string(),
        error,
    };
    if from.is_same_place(to) {
        return Ok(false);
    }
    // An object exists completely or not at all.
    if to.size(object.id).await.map_err(failed)? == Some(info.size_bytes) {
        return Ok(false);
    }
    let sha256 = to.fetch(from, object.id, info.size_bytes).await.map_err(failed)?;
    if sha256 != object.sha256 {
        to.delete(object.id).await.map_err(failed)?;
        let problem = "does not have the SHA-256 that was recorded";
        return Err(TransferError::Damaged { place: from.to_string(), id, role, problem });
    }
    Ok(true)
}
