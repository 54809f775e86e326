//! Administrators' data, decoded and in memory: API keys, the server's secret.
//!
//! Every replica has all of it, so that requests do not read the store. A change is written only at the version on
//! which it was decided. The replica that makes it has it at once, the others within a second, because each polls
//! the versions twice a second. While the store cannot be reached, a replica uses what it read last. Must never
//! know what an entry means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::store::{CatalogueChange, CatalogueSpace, Store, StoreError};

/// How often each replica asks whether others have changed something.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Most entries of a space.
pub const MAX_ENTRIES: usize = 100_000;
/// Longest name, and largest value as JSON, in bytes.
const MAX_NAME_BYTES: usize = 512;
const MAX_VALUE_BYTES: usize = 16 * 1024;
/// How often a change is decided again because another replica was first.
const TRIES: u32 = 20;

/// The type of a space's entries. Stored as JSON; unknown fields are ignored.
pub trait Entry: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of the space.
    const SPACE: &'static str;
}

/// A space as of one version.
#[derive(Debug)]
pub struct Snapshot<E> {
    version: u64,
    entries: BTreeMap<String, Arc<E>>,
}

/// A change of a space.
#[derive(Debug)]
pub struct Change<E> {
    /// Entries to write, over those of the same names.
    pub put: Vec<(String, E)>,
    /// Names to delete.
    pub delete: Vec<String>,
}

/// Why a space was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChangeError {
    /// The store did not do it, or has not said so. It may have happened if the store was away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no room.
    #[error("there are {MAX_ENTRIES} {0} already, the most that are allowed: delete some first")]
    Full(&'static str),
    /// It is too large to be kept.
    #[error(
        "an entry of {space} has {size} bytes, and at most {MAX_VALUE_BYTES} are allowed, with a name of {MAX_NAME_BYTES}"
    )]
    TooLarge {
        /// Of which space.
        space: &'static str,
        /// The size of name and value.
        size: usize,
    },
}

impl<E> Snapshot<E> {
    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<E>> {
        self.entries.get(name)
    }

    /// All entries by their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<E>)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// All entries whose names come behind that one, in order.
    pub fn after<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a Arc<E>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let range = self.entries.range::<str, _>((Excluded(name), Unbounded));
        range.map(|(name, entry)| (name.as_str(), entry))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<E> Change<E> {
    /// One entry to write.
    pub fn put(name: impl Into<String>, entry: E) -> Self {
        Self { put: vec![(name.into(), entry)], delete: Vec::new() }
    }

    /// One name to delete.
    pub fn delete(name: impl Into<String>) -> Self {
        Self { put: Vec::new(), delete: vec![name.into()] }
    }
}

/// A space of the catalogue, in memory.
pub struct Space<E> {
    store: Arc<dyn Store>,
    current: watch::Sender<Arc<Snapshot<E>>>,
    /// Held while it is read or written, so that what was read earlier is not published later.
    turn: Mutex<()>,
}

impl<E> std::fmt::Debug for Space<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space").finish_non_exhaustive()
    }
}

impl<E: Entry> Space<E> {
    /// Reads it.
    pub async fn open(store: Arc<dyn Store>) -> Result<Arc<Self>, StoreError> {
        let read = decode(store.catalogue(E::SPACE).await?);
        let current = watch::Sender::new(Arc::new(read));
        Ok(Arc::new(Self { store, current, turn: Mutex::default() }))
    }

    /// The space as this replica knows it.
    pub fn snapshot(&self) -> Arc<Snapshot<E>> {
        Arc::clone(&self.current.borrow())
    }

    /// The snapshots as they come.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot<E>>> {
        self.current.subscribe()
    }

    /// The space as the store has it now: whatever was changed before this was called is in it.
    pub async fn current(&self) -> Result<Arc<Snapshot<E>>, StoreError> {
        let versions = self.store.catalogue_versions().await?;
        self.refresh(versions.get(E::SPACE).copied().unwrap_or_default()).await?;
        Ok(self.snapshot())
    }

    /// Changes it. `decide` makes the change of what is there, and is asked again if another replica was first.
    pub async fn change<T, X: From<ChangeError>>(
        &self,
        decide: impl Fn(&Snapshot<E>) -> Result<(Change<E>, T), X>,
    ) -> Result<T, X> {
        let _turn = self.turn.lock().await;
        for _ in 0..TRIES {
            let before = self.snapshot();
            let (change, answer) = decide(&before)?;
            let stored = encode(&before, &change).map_err(X::from)?;
            match self.store.change_catalogue(stored).await {
                Ok(version) => {
                    self.publish(apply(&before, version, change));
                    return Ok(answer);
                }
                Err(StoreError::Conflict(_)) => self.read().await.map_err(failed::<X>)?,
                Err(error) => return Err(failed(error)),
            }
        }
        let busy = format!("other writers keep changing {}: try again", E::SPACE);
        Err(failed(StoreError::Unavailable(busy)))
    }

    async fn read(&self) -> Result<(), StoreError> {
        let read = decode(self.store.catalogue(E::SPACE).await?);
        self.publish(read);
        Ok(())
    }

    fn publish(&self, snapshot: Snapshot<E>) {
        self.current.send_replace(Arc::new(snapshot));
    }
}

