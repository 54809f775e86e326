//! Deletes objects: those of removed operations at once, unreferenced ones after a while.

use std::future::Future;
use std::time::Duration;

use tokio_stream::StreamExt as _;

use super::{ObjectError, Objects};
use crate::operation::{ObjectId, Timestamp};

/// An unreferenced object must be older than this to be deleted, because its commit may be running.
pub const GRACE: Duration = Duration::from_secs(3600);
/// Files of unfinished uploads must be older than this to be deleted.
const UNFINISHED_GRACE: Duration = Duration::from_secs(24 * 3600);
/// The number of objects that are looked up at once.
const PAGE: usize = 500;

/// Deletes objects that nothing refers to and that are older than [`GRACE`] at `now`; returns how many. `known` returns
/// whether something refers to each object; if it fails, nothing is deleted.
pub async fn orphans<K, F, E>(
    objects: &Objects,
    now: Timestamp,
    known: K,
) -> Result<u64, ObjectError>
where
    K: Fn(Vec<ObjectId>) -> F,
    F: Future<Output = Result<Vec<bool>, E>>,
    E: std::fmt::Display,
{
    unfinished_files(objects, now).await;
    let mut listed = objects.store.list(Some(&objects.prefix));
    let (mut page, mut deleted) = (Vec::with_capacity(PAGE), 0);
    loop {
        let next = listed.next().await;
        let is_last = next.is_none();
        match next {
            Some(Ok(meta)) => {
                let id = meta.location.filename().and_then(ObjectId::parse);
                let modified = Timestamp::from_micros(meta.last_modified.timestamp_micros());
                let is_old = |id: &ObjectId| begun_at(*id).max(modified).after(GRACE) <= now;
                page.extend(id.filter(is_old));
            }
            // The directory does not exist yet.
            Some(Err(object_store::Error::NotFound { .. })) | None => {}
            Some(Err(error)) => return Err(ObjectError::Unavailable(error.to_string())),
        }
        if page.len() >= PAGE || is_last && !page.is_empty() {
            let asked = std::mem::take(&mut page);
            let known = known(asked.clone()).await;
            let known = known.map_err(|error| ObjectError::Unavailable(error.to_string()))?;
            for (id, _) in asked.into_iter().zip(known).filter(|(_, known)| !known) {
                objects.delete(id).await?;
                deleted += 1;
            }
        }
        if is_last {
            return Ok(deleted);
        }
    }
}

/// When an upload or a copy began, as its id says. A copy in a directory is a hard link and has the original's time; a
/// long upload has an old id, but a young file.
fn begun_at(id: ObjectId) -> Timestamp {
    let millis =
        id.as_bytes().iter().take(6).fold(0_i64, |time, byte| time << 8 | i64::from(*byte));
    Timestamp::from_micros(millis.saturating_mul(1_000))
}

/// Deletes files of uploads that a crash interrupted in a directory; lists do not show them.
async fn unfinished_files(objects: &Objects, now: Timestamp) {
    let Some(directory) = &objects.directory else { return };
    let Ok(mut entries) = tokio::fs::read_dir(directory).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name();
        let Some((id, number)) = name.to_str().and_then(|name| name.split_once('#')) else {
            continue;
        };
        if ObjectId::parse(id).is_none() || number.parse::<u64>().is_err() {
            continue;
        }
        let modified = entry.metadata().await.ok().and_then(|meta| meta.modified().ok());
        let age = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = age.and_then(|age| i64::try_from(age.as_micros()).ok());
        let modified = modified.map(Timestamp::from_micros);
        if modified.is_some_and(|at| at.after(UNFINISHED_GRACE) <= now) {
            let removed = tokio::fs::remove_file(entry.path()).await;
            tracing::info!(file = ?name, removed = removed.is_ok(), "an unfinished upload");
        }
    }
}
