//! When keys were last used, to a minute: in memory, and written in the background.
//!
//! Of several replicas' writes the latest wins. A crash loses a minute.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::operation::Timestamp;
use crate::store::{CatalogueChange, Store, StoreError};

const SPACE: &str = "key_uses";
/// How often uses are written.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// The last uses that are not written yet: at most one per key.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses(Arc<Mutex<HashMap<String, Timestamp>>>);

impl Uses {
    pub(super) fn note(&self, id: &str, now: Timestamp) {
        let mut unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match unwritten.get_mut(id) {
            Some(last) => *last = now,
            None => drop(unwritten.insert(id.to_owned(), now)),
        }
    }

    /// The last uses that are known here, including those that other replicas have written.
    pub(super) async fn known(
        &self,
        store: &dyn Store,
    ) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        let written = store.catalogue(SPACE).await?.entries.into_iter();
        let mut known: BTreeMap<String, Timestamp> = written
            .filter_map(|(id, at)| {
                Some((id, Timestamp::from_micros(serde_json::from_slice(&at).ok()?)))
            })
            .collect();
        let unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (id, at) in unwritten {
            let last = known.entry(id).or_insert(at);
            *last = at.max(*last);
        }
        Ok(known)
    }

    /// Writes the uses, and forgets keys that are gone. Failed writes are retried.
    pub(super) async fn write(
        &self,
        store: &dyn Store,
        delete: Vec<String>,
    ) -> Result<(), StoreError> {
        let mut unwritten =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        unwritten.retain(|id, _| !delete.contains(id));
        if unwritten.is_empty() && delete.is_empty() {
            return Ok(());
        }
        let put = unwritten.iter().map(|(id, at)| (id.clone(), at.micros().to_string().into()));
        let (space, put) = (SPACE.to_owned(), put.collect());
        let written =
            store.change_catalogue(CatalogueChange { space, expected: None, put, delete }).await;
        if written.is_err() {
            let mut later = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, at) in unwritten {
                later.entry(id).or_insert(at);
            }
        }
        written.map(drop)
    }

    /// Writes until `stop`, and once more after it.
    pub(super) async fn run(self, store: Arc<dyn Store>, stop: CancellationToken) {
        let mut writes = interval(WRITE_INTERVAL);
        writes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_over = stop.run_until_cancelled(writes.tick()).await.is_none();
            if let Err(error) = self.write(&*store, Vec::new()).await {
                tracing::debug!(%error, "the last uses of keys cannot be written");
            }
            if is_over {
                return;
            }
        }
    }
}