fn failed<X: From<ChangeError>>(error: StoreError) -> X {
    ChangeError::Store(error).into()
}

/// Entries that cannot be read are left out: a key that cannot be read opens nothing.
fn decode<E: Entry>(space: CatalogueSpace) -> Snapshot<E> {
    let CatalogueSpace { version, entries } = space;
    let entries = entries.into_iter().filter_map(|(name, value)| {
        let read = serde_json::from_slice(&value);
        let read = read.inspect_err(|error| {
            tracing::error!(space = E::SPACE, name, %error, "an entry of the catalogue cannot be read");
        });
        Some((name, Arc::new(read.ok()?)))
    });
    Snapshot { version, entries: entries.collect() }
}

fn encode<E: Entry>(
    before: &Snapshot<E>,
    change: &Change<E>,
) -> Result<CatalogueChange, ChangeError> {
    let mut stored = CatalogueChange {
        space: E::SPACE.to_owned(),
        expected: Some(before.version),
        delete: change.delete.clone(),
        ..CatalogueChange::default()
    };
    for (name, entry) in &change.put {
        let value = serde_json::to_vec(entry).map_err(|error| {
            StoreError::Unavailable(format!("an entry of {} is no JSON: {error}", E::SPACE))
        })?;
        if name.len() > MAX_NAME_BYTES || value.len() > MAX_VALUE_BYTES {
            let size = name.len() + value.len();
            return Err(ChangeError::TooLarge { space: E::SPACE, size });
        }
        stored.put.insert(name.clone(), value.into());
    }
    let new = stored.put.keys().filter(|name| before.get(name).is_none()).count();
    let gone = stored.delete.iter().filter(|name| before.get(name).is_some()).count();
    if new > gone && before.entries.len() + new - gone > MAX_ENTRIES {
        return Err(ChangeError::Full(E::SPACE));
    }
    Ok(stored)
}

fn apply<E>(before: &Snapshot<E>, version: u64, change: Change<E>) -> Snapshot<E> {
    let mut entries = before.entries.clone();
    for name in &change.delete {
        entries.remove(name);
    }
    entries.extend(change.put.into_iter().map(|(name, entry)| (name, Arc::new(entry))));
    Snapshot { version, entries }
}

/// A space of whatever it has entries of.
#[async_trait]
trait Refresh: Send + Sync {
    fn name(&self) -> &'static str;
    /// Reads it again if it does not have that version.
    async fn refresh(&self, version: u64) -> Result<(), StoreError>;
}

#[async_trait]
impl<E: Entry> Refresh for Space<E> {
    fn name(&self) -> &'static str {
        E::SPACE
    }

    async fn refresh(&self, version: u64) -> Result<(), StoreError> {
        if self.snapshot().version == version {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        self.read().await
    }
}

/// The task that reads again what other replicas have changed.
pub struct Catalogue {
    store: Arc<dyn Store>,
    spaces: Vec<Arc<dyn Refresh>>,
}

impl Catalogue {
    /// Of no space yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, spaces: Vec::new() }
    }

    /// Reads a space, and keeps it up to date while the task runs.
    pub async fn open<E: Entry>(&mut self) -> Result<Arc<Space<E>>, StoreError> {
        let space = Space::open(Arc::clone(&self.store)).await?;
        self.spaces.push(Arc::<Space<E>>::clone(&space));
        Ok(space)
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled_owned(self.poll()).await;
    }

    async fn poll(self) {
        let mut polls = interval(POLL_INTERVAL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_away = false;
        loop {
            polls.tick().await;
            match self.refresh().await {
                Ok(()) => is_away = false,
                Err(error) if !is_away => {
                    is_away = true;
                    tracing::warn!(%error, "the catalogue cannot be read: the last version stays in use");
                }
                Err(_) => {}
            }
        }
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        let versions = self.store.catalogue_versions().await?;
        for space in &self.spaces {
            space.refresh(versions.get(space.name()).copied().unwrap_or_default()).await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalogue").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "catalogue/tests.rs"]
mod tests;
