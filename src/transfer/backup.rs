//! A backup of the embedded store: a snapshot of its file, then the snapshot's objects, and last the snapshot's name: a
//! backup that has its name is complete.
//!
//! An object is deleted with its operation, so objects of the snapshot may disappear before they are copied. That is
//! not an error if the store no longer has their operation.

use std::path::PathBuf;

use tokio::sync::mpsc;

use super::{Progress, Stage, TransferError, Watcher, bring_object, payloads};
use crate::objects::{ObjectError, Objects};
use crate::operation::Operation;
use crate::store::StoreError;
use crate::store::sqlite::backup::Backup;

/// The number of operations with objects between two progress reports.
const PAGE: usize = 500;

/// The contents of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// The size of the file, in bytes.
    pub size_bytes: u64,
    /// Objects that belong to it.
    pub objects: u64,
    /// Operations that were deleted with their objects before these could be copied.
    pub gone: u64,
}

/// Backs up the store at `source` to `target`, and the objects from the first place to the second, if given. A server
/// may be serving the store.
pub async fn back_up(
    source: PathBuf,
    target: PathBuf,
    objects: Option<(&Objects, &Objects)>,
    watcher: Watcher<'_>,
) -> Result<BackedUp, TransferError> {
    let name = source.display().to_string();
    let failed = |error: StoreError| TransferError::Store { place: name.clone(), error };
    let backup = blocking(move || Backup::begin(&source, &target)).await??;
    let mut backup = copy(backup, watcher).await?;
    let (mut done, mut after) = (BackedUp::default(), None);
    while let Some(places) = objects {
        let (kept, page) = ask(backup, move |backup| backup.with_objects(after, PAGE)).await?;
        let page = page.map_err(failed)?;
        backup = kept;
        let Some(last) = page.last() else { break };
        after = Some(last.id());
        for operation in page {
            let id = operation.id();
            match bring_objects(places, &operation).await {
                Ok(brought) => done.objects += brought,
                Err(error) => {
                    let (kept, is_live) = ask(backup, move |backup| backup.is_live(id)).await?;
                    backup = kept;
                    if !is_missing(&error) || is_live.map_err(failed)? {
                        return Err(error);
                    }
                    done.gone += 1;
                }
            }
            watcher(Progress { stage: Stage::Objects, done: done.objects, total: 0 });
        }
    }
    done.size_bytes = blocking(move || backup.finish()).await??;
    Ok(done)
}

/// Copies the file. If this future is dropped, the copy ends within one step.
async fn copy(mut backup: Backup, watcher: Watcher<'_>) -> Result<Backup, TransferError> {
    let (reports, mut reported) = mpsc::channel(1);
    let copying = blocking(move || {
        let report = |done, total| reports.blocking_send((done, total)).is_ok();
        backup.copy(&report).map(|()| backup)
    });
    let watching = async {
        while let Some((done, total)) = reported.recv().await {
            watcher(Progress { stage: Stage::BackingUp, done, total });
        }
    };
    let (copied, ()) = tokio::join!(copying, watching);
    Ok(copied??)
}

/// Copies an operation's objects; returns how many it has.
async fn bring_objects(
    places: (&Objects, &Objects),
    operation: &Operation,
) -> Result<u64, TransferError> {
    let mut brought = 0;
    for (role, info) in payloads(operation).filter(|(_, info)| info.object.is_some()) {
        bring_object(places, operation.id(), role, info).await?;
        brought += 1;
    }
    Ok(brought)
}

fn is_missing(error: &TransferError) -> bool {
    matches!(error, TransferError::Object { error: ObjectError::Missing(_), .. })
}

async fn ask<T: Send + 'static>(
    backup: Backup,
    question: impl FnOnce(&Backup) -> T + Send + 'static,
) -> Result<(Backup, T), TransferError> {
    blocking(move || {
        let answer = question(&backup);
        (backup, answer)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TransferError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| TransferError::CutOff)
}
