//! How many operations are not done, in all and by queue: whether there is room for new ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::engine::dispatch::queue::QueueKey;
use crate::engine::request::EngineError;
use crate::engine::round::transition::Transition;
use crate::operation::limits::{LimitName, LimitTable};
use crate::operation::{NewOperation, TenantId};
use crate::store::shared::Outstanding;

#[derive(Debug)]
pub(crate) struct Counts {
    most: u64,
    all: u64,
    of: HashMap<QueueKey, u64>,
    of_tenant: HashMap<TenantId, u64>,
}

/// Submissions that a draft has taken in.
#[derive(Debug, Default)]
pub(crate) struct Added {
    all: u64,
    of: HashMap<QueueKey, u64>,
    of_tenant: HashMap<TenantId, u64>,
}

impl Counts {
    /// At most `most` operations that are not done.
    pub(crate) fn new(most: u64) -> Self {
        Self { most, all: 0, of: HashMap::new(), of_tenant: HashMap::new() }
    }

    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// How many more there may be.
    pub(crate) fn room(&self) -> u64 {
        self.most.saturating_sub(self.all)
    }

    /// Takes in one more submission, if there is room for it.
    pub(crate) fn submit(
        &self,
        new: &NewOperation,
        added: &mut Added,
        table: &LimitTable,
    ) -> Result<(), EngineError> {
        if self.all + added.all >= self.most {
            let what = "operations that are not done";
            return Err(EngineError::Full { what, limit: self.most });
        }
        let key = QueueKey { tenant: new.tenant.clone(), kind: new.kind.clone() };
        let of_kind = self.of.get(&key).copied().unwrap_or_default();
        let added_of_kind = added.of.entry(key).or_default();
        if let Some(limit) = new.capacity
            && of_kind + *added_of_kind >= limit
        {
            let what = "operations of this kind that are not done";
            return Err(EngineError::Full { what, limit });
        }
        let of_tenant = self.of_tenant.get(&new.tenant).copied().unwrap_or_default();
        let added_of_tenant = added.of_tenant.entry(new.tenant.clone()).or_default();
        let counts =
            [(None, of_tenant + *added_of_tenant), (Some(&new.kind), of_kind + *added_of_kind)];
        for (kind, count) in counts {
            let most = table.get(LimitName::Outstanding, &new.tenant, kind);
            if let Some(most) = most.filter(|most| count >= *most) {
                let (tenant, kind) = (new.tenant.clone(), kind.cloned());
                return Err(EngineError::Limited {
                    tenant,
                    kind,
                    name: LimitName::Outstanding,
                    most,
                });
            }
        }
        added.all += 1;
        *added_of_tenant += 1;
        *added_of_kind += 1;
        Ok(())
    }

    /// One that is not done was found at start.
    pub(crate) fn found(&mut self, key: QueueKey) {
        self.all += 1;
        *self.of_tenant.entry(key.tenant.clone()).or_default() += 1;
        *self.of.entry(key).or_default() += 1;
    }

    /// A transition was committed.
    pub(crate) fn committed(&mut self, transition: &Transition) {
        let Transition { before, after, .. } = transition;
        if before.is_none() {
            self.found(QueueKey::of(after));
        }
        if after.is_done() {
            self.all = self.all.saturating_sub(1);
            one_less(self.of.entry(QueueKey::of(after)));
            one_less(self.of_tenant.entry(after.submission.tenant.clone()));
        }
    }

    /// The store has counted.
    pub(crate) fn set(&mut self, counts: Vec<Outstanding>) {
        self.all = counts.iter().map(|of| of.count).sum();
        self.of_tenant.clear();
        for of in &counts {
            *self.of_tenant.entry(of.tenant.clone()).or_default() += of.count;
        }
        let key = |of: Outstanding| (QueueKey { tenant: of.tenant, kind: of.kind }, of.count);
        self.of = counts.into_iter().map(key).collect();
    }
}

fn one_less<K>(entry: Entry<'_, K, u64>) {
    if let Entry::Occupied(mut entry) = entry {
        *entry.get_mut() = entry.get().saturating_sub(1);
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::sample::{at, new_operation, operation};
    use crate::operation::{EventType, Operation};

    fn full(result: Result<(), EngineError>) -> Option<u64> {
        match result {
            Ok(()) => None,
            Err(EngineError::Full { limit, .. }) => Some(limit),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn new(kind: &str, capacity: Option<u64>) -> NewOperation {
        NewOperation { capacity, ..new_operation(kind) }
    }

    #[test]
    fn what_a_draft_adds_counts_before_it_is_committed() {
        let (counts, mut added) = (Counts::new(3), Added::default());
        let none = LimitTable::default();
        assert_eq!(full(counts.submit(&new("a", Some(2)), &mut added, &none)), None);
        assert_eq!(full(counts.submit(&new("a", Some(2)), &mut added, &none)), None);
        assert_eq!(full(counts.submit(&new("a", Some(2)), &mut added, &none)), Some(2));
        assert_eq!(full(counts.submit(&new("b", Some(2)), &mut added, &none)), None);
        assert_eq!(full(counts.submit(&new("b", None), &mut added, &none)), Some(3));
        assert_eq!(counts.room(), 3, "nothing is committed");
        assert_eq!(full(counts.submit(&new("b", None), &mut Added::default(), &none)), None);
    }

    #[test]
    fn an_operation_counts_from_its_submission_to_its_end() {
        let mut counts = Counts::new(1);
        let queued = operation(1, at(0));
        let after = |operation: &Operation| Arc::new(operation.clone());
        let (event_type, by_report) = (EventType::Submitted, false);
        let submitted = Transition { before: None, after: after(&queued), event_type, by_report };
        counts.committed(&submitted);
        assert_eq!((counts.all(), counts.room()), (1, 0));
        let done = crate::engine::sample::cancelled(&queued);
        let before = Some(after(&queued));
        counts.committed(&Transition { before, after: Arc::new(done), event_type, by_report });
        assert_eq!((counts.all(), counts.room()), (0, 1));
        assert!(counts.of.is_empty());
    }
}
