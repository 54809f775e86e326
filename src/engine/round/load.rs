//! Loads what a draft needs, from the cache or from the store, all at once. Damaged operations are set apart, so
//! that only their own callers get an error.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::draft::Draft;
use super::work::Work;
use crate::engine::Shared;
use crate::engine::request::SubmitMode;
use crate::operation::{NewOperation, OperationId, Payload, PayloadInfo};
use crate::store::{Lookup, StoreError};

/// After a repeated key, look keys up first for this many commits, because clients that retry come in swarms.
const PRECHECKED: u32 = 64;

/// The inputs of operations; `None` if there is none. Unreadable ones are missing.
pub(crate) type Inputs = HashMap<OperationId, Option<Payload>>;

#[derive(Debug)]
pub(crate) struct Loader {
    shared: Arc<Shared>,
    /// For how many more commits idempotency keys are looked up first.
    precheck_keys: u32,
}

impl Loader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, precheck_keys: 0 }
    }

    /// Looks keys up first in the next commits, because a key may have been repeated.
    pub(crate) fn precheck_keys(&mut self) {
        self.precheck_keys = PRECHECKED;
    }

    /// Adds every operation that the works name to the draft. Few keys are repeated, so keys are looked up only after a
    /// recent conflict, or if `room` is less than the number of submissions; otherwise the store reports a conflict.
    pub(crate) async fn works(
        &mut self,
        works: &[Work],
        room: u64,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        let prechecks = self.precheck_keys > 0 || room < submissions(works);
        self.precheck_keys = self.precheck_keys.saturating_sub(1);
        let mut lookups = Vec::new();
        for work in works {
            if let Work::Submit { items, mode, .. } = work {
                let parents = items.iter().filter_map(|new| new.parent);
                parents.for_each(|parent| self.know(parent, draft, &mut lookups));
                let asked = items.iter().enumerate().filter(|(at, new)| {
                    // The draft may know its children without it, because they take part in this commit themselves.
                    let is_batch = *at == 0 && *mode == SubmitMode::Batch;
                    // With its own limit, a kind would be refused for lack of room before the conflict is noticed.
                    prechecks || is_batch || new.capacity.is_some()
                });
                lookups.extend(asked.filter_map(|(_, new)| key(new)));
            }
            if let Some(id) = work.id() {
                self.know(id, draft, &mut lookups);
            }
        }
        self.look_up(lookups, draft).await?;
        self.look_up(keys_of_children(works, draft), draft).await
    }

    /// Adds these operations to the draft.
    pub(crate) async fn operations(
        &self,
        ids: impl IntoIterator<Item = OperationId>,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        let mut lookups = Vec::new();
        ids.into_iter().for_each(|id| self.know(id, draft, &mut lookups));
        self.look_up(lookups, draft).await
    }

    /// Adds the operation from the cache, or notes that it must be looked up.
    fn know(&self, id: OperationId, draft: &mut Draft, lookups: &mut Vec<Lookup>) {
        if draft.knows(id) {
            return;
        }
        match self.shared.cache.get(id) {
            Some(operation) => draft.learn(operation),
            None => lookups.push(Lookup::Id(id)),
        }
    }

    async fn look_up(&self, lookups: Vec<Lookup>, draft: &mut Draft) -> Result<(), StoreError> {
        let mut parts = vec![lookups];
        while let Some(mut lookups) = parts.pop() {
            if lookups.is_empty() {
                continue;
            }
            match self.shared.store.load(lookups.clone()).await {
                Ok(found) => {
                    found.into_iter().flatten().for_each(|found| draft.learn(Arc::new(found)));
                }
                // Halving finds the damaged one.
                Err(StoreError::Corrupt(_)) if lookups.len() > 1 => {
                    parts.push(lookups.split_off(lookups.len() / 2));
                    parts.push(lookups);
                }
                Err(StoreError::Corrupt(_)) => {
                    lookups.into_iter().for_each(|lookup| draft.mark_damaged(lookup));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The inputs of operations that the draft knows: cached ones, and the others in one read.
    pub(crate) async fn inputs(
        &self,
        ids: impl IntoIterator<Item = OperationId>,
        draft: &Draft,
    ) -> Result<Inputs, StoreError> {
        let mut inputs = Inputs::new();
        let mut to_read = Vec::new();
        for operation in ids.into_iter().filter_map(|id| draft.current(id)) {
            let id = operation.id();
            let Some(info) = operation.submission.input.clone() else {
                inputs.insert(id, None);
                continue;
            };
            let at_hand = match info {
                // The worker itself reads what an object holds.
                PayloadInfo { object: Some(_), .. } => Some(Bytes::new()),
                _ => draft.input(id).or_else(|| self.shared.cache.input(id)),
            };
            match at_hand {
                Some(data) => drop(inputs.insert(id, Some(Payload { info, data }))),
                None => to_read.push((id, info)),
            }
        }
        if to_read.is_empty() {
            return Ok(inputs);
        }
        let found = self.shared.store.inputs(to_read.iter().map(|(id, _)| *id).collect()).await;
        for ((id, info), data) in to_read.into_iter().zip(found) {
            match data {
                Ok(data) => drop(inputs.insert(id, data.map(|data| Payload { info, data }))),
                Err(StoreError::Corrupt(error)) => {
                    tracing::error!(operation.id = %id, error, "an input is damaged");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(inputs)
    }
}

/// The keys that must be looked up because of what is known by now. A repeated submission must return what the first one
/// made, and these would be refused before a conflict in the store can tell that it was stored before.
fn keys_of_children(works: &[Work], draft: &Draft) -> Vec<Lookup> {
    let mut keys = Vec::new();
    for work in works {
        let Work::Submit { items, mode, .. } = work else { continue };
        let is_repeated = *mode == SubmitMode::Batch
            && items.first().is_some_and(|batch| draft.existing(batch).is_some());
        let may_be_late = |new: &&NewOperation| {
            let Some(parent) = new.parent else { return false };
            let is_open = draft.current(parent).is_some_and(|it| it.takes_children().is_ok());
            // Another part of this commit may close it.
            !is_open || works.iter().any(|work| work.id() == Some(parent))
        };
        let children = items.iter().filter(|new| is_repeated || may_be_late(new));
        keys.extend(children.filter_map(key));
    }
    keys
}

/// The lookup of a submission by its idempotency key, if it has one.
fn key(new: &NewOperation) -> Option<Lookup> {
    Some(Lookup::Key(new.tenant.clone(), new.idempotency_key.clone()?))
}

/// The number of submissions.
fn submissions(works: &[Work]) -> u64 {
    let submissions = works.iter().map(|work| match work {
        Work::Submit { items, .. } => items.len() as u64,
        _ => 0,
    });
    submissions.sum()
}
