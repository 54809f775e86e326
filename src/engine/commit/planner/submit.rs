//! Accepts submissions: each by itself, or a batch with its children, all or none.

use super::Planner;
use crate::engine::commit::counts::Added;
use crate::engine::request::{EngineError, SubmitMode, Submitted};
use crate::engine::round::draft::Draft;
use crate::operation::NewOperation;
use crate::store::Lookup;

type Answers = Vec<Result<Submitted, EngineError>>;

impl Planner {
    pub(super) fn submit_all(
        &mut self,
        items: &[NewOperation],
        mode: SubmitMode,
        added: &mut Added,
        draft: &mut Draft,
    ) -> Answers {
        match (mode, items) {
            (SubmitMode::Batch, [batch, children @ ..]) => {
                let stored = self.submit_batch(batch, children, added, draft);
                stored.unwrap_or_else(|error| items.iter().map(|_| Err(error.clone())).collect())
            }
            _ => items.iter().map(|new| self.submit_one(new, mode, added, draft)).collect(),
        }
    }

    fn submit_one(
        &mut self,
        new: &NewOperation,
        mode: SubmitMode,
        added: &mut Added,
        draft: &mut Draft,
    ) -> Result<Submitted, EngineError> {
        // A known key is accepted whatever the load, because it makes no new work.
        if let Some(existing) = draft.existing(new) {
            return existing.map(|operation| Submitted::unwatched(operation, true));
        }
        check_readable(new, draft)?;
        check_parent(new, draft)?;
        self.shared.counts().submit(new, added, &self.shared.limits())?;
        let mut submitted = self.add(new, draft);
        if mode == SubmitMode::Watched {
            let id = submitted.operation.id();
            submitted.subscription = Some(self.shared.hub.subscribe(id));
        }
        Ok(submitted)
    }

    /// Checks every reason to refuse one of them before the draft has any of them.
    fn submit_batch(
        &mut self,
        batch: &NewOperation,
        children: &[NewOperation],
        added: &mut Added,
        draft: &mut Draft,
    ) -> Result<Answers, EngineError> {
        if let Some(existing) = draft.existing(batch) {
            let batch = existing?;
            let parent = Some(batch.id());
            let known = children.iter().map(|child| {
                let child = NewOperation { parent, ..child.clone() };
                // The batch exists, and so must its child.
                let found = draft.existing(&child).unwrap_or(Err(EngineError::NotFound))?;
                Ok(Submitted::unwatched(found, true))
            });
            let known: Answers = known.collect();
            return Ok([Ok(Submitted::unwatched(batch, true))].into_iter().chain(known).collect());
        }
        let mut more = added.clone();
        let (counts, limits) = (self.shared.counts(), self.shared.limits());
        for new in [batch].into_iter().chain(children) {
            check_readable(new, draft)?;
            // The batch is new, so an operation with the child's key is another submission.
            if let Some(known) = draft.existing(new) {
                return Err(EngineError::KeyReused(known?.id()));
            }
            counts.submit(new, &mut more, &limits)?;
        }
        drop(counts);
        *added = more;
        let batch = self.add(batch, draft);
        let parent = Some(batch.operation.id());
        let children: Answers = children
            .iter()
            .map(|child| Ok(self.add(&NewOperation { parent, ..child.clone() }, draft)))
            .collect();
        Ok([Ok(batch)].into_iter().chain(children).collect())
    }

    fn add(&self, new: &NewOperation, draft: &mut Draft) -> Submitted {
        let operation = draft.submit(new, self.shared.ids.operation(draft.now()));
        Submitted::unwatched(operation, false)
    }
}

/// Refuses a submission whose key names an operation that cannot be read.
fn check_readable(new: &NewOperation, draft: &Draft) -> Result<(), EngineError> {
    let key = new.idempotency_key.clone();
    let lookup = key.map(|key| Lookup::Key(new.tenant.clone(), key));
    match lookup.is_some_and(|lookup| draft.is_damaged(&lookup)) {
        true => Err(EngineError::damaged()),
        false => Ok(()),
    }
}

/// Refuses a child whose parent takes none. The draft must have the parent as of this commit.
fn check_parent(new: &NewOperation, draft: &Draft) -> Result<(), EngineError> {
    let Some(parent) = new.parent else { return Ok(()) };
    if draft.is_damaged(&Lookup::Id(parent)) {
        return Err(EngineError::damaged());
    }
    let found = draft.current(parent).filter(|it| it.submission.tenant == new.tenant);
    let found = found.ok_or(EngineError::NoParent(parent))?;
    found.takes_children().map_err(|why| EngineError::ParentNotOpen { parent, why })
}
