//! Batches: operations with children. Submits them, all or none, and counts their children.

use std::collections::HashSet;

use super::children::place;
use super::operations::{named, readable, unnamed};
use super::submissions::Road;
use super::{
    Action, Caller, MAX_BATCH, Reason, Service, ServiceError, Submitted, Violations, audit,
};
use crate::engine::EngineError;
use crate::operation::batch::MAX_KEY;
use crate::operation::{
    BatchRule, ChildCounts, IdempotencyKey, NewOperation, Operation, OperationId, TenantId,
};

/// Submissions of one call.
#[derive(Debug)]
pub enum ManySubmissions {
    /// Each by itself. A submission that could not be decoded has its error in its place.
    Each(Vec<Result<NewOperation, ServiceError>>),
    /// A batch with its children.
    Batch {
        /// The batch.
        batch: Box<NewOperation>,
        /// Its rule.
        rule: BatchRule,
        /// Its children.
        children: Vec<NewOperation>,
    },
}

/// The outcome of many submissions.
#[derive(Debug)]
pub struct ManySubmitted {
    /// The batch, if it is one.
    pub batch: Option<Submitted>,
    /// The results, in order. Children of an existing batch that have been deleted since are not found.
    pub results: Vec<Result<Submitted, ServiceError>>,
}

impl Service {
    /// Stores submissions in one commit: each by itself, or a batch and its children, all or none.
    pub async fn submit_many(
        &self,
        caller: &Caller,
        asked: ManySubmissions,
    ) -> Result<ManySubmitted, ServiceError> {
        match asked {
            ManySubmissions::Each(items) => {
                let results = self.submit_batch(caller, items).await?;
                Ok(ManySubmitted { batch: None, results })
            }
            ManySubmissions::Batch { batch, rule, children } => {
                self.submit_with_children(caller, *batch, children, &rule).await
            }
        }
    }

    async fn submit_with_children(
        &self,
        caller: &Caller,
        batch: NewOperation,
        children: Vec<NewOperation>,
        rule: &BatchRule,
    ) -> Result<ManySubmitted, ServiceError> {
        caller.may(Action::Submit)?;
        check_batch(&batch, &children, rule)?;
        self.takes_work()?;
        self.spend(caller, children.len() + 1)?;
        let children = with_keys(children, batch.idempotency_key.as_ref());
        let batch = NewOperation { children: Some(NewOperation::digest_of(&children)), ..batch };
        let mut prepared = vec![Ok(self.prepare(caller, batch, "batch.input").await?)];
        for (at, child) in children.into_iter().enumerate() {
            prepared.push(self.prepare(caller, child, &format!("requests[{at}].input")).await);
        }
        let refused = prepared.iter().find_map(|new| new.as_ref().err().cloned());
        if let Some(refused) = refused {
            for new in prepared.iter().flatten() {
                if let Some(input) = &new.input {
                    self.discard(&input.info).await;
                }
            }
            return Err(refused);
        }
        let mut answers = self.store(prepared, Road::Batch).await?.into_iter();
        let missing = || ServiceError::new(Reason::Internal, "an answer is missing");
        let batch = answers.next().unwrap_or_else(|| Err(missing()));
        let batch = batch.map_err(|error| unnamed(caller, error))?;
        audit::operation(caller.actor(), "submit", batch.operation.id());
        let children = answers.map(|child| {
            let child = child.map_err(|error| unnamed(caller, error))?;
            audit::operation(caller.actor(), "submit", child.operation.id());
            Ok(child.into())
        });
        let results = children.collect();
        Ok(ManySubmitted { batch: Some(batch.into()), results })
    }

    /// Refuses a child of an operation that the caller may not change. The engine checks that it accepts children.
    pub(super) async fn check_parent(
        &self,
        caller: &Caller,
        new: &NewOperation,
    ) -> Result<(), ServiceError> {
        let Some(parent) = new.parent else { return Ok(()) };
        let found = match self.engine.get(&caller.tenant.clone().into(), parent).await {
            Ok(found) => found,
            // The child may have outlived its batch. The engine refuses it if it does not know the key.
            Err(EngineError::NotFound | EngineError::Expired { .. })
                if new.idempotency_key.is_some() =>
            {
                return Ok(());
            }
            Err(error) => return Err(named(error, parent)),
        };
        readable(caller, &found)?;
        match found.is_changeable_by(caller.owner.as_ref()) {
            true => Ok(()),
            false => Err(EngineError::NoParent(parent).into()),
        }
    }

    /// The numbers of an operation's children, if it is a batch.
    pub(super) async fn children_of(
        &self,
        operation: &Operation,
    ) -> Result<Option<ChildCounts>, ServiceError> {
        if !operation.is_batch() {
            return Ok(None);
        }
        Ok(self.engine.children(vec![place(operation)]).await?.into_iter().next())
    }

    /// Counts for all batches of a page at once; the next calls for each of them use the result.
    pub(super) async fn count_for(&self, page: &[Operation]) -> Result<(), ServiceError> {
        let batches = page.iter().filter(|it| it.is_batch()).map(place);
        let batches: Vec<(TenantId, OperationId)> = batches.collect();
        if batches.len() > 1 {
            self.engine.children(batches).await?;
        }
        Ok(())
    }
}

fn check_batch(
    batch: &NewOperation,
    children: &[NewOperation],
    rule: &BatchRule,
) -> Result<(), ServiceError> {
    let mut found = Violations::default();
    if children.len() > MAX_BATCH {
        found.note("requests", format!("must have at most {MAX_BATCH} entries"));
    }
    if children.is_empty() && rule.expected_children == 0 {
        let rule =
            "must have at least 1 entry, unless batch.expected_children says that more will follow";
        found.note("requests", rule);
    }
    let key = batch.idempotency_key.as_ref();
    if key.is_some_and(|key| key.as_str().len() > MAX_KEY) {
        let rule = format!(
            "must have at most {MAX_KEY} characters, because the keys of its children begin with it"
        );
        found.note("batch.idempotency_key", rule);
    }
    // Those that children without one get: a key of the client's own must not meet them either.
    let bare = children.iter().enumerate().filter(|(_, child)| child.idempotency_key.is_none());
    let made = bare.filter_map(|(at, _)| key_of_child(key?, at));
    let mut keys: HashSet<IdempotencyKey> = key.cloned().into_iter().chain(made).collect();
    for (at, child) in children.iter().enumerate() {
        if child.parent.is_some() {
            let rule = "must be empty if `batch` is set, because the batch is the parent";
            found.note(format!("requests[{at}].parent"), rule);
        }
        if child.idempotency_key.as_ref().is_some_and(|key| !keys.insert(key.clone())) {
            let rule = "must differ from the keys of the batch and of the other requests, and from those made of the \
                        batch's key";
            found.note(format!("requests[{at}].idempotency_key"), rule);
        }
    }
    found.check()
}

/// The children with keys derived from the batch's key, if it has one, so that a retry finds them.
fn with_keys(children: Vec<NewOperation>, key: Option<&IdempotencyKey>) -> Vec<NewOperation> {
    let Some(key) = key else { return children };
    let of = |(at, child): (usize, NewOperation)| {
        let own = || key_of_child(key, at);
        NewOperation { idempotency_key: child.idempotency_key.clone().or_else(own), ..child }
    };
    children.into_iter().enumerate().map(of).collect()
}

/// The key of the child at that place, where it has none of its own.
fn key_of_child(batch: &IdempotencyKey, at: usize) -> Option<IdempotencyKey> {
    IdempotencyKey::parse(&format!("{batch}/{at}")).ok()
}
